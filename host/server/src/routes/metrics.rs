//! GET /metrics: Prometheus' text.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, header},
};

use crate::{metrics, state::AppState};

/// The media type that Prometheus asks for first.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families, as of now.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, TEXT)], metrics::render(&state))
}
