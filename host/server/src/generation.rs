//! From the engine's tokens to the events of a request's choices: the one path of chat and completions, streamed or not.
//!
//! Invariants: plugins run here, in the request's task; each choice gives steps and ends with exactly one that has an
//! `end`, or the whole request ends with an error; dropping the stream aborts all its sequences.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{Instant, Sleep, sleep_until};
use weir_engine::{
    Constraint, EngineError, Generated, GeneratedStream, PromptEmbeddings, ReasoningBudget,
    TokenLogprobs,
};
use weir_output::{
    Detokenizer, Event, FinishReason, Fragment, FragmentKind, OutputPipeline, PipelineSpec,
    RequestContext, StopStrings, ToolCallStreaming,
};
use weir_protocol::{
    SamplingFields, Usage,
    usage::{CompletionTokensDetails, ProcessingDetails, PromptTokensDetails},
};

use self::{sequence::sequence_request, told::ToldTokens};
use crate::{
    active_plugins::ActivePlugins, error::ApiError, keys::Caller, metrics::ChoiceMeter,
    request_record::RequestRecord, state::ServedModel,
};

mod selection;
mod sequence;
mod told;

pub use selection::{Candidate, chosen};

/// A prompt ready for the engine, and how its answers are read.
#[derive(Clone)]
pub struct Plan {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// What stands for the prompt's tokens, which then only hold its places.
    pub embeddings: Option<PromptEmbeddings>,
    /// What the request said of sampling and stopping.
    pub sampling: SamplingFields,
    /// Whether the parsers read the answers; completions are raw text.
    pub parse: bool,
    /// What reads the answers; the request's own from its first byte to its last.
    pub plugins: Arc<ActivePlugins>,
    /// What parsers may know of the request.
    pub context: RequestContext,
    /// When the deltas of a call are sent.
    pub tool_call_streaming: ToolCallStreaming,
    /// What the answers are held to.
    pub constraint: Option<Arc<dyn Constraint>>,
    /// How long they may reason.
    pub reasoning_budget: Option<ReasoningBudget>,
}

impl Plan {
    /// The prompt's tokens; none where embeddings stand for it.
    pub fn prompt_tokens(&self) -> &[u32] {
        match self.embeddings {
            None => &self.prompt,
            Some(_) => &[],
        }
    }
}

/// What one token, or the end, brought for one choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Prompt number times n, plus the answer's number.
    pub choice: usize,
    /// What the client may see now; may be nothing.
    pub events: Vec<Event>,
    /// The token that it brought; None at the end, and from an engine that gives text.
    pub token: Option<u32>,
    /// The tokens that came into the answer with this step, where log-probabilities were asked for.
    pub tokens: Vec<AnswerToken>,
    /// The choice's counts so far.
    pub counts: TokenCounts,
    /// The stop string that ended the choice; only in its last step.
    pub stop_string: Option<String>,
    /// Set in the choice's last step.
    pub end: Option<ChoiceEnd>,
}

impl Step {
    /// Ids of the tokens that were generated with it; the end token's too where log-probabilities were asked for.
    pub fn token_ids(&self) -> impl Iterator<Item = u32> {
        let end = self
            .tokens
            .iter()
            .filter(|token| token.place == TokenPlace::End);
        self.token.into_iter().chain(end.map(|token| token.id))
    }
}

/// A token of an answer or of its prompt. See `weir_output::TracedToken` for which those are.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerToken {
    /// Its id.
    pub id: u32,
    /// None for the first token of a prompt.
    pub logprobs: Option<TokenLogprobs>,
    /// Where it stands.
    pub place: TokenPlace,
}

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlace {
    /// In the prompt.
    Prompt,
    /// In the text of an event of its step, behind so many bytes.
    Text {
        /// Which event.
        event: usize,
        /// Bytes of the event's text before it.
        offset: usize,
    },
    /// Among the others, without text: a special token that is not shown.
    Hidden,
    /// Behind all text: the token that ended the answer.
    End,
}

