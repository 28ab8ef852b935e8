//! One answer as it comes over the wire.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use weir_engine::Generated;

use crate::{
    answer::Answer,
    chunk,
    connections::root,
    dialect::Dialect,
    event_stream::{Event, EventStream},
};

/// A stream under way. Dropped before its end, it closes the connection, which tells the engine to stop.
pub(crate) struct Reading {
    body: Incoming,
    stream: EventStream,
    events: Vec<Event>,
    answer: Answer,
    dialect: Dialect,
}

impl Reading {
    pub(crate) fn new(body: Incoming, answer: Answer, dialect: Dialect) -> Self {
        Self {
            body,
            stream: EventStream::default(),
            events: Vec::new(),
            answer,
            dialect,
        }
    }

    /// Whether all is said.
    pub(crate) fn ended(&self) -> bool {
        self.answer.ended()
    }

    /// Waits for the next piece and appends what it says; returns how many tokens that was.
    ///
    /// # Errors
    /// One line: the stream broke off, or says that something went wrong. Losing the future loses nothing.
    pub(crate) async fn read(&mut self, out: &mut VecDeque<Generated>) -> Result<usize, String> {
        let Some(frame) = self.body.frame().await else {
            return match self.answer.close(out) {
                true => Ok(0),
                false => Err("it broke the answer off before its end".to_owned()),
            };
        };
        let frame = frame.map_err(|error| format!("the connection broke: {}", root(&error)))?;
        let Some(bytes) = frame.data_ref() else {
            return Ok(0);
        };
        self.stream
            .push(bytes, &mut self.events)
            .map_err(|_| "it sent an event of more than 16 MiB".to_owned())?;
        let mut tokens = 0;
        for event in self.events.drain(..) {
            if event.name == "error" {
                let said = serde_json::from_str(&event.data);
                return Err(chunk::message(&said.unwrap_or(event.data.into())));
            }
            let piece = match self.dialect {
                Dialect::Llama => chunk::of_llama(&event.data)?,
                Dialect::Vllm | Dialect::Sglang | Dialect::Openai => chunk::of_openai(&event.data)?,
            };
            tokens += self.answer.take(piece, out);
        }
        Ok(tokens)
    }
}
