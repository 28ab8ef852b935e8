//! POST /v1/chat/completions: from the body to a generation, and from its steps to the answer.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use weir_output::ToolChoice;
use weir_protocol::ChatRequest;

use super::{
    annotations::{Beside, Received},
    body::{JsonBody, list_ignored},
    chat_answer::{self, ChatChunks, ChatShape, Head},
    chat_generation::{self, ChatGeneration},
    logprobs::TokenNames,
};
use crate::{error::ApiError, keys::Caller, sse, state::AppState};

/// Answers a chat request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let received = Received::now();
    let mut request = ChatRequest::from_json(body)?;
    let stream = request.stream;
    let ignored = std::mem::take(&mut request.ignored_fields);
    let annotations = request.options.annotations;
    let told = request.sampling.logprobs.is_some();
    let token_ids = request.sampling.return_token_ids;
    let options = request.options.clone();
    let shape = ChatShape {
        n: request.n,
        made: request.made(),
        selector: request.options.selector.clone(),
        tool_choice: ToolChoice::None,
        functions: request.options.functions,
        logprobs: None,
        prompt_logprobs: None,
        token_ids: None,
        echo: echo(&request),
        include_usage: request.include_usage,
        continuous_usage: request.options.continuous_usage,
        keep_name: state.settings.tool_name_in_every_delta,
    };
    let ChatGeneration {
        model,
        steps,
        tool_choice,
        prompt,
        judge,
        guard,
    } = chat_generation::start(&state, &caller, request).await?;
    let head = Head::new(&model);
    let vocabulary = model.tokenizer.vocabulary();
    let names = TokenNames::new(vocabulary, &options);
    let shape = ChatShape {
        tool_choice,
        prompt_logprobs: options.prompt_logprobs.map(|top| (names.clone(), top)),
        logprobs: told.then_some(names),
        token_ids: prompt.first().filter(|_| token_ids).cloned(),
        ..shape
    };
    let beside = Beside::new(annotations, vocabulary, prompt, received);
    let mut response = if stream {
        let chunks = ChatChunks::new(head, shape, beside);
        sse::respond(steps, chunks, state.settings.keep_alive, guard).await?
    } else {
        let answer = chat_answer::fold(steps, head, shape, beside, judge).await?;
        drop(guard);
        answer.into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}

/// What the answer starts with: the message it continues, where that is to be repeated.
fn echo(request: &ChatRequest) -> String {
    let last = match request.options.echo && request.continue_final_message {
        true => request.messages.last(),
        false => None,
    };
    let content = last.and_then(|message| message["content"].as_str());
    content.unwrap_or_default().to_owned()
}
