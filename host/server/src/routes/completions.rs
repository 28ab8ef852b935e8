//! POST /v1/completions: prompts as they are, answers as raw text.
//!
//! Parsers stay out: whoever completes text wants the model's own words. Post-processors run, as they do everywhere.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use weir_engine::EngineError;
use weir_output::{Event, FinishReason, RequestContext, ToolCallStreaming};
use weir_protocol::{
    CompletionRequest, Prompt, SamplingFields,
    completions::{Completion, CompletionChoice},
};

use super::{
    body::{JsonBody, list_ignored},
    chat_answer::Head,
};
use crate::{
    error::ApiError,
    generation::{self, ChoiceEnd, Plan, Step, Steps},
    keys::Caller,
    sse::{self, Chunks},
    state::{AppState, ServedModel},
};

/// Answers a completion request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let guard = state.admit(&caller)?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let mut request = CompletionRequest::from_json(body)?;
    let model = state.model_named(request.model.as_deref())?;
    caller.check_model(request.model.as_deref(), model.id())?;
    model.generator()?;
    let (n, stream, include_usage) = (request.n, request.stream, request.include_usage);
    let ignored = std::mem::take(&mut request.ignored_fields);
    let prompts = plan_in_background(model, request).await?;
    let (plans, echoes): (Vec<_>, Vec<_>) = prompts.into_iter().unzip();
    let answers = Answers {
        head: Head::new(model),
        n,
        echoes,
        include_usage,
    };
    let steps = generation::generate(model, plans, n, deadline, &caller)?;
    let mut response = if stream {
        sse::respond(
            steps,
            CompletionChunks::new(answers),
            state.settings.keep_alive,
            guard,
        )
        .await?
    } else {
        answers.fold(steps).await?.into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}

/// The plans, each with the text that its answers start with. Encoding is no work for an async worker.
pub(super) async fn plan_in_background(
    model: &Arc<ServedModel>,
    request: CompletionRequest,
) -> Result<Vec<(Plan, String)>, ApiError> {
    let model = Arc::clone(model);
    let planned = tokio::task::spawn_blocking(move || {
        request
            .prompts
            .into_iter()
            .map(|prompt| plan(&model, prompt, &request.sampling, request.echo))
            .collect()
    });
    planned
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

fn plan(
    model: &ServedModel,
    prompt: Prompt,
    sampling: &SamplingFields,
    echo: bool,
) -> Result<(Plan, String), ApiError> {
    let (prompt, text) = match prompt {
        Prompt::Text(text) => (
            model.tokenizer.encode(&text, true)?,
            if echo { text } else { String::new() },
        ),
        Prompt::Tokens(tokens) => {
            let text = if echo {
                model.tokenizer.decode(&tokens)
            } else {
                String::new()
            };
            (tokens, text)
        }
    };
    let plan = Plan {
        prompt,
        sampling: sampling.clone(),
        parse: false,
        plugins: model.plugins.get(),
        context: RequestContext::default(),
        tool_call_streaming: ToolCallStreaming::default(),
    };
    Ok((plan, text))
}

/// What all answers of a request share.
struct Answers {
    head: Head,
    /// Answers to each prompt.
    n: usize,
    /// What the answers to each prompt start with.
    echoes: Vec<String>,
    include_usage: bool,
}

impl Answers {
    fn count(&self) -> usize {
        self.echoes.len() * self.n
    }

    fn completion(&self, choices: Vec<CompletionChoice>) -> Completion {
        Completion {
            id: self.head.id("cmpl"),
            object: "text_completion",
            created: self.head.created,
            model: self.head.model.clone(),
            system_fingerprint: self.head.fingerprint.clone(),
            choices,
            usage: None,
        }
    }

    async fn fold(self, mut steps: Steps) -> Result<Json<Completion>, ApiError> {
        let mut texts: Vec<String> = (0..self.count())
            .map(|index| self.echoes[index / self.n].clone())
            .collect();
        let mut ends: Vec<Option<ChoiceEnd>> = vec![None; texts.len()];
        while let Some(step) = steps.next().await {
            let step = step?;
            texts[step.choice].push_str(&text(step.events));
            ends[step.choice] = step.end;
        }
        let ends = ends
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(EngineError::Stopped)?;
        let choice = |(index, (text, end)): (usize, (String, &ChoiceEnd))| CompletionChoice {
            index,
            text,
            logprobs: None,
            finish_reason: Some(finish_reason(end.reason)),
        };
        let choices = texts
            .into_iter()
            .zip(&ends)
            .enumerate()
            .map(choice)
            .collect();
        let usage = Some(generation::usage(&ends, self.n));
        Ok(Json(Completion {
            usage,
            ..self.completion(choices)
        }))
    }
}

/// Makes the chunks of streamed completions.
struct CompletionChunks {
    answers: Answers,
    begun: Vec<bool>,
    ends: Vec<Option<ChoiceEnd>>,
}

impl CompletionChunks {
    fn new(answers: Answers) -> Self {
        let count = answers.count();
        Self {
            answers,
            begun: vec![false; count],
            ends: vec![None; count],
        }
    }
}

impl Chunks for CompletionChunks {
    type Chunk = Completion;

    fn step(&mut self, step: Step) -> Vec<Completion> {
        let Step {
            choice: index,
            events,
            end,
            ..
        } = step;
        self.ends[index] = end;
        let mut piece = text(events);
        if !std::mem::replace(&mut self.begun[index], true) {
            piece.insert_str(0, &self.answers.echoes[index / self.answers.n]);
        }
        if piece.is_empty() && end.is_none() {
            return Vec::new();
        }
        let finish_reason = end.map(|end| finish_reason(end.reason));
        vec![self.answers.completion(vec![CompletionChoice {
            index,
            text: piece,
            logprobs: None,
            finish_reason,
        }])]
    }

    fn end(&mut self) -> Option<Completion> {
        let ends: Vec<ChoiceEnd> = self.ends.iter().filter_map(|end| *end).collect();
        let usage = generation::usage(&ends, self.answers.n);
        self.answers.include_usage.then(|| Completion {
            usage: Some(usage),
            ..self.answers.completion(Vec::new())
        })
    }
}

/// The events' text; without parsers there is nothing else in them.
pub(super) fn text(events: Vec<Event>) -> String {
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Content(fragment) => Some(fragment.text),
            _ => None,
        })
        .collect()
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}
