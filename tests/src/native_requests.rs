//! First-party request processors as ordinary Rust: the SDK's trait behind that of the server, with the account that the host of
//! components keeps too.

use std::{marker::PhantomData, sync::Arc};

use anyhow::{anyhow, bail};
use weir_output::{
    self as host, Grants, PluginError, ProcessorOutcome, ProcessorStep, RequestProcessor,
    request_processor::Account,
};
use weir_plugin_long_document::LongDocument;
use weir_plugin_mpr::Mpr;
use weir_plugin_request_sdk::{self as requests, request_processor as contract};
use weir_plugin_sdk as sdk;

use crate::native::component;

/// The request processor of this name with this configuration.
///
/// # Errors
/// When there is none, or it refuses the configuration.
pub fn request_processor(
    name: &str,
    config: &toml::Table,
    grants: Grants,
) -> anyhow::Result<Arc<dyn RequestProcessor>> {
    let (component, config) = component(name, config)?;
    Ok(match component.as_str() {
        "long_document" => Arc::new(Native::<LongDocument>::new(&config, grants)?),
        "mpr" => Arc::new(Native::<Mpr>::new(&config, grants)?),
        _ => bail!(
            "no native request processor `{component}`; add it to tests/src/native_requests.rs"
        ),
    })
}

struct Native<P> {
    info: host::RequestProcessorInfo,
    config: String,
    grants: Grants,
    processor: PhantomData<fn() -> P>,
}

impl<P: requests::RequestProcessor> Native<P> {
    fn new(config: &str, grants: Grants) -> anyhow::Result<Self> {
        let info = P::describe(config).map_err(|message| anyhow!(message))?;
        Ok(Self {
            info: host::RequestProcessorInfo {
                name: info.name,
                version: info.version,
                default_config: info.default_config,
                chooses: info.chooses,
            },
            config: config.to_owned(),
            grants,
            processor: PhantomData,
        })
    }
}

struct Session<P>(P, Account);

fn granted(
    account: &mut Account,
    call: &'static str,
    step: contract::Step,
) -> Result<ProcessorStep, PluginError> {
    let step = step_out(step);
    account.take(&step).map_err(|kind| PluginError {
        plugin: "native".to_owned(),
        call,
        kind,
    })?;
    Ok(step)
}

impl<P: requests::RequestProcessor + Send> RequestProcessor for Native<P> {
    fn name(&self) -> &str {
        &self.info.name
    }

    fn info(&self) -> &host::RequestProcessorInfo {
        &self.info
    }

    fn grants(&self) -> &Grants {
        &self.grants
    }

    fn start(
        &self,
        request: &host::PlannedRequest,
        model: &host::PlannedModel,
    ) -> Result<(Box<dyn host::RequestSession>, ProcessorStep), PluginError> {
        let request = contract::Request {
            messages: request.messages.iter().map(message).collect(),
            digests: request.digests.clone(),
            parameters: request.parameters.clone(),
            max_tokens: request.max_tokens,
            may_call_tools: request.may_call_tools,
            candidates: request.candidates.iter().map(answer).collect(),
        };
        let candidates = request.candidates.len();
        let grants = contract::Grants {
            steps: self.grants.steps,
            generations: self.grants.generations,
            generated_tokens: self.grants.generated_tokens,
            embeddings: self.grants.embeddings,
            stored_bytes: self.grants.stored_bytes,
        };
        let model = contract::Model {
            context_tokens: model.context_tokens,
            embedding_tokens: model.embedding_tokens,
        };
        let (processor, step) = P::start(&self.config, request, grants, model);
        let mut account = Account::new(self.grants, candidates);
        let step = granted(&mut account, "start", step)?;
        Ok((Box::new(Session(processor, account)), step))
    }
}

impl<P: requests::RequestProcessor + Send> host::RequestSession for Session<P> {
    fn resume(&mut self, outcomes: &[ProcessorOutcome]) -> Result<ProcessorStep, PluginError> {
        let step = self.0.resume(outcomes.iter().map(outcome).collect());
        granted(&mut self.1, "resume", step)
    }
}

fn message(message: &host::PlannedMessage) -> contract::Message {
    contract::Message {
        role: message.role.clone(),
        content: message.content.clone(),
        more: message.more.clone(),
    }
}

fn answer(answer: &host::request_processor::PlannedAnswer) -> contract::Generated {
    contract::Generated {
        text: answer.text.clone(),
        finish_reason: match answer.finish_reason {
            host::FinishReason::Stop => sdk::FinishReason::Stop,
            host::FinishReason::Length => sdk::FinishReason::Length,
            host::FinishReason::ContentFilter => sdk::FinishReason::ContentFilter,
        },
        mean_logprob: answer.mean_logprob,
        tokens: answer.tokens,
    }
}

fn outcome(outcome: &ProcessorOutcome) -> contract::HostOutcome {
    match outcome {
        ProcessorOutcome::Generated(answers) => {
            contract::HostOutcome::Generated(answers.iter().map(answer).collect())
        }
        ProcessorOutcome::Embedded(vectors) => contract::HostOutcome::Embedded(vectors.clone()),
        ProcessorOutcome::Counted(counts) => contract::HostOutcome::Counted(counts.clone()),
        ProcessorOutcome::Found(values) => contract::HostOutcome::Found(values.clone()),
        ProcessorOutcome::Kept(kept) => contract::HostOutcome::Kept(*kept),
        ProcessorOutcome::Failed(why) => contract::HostOutcome::Failed(why.clone()),
    }
}

fn messages_out(messages: Vec<contract::Message>) -> Vec<host::PlannedMessage> {
    let message = |message: contract::Message| host::PlannedMessage {
        role: message.role,
        content: message.content,
        more: message.more,
    };
    messages.into_iter().map(message).collect()
}

fn step_out(step: contract::Step) -> ProcessorStep {
    match step {
        contract::Step::Perform(actions) => ProcessorStep::Perform(actions_out(actions)),
        contract::Step::ContinueAndPerform(messages, actions) => {
            ProcessorStep::ContinueAndPerform(messages_out(messages), actions_out(actions))
        }
        contract::Step::Done => ProcessorStep::Done,
        contract::Step::Choose(numbers) => ProcessorStep::Choose(numbers),
        contract::Step::ContinueWith(messages) => {
            ProcessorStep::ContinueWith(messages_out(messages))
        }
        contract::Step::Answer(text) => ProcessorStep::Answer(text),
        contract::Step::Refuse(why) => ProcessorStep::Refuse(why),
    }
}

fn actions_out(actions: Vec<contract::HostAction>) -> Vec<host::ProcessorAction> {
    actions.into_iter().map(action_out).collect()
}

fn action_out(action: contract::HostAction) -> host::ProcessorAction {
    use contract::HostAction as From;
    let generation =
        |generation: contract::Generation| host::request_processor::PlannedGeneration {
            messages: messages_out(generation.messages),
            max_tokens: generation.max_tokens,
            temperature: generation.temperature,
            shown: generation.shown,
        };
    match action {
        From::Generate(all) => {
            host::ProcessorAction::Generate(all.into_iter().map(generation).collect())
        }
        From::Embed(texts) => host::ProcessorAction::Embed(texts),
        From::CountTokens(texts) => host::ProcessorAction::CountTokens(texts),
        From::CountPrompt(messages) => host::ProcessorAction::CountPrompt(messages_out(messages)),
        From::StoreGet { document, keys } => host::ProcessorAction::StoreGet { document, keys },
        From::StorePut { document, entries } => {
            host::ProcessorAction::StorePut { document, entries }
        }
    }
}
