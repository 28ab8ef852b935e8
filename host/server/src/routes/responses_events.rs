//! The events of a response from a generation's steps, and the response they add up to.
//!
//! Invariants: the plain answer is the response of the last event; an item's events stand between its `added` and its `done`,
//! its index is its place in the output; text and reasoning end where something else begins, calls may overlap. A response
//! that ends is stored before its last event is sent, one that fails is not stored.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use serde_json::Value;
use weir_engine::EngineError;
use weir_output::{Event, FinishReason};
use weir_protocol::responses::{
    ContentPart, EventBody, FailedBecause, Incomplete, Item, ItemStatus, OutputItem, Place,
    ResponseObject, ResponseStatus, Settings, SummaryPart, ToolNames,
};

use super::{responses::new_id, responses_outbox::Outbox};
use crate::{
    error::ApiError,
    generation::{self, ChoiceEnd, Step, Steps},
    response_store::{NewResponse, StoredResponse, Tenant},
    sse::{EventText, Events},
    state::AppState,
};

/// What is stored with a response, and where.
pub(super) struct Keep {
    pub(super) state: Arc<AppState>,
    pub(super) tenant: Tenant,
    /// The items of the request.
    pub(super) input: Vec<Arc<Item>>,
    /// What it follows on.
    pub(super) previous: Option<Arc<StoredResponse>>,
}

/// A response in the making.
pub(super) struct ResponseEvents {
    response: ResponseObject,
    names: ToolNames,
    keep: Option<Keep>,
    /// The places of what is open in the output.
    message: Option<usize>,
    reasoning: Option<usize>,
    /// The calls' numbers and places.
    calls: Vec<(u32, usize)>,
    outbox: Outbox,
}

impl ResponseEvents {
    /// A response by this model, stored as `keep` says.
    pub(super) fn new(
        model: String,
        settings: Settings,
        names: ToolNames,
        keep: Option<Keep>,
    ) -> Self {
        let response = ResponseObject {
            id: new_id("resp"),
            object: "response",
            created_at: now(),
            status: ResponseStatus::InProgress,
            background: false,
            completed_at: None,
            error: None,
            incomplete_details: None,
            model,
            output: Vec::new(),
            usage: None,
            settings,
        };
        let mut events = Self {
            response,
            names,
            keep,
            message: None,
            reasoning: None,
            calls: Vec::new(),
            outbox: Outbox::default(),
        };
        events.put_response("response.created");
        events.put_response("response.in_progress");
        events
    }

    /// The whole response.
    pub(super) async fn answer(mut self, mut steps: Steps) -> Result<ResponseObject, ApiError> {
        while let Some(step) = steps.next().await {
            self.take(step?);
            // They add up to the answer.
            drop(self.outbox.take());
        }
        if self.response.status == ResponseStatus::InProgress {
            return Err(EngineError::Stopped.into());
        }
        Ok(self.response)
    }

    fn take(&mut self, step: Step) {
        for event in step.events {
            self.push(event);
        }
        if let Some(end) = step.end {
            self.finish(end);
        }
    }

    fn push(&mut self, event: Event) {
        match event {
            Event::Content(fragment) => {
                self.close_reasoning(ItemStatus::Completed);
                let index = self.open_message();
                self.grow(index, "response.output_text.delta", &fragment.text);
            }
            Event::Reasoning { text } => {
                self.close_message(ItemStatus::Completed);
                let index = self.open_reasoning();
                self.grow(index, "response.reasoning_text.delta", &text);
            }
            Event::CallBegin { index, id, name } => {
                self.close_reasoning(ItemStatus::Completed);
                self.close_message(ItemStatus::Completed);
                let item = self.call(id.unwrap_or_default(), name);
                let place = self.open(item);
                self.calls.push((index, place));
            }
            Event::CallArguments { index, delta } => {
                let call = self.calls.iter().find(|(call, _)| *call == index);
                let Some((_, place)) = call.copied() else {
                    return;
                };
                self.grow(place, "response.function_call_arguments.delta", &delta);
            }
            Event::CallEnd { index } => self.close_call(index, ItemStatus::Completed),
            // What was sent of a call stands; its status tells.
            Event::CallAbandoned { index, .. } => self.close_call(index, ItemStatus::Incomplete),
        }
    }

