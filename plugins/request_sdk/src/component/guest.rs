//! The exports of a request processor's component in terms of the SDK's trait, and its types from the generated ones and back.

use alloc::{string::String, vec::Vec};
use core::{cell::RefCell, marker::PhantomData};

use super::bindings::exports::weir::request::request_processor as wit;
use weir_plugin_sdk::FinishReason;

use crate::request_processor::{
    Generated, Generation, Grants, HostAction, HostOutcome, Message, Model, Request,
    RequestProcessor, Step,
};

/// Where the one request of an instance stands. A module that runs is one request and has one thread.
pub struct Slot<P>(RefCell<Option<P>>);

// SAFETY: a component of this contract has no threads, so nothing is ever shared between any.
#[allow(unsafe_code)]
unsafe impl<P> Sync for Slot<P> {}

impl<P> Slot<P> {
    /// Without a request.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }
}

/// A request processor and the slot of its request; the export macro implements it.
pub trait RequestSlot {
    /// The processor.
    type Processor: RequestProcessor;

    /// The slot.
    fn slot() -> &'static Slot<Self::Processor>;
}

/// The exports of a component made from a request processor.
pub struct RequestGuest<S>(PhantomData<S>);

impl<S: RequestSlot> wit::Guest for RequestGuest<S> {
    fn describe(config: String) -> Result<wit::Info, String> {
        let info = S::Processor::describe(&config)?;
        Ok(wit::Info {
            name: info.name,
            version: info.version,
            default_config: info.default_config,
            chooses: info.chooses,
        })
    }

    fn start(
        config: String,
        request: wit::Request,
        grants: wit::Grants,
        model: wit::Model,
    ) -> wit::Step {
        let (processor, step) =
            S::Processor::start(&config, request.into(), grants.into(), model.into());
        *S::slot().0.borrow_mut() = Some(processor);
        step.into()
    }

    fn resume(outcomes: Vec<wit::Outcome>) -> wit::Step {
        let outcomes = outcomes.into_iter().map(Into::into).collect();
        match &mut *S::slot().0.borrow_mut() {
            Some(processor) => processor.resume(outcomes).into(),
            None => panic!("called before start"),
        }
    }
}

impl From<wit::Message> for Message {
    fn from(message: wit::Message) -> Self {
        let wit::Message {
            role,
            content,
            more,
        } = message;
        Self {
            role,
            content,
            more,
        }
    }
}

impl From<Message> for wit::Message {
    fn from(message: Message) -> Self {
        let Message {
            role,
            content,
            more,
        } = message;
        Self {
            role,
            content,
            more,
        }
    }
}

impl From<wit::Request> for Request {
    fn from(request: wit::Request) -> Self {
        let named = |parameter: wit::Parameter| (parameter.name, parameter.value);
        Self {
            messages: request.messages.into_iter().map(Into::into).collect(),
            digests: request.digests,
            parameters: request.parameters.into_iter().map(named).collect(),
            max_tokens: request.max_tokens,
            may_call_tools: request.may_call_tools,
            candidates: request.candidates.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wit::Grants> for Grants {
    fn from(grants: wit::Grants) -> Self {
        Self {
            steps: grants.steps,
            generations: grants.generations,
            generated_tokens: grants.generated_tokens,
            embeddings: grants.embeddings,
            stored_bytes: grants.stored_bytes,
        }
    }
}

impl From<wit::Model> for Model {
    fn from(model: wit::Model) -> Self {
        Self {
            context_tokens: model.context_tokens,
            embedding_tokens: model.embedding_tokens,
        }
    }
}

impl From<Generation> for wit::Generation {
    fn from(generation: Generation) -> Self {
        Self {
            messages: messages(generation.messages),
            max_tokens: generation.max_tokens,
            temperature: generation.temperature,
            shown: generation.shown,
        }
    }
}

impl From<HostAction> for wit::Action {
    fn from(action: HostAction) -> Self {
        match action {
            HostAction::Generate(all) => Self::Generate(all.into_iter().map(Into::into).collect()),
            HostAction::Embed(texts) => Self::Embed(texts),
            HostAction::CountTokens(texts) => Self::CountTokens(texts),
            HostAction::CountPrompt(all) => Self::CountPrompt(messages(all)),
            HostAction::StoreGet { document, keys } => {
                Self::StoreGet(wit::Wanted { document, keys })
            }
            HostAction::StorePut { document, entries } => {
                let entry = |(key, value)| wit::Entry { key, value };
                let entries = entries.into_iter().map(entry).collect();
                Self::StorePut(wit::Stored { document, entries })
            }
        }
    }
}

impl From<wit::Generated> for Generated {
    fn from(generated: wit::Generated) -> Self {
        Self {
            text: generated.text,
            finish_reason: match generated.finish_reason {
                wit::FinishReason::Stop => FinishReason::Stop,
                wit::FinishReason::Length => FinishReason::Length,
                wit::FinishReason::ContentFilter => FinishReason::ContentFilter,
            },
            mean_logprob: generated.mean_logprob,
            tokens: generated.tokens,
        }
    }
}

impl From<wit::Outcome> for HostOutcome {
    fn from(outcome: wit::Outcome) -> Self {
        match outcome {
            wit::Outcome::Generated(all) => {
                Self::Generated(all.into_iter().map(Into::into).collect())
            }
            wit::Outcome::Embedded(vectors) => Self::Embedded(vectors),
            wit::Outcome::Counted(counts) => Self::Counted(counts),
            wit::Outcome::Found(values) => Self::Found(values),
            wit::Outcome::Kept(kept) => Self::Kept(kept),
            wit::Outcome::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<Step> for wit::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Perform(actions) => Self::Perform(actions.into_iter().map(Into::into).collect()),
            Step::ContinueWith(all) => Self::ContinueWith(messages(all)),
            Step::ContinueAndPerform(all, actions) => Self::ContinueAndPerform(wit::Continued {
                messages: messages(all),
                actions: actions.into_iter().map(Into::into).collect(),
            }),
            Step::Done => Self::Done,
            Step::Choose(numbers) => Self::Choose(numbers),
            Step::Answer(text) => Self::Answer(text),
            Step::Refuse(why) => Self::Refuse(why),
        }
    }
}

fn messages(messages: Vec<Message>) -> Vec<wit::Message> {
    messages.into_iter().map(Into::into).collect()
}
