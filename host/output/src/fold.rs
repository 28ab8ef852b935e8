//! Events become one message: the same fold serves answers that are not streamed, `weir parse` and tests.
//!
//! Invariants: text of the same sort is joined in order; arguments are the bytes of the deltas. It expects the events of
//! one choice in the order of the contract and does not check it: pieces of calls that never began are ignored.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, FinishReason},
    parser::ToolChoice,
};

/// What one choice's events add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FoldedMessage {
    /// Text for the user. None when there is none and calls stand in its place.
    pub content: Option<String>,
    /// The model's reasoning, where there is some.
    pub reasoning: Option<String>,
    /// The calls in the order they began.
    pub tool_calls: Vec<FoldedCall>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedCall {
    /// Its id; the output pipeline sees to it that there is one.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them; a JSON object if the call is complete.
    pub arguments: String,
    /// Whether it closed. A call that did not is one that was streamed and then cut or abandoned.
    pub complete: bool,
}

/// `finish_reason` as OpenAI's chat answers spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatFinishReason {
    /// The model ended the answer, or a named tool was forced.
    Stop,
    /// Out of tokens, whatever was parsed before.
    Length,
    /// The model ended the answer, and at least one call completed.
    ToolCalls,
    /// A plugin ended it.
    ContentFilter,
}

impl ChatFinishReason {
    /// From how generation ended, whether a call completed, and what the request said about calls.
    pub fn new(ended: FinishReason, call_completed: bool, tool_choice: &ToolChoice) -> Self {
        match ended {
            FinishReason::Length => Self::Length,
            FinishReason::ContentFilter => Self::ContentFilter,
            FinishReason::Stop if matches!(tool_choice, ToolChoice::Named(_)) => Self::Stop,
            FinishReason::Stop if call_completed => Self::ToolCalls,
            FinishReason::Stop => Self::Stop,
        }
    }

    /// The wire spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// A message in the making.
#[derive(Debug, Clone, Default)]
pub struct MessageFold {
    content: String,
    reasoning: String,
    calls: Vec<FoldedCall>,
    /// The event index and the position in `calls` of each call that has not ended.
    open: Vec<(u32, usize)>,
}

impl MessageFold {
    /// The empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Content(fragment) => self.content.push_str(&fragment.text),
            Event::Reasoning { text } => self.reasoning.push_str(text),
            Event::CallBegin { index, id, name } => {
                self.open.push((*index, self.calls.len()));
                let arguments = String::new();
                self.calls.push(FoldedCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments,
                    complete: false,
                });
            }
            Event::CallArguments { index, delta } => {
                if let Some((_, position)) = self.open.iter().find(|(open, _)| open == index) {
                    self.calls[*position].arguments.push_str(delta);
                }
            }
            Event::CallEnd { index } => {
                if let Some(position) = self.close(*index) {
                    self.calls[position].complete = true;
                }
            }
            Event::CallAbandoned { index, raw } => {
                if self.close(*index).is_none() {
                    self.content.push_str(raw);
                }
            }
        }
    }

    /// Whether a call completed so far.
    pub fn call_completed(&self) -> bool {
        self.calls.iter().any(|call| call.complete)
    }

    /// The answer's finish reason, from how generation ended.
    pub fn finish_reason(&self, ended: FinishReason, tool_choice: &ToolChoice) -> ChatFinishReason {
        ChatFinishReason::new(ended, self.call_completed(), tool_choice)
    }

    /// The message.
    pub fn into_message(self) -> FoldedMessage {
        FoldedMessage {
            content: (!self.content.is_empty() || self.calls.is_empty()).then_some(self.content),
            reasoning: (!self.reasoning.is_empty()).then_some(self.reasoning),
            tool_calls: self.calls,
        }
    }

    fn close(&mut self, index: u32) -> Option<usize> {
        let position = self.open.iter().position(|(open, _)| *open == index)?;
        Some(self.open.remove(position).1)
    }
}

impl<'a> Extend<&'a Event> for MessageFold {
    fn extend<I: IntoIterator<Item = &'a Event>>(&mut self, events: I) {
        for event in events {
            self.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fragment, FragmentKind};

    fn content(text: &str) -> Event {
        Event::Content(Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        })
    }

    fn fold(events: &[Event]) -> MessageFold {
        let mut fold = MessageFold::new();
        fold.extend(events);
        fold
    }

    #[test]
    fn text_and_interleaved_calls_are_joined() {
        let events = [
            Event::Reasoning { text: "hm".into() },
            content("a"),
            Event::CallBegin {
                index: 0,
                id: Some("x".into()),
                name: "f".into(),
            },
            Event::CallBegin {
                index: 1,
                id: None,
                name: "g".into(),
            },
            Event::CallArguments {
                index: 0,
                delta: "{".into(),
            },
            Event::CallArguments {
                index: 1,
                delta: "{\"b\"".into(),
            },
            Event::Reasoning { text: "!".into() },
            Event::CallArguments {
                index: 0,
                delta: "}".into(),
            },
            Event::CallEnd { index: 0 },
            Event::CallAbandoned {
                index: 1,
                raw: "g {\"b\"".into(),
            },
            Event::CallAbandoned {
                index: 2,
                raw: "junk".into(),
            },
            content("b"),
        ];
        let message = fold(&events).into_message();
        assert_eq!(message.content.as_deref(), Some("ajunkb"));
        assert_eq!(message.reasoning.as_deref(), Some("hm!"));
        let call = |id: Option<&str>, name: &str, arguments: &str, complete| FoldedCall {
            id: id.map(str::to_owned),
            name: name.into(),
            arguments: arguments.into(),
            complete,
        };
        assert_eq!(
            message.tool_calls,
            [
                call(Some("x"), "f", "{}", true),
                call(None, "g", "{\"b\"", false)
            ]
        );
    }

    #[test]
    fn empty_content_is_null_only_beside_calls() {
        assert_eq!(fold(&[]).into_message().content.as_deref(), Some(""));
        let begin = Event::CallBegin {
            index: 0,
            id: None,
            name: "f".into(),
        };
        assert_eq!(fold(&[begin]).into_message().content, None);
    }

    #[test]
    fn finish_reasons_follow_the_host_rules() {
        use ChatFinishReason as Chat;
        let named = ToolChoice::Named("f".into());
        let cases = [
            (FinishReason::Stop, false, &ToolChoice::Auto, Chat::Stop),
            (FinishReason::Stop, true, &ToolChoice::Auto, Chat::ToolCalls),
            (
                FinishReason::Stop,
                true,
                &ToolChoice::Required,
                Chat::ToolCalls,
            ),
            (FinishReason::Stop, true, &named, Chat::Stop),
            (FinishReason::Length, true, &ToolChoice::Auto, Chat::Length),
            (
                FinishReason::ContentFilter,
                true,
                &ToolChoice::Auto,
                Chat::ContentFilter,
            ),
        ];
        for (ended, completed, choice, expected) in cases {
            assert_eq!(Chat::new(ended, completed, choice), expected);
        }
        assert_eq!(
            serde_json::to_string(&Chat::ToolCalls).unwrap(),
            format!("\"{}\"", Chat::ToolCalls.as_str())
        );
    }
}
