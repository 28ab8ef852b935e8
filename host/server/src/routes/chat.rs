//! POST /v1/chat/completions: from the body to a generation, and from its steps to the answer.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use weir_protocol::ChatRequest;

use super::{
    body::{JsonBody, list_ignored},
    chat_answer::{self, ChatChunks, Head},
    chat_generation::{self, ChatGeneration},
};
use crate::{error::ApiError, keys::Caller, sse, state::AppState};

/// Answers a chat request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let mut request = ChatRequest::from_json(body)?;
    let (n, stream, include_usage) = (request.n, request.stream, request.include_usage);
    let ignored = std::mem::take(&mut request.ignored_fields);
    let ChatGeneration {
        model,
        steps,
        tool_choice,
        guard,
    } = chat_generation::start(&state, &caller, request).await?;
    let head = Head::new(&model);
    let mut response = if stream {
        let keep_name = state.settings.tool_name_in_every_delta;
        let chunks = ChatChunks::new(head, n, tool_choice, include_usage, keep_name);
        sse::respond(steps, chunks, state.settings.keep_alive, guard).await?
    } else {
        let answer = chat_answer::fold(steps, head, n, &tool_choice).await?;
        drop(guard);
        answer.into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}
