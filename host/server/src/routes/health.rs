//! Whether the server lives, is ready, and which version it is.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{error::ApiError, state::AppState};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The process answers and no engine of a model has failed: 503 where a new start is what helps. Loading is no failure.
pub(super) async fn health(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    state.models.healthy()?;
    Ok(Json(json!({"status": "ok", "version": VERSION})))
}

/// The process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Requests are taken: 503 until all models are settled and one is served, when an engine has failed, and while the server
/// drains.
pub(super) async fn ready(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    state.check_ready()?;
    Ok(Json(json!({"status": "ok"})))
}

/// The version.
pub(super) async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}
