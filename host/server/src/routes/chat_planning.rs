//! A chat request on its way through the request processors: they plan, this performs, and in the end there is a request to
//! generate an answer to, or the answer itself.
//!
//! Invariants: plugins run on blocking threads, one step at a time; what they generate is charged to the caller and adds to the
//! answer's usage; dropping it gives all of it up. What a plugin may ask for is checked before it comes here.

mod actions;
mod answering;
mod batch;
mod behind;
mod judging;

use std::{collections::VecDeque, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_output::{
    Configured, OnError, PlannedMessage, PlannedModel, PlannedRequest, PluginError,
    PluginErrorKind, ProcessorAction, ProcessorOutcome, ProcessorStep, RequestProcessor,
    RequestSession, ToolChoice, request_processor::PlannedAnswer,
};
use weir_protocol::ChatRequest;

use self::{answering::shown, batch::Batch, behind::Work};
pub(super) use self::{
    answering::{answer, steps},
    judging::{Judge, candidate},
};
use super::{
    background::in_background,
    chat_generation::{self, Call},
};
use crate::{
    error::ApiError,
    generation::{Step, TokenCounts},
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
    /// These of the candidates are the best, the best first.
    Choice(Vec<u32>),
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
    /// What is to be done when the answer is over.
    behind: Vec<Work>,
    /// Answers to choose among; none where one is to be made.
    candidates: Vec<PlannedAnswer>,
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
            behind: Vec::new(),
            candidates: Vec::new(),
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
                if let Some(ending) = self.take(processor, stepped)? {
                    return Ok(Said::Ended(ending));
                }
            } else if let Some(processor) = self.waiting.pop_front() {
                let started = self.start(&processor).await?;
                if let Some(ending) = self.take(processor, started)? {
                    return Ok(Said::Ended(ending));
                }
            } else {
                let request = Box::new(self.request.clone());
                return Ok(Said::Ended(Ending::Generate(request)));
            }
        }
    }

    async fn start(&mut self, processor: &Processor) -> Result<Stepped, ApiError> {
        let mut request = planned_request(&self.call, &self.request);
        request.candidates = std::mem::take(&mut self.candidates);
        let model = planned_model(&self.call);
        let plugin = Arc::clone(&processor.plugin);
        blocking(move || plugin.start(&request, &model)).await
    }

    /// Takes a step; answers what planning came to if that is it.
    fn take(&mut self, processor: Processor, stepped: Stepped) -> Result<Option<Ending>, ApiError> {
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
            ProcessorStep::ContinueAndPerform(messages, actions) => {
                self.request.messages = json(&messages)?;
                self.behind.push(Work {
                    processor,
                    session,
                    actions,
                });
            }
            // The account lets it through behind an answer alone.
            ProcessorStep::Done => {}
            ProcessorStep::Answer(text) => {
                self.check_free(processor.plugin.name())?;
                return Ok(Some(Ending::Answer(text)));
            }
            ProcessorStep::Choose(numbers) => return Ok(Some(Ending::Choice(numbers))),
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
        if let ProcessorAction::Generate(generations) = action {
            match Batch::submit(&self.call, &self.request, &generations).await {
                Ok(batch) => self.batch = Some(batch),
                Err(error) => self.outcomes.push(not_done(error)?),
            }
            return Ok(());
        }
        let done = actions::perform(&self.call, Some(&self.request), plugin.as_ref(), action);
        let (outcome, embedded) = done.await?;
        self.spent.processing.embedding_tokens += embedded;
        self.outcomes.push(outcome);
        Ok(())
    }
}

/// Plans a request that nobody waits for, as far as nothing is generated for it, with what comes behind it.
pub(super) async fn read(call: &Call, body: Value) -> Result<(), ApiError> {
    let request = ChatRequest::from_json(body)?;
    let processors = call.model.plugins.get().request_processors.clone();
    let mut planning = Planning::new(call.clone(), request, processors);
    planning.next().await?;
    for work in planning.behind {
        behind::do_all(call, work).await;
    }
    Ok(())
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
    in_background(move || Ok(work())).await
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
        candidates: Vec::new(),
    }
}

fn planned_model(call: &Call) -> PlannedModel {
    let embedding = call.state.models.embedding();
    let embedder = embedding.and_then(|model| model.embedder().ok());
    PlannedModel {
        context_tokens: count32(call.model.max_model_len),
        embedding_tokens: embedder.map(|embedder| count32(embedder.info().max_tokens)),
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