/// How a choice ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChoiceEnd {
    /// Why.
    pub reason: FinishReason,
    /// Its token counts.
    pub tokens: TokenCounts,
    /// The mean log-probability of its generated tokens, where log-probabilities were asked for; how good it is beside others.
    pub mean_logprob: Option<f32>,
}

/// Token counts of one choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCounts {
    /// Prompt tokens.
    pub prompt: usize,
    /// Prompt tokens that were not computed again; 0 where a stop string cut the answer before the engine told.
    pub cached: usize,
    /// Generated tokens.
    pub completion: usize,
    /// Generated tokens that were reasoning, markers with them.
    pub reasoning: usize,
    /// What of these, and beside them, request processors took; told with a request's first answer.
    pub processing: ProcessingDetails,
}

impl TokenCounts {
    /// The sum of both.
    pub(crate) fn with(self, other: &Self) -> Self {
        Self {
            prompt: self.prompt + other.prompt,
            cached: self.cached + other.cached,
            completion: self.completion + other.completion,
            reasoning: self.reasoning + other.reasoning,
            processing: self.processing.with(&other.processing),
        }
    }
}

/// The steps of all choices, as they come.
pub type Steps = Pin<Box<dyn Stream<Item = Result<Step, ApiError>> + Send>>;

/// Submits `n` answers to each plan, all of them or none, on the account of `caller`. The answers to plan p are choices p * n to
/// p * n + n - 1.
///
/// # Errors
/// When the caller has no tokens left, the engine refuses one of them at once or a plugin makes no session; nothing keeps
/// running then.
pub fn generate(
    model: &ServedModel,
    plans: Vec<Plan>,
    n: usize,
    deadline: Option<Instant>,
    caller: &Caller,
) -> Result<Steps, ApiError> {
    if plans.iter().any(|plan| plan.constraint.is_some()) {
        RequestRecord::current().note_forced();
    }
    let prompts = plans.iter().map(|plan| model.prompt_tokens(&plan.prompt));
    caller.charge_prompt(prompts.sum())?;
    let mut choices = Vec::with_capacity(plans.len() * n);
    let mut requests = Vec::with_capacity(plans.len() * n);
    for plan in &plans {
        for answer in 0..n {
            let (index, first) = (choices.len(), answer == 0);
            choices.push(Choice::new(model, plan, index, first, deadline, caller)?);
            requests.push(sequence_request(model, plan, answer)?);
        }
    }
    let streams = model.generator()?.submit_all(requests)?;
    for (choice, tokens) in choices.iter_mut().zip(streams) {
        choice.tokens = Some(tokens);
    }
    // An answer by itself needs nobody to choose whose turn it is.
    Ok(match choices.pop() {
        Some(only) if choices.is_empty() => Box::pin(only),
        last => Box::pin(stream::select_all(choices.into_iter().chain(last))),
    })
}

/// The request's deadline, if the server has a limit.
pub fn deadline(limit: Option<std::time::Duration>) -> Option<Instant> {
    Instant::now().checked_add(limit?)
}

/// One answer in the making.
struct Choice {
    index: usize,
    /// None once it has ended: nothing more comes, and the sequence is given up.
    tokens: Option<GeneratedStream>,
    pipeline: OutputPipeline,
    counts: TokenCounts,
    reasoning: ReasoningCount,
    told: ToldTokens,
    /// The first call is the last thing there is room for.
    one_call: bool,
    /// Until the request's deadline.
    deadline: Option<Pin<Box<Sleep>>>,
    meter: ChoiceMeter,
    /// Pays for every token.
    caller: Caller,
}

