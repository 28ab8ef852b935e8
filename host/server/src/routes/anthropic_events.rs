//! Anthropic's stream events from a generation's steps, and the answer that they add up to.
//!
//! Invariants: blocks are numbered from 0 without gaps and one is open at a time; the plain answer is the fold of the very
//! events a stream would have sent. What a model says between the pieces of a call waits until the call has ended.
//!
//! A call whose arguments are no JSON object is no `tool_use` block: its text is text, as its calls are sent whole. Only tools
//! with `eager_input_streaming` have their input sent as the model writes it, unchecked, which is what that field asks for.

use std::collections::VecDeque;

use futures_util::StreamExt;
use uuid::Uuid;
use weir_engine::EngineError;
use weir_output::{Event, FinishReason};
use weir_protocol::anthropic::{
    ContentBlock, Delta, Message, StopReason, StreamEvent, Usage,
    answer::{OutputTokensDetails, SIGNATURE},
    stream::Stop,
    tool_id,
};

use super::anthropic_errors;
use crate::{
    error::ApiError,
    generation::{ChoiceEnd, Step, Steps, TokenCounts},
    sse::{EventText, Events},
};

/// Makes the events of one answer.
pub(super) struct MessageEvents {
    id: String,
    model: String,
    /// What the request asked for, which the context may have cut.
    max_tokens: usize,
    request_id: Option<String>,
    begun: bool,
    open: Option<Open>,
    /// The number of the open block, or of the next.
    index: usize,
    call_completed: bool,
    /// What came between the pieces of the open call.
    waiting: VecDeque<Event>,
}

/// What the open block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    /// The call of this number.
    Call(u32),
}

impl MessageEvents {
    /// A fresh id.
    pub(super) fn new(model: &str, max_tokens: usize, request_id: Option<String>) -> Self {
        Self {
            id: format!("msg_{}", Uuid::new_v4().simple()),
            model: model.to_owned(),
            max_tokens,
            request_id,
            begun: false,
            open: None,
            index: 0,
            call_completed: false,
            waiting: VecDeque::new(),
        }
    }

    /// Adds all events up.
    pub(super) async fn fold(mut self, mut steps: Steps) -> Result<Message, ApiError> {
        let mut answer = None;
        while let Some(step) = steps.next().await {
            for event in self.take(step?) {
                event.fold_into(&mut answer);
            }
        }
        let answer = answer.filter(|answer| answer.stop_reason.is_some());
        answer.ok_or_else(|| EngineError::Stopped.into())
    }

    fn begin(&self, counts: &TokenCounts) -> StreamEvent {
        StreamEvent::MessageStart {
            message: Message {
                id: self.id.clone(),
                kind: "message",
                role: "assistant",
                model: self.model.clone(),
                content: Vec::new(),
                stop_reason: None,
                stop_sequence: None,
                usage: usage(counts),
            },
        }
    }

    /// Takes the next event, unless it has to wait for the open call.
    fn push(&mut self, event: Event, events: &mut Vec<StreamEvent>) {
        self.waiting.push_back(event);
        let mut still_waiting = VecDeque::new();
        while let Some(event) = self.waiting.pop_front() {
            if self.must_wait(&event) {
                still_waiting.push_back(event);
                continue;
            }
            self.write(event, events);
            if self.open.is_none() {
                // What has waited longest goes first.
                still_waiting.append(&mut self.waiting);
                std::mem::swap(&mut self.waiting, &mut still_waiting);
            }
        }
        self.waiting = still_waiting;
    }

    fn must_wait(&self, event: &Event) -> bool {
        let Some(Open::Call(open)) = self.open else {
            return false;
        };
        !matches!(event, Event::CallArguments { index, .. } | Event::CallEnd { index }
            | Event::CallAbandoned { index, .. } if *index == open)
    }

    fn write(&mut self, event: Event, events: &mut Vec<StreamEvent>) {
        match event {
            Event::Content(fragment) => {
                let text = fragment.text;
                self.enter(Open::Text, events, || ContentBlock::Text {
                    text: String::new(),
                });
                self.delta(Delta::TextDelta { text }, events);
            }
            Event::Reasoning { text } => {
                self.enter(Open::Thinking, events, || ContentBlock::Thinking {
                    thinking: String::new(),
                    signature: String::new(),
                });
                self.delta(Delta::ThinkingDelta { thinking: text }, events);
            }
            Event::CallBegin { index, id, name } => {
                let id = tool_id::on_wire(&id.unwrap_or_default());
                self.enter(Open::Call(index), events, || ContentBlock::ToolUse {
                    id,
                    name,
                    input: String::new(),
                });
            }
            Event::CallArguments { delta, .. } => {
                let partial_json = delta;
                self.delta(Delta::InputJsonDelta { partial_json }, events);
            }
            Event::CallEnd { .. } => {
                self.call_completed = true;
                self.leave(events);
            }
            // What was sent of it stands.
            Event::CallAbandoned { .. } => self.leave(events),
        }
    }

