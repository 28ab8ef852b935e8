//! POST /generate: KsanaLLM's native route over the same engine as completions. Parsers stay out.
//!
//! A stream is the whole answer so far, again and again, as JSON objects that each end with a zero byte: no server-sent events.

use std::{convert::Infallible, future::ready, sync::Arc};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use weir_engine::EngineError;
use weir_protocol::{
    GenerateRequest,
    generate::{GenerateInput, Generation},
};

use super::{
    body::{JsonBody, list_ignored},
    chat_generation, completions,
};
use crate::{
    error::ApiError,
    generation::{self, Plan, Step, Steps},
    keys::Caller,
    state::{AppState, RequestGuard},
};

/// Answers a generate request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let guard = state.admit(&caller)?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let request = GenerateRequest::from_json(body)?;
    let (name, n) = match &request.input {
        GenerateInput::Prompt(completion) => (completion.model.as_deref(), completion.n),
        GenerateInput::Chat(chat) => (chat.model.as_deref(), chat.n),
    };
    let model = Arc::clone(state.model_named(name)?);
    caller.check_model(name, model.id())?;
    model.generator()?;
    model.check_tokenizer("model", "/generate")?;
    let plan = match request.input {
        GenerateInput::Prompt(completion) => {
            let plans = completions::plan_in_background(&model, *completion).await?;
            plans.into_iter().map(|(plan, _)| plan).next()
        }
        GenerateInput::Chat(chat) => Some(Plan {
            parse: false,
            ..chat_generation::plan_in_background(&state, &model, *chat).await?
        }),
    };
    let plan = plan.ok_or_else(|| ApiError::internal(&"a prompt made no plan"))?;
    let mut answer = Generation {
        texts: vec![String::new(); n],
        output_token_ids: vec![Vec::new(); n],
        logprobs: Vec::new(),
        input_token_ids: plan.prompt.clone(),
    };
    let mut steps = generation::generate(&model, vec![plan], n, deadline, &caller)?;
    let mut response = if request.stream {
        respond(steps, answer, guard).await?
    } else {
        while let Some(step) = steps.next().await {
            grow(&mut answer, step?);
        }
        Json(answer).into_response()
    };
    list_ignored(&mut response, &request.ignored_fields);
    Ok(response)
}

/// Whether there is anything new.
fn grow(answer: &mut Generation, step: Step) -> bool {
    let events = step.events.into_iter();
    let text: String = events.filter_map(completions::text_of).collect();
    let grown = step.token.is_some() || !text.is_empty();
    answer.texts[step.choice].push_str(&text);
    answer.output_token_ids[step.choice].extend(step.token);
    grown
}

/// Waits for the first token, so that an error up to there has its status.
async fn respond(
    mut steps: Steps,
    answer: Generation,
    guard: RequestGuard,
) -> Result<Response, ApiError> {
    let first = steps
        .next()
        .await
        .unwrap_or(Err(EngineError::Stopped.into()))?;
    let steps = stream::once(ready(Ok(first))).chain(steps).boxed();
    let records = stream::unfold(Some((steps, answer, guard)), |sending| async move {
        let (mut steps, mut answer, guard) = sending?;
        loop {
            match steps.next().await? {
                Ok(step) => {
                    if grow(&mut answer, step) {
                        let bytes = record(serde_json::to_vec(&answer));
                        return Some((bytes, Some((steps, answer, guard))));
                    }
                }
                Err(error) => {
                    let bytes = record(serde_json::to_vec(&error.into_envelope()));
                    return Some((bytes, None));
                }
            }
        }
    });
    let mut response = Body::from_stream(records.map(Ok::<_, Infallible>)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

fn record(json: serde_json::Result<Vec<u8>>) -> Bytes {
    match json {
        Ok(mut bytes) => {
            bytes.push(0);
            bytes.into()
        }
        Err(error) => unreachable!("answers have string keys and whole numbers: {error}"),
    }
}
