//! Whether the server lives, is ready, and which version it is.

use std::sync::Arc;

use axum::{Json, extract::State};
use weir_protocol::health::{Health, Status, Version};

use crate::{error::ApiError, state::AppState};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const OK: &str = "ok";

/// The process answers and no engine of a model has failed: 503 where a new start is what helps. Loading is no failure.
pub(super) async fn health(State(state): State<Arc<AppState>>) -> Result<Json<Health>, ApiError> {
    state.models.healthy()?;
    Ok(Json(Health {
        status: OK,
        version: VERSION,
    }))
}

/// The process answers.
pub(super) async fn live() -> Json<Status> {
    Json(Status { status: OK })
}

/// Requests are taken: 503 until all models are settled and one is served, when an engine has failed, and while the server
/// drains.
pub(super) async fn ready(State(state): State<Arc<AppState>>) -> Result<Json<Status>, ApiError> {
    state.check_ready()?;
    Ok(Json(Status { status: OK }))
}

/// The version.
pub(super) async fn version() -> Json<Version> {
    Json(Version { version: VERSION })
}
