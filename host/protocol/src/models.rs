//! Answers of `GET /v1/models` and `GET /v1/models/{id}`.

use serde::Serialize;
use utoipa::ToSchema;

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Model {
    /// The name clients ask for.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When it was loaded, seconds since 1970.
    pub created: u64,
    /// Who serves it.
    pub owned_by: &'static str,
    /// The model this name stands for.
    pub root: String,
    /// Longest context in tokens, prompt and answer together.
    pub max_model_len: usize,
}

/// All models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<Model>,
}

impl Model {
    /// The model `root` under the name `id`.
    pub fn new(id: String, root: String, created: u64, max_model_len: usize) -> Self {
        Self {
            id,
            object: "model",
            created,
            owned_by: "weir",
            root,
            max_model_len,
        }
    }
}

impl ModelList {
    /// A list of `data`.
    pub fn new(data: Vec<Model>) -> Self {
        Self {
            object: "list",
            data,
        }
    }
}