impl Choice {
    /// One that has no tokens yet; whether it is the first of its prompt, with which the prompt counts.
    fn new(
        model: &ServedModel,
        plan: &Plan,
        index: usize,
        first_of_prompt: bool,
        deadline: Option<Instant>,
        caller: &Caller,
    ) -> Result<Self, ApiError> {
        let counts = TokenCounts {
            prompt: model.prompt_tokens(&plan.prompt),
            ..TokenCounts::default()
        };
        Ok(Self {
            index,
            tokens: None,
            pipeline: OutputPipeline::new(pipeline_spec(model, plan))?,
            counts,
            reasoning: ReasoningCount::default(),
            told: ToldTokens::new(plan),
            one_call: plan.parse && !plan.context.parallel_tool_calls,
            deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
            meter: ChoiceMeter::new(
                Arc::clone(&model.metrics),
                first_of_prompt,
                plan.context.tool_choice.clone(),
            ),
            caller: caller.clone(),
        })
    }

    fn take(&mut self, generated: Generated) -> Result<Step, ApiError> {
        let mut events = Vec::new();
        let mut token = None;
        match generated {
            Generated::Token {
                id,
                logprobs,
                cached_tokens,
            } => {
                self.caller.charge_generated(1);
                token = Some(id);
                self.counts.completion += 1;
                self.counts.cached = cached_tokens;
                self.told.generated(id, logprobs);
                self.pipeline.push_token(id, &mut events)?;
                self.reasoning.token(&events);
                self.counts.reasoning = self.reasoning.tokens;
            }
            Generated::Prompt { logprobs } => self.told.prompt(logprobs),
            Generated::EndToken { id, logprobs } => self.told.end_token(id, logprobs),
            // Only for whoever asks for one, and then nothing else.
            Generated::Vector(_) => {}
            Generated::Text(text) => {
                // How many tokens a piece of text was, only the end tells; most engines send one at a time.
                self.caller.charge_generated(1);
                self.counts.completion += 1;
                if !text.is_empty() {
                    self.pipeline.push_fragment(
                        Fragment {
                            text,
                            kind: FragmentKind::Unknown,
                        },
                        &mut events,
                    )?;
                }
                self.reasoning.token(&events);
                self.counts.reasoning = self.reasoning.tokens;
            }
            Generated::Finished { reason, usage } => {
                self.counts.prompt = usage.prompt_tokens;
                self.counts.cached = usage.cached_tokens;
                self.counts.completion = usage.completion_tokens;
                let reason = match reason {
                    weir_engine::FinishReason::Stop => FinishReason::Stop,
                    weir_engine::FinishReason::Length => FinishReason::Length,
                };
                return self.finish(reason, token, events);
            }
        }
        if self.pipeline.stopped() {
            return self.finish(FinishReason::Stop, token, events);
        }
        if let Some(calls) = self.end_of_the_only_call(&events) {
            let mut step = self.finish(FinishReason::Stop, token, events)?;
            step.events.truncate(calls);
            return Ok(step);
        }
        Ok(self.step(events, token, None))
    }

    /// How many events there are up to the end of the call that a request without parallel calls has room for.
    fn end_of_the_only_call(&self, events: &[Event]) -> Option<usize> {
        let ends = |event: &Event| matches!(event, Event::CallEnd { .. });
        let end = events.iter().position(ends)?;
        self.one_call.then_some(end + 1)
    }

    fn step(&mut self, events: Vec<Event>, token: Option<u32>, end: Option<ChoiceEnd>) -> Step {
        Step {
            choice: self.index,
            events,
            token,
            tokens: self.told.take(&mut self.pipeline, end.is_some()),
            counts: self.counts,
            stop_string: end.and_then(|_| self.pipeline.stop_string().map(str::to_owned)),
            end,
        }
    }

    fn finish(
        &mut self,
        reason: FinishReason,
        token: Option<u32>,
        mut events: Vec<Event>,
    ) -> Result<Step, ApiError> {
        let reason = self.pipeline.finish(reason, &mut events)?;
        self.reasoning.end(&events);
        self.counts.reasoning = self.reasoning.tokens;
        if let Some(error) = self.pipeline.error() {
            tracing::warn!(%error, "a plugin failed and was passed over");
        }
        if let Some(reason) = self.pipeline.stop_reason() {
            tracing::info!(reason, "a post-processor ended the generation");
        }
        let end = ChoiceEnd {
            reason,
            tokens: self.counts,
            mean_logprob: self.told.mean(),
        };
        Ok(self.step(events, token, Some(end)))
    }
}

