//! Answers of the routes that machines ask whether the server is well.

use serde::Serialize;
use utoipa::ToSchema;

/// Alive, or ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    /// Always `ok`; what is not has an error's status.
    pub status: &'static str,
}

/// Healthy, and which version it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`; what is not has an error's status.
    pub status: &'static str,
    /// weir's version.
    pub version: &'static str,
}

/// Which version it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Version {
    /// weir's version.
    pub version: &'static str,
}