    /// Opens a block, unless one of the kind is open.
    fn enter(
        &mut self,
        kind: Open,
        events: &mut Vec<StreamEvent>,
        block: impl FnOnce() -> ContentBlock,
    ) {
        if self.open == Some(kind) {
            return;
        }
        self.leave(events);
        self.open = Some(kind);
        events.push(StreamEvent::ContentBlockStart {
            index: self.index,
            content_block: block(),
        });
    }

    fn delta(&self, delta: Delta, events: &mut Vec<StreamEvent>) {
        let index = self.index;
        events.push(StreamEvent::ContentBlockDelta { index, delta });
    }

    /// Closes the open block, if one is.
    fn leave(&mut self, events: &mut Vec<StreamEvent>) {
        let Some(open) = self.open.take() else { return };
        if open == Open::Thinking {
            let signature = SIGNATURE.to_owned();
            self.delta(Delta::SignatureDelta { signature }, events);
        }
        events.push(StreamEvent::ContentBlockStop { index: self.index });
        self.index += 1;
    }

    fn ended(&self, end: &ChoiceEnd, stop_string: Option<String>) -> StreamEvent {
        let cut_by_context = end.tokens.completion < self.max_tokens;
        let stop_reason = match end.reason {
            FinishReason::Length if cut_by_context => StopReason::ModelContextWindowExceeded,
            FinishReason::Length => StopReason::MaxTokens,
            FinishReason::ContentFilter => StopReason::Refusal,
            FinishReason::Stop if stop_string.is_some() => StopReason::StopSequence,
            FinishReason::Stop if self.call_completed => StopReason::ToolUse,
            FinishReason::Stop => StopReason::EndTurn,
        };
        StreamEvent::MessageDelta {
            delta: Stop {
                stop_reason,
                stop_sequence: stop_string,
            },
            usage: usage(&end.tokens),
        }
    }

    /// The events of a step.
    fn take(&mut self, step: Step) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            events.push(self.begin(&step.counts));
            events.push(StreamEvent::Ping);
        }
        for event in step.events {
            self.push(event, &mut events);
        }
        if let Some(end) = step.end {
            self.leave(&mut events);
            events.push(self.ended(&end, step.stop_string));
            events.push(StreamEvent::MessageStop);
        }
        events
    }
}

impl Events for MessageEvents {
    fn step(&mut self, step: Step, text: &mut EventText) {
        for event in self.take(step) {
            text.named(event.name(), &event);
        }
    }

    /// The last step's end brought the last event.
    fn end(&mut self, _text: &mut EventText) {}

    fn fail(&mut self, error: ApiError, text: &mut EventText) {
        let envelope = anthropic_errors::envelope(error, self.request_id.clone());
        text.named("error", &envelope);
    }

    fn silence(text: &mut EventText) {
        text.named(StreamEvent::Ping.name(), &StreamEvent::Ping);
    }
}

fn usage(counts: &TokenCounts) -> Usage {
    Usage {
        input_tokens: counts.prompt.saturating_sub(counts.cached),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: counts.cached,
        output_tokens: counts.completion,
        output_tokens_details: OutputTokensDetails {
            thinking_tokens: counts.reasoning,
        },
    }
}

#[cfg(test)]
mod tests {
    use weir_output::{Fragment, FragmentKind};

    use super::*;