/// Ends with a step that has an end, or with an error.
impl Stream for Choice {
    type Item = Result<Step, ApiError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Step, ApiError>>> {
        let choice = &mut *self;
        let Some(tokens) = &mut choice.tokens else {
            return Poll::Ready(None);
        };
        let step = match (tokens.as_mut().poll_next(context), &mut choice.deadline) {
            (Poll::Ready(Some(Ok(generated))), _) => choice.take(generated),
            (Poll::Ready(Some(Err(error))), _) => Err(error.into()),
            (Poll::Ready(None), _) => Err(EngineError::Stopped.into()),
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(deadline)) => {
                ready!(deadline.as_mut().poll(context));
                Err(ApiError::deadline())
            }
        };
        choice.meter.see(&step, &choice.counts);
        if !matches!(step, Ok(Step { end: None, .. })) {
            choice.tokens = None;
        }
        Poll::Ready(Some(step))
    }
}

/// Counts reasoning tokens by what the parser made of them: tokens it held back count with the next event.
#[derive(Debug, Default)]
struct ReasoningCount {
    tokens: usize,
    undecided: usize,
}

impl ReasoningCount {
    fn token(&mut self, events: &[Event]) {
        self.undecided += 1;
        self.end(events);
    }

    fn end(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        if events
            .iter()
            .any(|event| matches!(event, Event::Reasoning { .. }))
        {
            self.tokens += self.undecided;
        }
        self.undecided = 0;
    }
}

/// The usage block of a request, from the ends of its choices; each prompt counts once.
pub fn usage(ends: &[ChoiceEnd], n: usize) -> Usage {
    usage_of(ends.iter().map(|end| end.tokens), n)
}

/// The same, from the counts of all choices, `n` to a prompt.
pub fn usage_of(choices: impl Iterator<Item = TokenCounts>, n: usize) -> Usage {
    let mut usage = Usage::default();
    for (index, tokens) in choices.enumerate() {
        if index.is_multiple_of(n) {
            usage.prompt_tokens += tokens.prompt;
            let PromptTokensDetails { cached_tokens } = &mut usage.prompt_tokens_details;
            *cached_tokens += tokens.cached;
        }
        usage.completion_tokens += tokens.completion;
        let CompletionTokensDetails { reasoning_tokens } = &mut usage.completion_tokens_details;
        *reasoning_tokens += tokens.reasoning;
        let details = usage.processing_details.unwrap_or_default();
        if tokens.processing != ProcessingDetails::default() {
            usage.processing_details = Some(details.with(&tokens.processing));
        }
    }
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    usage
}

fn pipeline_spec(model: &ServedModel, plan: &Plan) -> PipelineSpec {
    let plugins = &plan.plugins;
    let reasoning = plugins.reasoning_parser.clone().filter(|_| plan.parse);
    let tools = plugins.tool_parser.clone().filter(|_| plan.parse);
    let parsers = reasoning.iter().chain(&tools);
    let keep: Arc<[String]> = parsers
        .flat_map(|parser| parser.plugin.info().special_tokens.iter().cloned())
        .collect();
    let fields = &plan.sampling;
    let detokenizer = Detokenizer::new(Arc::clone(model.tokenizer.vocabulary()), keep);
    PipelineSpec {
        detokenizer: detokenizer.showing_special_tokens(fields.show_special_tokens),
        stop_strings: StopStrings::new(fields.stop.iter().cloned(), fields.include_stop_string),
        trace_tokens: fields.logprobs.is_some(),
        reasoning,
        tools,
        post: plugins.post_processors.clone(),
        context: plan.context.clone(),
        tool_call_streaming: plan.tool_call_streaming,
        ..PipelineSpec::default()
    }
}