    /// An item for a call of what the model calls `name`.
    fn call(&self, call_id: String, name: String) -> OutputItem {
        let status = ItemStatus::InProgress;
        let (name, namespace, custom) = match self.names.of_model(&name) {
            Some(tool) => (tool.name.clone(), tool.namespace.clone(), tool.custom),
            None => (name, None, false),
        };
        if custom {
            return OutputItem::CustomToolCall {
                id: new_id("ctc"),
                call_id,
                name,
                namespace,
                input: String::new(),
                status,
            };
        }
        OutputItem::FunctionCall {
            id: new_id("fc"),
            call_id,
            name,
            namespace,
            arguments: String::new(),
            status,
        }
    }

    fn open_message(&mut self) -> usize {
        if let Some(index) = self.message {
            return index;
        }
        let index = self.open(OutputItem::Message {
            id: new_id("msg"),
            status: ItemStatus::InProgress,
            role: "assistant",
            content: Vec::new(),
        });
        self.open_part(index, ContentPart::output(String::new()));
        self.message = Some(index);
        index
    }

    fn open_reasoning(&mut self) -> usize {
        if let Some(index) = self.reasoning {
            return index;
        }
        let index = self.open(OutputItem::Reasoning {
            id: new_id("rs"),
            summary: Vec::new(),
            content: Vec::new(),
            encrypted_content: None,
            status: ItemStatus::InProgress,
        });
        let text = String::new();
        self.open_part(index, ContentPart::ReasoningText { text });
        self.reasoning = Some(index);
        index
    }

    fn open(&mut self, item: OutputItem) -> usize {
        let output_index = self.response.output.len();
        self.response.output.push(item.clone());
        let body = EventBody::Item { output_index, item };
        self.outbox.put("response.output_item.added", body);
        output_index
    }

    fn open_part(&mut self, index: usize, part: ContentPart) {
        if let OutputItem::Message { content, .. } | OutputItem::Reasoning { content, .. } =
            &mut self.response.output[index]
        {
            content.push(part.clone());
        }
        let place = self.place(index);
        let body = EventBody::Part { place, part };
        self.outbox.put("response.content_part.added", body);
    }

    /// Appends to an item. The input of a custom call is known only when its JSON is whole, so it grows in silence.
    fn grow(&mut self, index: usize, name: &'static str, delta: &str) {
        let place = self.place(index);
        let item = &mut self.response.output[index];
        if let Some(text) = item.text_mut() {
            text.push_str(delta);
        }
        let with_logprobs = match item {
            OutputItem::CustomToolCall { .. } => return,
            OutputItem::Message { .. } => true,
            OutputItem::Reasoning { .. } | OutputItem::FunctionCall { .. } => false,
        };
        self.outbox.put_delta(name, place, delta, with_logprobs);
    }

    fn close_message(&mut self, status: ItemStatus) {
        if let Some(index) = self.message.take() {
            self.close(index, status);
        }
    }

    fn close_reasoning(&mut self, status: ItemStatus) {
        if let Some(index) = self.reasoning.take() {
            self.close(index, status);
        }
    }

    fn close_call(&mut self, call: u32, status: ItemStatus) {
        if let Some(position) = self.calls.iter().position(|(open, _)| *open == call) {
            let (_, index) = self.calls.remove(position);
            self.close(index, status);
        }
    }

    fn close(&mut self, output_index: usize, status: ItemStatus) {
        let place = self.place(output_index);
        let summarize = self.response.settings.reasoning.summary.is_some();
        let item = &mut self.response.output[output_index];
        *item.status_mut() = status;
        match item {
            OutputItem::Message { content, .. } => self.outbox.end_parts(&place, content),
            OutputItem::Reasoning {
                content, summary, ..
            } => {
                self.outbox.end_parts(&place, content);
                if summarize {
                    let text: String = content.iter().map(ContentPart::text).collect();
                    self.outbox.put_summary(place, &text);
                    summary.push(SummaryPart::SummaryText { text });
                }
            }
            OutputItem::FunctionCall {
                name, arguments, ..
            } => {
                let body = EventBody::Arguments {
                    place,
                    name: name.clone(),
                    arguments: arguments.clone(),
                };
                self.outbox
                    .put("response.function_call_arguments.done", body);
            }
            OutputItem::CustomToolCall { input, .. } => {
                *input = custom_input(input);
                self.outbox.put_input(place, input);
            }
        }
        let item = item.clone();
        let body = EventBody::Item { output_index, item };
        self.outbox.put("response.output_item.done", body);
    }

