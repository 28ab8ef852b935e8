//! POST /v1/responses: the conversation put together from store and request, started as any chat, answered as a response.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use uuid::Uuid;
use weir_protocol::{
    ResponsesRequest,
    responses::{Item, conversation},
};

use super::{
    body::{JsonBody, list_ignored},
    chat_generation::{self, ChatGeneration},
    gate,
    responses_events::{Keep, ResponseEvents},
};
use crate::{
    error::ApiError,
    keys::Caller,
    response_store::{StoredResponse, Tenant},
    sse,
    state::AppState,
};

/// Answers a request for a response.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut request = ResponsesRequest::from_json(body)?;
    let tenant = gate::tenant(&headers);
    let previous_id = request.settings.previous_response_id.as_deref();
    let previous = previous_id
        .map(|id| find_previous(&state, tenant, id))
        .transpose()?;
    let input = resolve(&state, tenant, request.input)?;
    let earlier = previous.as_deref().map(StoredResponse::conversation);
    let items = earlier.iter().flatten().chain(&input).map(Arc::as_ref);
    request.chat.messages = conversation(request.settings.instructions.as_deref(), items);
    let stream = request.chat.stream;
    let ChatGeneration {
        model,
        steps,
        guard,
        ..
    } = chat_generation::start(&state, &caller, request.chat)
        .await
        .map_err(|error| error.with_param_renamed("messages", "input"))?;
    let mut settings = request.settings;
    settings.store &= state.responses.is_on();
    settings.temperature = settings
        .temperature
        .or(model.defaults.temperature)
        .or(Some(1.0));
    settings.top_p = settings.top_p.or(model.defaults.top_p).or(Some(1.0));
    let keep = settings.store.then(|| Keep {
        state: Arc::clone(&state),
        tenant,
        input,
        previous,
    });
    let events = ResponseEvents::new(model.id().to_owned(), settings, request.names, keep);
    let mut response = if stream {
        sse::respond(steps, events, state.settings.keep_alive, guard).await?
    } else {
        let answer = events.answer(steps).await?;
        drop(guard);
        Json(answer).into_response()
    };
    list_ignored(&mut response, &request.ignored_fields);
    Ok(response)
}

/// An id as OpenAI's are, of this prefix.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

fn find_previous(
    state: &AppState,
    tenant: Tenant,
    id: &str,
) -> Result<Arc<StoredResponse>, ApiError> {
    state.responses.get(tenant, id).ok_or_else(|| {
        let why = if state.responses.is_on() {
            "it was deleted, has expired or given way to newer ones, or was made with `store: false`"
        } else {
            "this server was told to keep none (--response-store-max 0)"
        };
        // The first sentence is OpenAI's: clients look for it.
        let message = format!(
            "Previous response with id '{id}' not found. {why}; send the whole conversation as `input` instead"
        );
        // 400 as OpenAI's: the response is what the request names, not what it asks for.
        ApiError::bad_request(message)
            .with_param("previous_response_id")
            .with_code("previous_response_not_found")
    })
}

/// The request's items, each with an id, and stored ones in the place of references.
fn resolve(state: &AppState, tenant: Tenant, input: Vec<Item>) -> Result<Vec<Arc<Item>>, ApiError> {
    let resolve = |(index, mut item): (usize, Item)| {
        let Some(id) = item.reference() else {
            item.give_id(new_id);
            return Ok(Arc::new(item));
        };
        state.responses.item(tenant, id).ok_or_else(|| {
            let message = format!(
                "Item with id '{id}' not found: references reach items of responses that are still stored; send the item itself instead"
            );
            ApiError::new(StatusCode::NOT_FOUND, message).with_param(format!("input[{index}].id"))
        })
    };
    input.into_iter().enumerate().map(resolve).collect()
}
