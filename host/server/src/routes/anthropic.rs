//! POST /v1/messages and /v1/messages/count_tokens: Anthropic's API over the same conversations as chat.
//!
//! `anthropic-version`, `anthropic-beta` and the query are accepted and mean nothing: there is one version here.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use weir_protocol::anthropic::{self, MessagesRequest, TokenCount};

use super::{
    anthropic_errors,
    anthropic_events::MessageEvents,
    body::{JsonBody, list_ignored},
    chat_generation::{self, ChatGeneration},
};
use crate::{error::ApiError, keys::Caller, sse, state::AppState};

/// Answers a messages request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let MessagesRequest {
        mut chat,
        max_tokens,
    } = MessagesRequest::from_json(body)?;
    let ignored = std::mem::take(&mut chat.ignored_fields);
    let stream = chat.stream;
    let ChatGeneration {
        model,
        steps,
        guard,
        ..
    } = chat_generation::start_within_context(&state, &caller, chat).await?;
    let request_id = anthropic_errors::request_id(&headers);
    let events = MessageEvents::new(model.id(), max_tokens, request_id);
    let mut response = if stream {
        sse::respond(steps, events, state.settings.keep_alive, guard).await?
    } else {
        let answer = events.fold(steps).await?;
        drop(guard);
        Json(answer).into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}

/// Counts the tokens of the prompt that a messages request would make.
pub(super) async fn count_tokens(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut chat = anthropic::count_tokens(body)?;
    let ignored = std::mem::take(&mut chat.ignored_fields);
    let _guard = state.admit(&caller)?;
    let model = Arc::clone(state.model_named(chat.model.as_deref())?);
    caller.check_model(chat.model.as_deref(), model.id())?;
    model.check_tokenizer("model", "token counts")?;
    let plan = chat_generation::plan_in_background(&state, &model, chat).await?;
    let count = TokenCount {
        input_tokens: plan.prompt.len(),
    };
    let mut response = Json(count).into_response();
    list_ignored(&mut response, &ignored);
    Ok(response)
}
