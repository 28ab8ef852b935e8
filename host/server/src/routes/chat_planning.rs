//! A chat request on its way through the request processors: they plan, this performs, and in the end there is a request to
//! generate an answer to, or the answer itself.
//!
//! Invariants: plugins run on blocking threads, one step at a time; what they generate is charged to the caller and adds to the
//! answer's usage; dropping it gives all of it up. What a plugin may ask for is checked before it comes here.

mod batch;

use std::{collections::VecDeque, future::ready, sync::Arc};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use weir_output::{
    Configured, Event, FinishReason, Fragment, FragmentKind, OnError, PlannedMessage, PlannedModel,
    PlannedRequest, PluginError, PluginErrorKind, ProcessorAction, ProcessorOutcome, ProcessorStep,
    RequestProcessor, RequestSession, ToolChoice,
};
use weir_protocol::ChatRequest;

use self::batch::Batch;
use super::chat_generation::{self, Call};
use crate::{
    error::ApiError,
    generation::{ChoiceEnd, Step, Steps, TokenCounts},
    request_record::RequestRecord,
    state::ServedModel,
};

type Processor = Configured<dyn RequestProcessor>;

/// What is said on the way.
pub(super) enum Said {
    /// Something that the client may see.
    Shown(Box<Step>),
    /// The plan is there.
    Ended(Ending),
}

/// What planning came to.
pub(super) enum Ending {
    /// An answer to this request is to be generated.
    Generate(Box<ChatRequest>),
    /// This is the answer.
    Answer(String),
}

/// A request while it is planned.
pub(super) struct Planning {
    call: Call,
    /// As it is by now.
    request: ChatRequest,
    waiting: VecDeque<Processor>,
    /// The processor that plans.
    current: Option<(Processor, Box<dyn RequestSession>)>,
    /// What it wants done yet, and what came of what was done.
    actions: VecDeque<ProcessorAction>,
    outcomes: Vec<ProcessorOutcome>,
    /// What is generated for it.
    batch: Option<Batch>,
    /// What all of it took.
    spent: TokenCounts,
}

impl Planning {
    pub(super) fn new(call: Call, request: ChatRequest, processors: Vec<Processor>) -> Self {
        Self {
            call,
            request,
            waiting: processors.into(),
            current: None,
            actions: VecDeque::new(),
            outcomes: Vec::new(),
            batch: None,
            spent: TokenCounts::default(),
        }
    }

    /// Goes on until there is something to say.
    ///
    /// # Errors
    /// What a plugin or the engine failed with, and 400 with a plugin's words where it refuses the request.
    pub(super) async fn next(&mut self) -> Result<Said, ApiError> {
        loop {
            if let Some(mut batch) = self.batch.take() {
                let said = batch.next().await;
                let spent = self.spent.with(&batch.spent());
                match said {
                    Ok(Some(text)) => {
                        self.batch = Some(batch);
                        return Ok(Said::Shown(Box::new(shown(text, spent))));
                    }
                    Ok(None) => self.outcomes.push(batch.take_outcome()),
                    Err(error) => self.outcomes.push(not_done(error)?),
                }
                self.spent = spent;
            } else if let Some(action) = self.actions.pop_front() {
                self.perform(action).await?;
            } else if let Some((processor, session)) = self.current.take() {
                let outcomes = std::mem::take(&mut self.outcomes);
                let stepped = blocking(move || resume(session, &outcomes)).await?;
                if let Some(answer) = self.take(processor, stepped)? {
                    return Ok(Said::Ended(Ending::Answer(answer)));
                }
            } else if let Some(processor) = self.waiting.pop_front() {
                let started = self.start(&processor).await?;
                if let Some(answer) = self.take(processor, started)? {
                    return Ok(Said::Ended(Ending::Answer(answer)));
                }
            } else {
                let request = Box::new(self.request.clone());
                return Ok(Said::Ended(Ending::Generate(request)));
            }
        }
    }

    async fn start(&mut self, processor: &Processor) -> Result<Stepped, ApiError> {
        let request = planned_request(&self.call, &self.request);
        let model = planned_model(&self.call.model);
        let plugin = Arc::clone(&processor.plugin);
        blocking(move || plugin.start(&request, &model)).await
    }

