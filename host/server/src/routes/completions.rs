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
use weir_engine::{EngineError, PromptEmbeddings};
use weir_output::{Event, FinishReason, RequestContext, ToolCallStreaming};
use weir_protocol::{
    CompletionRequest, EncodedTensor, Invalid, Prompt, RequestOptions, SamplingFields, Selector,
    Usage,
    completions::{Completion, CompletionChoice},
    logprobs::{CompletionLogprobs, PromptLogprobs},
    prompt_embeds::Tensor,
};

use super::{
    annotations::{Annotation, Beside, Received},
    background::in_background,
    body::{JsonBody, list_ignored},
    chat_answer::Head,
    chat_generation::cut_prompt,
    logprobs::{self, CompletionTokens, TokenNames},
};
use crate::{
    error::ApiError,
    generation::{self, Candidate, ChoiceEnd, Plan, Step, Steps, TokenCounts},
    keys::Caller,
    sse::{self, ChunkFrame, Chunks, EventText},
    state::{AppState, ServedModel},
};

/// Answers a completion request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let received = Received::now();
    let guard = state.admit(&caller)?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let mut request = CompletionRequest::from_json(body)?;
    let model = state.model_named(request.model.as_deref())?;
    caller.check_model(request.model.as_deref(), model.id())?;
    model.generator()?;
    let (stream, made) = (request.stream, request.made());
    let ignored = std::mem::take(&mut request.ignored_fields);
    let annotations = request.options.annotations;
    let shape = Shape {
        head: Head::new(model),
        names: TokenNames::new(model.tokenizer.vocabulary(), &request.options),
        n: request.n,
        made,
        selector: request.options.selector.clone(),
        logprobs: request.sampling.logprobs,
        echo: request.options.echo,
        prompt_logprobs: request.options.prompt_logprobs,
        token_ids: request.sampling.return_token_ids,
        include_usage: request.include_usage,
        continuous_usage: request.options.continuous_usage,
    };
    let prompts = plan_in_background(model, request).await?;
    let (plans, echoes): (Vec<Plan>, Vec<String>) = prompts.into_iter().unzip();
    let told = plans.iter().filter(|_| annotations.any());
    let told = told.map(|plan| plan.prompt_tokens().to_vec()).collect();
    let beside = Beside::new(annotations, model.tokenizer.vocabulary(), told, received);
    let mut answers = Answers::new(shape, echoes, beside);
    answers.take_prompts(&plans);
    let steps = generation::generate(model, plans, made, deadline, &caller)?;
    let mut response = if stream {
        sse::respond(steps, answers, state.settings.keep_alive, guard).await?
    } else {
        answers.fold(steps).await?.into_response()
    };
    list_ignored(&mut response, &ignored);
    Ok(response)
}

/// The plans, each with the text that its answers start with. Encoding is no work for an async worker.
pub(super) async fn plan_in_background(
    model: &Arc<ServedModel>,
    mut request: CompletionRequest,
) -> Result<Vec<(Plan, String)>, ApiError> {
    model.check_tokenizer("model", "completions")?;
    if request.made() > request.n || request.sampling.return_token_ids {
        // The best are chosen by their tokens' log-probabilities; an end token is told only with its own.
        request.sampling.logprobs.get_or_insert(0);
    }
    let model = Arc::clone(model);
    in_background(move || {
        let (sampling, options) = (&request.sampling, &request.options);
        let constraint = model.constraints.of_text(options.answer_format.as_ref())?;
        let embedded = request.prompt_embeds.iter();
        let embedded = embedded.map(|tensor| plan_embedded(&model, tensor, sampling));
        let prompts = request.prompts.into_iter();
        let plans = embedded.chain(prompts.map(|prompt| plan(&model, prompt, sampling, options)));
        let held = |planned: Result<(Plan, String), ApiError>| {
            let (mut plan, echo) = planned?;
            plan.constraint.clone_from(&constraint);
            Ok::<_, ApiError>((plan, echo))
        };
        plans.map(held).collect()
    })
    .await
}

fn plan(
    model: &ServedModel,
    prompt: Prompt,
    sampling: &SamplingFields,
    options: &RequestOptions,
) -> Result<(Plan, String), ApiError> {
    let (mut prompt, text) = match prompt {
        Prompt::Text(text) => {
            let add_special = options.add_special_tokens.unwrap_or(true);
            (model.tokenizer.encode(&text, add_special)?, Some(text))
        }
        Prompt::Tokens(tokens) => (tokens, None),
    };
    let given = prompt.len();
    cut_prompt(model, &mut prompt, sampling, options);
    let echo = match text {
        _ if !options.echo => String::new(),
        Some(text) if prompt.len() == given => text,
        _ => model.tokenizer.decode(&prompt),
    };
    Ok((plan_of(model, prompt, None, sampling), echo))
}

