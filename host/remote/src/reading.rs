//! One answer as it comes over the wire.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use weir_engine::Generated;

use crate::{
    answer::Answer,
    chunk::{self, Piece},
    connections::root,
    dialect::{Dialect, PromptForm},
    event_stream::{Event, EventStream},
};

/// A stream under way. Dropped before its end, it closes the connection, which tells the engine to stop.
pub(crate) struct Reading {
    body: Incoming,
    reader: Reader,
}

impl Reading {
    pub(crate) fn new(body: Incoming, answer: Answer, asked: (Dialect, PromptForm)) -> Self {
        Self {
            body,
            reader: Reader::new(answer, asked),
        }
    }

    /// Whether all is said.
    pub(crate) fn ended(&self) -> bool {
        self.reader.answer.ended()
    }

    /// Waits for the next piece and appends what it says; returns how many tokens that was.
    ///
    /// # Errors
    /// One line: the stream broke off, or says that something went wrong. Losing the future loses nothing.
    pub(crate) async fn read(&mut self, out: &mut VecDeque<Generated>) -> Result<usize, String> {
        let Some(frame) = self.body.frame().await else {
            return match self.reader.answer.close(out) {
                true => Ok(0),
                false => Err("it broke the answer off before its end".to_owned()),
            };
        };
        let frame = frame.map_err(|error| format!("the connection broke: {}", root(&error)))?;
        match frame.data_ref() {
            Some(bytes) => self.reader.push(bytes, out),
            None => Ok(0),
        }
    }
}

/// From bytes, cut anywhere, to what they say.
struct Reader {
    stream: EventStream,
    events: Vec<Event>,
    answer: Answer,
    read: fn(&str) -> Result<Piece, String>,
}

impl Reader {
    fn new(answer: Answer, (dialect, prompt): (Dialect, PromptForm)) -> Self {
        Self {
            stream: EventStream::default(),
            events: Vec::new(),
            answer,
            read: match dialect {
                _ if prompt == PromptForm::Messages => chunk::of_chat,
                Dialect::Llama => chunk::of_llama,
                Dialect::Vllm | Dialect::Sglang | Dialect::Openai => chunk::of_openai,
            },
        }
    }

    /// Takes the next bytes and appends what they say, up to an error if there is one; returns how many tokens that was.
    fn push(&mut self, bytes: &[u8], out: &mut VecDeque<Generated>) -> Result<usize, String> {
        let pushed = self.stream.push(bytes, &mut self.events);
        let mut tokens = 0;
        for event in self.events.drain(..) {
            if event.name == "error" {
                let said = serde_json::from_str(&event.data);
                return Err(chunk::message(&said.unwrap_or(event.data.into())));
            }
            tokens += self.answer.take((self.read)(&event.data)?, out);
        }
        pushed.map_err(|_| "it sent an event of more than 16 MiB".to_owned())?;
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests;
