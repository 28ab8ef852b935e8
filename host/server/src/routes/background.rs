//! Work beside a request: off the threads that everyone's events go through, and not for longer than the request has.

use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;

/// What comes of work that would keep other requests waiting: it gets a thread of its own.
///
/// # Errors
/// Those of the work; 500 when it panics.
pub(super) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

/// What comes of the work, if it comes before the deadline.
///
/// # Errors
/// 504 when the deadline has passed.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, ApiError> {
    match deadline {
        None => Ok(work.await),
        Some(deadline) => timeout_at(deadline, work)
            .await
            .map_err(|_| ApiError::deadline()),
    }
}