    fn finish(&mut self, end: ChoiceEnd) {
        let (name, item_status, cut) = match end.reason {
            FinishReason::Stop => ("response.completed", ItemStatus::Completed, None),
            FinishReason::Length => (
                "response.incomplete",
                ItemStatus::Incomplete,
                Some("max_output_tokens"),
            ),
            FinishReason::ContentFilter => (
                "response.incomplete",
                ItemStatus::Incomplete,
                Some("content_filter"),
            ),
        };
        // A model that ended its answer has answered, if only with nothing: clients wait for a message or a call.
        let is_answer = |item: &OutputItem| !matches!(item, OutputItem::Reasoning { .. });
        self.close_reasoning(item_status);
        if cut.is_none() && !self.response.output.iter().any(is_answer) {
            self.open_message();
        }
        self.close_message(item_status);
        while let Some((call, _)) = self.calls.first().copied() {
            self.close_call(call, ItemStatus::Incomplete);
        }
        let response = &mut self.response;
        response.usage = Some(generation::usage(&[end], 1).into());
        response.incomplete_details = cut.map(|reason| Incomplete { reason });
        response.status = match cut {
            None => ResponseStatus::Completed,
            Some(_) => ResponseStatus::Incomplete,
        };
        response.completed_at = cut.is_none().then(now);
        if let Some(keep) = self.keep.take() {
            store(keep, &self.response);
        }
        self.put_response(name);
    }

    fn place(&self, output_index: usize) -> Place {
        let item = &self.response.output[output_index];
        let has_parts = matches!(
            item,
            OutputItem::Message { .. } | OutputItem::Reasoning { .. }
        );
        Place {
            item_id: item.id().to_owned(),
            output_index,
            content_index: has_parts.then_some(0),
            summary_index: None,
        }
    }

    fn put_response(&mut self, name: &'static str) {
        let response = Box::new(self.response.clone());
        self.outbox.put(name, EventBody::Response { response });
    }

    fn send(&mut self, text: &mut EventText) {
        for event in self.outbox.take() {
            text.named(event.name, &event);
        }
    }
}

impl Events for ResponseEvents {
    fn step(&mut self, step: Step, text: &mut EventText) {
        self.take(step);
        self.send(text);
    }

    /// The last step's end brought the last event.
    fn end(&mut self, _text: &mut EventText) {}

    fn fail(&mut self, error: ApiError, text: &mut EventText) {
        let open = self.message.into_iter().chain(self.reasoning);
        for index in open.chain(self.calls.iter().map(|(_, index)| *index)) {
            *self.response.output[index].status_mut() = ItemStatus::Incomplete;
        }
        let error = error.into_body();
        self.response.status = ResponseStatus::Failed;
        self.response.error = Some(FailedBecause {
            code: match error.kind {
                "rate_limit_error" => "rate_limit_exceeded",
                _ => "server_error",
            },
            message: error.message,
        });
        self.put_response("response.failed");
        self.send(text);
    }
}

/// The text in the arguments that a custom tool was called with; all of them where the model did not keep to the form.
fn custom_input(arguments: &str) -> String {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(mut fields)) => match fields.remove("input") {
            Some(Value::String(input)) => input,
            _ => arguments.to_owned(),
        },
        _ => arguments.to_owned(),
    }
}

fn store(keep: Keep, response: &ResponseObject) {
    let json = match serde_json::to_string(response) {
        Ok(json) => json,
        Err(error) => unreachable!("a response has string keys: {error}"),
    };
    let output = response
        .output
        .iter()
        .map(|item| Arc::new(Item::of_output(item)));
    let new = NewResponse {
        id: response.id.clone(),
        json,
        input: keep.input,
        output: output.collect(),
        previous: keep.previous,
    };
    keep.state.responses.insert(keep.tenant, new);
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
