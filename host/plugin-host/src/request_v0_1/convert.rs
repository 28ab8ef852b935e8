//! Between the words of `weir-output` and the generated ones, which say the same.

use weir_output::{
    FinishReason, Grants, PlannedMessage, PlannedModel, PlannedRequest, ProcessorAction,
    ProcessorOutcome, ProcessorStep,
    request_processor::{PlannedAnswer, PlannedGeneration},
};

use super::bindings::exports::weir::request::request_processor as wit;

pub(super) fn request(request: &PlannedRequest) -> wit::Request {
    let parameter = |(name, value): &(String, String)| wit::Parameter {
        name: name.clone(),
        value: value.clone(),
    };
    let message = |message: &PlannedMessage| wit::Message {
        role: message.role.clone(),
        content: message.content.clone(),
        more: message.more.clone(),
    };
    wit::Request {
        messages: request.messages.iter().map(message).collect(),
        digests: request.digests.clone(),
        parameters: request.parameters.iter().map(parameter).collect(),
        max_tokens: request.max_tokens,
        may_call_tools: request.may_call_tools,
        candidates: request.candidates.iter().map(answer).collect(),
    }
}

pub(super) fn grants(grants: &Grants) -> wit::Grants {
    wit::Grants {
        steps: grants.steps,
        generations: grants.generations,
        generated_tokens: grants.generated_tokens,
        embeddings: grants.embeddings,
        stored_bytes: grants.stored_bytes,
    }
}

pub(super) fn model(model: &PlannedModel) -> wit::Model {
    wit::Model {
        context_tokens: model.context_tokens,
        embedding_tokens: model.embedding_tokens,
    }
}

pub(super) fn outcome(outcome: &ProcessorOutcome) -> wit::Outcome {
    match outcome {
        ProcessorOutcome::Generated(answers) => {
            wit::Outcome::Generated(answers.iter().map(answer).collect())
        }
        ProcessorOutcome::Embedded(vectors) => wit::Outcome::Embedded(vectors.clone()),
        ProcessorOutcome::Counted(counts) => wit::Outcome::Counted(counts.clone()),
        ProcessorOutcome::Found(values) => wit::Outcome::Found(values.clone()),
        ProcessorOutcome::Kept(kept) => wit::Outcome::Kept(*kept),
        ProcessorOutcome::Failed(why) => wit::Outcome::Failed(why.clone()),
    }
}

fn answer(answer: &PlannedAnswer) -> wit::Generated {
    wit::Generated {
        text: answer.text.clone(),
        finish_reason: match answer.finish_reason {
            FinishReason::Stop => wit::FinishReason::Stop,
            FinishReason::Length => wit::FinishReason::Length,
            FinishReason::ContentFilter => wit::FinishReason::ContentFilter,
        },
        mean_logprob: answer.mean_logprob,
        tokens: answer.tokens,
    }
}

pub(super) fn step_out(step: wit::Step) -> ProcessorStep {
    match step {
        wit::Step::Perform(actions) => ProcessorStep::Perform(actions_out(actions)),
        wit::Step::ContinueWith(messages) => ProcessorStep::ContinueWith(messages_out(messages)),
        wit::Step::ContinueAndPerform(wit::Continued { messages, actions }) => {
            ProcessorStep::ContinueAndPerform(messages_out(messages), actions_out(actions))
        }
        wit::Step::Done => ProcessorStep::Done,
        wit::Step::Choose(numbers) => ProcessorStep::Choose(numbers),
        wit::Step::Answer(text) => ProcessorStep::Answer(text),
        wit::Step::Refuse(why) => ProcessorStep::Refuse(why),
    }
}

fn actions_out(actions: Vec<wit::Action>) -> Vec<ProcessorAction> {
    actions.into_iter().map(action_out).collect()
}

fn action_out(action: wit::Action) -> ProcessorAction {
    match action {
        wit::Action::Generate(generations) => {
            ProcessorAction::Generate(generations.into_iter().map(generation_out).collect())
        }
        wit::Action::Embed(texts) => ProcessorAction::Embed(texts),
        wit::Action::CountTokens(texts) => ProcessorAction::CountTokens(texts),
        wit::Action::CountPrompt(messages) => ProcessorAction::CountPrompt(messages_out(messages)),
        wit::Action::StoreGet(wit::Wanted { document, keys }) => {
            ProcessorAction::StoreGet { document, keys }
        }
        wit::Action::StorePut(wit::Stored { document, entries }) => {
            let entry = |entry: wit::Entry| (entry.key, entry.value);
            ProcessorAction::StorePut {
                document,
                entries: entries.into_iter().map(entry).collect(),
            }
        }
    }
}

fn generation_out(generation: wit::Generation) -> PlannedGeneration {
    PlannedGeneration {
        messages: messages_out(generation.messages),
        max_tokens: generation.max_tokens,
        temperature: generation.temperature,
        shown: generation.shown,
    }
}

fn messages_out(messages: Vec<wit::Message>) -> Vec<PlannedMessage> {
    let message = |message: wit::Message| PlannedMessage {
        role: message.role,
        content: message.content,
        more: message.more,
    };
    messages.into_iter().map(message).collect()
}
