//! What surrounds every request: its span, its record, its counters, and the line that is logged when its answer is complete.
//!
//! Invariants: a request ends once, with its answer's last byte or when its client leaves, whichever it is; the line has
//! numbers and words of ours and the path, never a body, a query or a key.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tracing::{Instrument, Level, Span};

use crate::{
    error::{self, ApiError},
    metrics::RequestEnd,
    request_record::RequestRecord,
    state::AppState,
};

/// Requests without a route of ours count together.
const NO_ROUTE: &str = "other";
/// The status of a request whose client left before there was an answer, as nginx calls it.
const CLIENT_LEFT: u16 = 499;
/// Asked every few seconds by machines: their successes are logged for who debugs.
const PROBES: &[&str] = &["/health", "/live", "/ready", "/metrics"];

/// Runs the request under a span and a record of its own.
pub(super) async fn observe(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let path = request.uri().path();
    // `caller` is for who checks keys to fill in.
    let span = tracing::info_span!(
        "request",
        id,
        method = %request.method(),
        path,
        caller = tracing::field::Empty
    );
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(NO_ROUTE, MatchedPath::as_str);
    // A part that takes slashes is the router's business.
    let route = route.replace("{*", "{");
    let bodiless = request.method() == Method::HEAD;
    state.metrics.request_began();
    let mut end = End {
        state,
        record: RequestRecord::begin(),
        span: span.clone(),
        route,
        status: None,
        error: None,
        complete: false,
    };
    let handled = Arc::clone(&end.record).during(next.run(request));
    let response = handled.instrument(span).await;
    end.answered(&response);
    response.map(|body| {
        end.complete = bodiless || body.is_end_stream();
        Body::new(Observed { body, end })
    })
}

/// A request's end, whenever it comes: counts and logs when it is dropped.
struct End {
    state: Arc<AppState>,
    record: Arc<RequestRecord>,
    span: Span,
    route: String,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    /// The last byte was taken.
    complete: bool,
}

impl End {
    fn answered(&mut self, response: &Response) {
        let status = response.status();
        self.status = Some(status);
        if status.is_client_error() || status.is_server_error() {
            let error = response.extensions().get::<ApiError>();
            self.error = Some(error.map_or_else(|| error::kind_of(status), ApiError::word));
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let error = self.error.or(self.record.error());
        let status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16());
        self.state.metrics.request_ended(&RequestEnd {
            route: &self.route,
            status,
            aborted: !self.complete,
            error,
            duration: self.record.elapsed(),
        });
        let quiet = status == 200 && PROBES.contains(&self.route.as_str());
        if !quiet || tracing::enabled!(Level::DEBUG) {
            self.record.log(&self.span, status, !self.complete, error);
        }
    }
}

/// An answer's body on its way. The body goes before the end is said: what it holds of the generation adds its counts.
struct Observed {
    body: Body,
    end: End,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // A body of known length is not asked again behind its last frame.
        self.end.complete |= match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
