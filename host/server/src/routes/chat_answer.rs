//! Chat answers from a generation's steps: chunk by chunk, or folded into one.
//!
//! Invariants: a choice's first chunk has the role, its last the finish reason; id, type and name of a call stand in its
//! first delta only, the index in all. The folded answer is the fold of the very same events.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use futures_util::StreamExt;
use uuid::Uuid;
use weir_engine::EngineError;
use weir_output::{ChatFinishReason, Event, FoldedMessage, MessageFold, ToolChoice};
use weir_protocol::chat_response::{
    AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta,
    FunctionCall, FunctionDelta, ToolCall, ToolCallDelta,
};

use crate::{
    error::ApiError,
    generation::{self, ChoiceEnd, Step, Steps},
    sse::Chunks,
    state::ServedModel,
};

/// What stands at the top of every answer and chunk.
#[derive(Debug, Clone)]
pub(super) struct Head {
    id: Uuid,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
}

impl Head {
    /// A fresh id, now.
    pub(super) fn new(model: &ServedModel) -> Self {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            id: Uuid::new_v4(),
            created,
            model: model.id().to_owned(),
            fingerprint: model.fingerprint.clone(),
        }
    }

    /// The id with the API's prefix.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.id.simple())
    }
}

/// Folds all choices into one answer.
pub(super) async fn fold(
    mut steps: Steps,
    head: Head,
    n: usize,
    tool_choice: &ToolChoice,
) -> Result<Json<ChatCompletion>, ApiError> {
    let mut folds = vec![MessageFold::new(); n];
    let mut ends: Vec<Option<ChoiceEnd>> = vec![None; n];
    while let Some(step) = steps.next().await {
        let step = step?;
        folds[step.choice].extend(&step.events);
        ends[step.choice] = step.end;
    }
    let ends = ends
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or(EngineError::Stopped)?;
    let choice = |(index, (fold, end)): (usize, (MessageFold, &ChoiceEnd))| ChatChoice {
        index,
        finish_reason: fold.finish_reason(end.reason, tool_choice).as_str(),
        message: message(fold.into_message()),
        logprobs: None,
    };
    Ok(Json(ChatCompletion {
        id: head.id("chatcmpl"),
        object: "chat.completion",
        created: head.created,
        model: head.model,
        system_fingerprint: head.fingerprint,
        choices: folds
            .into_iter()
            .zip(&ends)
            .enumerate()
            .map(choice)
            .collect(),
        usage: generation::usage(&ends, n),
    }))
}

fn message(folded: FoldedMessage) -> AssistantMessage {
    let calls = folded.tool_calls.into_iter().map(|call| ToolCall {
        id: call.id.unwrap_or_default(),
        kind: "function",
        function: FunctionCall {
            name: call.name,
            arguments: call.arguments,
        },
    });
    AssistantMessage {
        role: "assistant",
        content: folded.content,
        refusal: None,
        reasoning_content: folded.reasoning.clone(),
        reasoning: folded.reasoning,
        tool_calls: calls.collect(),
    }
}

/// Makes the chunks of a streamed answer.
pub(super) struct ChatChunks {
    head: Head,
    tool_choice: ToolChoice,
    include_usage: bool,
    /// Later deltas of a call have an empty name.
    keep_name: bool,
    choices: Vec<Progress>,
}

/// What a choice has sent so far.
#[derive(Debug, Clone, Default)]
struct Progress {
    begun: bool,
    call_completed: bool,
    end: Option<ChoiceEnd>,
}

impl ChatChunks {
    /// For `n` choices.
    pub(super) fn new(
        head: Head,
        n: usize,
        tool_choice: ToolChoice,
        include_usage: bool,
        keep_name: bool,
    ) -> Self {
        Self {
            head,
            tool_choice,
            include_usage,
            keep_name,
            choices: vec![Progress::default(); n],
        }
    }

    fn chunk(&self, choices: Vec<ChatChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.head.id("chatcmpl"),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.clone(),
            system_fingerprint: self.head.fingerprint.clone(),
            choices,
            usage: None,
        }
    }

    fn delta(&self, event: Event) -> Option<ChatDelta> {
        let plain = ChatDelta::default();
        match event {
            Event::Content(fragment) => Some(ChatDelta {
                content: Some(fragment.text),
                ..plain
            }),
            Event::Reasoning { text } => Some(ChatDelta {
                reasoning_content: Some(text.clone()),
                reasoning: Some(text),
                ..plain
            }),
            Event::CallBegin { index, id, name } => {
                let function = FunctionDelta {
                    name: Some(name),
                    arguments: String::new(),
                };
                let call = ToolCallDelta {
                    index,
                    id,
                    kind: Some("function"),
                    function,
                };
                Some(ChatDelta {
                    tool_calls: vec![call],
                    ..plain
                })
            }
            Event::CallArguments { index, delta } => {
                let function = FunctionDelta {
                    name: self.keep_name.then(String::new),
                    arguments: delta,
                };
                let call = ToolCallDelta {
                    index,
                    id: None,
                    kind: None,
                    function,
                };
                Some(ChatDelta {
                    tool_calls: vec![call],
                    ..plain
                })
            }
            // What was sent of a call stands, complete or not; the finish reason tells.
            Event::CallEnd { .. } | Event::CallAbandoned { .. } => None,
        }
    }
}

impl Chunks for ChatChunks {
    type Chunk = ChatChunk;

    fn step(&mut self, step: Step) -> Vec<ChatChunk> {
        let Step {
            choice: index,
            events,
            end,
            ..
        } = step;
        let progress = &mut self.choices[index];
        let begins = !std::mem::replace(&mut progress.begun, true);
        progress.call_completed |= events
            .iter()
            .any(|event| matches!(event, Event::CallEnd { .. }));
        progress.end = end;
        let finish_reason = end.map(|end| {
            ChatFinishReason::new(end.reason, progress.call_completed, &self.tool_choice).as_str()
        });
        let role = begins.then(|| ChatDelta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..ChatDelta::default()
        });
        let deltas = role
            .into_iter()
            .chain(events.into_iter().filter_map(|event| self.delta(event)));
        let pieces = deltas.map(|delta| (delta, None));
        let last = finish_reason.map(|reason| (ChatDelta::default(), Some(reason)));
        let choice = |(delta, finish_reason)| ChatChunkChoice {
            index,
            delta,
            logprobs: None,
            finish_reason,
        };
        pieces
            .chain(last)
            .map(|piece| self.chunk(vec![choice(piece)]))
            .collect()
    }

    fn end(&mut self) -> Option<ChatChunk> {
        let ends: Vec<ChoiceEnd> = self
            .choices
            .iter()
            .filter_map(|choice| choice.end)
            .collect();
        let usage = generation::usage(&ends, self.choices.len());
        self.include_usage.then(|| ChatChunk {
            usage: Some(usage),
            ..self.chunk(Vec::new())
        })
    }
}