/// Of embeddings in place of a prompt, which have no text.
fn plan_embedded(
    model: &ServedModel,
    tensor: &EncodedTensor,
    sampling: &SamplingFields,
) -> Result<(Plan, String), ApiError> {
    let Some(columns) = model.prompt_embedding_size else {
        let what = format!("a prompt of embeddings for the model {}", model.id());
        return Err(Invalid::not_implemented(tensor.path(), &what).into());
    };
    let Tensor { data, rows, .. } = tensor.decode(columns, model.max_model_len)?;
    let embeddings = PromptEmbeddings::new(data, columns);
    // Any token holds their places.
    let plan = plan_of(model, vec![0; rows], embeddings, sampling);
    Ok((plan, String::new()))
}

fn plan_of(
    model: &ServedModel,
    prompt: Vec<u32>,
    embeddings: Option<PromptEmbeddings>,
    sampling: &SamplingFields,
) -> Plan {
    Plan {
        prompt,
        embeddings,
        sampling: sampling.clone(),
        parse: false,
        plugins: model.plugins.get(),
        context: RequestContext::default(),
        tool_call_streaming: ToolCallStreaming::default(),
        constraint: None,
        reasoning_budget: None,
    }
}

/// What a request said of its answers' shape.
struct Shape {
    head: Head,
    names: TokenNames,
    /// Answers that are given to each prompt.
    n: usize,
    /// Answers that are made to each; the best `n` are given.
    made: usize,
    /// Which are the best.
    selector: Selector,
    /// Log-probabilities are told, so many of the likeliest beside each token's own.
    logprobs: Option<usize>,
    /// Answers start with their prompts.
    echo: bool,
    /// Log-probabilities of the prompts' tokens are told, so many of the likeliest beside each.
    prompt_logprobs: Option<usize>,
    /// Token ids of prompts and answers are told.
    token_ids: bool,
    include_usage: bool,
    continuous_usage: bool,
}

impl Shape {
    fn completion(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Completion {
        let head = &self.head;
        Completion {
            id: head.id("cmpl"),
            object: "text_completion",
            created: head.created,
            model: head.model.clone(),
            system_fingerprint: head.fingerprint.clone(),
            choices,
            usage,
            nvext: None,
        }
    }
}

/// The answers to a request in the making: folded into one, or chunk by chunk.
struct Answers {
    shape: Shape,
    frame: ChunkFrame,
    beside: Beside,
    choices: Vec<Progress>,
}

/// One answer in the making.
struct Progress {
    /// What it starts with, until that is said.
    echo: String,
    /// Where its tokens stand.
    tokens: CompletionTokens,
    counts: TokenCounts,
    /// Its prompt, until that is told, where it is; empty for one of embeddings.
    prompt: Option<Vec<u32>>,
}

/// A piece of an answer.
#[derive(Default)]
struct Piece {
    text: String,
    logprobs: CompletionLogprobs,
    token_ids: Vec<u32>,
    prompt: Option<Vec<u32>>,
    prompt_logprobs: PromptLogprobs,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprobs.tokens.is_empty() && self.token_ids.is_empty()
    }

    fn append(&mut self, next: Self) {
        self.text.push_str(&next.text);
        self.token_ids.extend(next.token_ids);
        self.prompt = self.prompt.take().or(next.prompt);
        self.prompt_logprobs.extend(next.prompt_logprobs);
        let (all, more) = (&mut self.logprobs, next.logprobs);
        all.tokens.extend(more.tokens);
        all.token_logprobs.extend(more.token_logprobs);
        all.top_logprobs.extend(more.top_logprobs);
        all.text_offset.extend(more.text_offset);
    }
}

impl Answers {
    /// `echoes` is what the answers to each prompt start with.
    fn new(shape: Shape, echoes: Vec<String>, beside: Beside) -> Self {
        let echoed = shape.logprobs.filter(|_| shape.echo);
        let progress = |echo: &String| Progress {
            echo: echo.clone(),
            tokens: CompletionTokens::new(shape.names.clone(), echo, echoed),
            counts: TokenCounts::default(),
            prompt: None,
        };
        let choices = echoes
            .iter()
            .flat_map(|echo| (0..shape.made).map(move |_| echo))
            .map(progress)
            .collect();
        let frame = ChunkFrame::of(&shape.completion(Vec::new(), None));
        Self {
            shape,
            frame,
            beside,
            choices,
        }
    }

