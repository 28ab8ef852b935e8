//! GET /v1/models and /v1/models/{id}, with and without /v1.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use weir_protocol::models::{Model, ModelList};

use crate::{
    error::ApiError,
    keys::Caller,
    state::{AppState, ServedModel},
};

/// All names of the models that are served and that the caller may ask.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<ModelList>, ApiError> {
    let served = state.models.served();
    let named = served.flat_map(|(names, model)| names.iter().map(move |name| (model, name)));
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        state.models.ready()?;
    }
    let usable = named
        .into_iter()
        .filter(|(model, name)| caller.may_use(&[name, model.id()]));
    let list = usable.map(|(model, name)| describe(model, name)).collect();
    Ok(Json(ModelList::new(list)))
}

/// One name; names may hold slashes.
pub(super) async fn retrieve(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::bad_request("the name in the path is not UTF-8"))?;
    let model = state.model_named(Some(&id))?;
    caller.check_model(Some(&id), model.id())?;
    Ok(Json(describe(model, &id)))
}

fn describe(model: &ServedModel, name: &str) -> Model {
    Model::new(
        name.to_owned(),
        model.id().to_owned(),
        model.created,
        model.max_model_len,
    )
}