    fn content(text: &str) -> Event {
        Event::Content(Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        })
    }

    fn begin(index: u32) -> Event {
        Event::CallBegin {
            index,
            id: Some(format!("call_{index}")),
            name: "f".to_owned(),
        }
    }

    fn arguments(index: u32, delta: &str) -> Event {
        Event::CallArguments {
            index,
            delta: delta.to_owned(),
        }
    }

    /// The answer, and each event in a few letters.
    fn run(events: Vec<Event>, reason: FinishReason) -> (Message, Vec<String>) {
        let mut made = MessageEvents::new("m", 100, None);
        let step = |events, end| Step {
            choice: 0,
            events,
            tokens: Vec::new(),
            token: None,
            counts: TokenCounts::default(),
            stop_string: None,
            end,
        };
        let mut all = Vec::new();
        for event in events {
            all.extend(made.take(step(vec![event], None)));
        }
        let tokens = TokenCounts {
            prompt: 20,
            cached: 16,
            completion: 7,
            reasoning: 2,
            ..TokenCounts::default()
        };
        all.extend(made.take(step(
            Vec::new(),
            Some(ChoiceEnd {
                reason,
                tokens,
                mean_logprob: None,
            }),
        )));
        let names = all
            .iter()
            .map(|event| match event {
                StreamEvent::ContentBlockStart { index, .. } => format!("start {index}"),
                StreamEvent::ContentBlockDelta { index, .. } => format!("delta {index}"),
                StreamEvent::ContentBlockStop { index } => format!("stop {index}"),
                other => other.name().to_owned(),
            })
            .collect();
        let mut answer = None;
        all.into_iter()
            .for_each(|event| event.fold_into(&mut answer));
        (answer.unwrap(), names)
    }

    fn call(number: u32, input: &str) -> ContentBlock {
        ContentBlock::ToolUse {
            id: format!("toolu_{number}"),
            name: "f".to_owned(),
            input: input.to_owned(),
        }
    }

    fn text(text: &str) -> ContentBlock {
        ContentBlock::Text {
            text: text.to_owned(),
        }
    }

    #[test]
    fn one_block_is_open_at_a_time() {
        let events = vec![
            Event::Reasoning { text: "hm".into() },
            content("a"),
            begin(0),
            arguments(0, "{"),
            content("between"),
            begin(1),
            arguments(1, "{\"b\":1"),
            arguments(0, "}"),
            arguments(1, "}"),
            Event::CallEnd { index: 1 },
            content("after"),
            Event::CallEnd { index: 0 },
        ];
        let (answer, names) = run(events, FinishReason::Stop);
        let thinking = ContentBlock::Thinking {
            thinking: "hm".to_owned(),
            signature: SIGNATURE.to_owned(),
        };
        let expected = [
            thinking,
            text("a"),
            call(0, "{}"),
            text("between"),
            call(1, "{\"b\":1}"),
            text("after"),
        ];
        assert_eq!(answer.content, expected);
        assert_eq!(answer.stop_reason, Some(StopReason::ToolUse));
        let open = names.iter().try_fold(0, |open, name| match name.as_str() {
            name if name.starts_with("start") => (open == 0).then_some(1),
            name if name.starts_with("stop") => (open == 1).then_some(0),
            _ => Some(open),
        });
        assert_eq!(open, Some(0), "{names:?}");
    }

    #[test]
    fn events_come_in_order() {
        let (answer, names) = run(vec![content("a"), content("b")], FinishReason::Stop);
        let expected = [
            "message_start",
            "ping",
            "start 0",
            "delta 0",
            "delta 0",
            "stop 0",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names, expected);
        assert_eq!(answer.stop_reason, Some(StopReason::EndTurn));
        let usage = answer.usage;
        assert_eq!(
            (
                usage.input_tokens,
                usage.cache_read_input_tokens,
                usage.output_tokens,
                usage.output_tokens_details.thinking_tokens
            ),
            (4, 16, 7, 2)
        );
    }

    #[test]
    fn an_eager_call_that_breaks_off_stands_and_is_no_tool_use() {
        let events = vec![
            begin(0),
            arguments(0, "{\"a\":"),
            Event::CallAbandoned {
                index: 0,
                raw: "raw".to_owned(),
            },
            content("b"),
        ];
        let (answer, _) = run(events, FinishReason::Stop);
        assert_eq!(answer.content, [call(0, "{\"a\":"), text("b")]);
        assert_eq!(answer.stop_reason, Some(StopReason::EndTurn));
    }

    #[test]
    fn ends_have_anthropics_names() {
        let (cut, _) = run(vec![content("a")], FinishReason::Length);
        assert_eq!(
            cut.stop_reason,
            Some(StopReason::ModelContextWindowExceeded)
        );
        let (filtered, _) = run(Vec::new(), FinishReason::ContentFilter);
        assert_eq!(filtered.stop_reason, Some(StopReason::Refusal));
        assert!(filtered.content.is_empty());
    }
}