    /// Takes a step; answers the answer if that is it.
    fn take(&mut self, processor: Processor, stepped: Stepped) -> Result<Option<String>, ApiError> {
        let (session, step) = match stepped {
            Ok(stepped) => stepped,
            Err(error) if processor.on_error == OnError::Passthrough => {
                tracing::warn!(%error, "a plugin failed and was passed over");
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        match step {
            ProcessorStep::Perform(actions) => {
                self.actions = actions.into();
                self.current = Some((processor, session));
            }
            ProcessorStep::ContinueWith(messages) => {
                self.request.messages = json(&messages)?;
            }
            ProcessorStep::Answer(text) => {
                self.check_free(processor.plugin.name())?;
                return Ok(Some(text));
            }
            ProcessorStep::Refuse(why) => {
                return Err(ApiError::bad_request(why).with_param("messages"));
            }
        }
        Ok(None)
    }

    /// An answer that a plugin gives is held to nothing.
    fn check_free(&self, plugin: &str) -> Result<(), ApiError> {
        let choice = chat_generation::tool_choice(&self.request);
        let param = match choice {
            ToolChoice::Required | ToolChoice::Named(_) => "tool_choice",
            _ if self.request.options.answer_format.is_some() => "response_format",
            _ => return Ok(()),
        };
        let message = format!(
            "`{param}` cannot be kept: the plugin `{plugin}` answers by itself, and its answer is held to nothing"
        );
        Err(ApiError::bad_request(message).with_param(param))
    }

    async fn perform(&mut self, action: ProcessorAction) -> Result<(), ApiError> {
        let Some(plugin) = self
            .current
            .as_ref()
            .map(|(own, _)| Arc::clone(&own.plugin))
        else {
            return Ok(());
        };
        let name = plugin.name();
        let state = Arc::clone(&self.call.state);
        let outcome = match action {
            ProcessorAction::Generate(generations) => {
                match Batch::submit(&self.call, &self.request, &generations).await {
                    Ok(batch) => {
                        self.batch = Some(batch);
                        return Ok(());
                    }
                    Err(error) => not_done(error)?,
                }
            }
            ProcessorAction::Embed(texts) => self.embed(texts).await?,
            ProcessorAction::CountTokens(_) | ProcessorAction::CountPrompt(_)
                if self.call.model.passes_messages =>
            {
                let why = "the model's engine is elsewhere, and its tokenizer with it";
                ProcessorOutcome::Failed(why.to_owned())
            }
            ProcessorAction::CountTokens(texts) => self.count(texts).await?,
            ProcessorAction::CountPrompt(messages) => self.count_prompt(&messages).await?,
            ProcessorAction::StoreGet { document, keys } => {
                ProcessorOutcome::Found(state.documents.get(name, &document, &keys))
            }
            ProcessorAction::StorePut { document, entries } => {
                let limit = plugin.grants().stored_bytes;
                ProcessorOutcome::Kept(state.documents.put(name, &document, &entries, limit))
            }
        };
        self.outcomes.push(outcome);
        Ok(())
    }

    async fn count(&mut self, texts: Vec<String>) -> Result<ProcessorOutcome, ApiError> {
        let tokenizer = Arc::clone(&self.call.model.tokenizer);
        let counted = blocking(move || {
            let count = |text: &String| Ok(count32(tokenizer.encode_plain(text)?.len()));
            texts.iter().map(count).collect::<Result<_, ApiError>>()
        });
        counted.await?.map(ProcessorOutcome::Counted)
    }

    async fn count_prompt(
        &mut self,
        messages: &[PlannedMessage],
    ) -> Result<ProcessorOutcome, ApiError> {
        let request = ChatRequest {
            messages: json(messages)?,
            ..self.request.clone()
        };
        let Call { state, model, .. } = &self.call;
        Ok(
            match chat_generation::plan_in_background(state, model, request).await {
                Ok(plan) => ProcessorOutcome::Counted(vec![count32(plan.prompt.len())]),
                Err(error) => ProcessorOutcome::Failed(error.into_body().message),
            },
        )
    }

    /// Vectors of texts, which are cut where the model's window ends.
    async fn embed(&mut self, texts: Vec<String>) -> Result<ProcessorOutcome, ApiError> {
        let model = Arc::clone(&self.call.model);
        let Ok(embedder) = model.embedder() else {
            let why = format!("the model {} makes no vectors", model.id());
            return Ok(ProcessorOutcome::Failed(why));
        };
        let window = embedder.info().max_tokens;
        let tokenizer = Arc::clone(&model.tokenizer);
        let encoded = blocking(move || {
            let encode = |text: &String| {
                let mut tokens = tokenizer.encode(text, true)?;
                tokens.truncate(window);
                Ok(tokens)
            };
            texts
                .iter()
                .map(encode)
                .collect::<Result<Vec<_>, ApiError>>()
        });
        let encoded = encoded.await??;
        let tokens = encoded.iter().map(Vec::len).sum();
        self.call.caller.charge_prompt(tokens)?;
        if let Some(empty) = encoded.iter().position(Vec::is_empty) {
            let why = format!("text {empty} has no tokens");
            return Ok(ProcessorOutcome::Failed(why));
        }
        let vectors = within(self.call.deadline, embedder.embed(encoded)).await?;
        self.spent.processing.embedding_tokens += tokens;
        Ok(match vectors {
            Ok(vectors) => ProcessorOutcome::Embedded(vectors),
            Err(error) => ProcessorOutcome::Failed(error.to_string()),
        })
    }
}

/// Plans a request that nobody waits for, as far as nothing is generated for it.
pub(super) async fn read(call: &Call, body: Value) -> Result<(), ApiError> {
    let request = ChatRequest::from_json(body)?;
    let processors = call.model.plugins.get().request_processors.clone();
    let mut planning = Planning::new(call.clone(), request, processors);
    planning.next().await.map(drop)
}

type Stepped = Result<(Box<dyn RequestSession>, ProcessorStep), PluginError>;

fn resume(mut session: Box<dyn RequestSession>, outcomes: &[ProcessorOutcome]) -> Stepped {
    let step = session.resume(outcomes)?;
    Ok((session, step))
}

/// A plugin that asked for too much or failed: a failure on this side, but one that has a name.
fn failed(error: &PluginError) -> ApiError {
    tracing::error!(%error, "a request processor failed");
    let PluginError { plugin, call, kind } = error;
    // What a plugin says of itself is for the log.
    let what = match kind {
        PluginErrorKind::Trap(_) => "trapped".to_owned(),
        PluginErrorKind::Contract(_) => "broke its contract".to_owned(),
        PluginErrorKind::Config(_) => "refused its configuration".to_owned(),
        kind => kind.to_string(),
    };
    ApiError::plugin(format!("plugin `{plugin}`, call `{call}`: {what}"))
}

/// What was refused because of what the plugin made of the request, it is told: it may know something shorter.
fn not_done(error: ApiError) -> Result<ProcessorOutcome, ApiError> {
    match error.is_bad_request() {
        true => Ok(ProcessorOutcome::Failed(error.into_body().message)),
        false => Err(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::internal(&error))
}

async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, ApiError> {
    match deadline {
        None => Ok(work.await),
        Some(deadline) => tokio::time::timeout_at(deadline, work)
            .await
            .map_err(|_| ApiError::deadline()),
    }
}

fn planned_request(call: &Call, request: &ChatRequest) -> PlannedRequest {
    // What gives way to the prompt is nothing that the prompt has to make room for.
    let max_tokens = request.sampling.max_tokens.filter(|_| !call.within_context);
    let messages: Vec<_> = request
        .messages
        .iter()
        .map(PlannedMessage::of_json)
        .collect();
    let digest = |message: &PlannedMessage| {
        let content = message.content.as_deref().unwrap_or_default();
        let digest = Sha256::digest(content);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    PlannedRequest {
        digests: messages.iter().map(digest).collect(),
        messages,
        parameters: request.parameters.clone(),
        max_tokens: max_tokens.map(count32),
        may_call_tools: chat_generation::tool_choice(request) != ToolChoice::None,
    }
}

fn planned_model(model: &ServedModel) -> PlannedModel {
    let window = |embedder: &crate::Embedder| count32(embedder.info().max_tokens);
    PlannedModel {
        context_tokens: count32(model.max_model_len),
        embedding_tokens: model.embedder().ok().map(window),
    }
}

fn json(messages: &[PlannedMessage]) -> Result<Vec<Value>, ApiError> {
    let json = |message: &PlannedMessage| message.to_json();
    let messages: Result<_, String> = messages.iter().map(json).collect();
    messages.map_err(|error| ApiError::internal(&error))
}

fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A step that says this as reasoning, when so much was spent.
fn shown(text: String, spent: TokenCounts) -> Step {
    Step {
        choice: 0,
        events: vec![Event::Reasoning { text }],
        token: None,
        tokens: Vec::new(),
        counts: spent,
        stop_string: None,
        end: None,
    }
}

/// The steps of an answer that was planned: what was shown on the way, then the answer, `made` times.
pub(super) fn steps(planning: Planning, first: Option<Box<Step>>, made: usize) -> Steps {
    let record = RequestRecord::current();
    let state = Answering::Shown(Box::new(planning), first);
    let steps = stream::unfold(state, move |state| {
        // The stream is read outside of the task that the record belongs to.
        Arc::clone(&record).during(answering(state, made))
    });
    Box::pin(steps)
}

enum Answering {
    /// It is planned; what is to be said first.
    Shown(Box<Planning>, Option<Box<Step>>),
    /// It is generated, or was said.
    Answer(Steps),
    /// It failed.
    Over,
}

async fn answering(state: Answering, made: usize) -> Option<(Result<Step, ApiError>, Answering)> {
    let mut state = state;
    loop {
        state = match state {
            Answering::Shown(planning, Some(step)) => {
                return Some((Ok(*step), Answering::Shown(planning, None)));
            }
            Answering::Shown(mut planning, None) => match planning.next().await {
                Ok(Said::Shown(step)) => {
                    return Some((Ok(*step), Answering::Shown(planning, None)));
                }
                Ok(Said::Ended(ending)) => match answer(*planning, ending, made).await {
                    Ok((steps, _)) => Answering::Answer(steps),
                    Err(error) => return Some((Err(error), Answering::Over)),
                },
                Err(error) => return Some((Err(error), Answering::Over)),
            },
            Answering::Answer(mut steps) => {
                let step = steps.next().await?;
                return Some((step, Answering::Answer(steps)));
            }
            Answering::Over => return None,
        };
    }
}

/// The steps of the answer itself, and the prompt that it has.
pub(super) async fn answer(
    planning: Planning,
    ending: Ending,
    made: usize,
) -> Result<(Steps, Option<Vec<u32>>), ApiError> {
    let spent = planning.spent;
    match ending {
        Ending::Generate(request) => {
            let (steps, prompt) = chat_generation::generate(&planning.call, *request).await?;
            let steps = steps.map(move |step| step.map(|step| with_spent(step, spent)));
            Ok((Box::pin(steps), prompt))
        }
        Ending::Answer(text) => {
            let step = move |choice| Ok(with_spent(said(choice, text.clone()), spent));
            let steps = stream::iter(0..made).then(move |choice| ready(step(choice)));
            Ok((Box::pin(steps), None))
        }
    }
}

/// A whole answer in one step.
fn said(choice: usize, text: String) -> Step {
    let content = Event::Content(Fragment {
        text,
        kind: FragmentKind::Text,
    });
    Step {
        choice,
        events: vec![content],
        token: None,
        tokens: Vec::new(),
        counts: TokenCounts::default(),
        stop_string: None,
        end: Some(ChoiceEnd {
            reason: FinishReason::Stop,
            tokens: TokenCounts::default(),
            mean_logprob: None,
        }),
    }
}

/// What planning took counts with the first answer.
fn with_spent(mut step: Step, spent: TokenCounts) -> Step {
    if step.choice == 0 {
        step.counts = step.counts.with(&spent);
        if let Some(end) = &mut step.end {
            end.tokens = end.tokens.with(&spent);
        }
    }
    step
}

impl TokenCounts {
    /// The sum of both.
    fn with(self, other: &Self) -> Self {
        Self {
            prompt: self.prompt + other.prompt,
            cached: self.cached + other.cached,
            completion: self.completion + other.completion,
            reasoning: self.reasoning + other.reasoning,
            processing: self.processing.with(&other.processing),
        }
    }
}
