//! Whether the server lives, is ready, and which version it is.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{error::ApiError, state::AppState};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The process answers; says nothing of the models.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": VERSION}))
}

/// The process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Requests are taken: 503 until all models are settled and one is served, and while the server drains.
pub(super) async fn ready(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    state.check_ready()?;
    Ok(Json(json!({"status": "ok"})))
}

/// The version.
pub(super) async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}
