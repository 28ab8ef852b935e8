//! What a chunk of a streamed answer says, of either API, as far as a clock cares: is there text, how many tokens, is it
//! the end, is it an error. Unknown keys mean nothing, so that every server's chunks can be read.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use weir_remote::event_stream::Event;

/// Messages are one line of a table of errors.
const MESSAGE_CHARACTERS: usize = 200;

/// Tokens as the server counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

/// What one event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Text a reader sees: content, reasoning or a piece of a call.
    pub(super) text: bool,
    /// A choice ended.
    pub(super) end: bool,
    /// Nothing follows.
    pub(super) done: bool,
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    text: Option<String>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

/// Reads an event.
///
/// # Errors
/// The server's message, where the event is an error; a line of ours where it cannot be read.
pub(super) fn read(event: &Event) -> Result<Said, String> {
    if event.data == "[DONE]" {
        return Ok(Said {
            done: true,
            ..Said::default()
        });
    }
    if event.name == "error" {
        return Err(error_message(&event.data));
    }
    let chunk: Chunk = match serde_json::from_str(&event.data) {
        Ok(chunk) => chunk,
        Err(error) => return Err(format!("a chunk that is none: {error}")),
    };
    // Only what has neither choices nor usage can be an error without an event's name, so most chunks are read once.
    if chunk.choices.is_none() && chunk.usage.is_none() {
        return match event.data.contains("\"error\"") {
            true => Err(error_message(&event.data)),
            false => Ok(Said::default()),
        };
    }
    let choices = chunk.choices.as_deref().unwrap_or_default();
    Ok(Said {
        text: choices.iter().any(Choice::has_text),
        end: choices.iter().any(|choice| choice.finish_reason.is_some()),
        done: false,
        usage: chunk.usage,
    })
}

impl Choice {
    fn has_text(&self) -> bool {
        let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        filled(&self.text)
            || self.delta.as_ref().is_some_and(|delta| {
                let texts = [&delta.content, &delta.reasoning_content, &delta.reasoning];
                texts.into_iter().any(filled)
                    || delta
                        .tool_calls
                        .as_ref()
                        .is_some_and(|calls| !calls.is_empty())
            })
    }
}

/// The message in an error's body: OpenAI's envelope, a bare `message`, `detail` or `error`, or else the body itself.
pub(super) fn error_message(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let places = ["/error/message", "/message", "/detail", "/error"];
    let message = places
        .iter()
        .find_map(|place| value.pointer(place)?.as_str())
        .unwrap_or(body);
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARACTERS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(data: &str) -> Result<Said, String> {
        read(&Event {
            name: String::new(),
            data: data.to_owned(),
        })
    }

    fn text(data: &str) -> bool {
        said(data).expect("a chunk").text
    }

    #[test]
    fn what_counts_as_text() {
        assert!(text(r#"{"choices":[{"delta":{"content":"a"}}]}"#));
        assert!(text(r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#));
        assert!(text(
            r#"{"choices":[{"delta":{"reasoning":"a","content":null}}]}"#
        ));
        assert!(text(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#
        ));
        assert!(text(r#"{"choices":[{"text":" a"}]}"#));
        assert!(!text(
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#
        ));
        assert!(!text(
            r#"{"choices":[{"delta":{"tool_calls":[]},"finish_reason":null}]}"#
        ));
        assert!(!text(r#"{"choices":[{"text":""}]}"#));
        assert!(!text(r#"{"id":"x"}"#));
    }

    #[test]
    fn ends_and_usage() {
        assert!(said("[DONE]").expect("an end").done);
        let end = said(r#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":null}"#);
        assert!(end.expect("a chunk").end);
        let usage = said(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#);
        assert_eq!(
            usage.expect("a chunk").usage,
            Some(Usage {
                prompt_tokens: 7,
                completion_tokens: 3
            })
        );
    }

    #[test]
    fn errors_say_what_the_server_said() {
        let envelope = r#"{"error":{"message":"too\n long","code":400}}"#;
        assert_eq!(said(envelope), Err("too long".to_owned()));
        let named = Event {
            name: "error".to_owned(),
            data: envelope.to_owned(),
        };
        assert_eq!(read(&named), Err("too long".to_owned()));
        assert!(said("{").expect_err("no chunk").starts_with("a chunk that"));
        assert_eq!(error_message(r#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(error_message("<html>\nno"), "<html> no");
        assert_eq!(
            error_message(&"é".repeat(300)),
            format!("{}...", "é".repeat(200))
        );
    }
}
