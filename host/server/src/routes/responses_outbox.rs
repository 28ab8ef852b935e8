//! The events of a response in their order: numbered, with the small sequences that always come together.

use weir_protocol::responses::{ContentPart, EventBody, Place, StreamEvent, SummaryPart};

/// Events that were not sent yet.
#[derive(Default)]
pub(super) struct Outbox {
    next: u64,
    events: Vec<StreamEvent>,
}

impl Outbox {
    /// One event.
    pub(super) fn put(&mut self, name: &'static str, body: EventBody) {
        self.events.push(StreamEvent {
            name,
            sequence_number: self.next,
            body,
        });
        self.next += 1;
    }

    /// What was put since the last time.
    pub(super) fn take(&mut self) -> Vec<StreamEvent> {
        std::mem::take(&mut self.events)
    }

    /// A piece of text; text for the user comes with a list of logprobs.
    pub(super) fn put_delta(
        &mut self,
        name: &'static str,
        place: Place,
        delta: &str,
        with_logprobs: bool,
    ) {
        let body = EventBody::Delta {
            place,
            delta: delta.to_owned(),
            logprobs: with_logprobs.then_some([]),
        };
        self.put(name, body);
    }

    /// All of a text.
    fn put_text(&mut self, name: &'static str, place: Place, text: &str, with_logprobs: bool) {
        let body = EventBody::Text {
            place,
            text: text.to_owned(),
            logprobs: with_logprobs.then_some([]),
        };
        self.put(name, body);
    }

    /// The end of the parts of message or reasoning.
    pub(super) fn end_parts(&mut self, place: &Place, content: &[ContentPart]) {
        for part in content {
            let (name, with_logprobs) = match part {
                ContentPart::OutputText { .. } => ("response.output_text.done", true),
                ContentPart::ReasoningText { .. } => ("response.reasoning_text.done", false),
            };
            self.put_text(name, place.clone(), part.text(), with_logprobs);
            let part = EventBody::Part {
                place: place.clone(),
                part: part.clone(),
            };
            self.put("response.content_part.done", part);
        }
    }

    /// A summary in one piece.
    pub(super) fn put_summary(&mut self, place: Place, text: &str) {
        let place = Place {
            content_index: None,
            summary_index: Some(0),
            ..place
        };
        let part = |text: &str| EventBody::Summary {
            place: place.clone(),
            part: SummaryPart::SummaryText {
                text: text.to_owned(),
            },
        };
        self.put("response.reasoning_summary_part.added", part(""));
        let name = "response.reasoning_summary_text.delta";
        self.put_delta(name, place.clone(), text, false);
        let name = "response.reasoning_summary_text.done";
        self.put_text(name, place.clone(), text, false);
        self.put("response.reasoning_summary_part.done", part(text));
    }

    /// The input of a custom call in one piece.
    pub(super) fn put_input(&mut self, place: Place, input: &str) {
        let name = "response.custom_tool_call_input.delta";
        self.put_delta(name, place.clone(), input, false);
        let input = input.to_owned();
        let done = EventBody::Input { place, input };
        self.put("response.custom_tool_call_input.done", done);
    }
}