    /// Remembers the prompts' tokens where they are told.
    fn take_prompts(&mut self, plans: &[Plan]) {
        let (made, told) = (self.shape.made, self.shape.token_ids);
        for (index, progress) in self.choices.iter_mut().enumerate() {
            let prompt = plans[index / made].prompt_tokens();
            progress.prompt = told.then(|| prompt.to_vec());
        }
    }

    /// What a step adds to its answer.
    fn piece(&mut self, step: Step) -> Piece {
        self.beside.step();
        let progress = &mut self.choices[step.choice];
        progress.counts = step.counts;
        let logprobs = match self.shape.logprobs {
            Some(_) => progress.tokens.step(&step.tokens, &step.events),
            None => CompletionLogprobs::default(),
        };
        let mut piece = Piece {
            text: std::mem::take(&mut progress.echo),
            logprobs,
            ..Piece::default()
        };
        if let Some(top) = self.shape.prompt_logprobs {
            piece.prompt_logprobs = logprobs::of_prompt(&self.shape.names, &step.tokens, top);
        }
        if self.shape.token_ids {
            piece.token_ids.extend(step.token_ids());
            piece.prompt = progress.prompt.take();
        }
        piece
            .text
            .extend(step.events.into_iter().filter_map(text_of));
        piece
    }

    fn choice(
        &self,
        index: usize,
        piece: Piece,
        finish_reason: Option<&'static str>,
    ) -> CompletionChoice {
        CompletionChoice {
            index,
            text: piece.text,
            logprobs: self.shape.logprobs.map(|_| piece.logprobs),
            finish_reason,
            token_ids: self.shape.token_ids.then_some(piece.token_ids),
            prompt_token_ids: piece.prompt,
            prompt_logprobs: self.shape.prompt_logprobs.map(|_| piece.prompt_logprobs),
        }
    }

    fn usage(&self) -> Usage {
        let counts = self.choices.iter().map(|choice| choice.counts);
        generation::usage_of(counts, self.shape.made)
    }

    async fn fold(mut self, mut steps: Steps) -> Result<Json<Completion>, ApiError> {
        let mut pieces: Vec<Piece> = Vec::new();
        pieces.resize_with(self.choices.len(), Piece::default);
        let mut ends: Vec<Option<ChoiceEnd>> = vec![None; pieces.len()];
        while let Some(step) = steps.next().await {
            let step = step?;
            let (number, end) = (step.choice, step.end);
            pieces[number].append(self.piece(step));
            ends[number] = end;
        }
        let ends = ends
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(EngineError::Stopped)?;
        let candidates = pieces.iter().zip(&ends);
        let candidates =
            candidates.map(|(piece, end)| Candidate::of_text(&piece.text, end.mean_logprob));
        let candidates: Vec<Candidate> = candidates.collect();
        let shape = &self.shape;
        let best = generation::chosen(&shape.selector, &candidates, shape.n, shape.made);
        let choices = best.into_iter().enumerate().map(|(index, number)| {
            let piece = std::mem::take(&mut pieces[number]);
            self.choice(index, piece, Some(finish_reason(ends[number].reason)))
        });
        let choices = choices.collect();
        let usage = self.usage();
        Ok(Json(Completion {
            nvext: self.beside.object(&usage),
            ..self.shape.completion(choices, Some(usage))
        }))
    }
}

impl Chunks for Answers {
    fn step(&mut self, step: Step, text: &mut EventText) {
        let (index, end) = (step.choice, step.end);
        let piece = self.piece(step);
        if piece.is_empty() && end.is_none() {
            return;
        }
        let finish_reason = end.map(|end| finish_reason(end.reason));
        let choice = self.choice(index, piece, finish_reason);
        let usage = self.shape.continuous_usage.then(|| self.usage());
        text.chunk(&self.frame, Some(&choice), usage, None);
    }

    fn end(&mut self, text: &mut EventText) {
        if self.shape.include_usage {
            let usage = Some(self.usage());
            text.chunk(&self.frame, None::<&CompletionChoice>, usage, None);
        }
    }

    fn before(&self) -> Vec<Annotation> {
        self.beside.before()
    }

    fn after(&self) -> Vec<Annotation> {
        self.beside.after(&self.usage())
    }
}

/// An event's text; without parsers there is nothing else in it.
pub(super) fn text_of(event: Event) -> Option<String> {
    match event {
        Event::Content(fragment) => Some(fragment.text),
        _ => None,
    }
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}
