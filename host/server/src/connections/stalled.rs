//! An answer that is given up when its client takes nothing of it, though the connection lives: a stream of HTTP/2 whose
//! window stays shut.
//!
//! Given up means that its body is dropped, and with it the generation behind it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// A body with somebody who looks whether it is taken.
pub(super) struct WatchedBody {
    held: Arc<Mutex<Held>>,
    watcher: AbortHandle,
}

struct Held {
    /// None once it was given up.
    body: Option<Body>,
    /// When a piece was taken that has not been followed by a question for the next. None while the body is asked for one.
    taken: Option<Instant>,
}

impl WatchedBody {
    pub(super) fn new(body: Body, timeout: Duration) -> Self {
        let held = Arc::new(Mutex::new(Held {
            body: Some(body),
            taken: Some(Instant::now()),
        }));
        let watcher = tokio::spawn(watch(Arc::clone(&held), timeout)).abort_handle();
        Self { held, watcher }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

async fn watch(held: Arc<Mutex<Held>>, timeout: Duration) {
    loop {
        let now = Instant::now();
        let taken = lock(&held).taken.unwrap_or(now);
        let Some(end) = taken.checked_add(timeout) else {
            return;
        };
        if end <= now {
            tracing::debug!("a client took nothing of its answer for {timeout:?}");
            lock(&held).body = None;
            return;
        }
        sleep_until(end).await;
    }
}

/// A panic elsewhere leaves no half-made change behind.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut held = lock(&self.held);
        let Some(body) = &mut held.body else {
            let error = io::Error::from(io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(error.into())));
        };
        let frame = Pin::new(body).poll_frame(context);
        held.taken = frame.is_ready().then(Instant::now);
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.held)
            .body
            .as_ref()
            .is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = lock(&self.held);
        held.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(50);

    fn pieces() -> Body {
        Body::from_stream(stream::iter(["a", "b"]).map(Ok::<_, BoxError>))
    }

    #[tokio::test]
    async fn what_is_not_taken_is_given_up() {
        let mut body = WatchedBody::new(pieces(), TIMEOUT);
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        tokio::time::sleep(4 * TIMEOUT).await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
    }

    #[tokio::test]
    async fn waiting_for_the_model_is_not_the_clients_fault() {
        let late = stream::once(async {
            tokio::time::sleep(4 * TIMEOUT).await;
            Ok::<_, BoxError>("late")
        });
        let body = WatchedBody::new(Body::from_stream(late), TIMEOUT);
        let text = body.collect().await.expect("all of it").to_bytes();
        assert_eq!(text, "late");
    }
}
