//! The text of server-sent events, as the HTML standard's "Server-sent events" has it.
//!
//! JSON has no line breaks, so a value is one `data:` line. What all chunks of an answer have in common is written once.

use axum::body::Bytes;
use serde::Serialize;
use weir_protocol::Usage;

/// Room for an event of a few words, so that it is allocated once.
const EVENT_BYTES: usize = 512;

/// Events that wait to be sent, one behind the other.
#[derive(Debug, Default)]
pub struct EventText(Vec<u8>);

/// What stands in front of the choices in every chunk of an answer, as text.
#[derive(Debug)]
pub struct ChunkFrame(Vec<u8>);

impl ChunkFrame {
    /// Of a chunk without choices and usage, the last fields of its type.
    pub fn of(empty: &impl Serialize) -> Self {
        let mut text = b"data: ".to_vec();
        write_json(empty, &mut text);
        assert!(
            text.ends_with(b"\"choices\":[]}"),
            "a chunk ends with its choices"
        );
        text.truncate(text.len() - 2);
        Self(text)
    }
}

impl EventText {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was written, to be sent.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }

    /// An event with its name in the `event:` line.
    pub fn named(&mut self, name: &str, value: &impl Serialize) {
        let text = self.room();
        text.extend_from_slice(b"event: ");
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\ndata: ");
        write_json(value, text);
        text.extend_from_slice(b"\n\n");
    }

    /// A chunk in its frame, with what some chunks say behind the choices.
    pub fn chunk(
        &mut self,
        frame: &ChunkFrame,
        choice: Option<&impl Serialize>,
        usage: Option<Usage>,
        prompt_token_ids: Option<&[u32]>,
    ) {
        let text = self.room();
        text.extend_from_slice(&frame.0);
        if let Some(choice) = choice {
            write_json(choice, text);
        }
        text.push(b']');
        if let Some(usage) = usage {
            text.extend_from_slice(b",\"usage\":");
            write_json(&usage, text);
        }
        if let Some(ids) = prompt_token_ids {
            text.extend_from_slice(b",\"prompt_token_ids\":");
            write_json(&ids, text);
        }
        text.extend_from_slice(b"}\n\n");
    }

    /// The word that ends OpenAI's streams.
    pub fn done(&mut self) {
        self.0.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// A line that clients pass over.
    pub fn comment(&mut self) {
        self.0.extend_from_slice(b": \n\n");
    }

    fn room(&mut self) -> &mut Vec<u8> {
        self.0.reserve(EVENT_BYTES);
        &mut self.0
    }
}

fn write_json(value: &impl Serialize, text: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(text, value) {
        unreachable!("events have string keys and finite numbers: {error}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_protocol::{
        chat_response::{ChatChunk, ChatChunkChoice, ChatDelta},
        completions::{Completion, CompletionChoice},
    };

    use super::*;

    fn text(write: impl FnOnce(&mut EventText)) -> String {
        let mut text = EventText::default();
        write(&mut text);
        assert_eq!(text.len(), text.0.len());
        let bytes = text.take();
        assert!(text.is_empty());
        String::from_utf8(bytes.into()).expect("text")
    }

    fn data(value: &impl Serialize) -> String {
        format!("data: {}\n\n", json!(value))
    }

    #[test]
    fn events_are_lines() {
        let named = text(|text| text.named("error", &json!({"a": "b\nc"})));
        assert_eq!(named, "event: error\ndata: {\"a\":\"b\\nc\"}\n\n");
        let rest = text(|text| {
            text.comment();
            text.done();
        });
        assert_eq!(rest, ": \n\ndata: [DONE]\n\n");
    }

    #[test]
    fn a_framed_chunk_reads_as_its_type_is_written() {
        let chunk = |choices, usage| ChatChunk {
            id: "chatcmpl-\"1\"".to_owned(),
            object: "chat.completion.chunk",
            created: 1,
            model: "m]}".to_owned(),
            system_fingerprint: "f".to_owned(),
            choices,
            usage,
            prompt_token_ids: None,
        };
        let choice = ChatChunkChoice {
            index: 2,
            delta: ChatDelta {
                content: Some("a\r\n\"ü\u{2028}".to_owned()),
                ..ChatDelta::default()
            },
            logprobs: None,
            finish_reason: Some("stop"),
            token_ids: Some(vec![7]),
        };
        let usage = Some(Usage::default());
        let frame = ChunkFrame::of(&chunk(Vec::new(), None));
        let ids: [Option<&[u32]>; 2] = [None, Some(&[1, 2])];
        for (usage, ids) in [None, usage].into_iter().zip(ids) {
            let framed = text(|text| text.chunk(&frame, Some(&choice), usage, ids));
            let whole = ChatChunk {
                prompt_token_ids: ids.map(<[u32]>::to_vec),
                ..chunk(vec![choice.clone()], usage)
            };
            assert_eq!(framed, data(&whole));
        }
        let framed = text(|text| text.chunk(&frame, None::<&ChatChunkChoice>, usage, None));
        assert_eq!(framed, data(&chunk(Vec::new(), usage)));
    }

    #[test]
    fn completions_have_a_frame_too() {
        let completion = |choices, usage| Completion {
            id: "cmpl-1".to_owned(),
            object: "text_completion",
            created: 1,
            model: "m".to_owned(),
            system_fingerprint: "f".to_owned(),
            choices,
            usage,
            nvext: None,
        };
        let choice = CompletionChoice {
            index: 0,
            text: "a".to_owned(),
            logprobs: None,
            prompt_logprobs: None,
            finish_reason: None,
            token_ids: None,
            prompt_token_ids: None,
        };
        let frame = ChunkFrame::of(&completion(Vec::new(), None));
        let usage = Some(Usage::default());
        let framed = text(|text| text.chunk(&frame, Some(&choice), usage, None));
        assert_eq!(framed, data(&completion(vec![choice], usage)));
    }
}
