//! Where parsers run, tool calls, reasoning and failing plugins, with parsers that are not wasm.

use std::{sync::Arc, thread};

use axum::http::StatusCode;
use serde_json::{Value, json};
use weir_output::{
    Configured, Event, FinishReason, Fragment, OnError, Parser, ParserInfo, ParserSession,
    PluginError, PluginErrorKind, RequestContext, Roles,
};
use weir_server::{ServedModel, active_plugins::ActivePlugins};

use crate::server::{Server, Setup, chat_body, chunks, read, template};

/// Reads `<call>`, a name, arguments, `</call>`, each in tokens of its own; what stands before `</think>` is reasoning, and
/// `<thread>` is replaced by the name of the thread that it is read on.
struct Marks {
    info: ParserInfo,
}

struct MarksSession {
    roles: Roles,
    thinking: bool,
    named: bool,
    call: Option<u32>,
    calls: u32,
}

impl Parser for Marks {
    fn info(&self) -> &ParserInfo {
        &self.info
    }

    fn session(&self, _context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        let roles = self.info.roles;
        Ok(Box::new(MarksSession {
            roles,
            thinking: roles.reasoning,
            named: false,
            call: None,
            calls: 0,
        }))
    }
}

impl ParserSession for MarksSession {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let text = fragment.text.clone();
        match (text.as_str(), self.call) {
            ("<trap>", _) => {
                let kind = PluginErrorKind::Trap("secret".to_owned());
                return Err(PluginError {
                    plugin: "marks".to_owned(),
                    call: "push",
                    kind,
                });
            }
            ("<thread>", _) => {
                let text = thread::current().name().unwrap_or("no name").to_owned();
                events.push(Event::Content(Fragment {
                    text,
                    kind: fragment.kind,
                }));
            }
            ("</think>", _) if self.thinking => self.thinking = false,
            _ if self.thinking => events.push(Event::Reasoning { text }),
            ("<call>", None) if self.roles.tools => {
                (self.call, self.named) = (Some(self.calls), false)
            }
            ("</call>", Some(index)) => {
                events.push(Event::CallEnd { index });
                self.call = None;
                self.calls += 1;
            }
            (_, Some(index)) if self.named => {
                events.push(Event::CallArguments { index, delta: text })
            }
            (_, Some(index)) => {
                events.push(Event::CallBegin {
                    index,
                    id: None,
                    name: text,
                });
                self.named = true;
            }
            (_, None) => events.push(Event::Content(fragment.clone())),
        }
        Ok(())
    }

    fn finish(
        &mut self,
        _reason: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        if let Some(index) = self.call {
            events.push(Event::CallAbandoned {
                index,
                raw: "raw".to_owned(),
            });
        }
        Ok(())
    }
}

pub fn marks(reasoning: bool, tools: bool) -> Configured<dyn Parser> {
    let info = ParserInfo {
        name: "marks".to_owned(),
        roles: Roles { reasoning, tools },
        ..ParserInfo::default()
    };
    Configured::new(Arc::new(Marks { info }), OnError::Fail)
}

pub fn with_tools(model: &mut ServedModel) {
    model.plugins.set(ActivePlugins {
        tool_parser: Some(marks(false, true)),
        ..ActivePlugins::default()
    });
}

/// A model with a parser of both roles, that gives this one answer.
pub fn marking(answer: &[&str]) -> Server {
    let with_both = |model: &mut ServedModel| {
        model.plugins.set(ActivePlugins {
            reasoning_parser: Some(marks(true, true)),
            tool_parser: Some(marks(true, true)),
            ..ActivePlugins::default()
        });
    };
    Setup::saying(&[answer]).model(with_both).start()
}

pub fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])
}

const CALL: &[&str] = &["Well", "<call>", "f", "{\"a\"", ":1}", "</call>"];

fn calling(answer: &[&str]) -> Server {
    Setup::saying(&[answer]).model(with_tools).start()
}

#[tokio::test]
async fn tokens_become_text_and_events_in_the_requests_task() {
    // The runtime of this test has one thread: the test's.
    let body = calling(&["<thread>"]).chat(json!({"tools": tools()})).await;
    let content = &body["choices"][0]["message"]["content"];
    assert_eq!(Some(content.as_str().unwrap()), thread::current().name());
    assert!(content.as_str().unwrap().contains("requests_task"));
}

#[tokio::test]
async fn a_call_in_one_piece() {
    let body = calling(&CALL[1..]).chat(json!({"tools": tools()})).await;
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&Value::Null, &json!("tool_calls"))
    );
    let call = &choice["message"]["tool_calls"][0];
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(
        (&call["type"], &call["function"]),
        (
            &json!("function"),
            &json!({"name": "f", "arguments": "{\"a\":1}"})
        )
    );
}

#[tokio::test]
async fn a_streamed_call_has_its_name_once_and_its_index_always() {
    for keep_name in [false, true] {
        let setup = Setup::saying(&[CALL])
            .model(with_tools)
            .settings(|settings| settings.tool_name_in_every_delta = keep_name);
        let chunks = chunks(&setup.start().stream(json!({"tools": tools()})).await);
        let mut deltas: Vec<Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls").cloned())
            .collect();
        let id = deltas[0][0].as_object_mut().unwrap().remove("id").unwrap();
        assert!(id.as_str().unwrap().starts_with("call_"));
        let later = |arguments: &str| match keep_name {
            false => json!([{"index": 0, "function": {"arguments": arguments}}]),
            true => json!([{"index": 0, "function": {"name": "", "arguments": arguments}}]),
        };
        let first =
            json!([{"index": 0, "type": "function", "function": {"name": "f", "arguments": ""}}]);
        assert_eq!(deltas, [first, later("{\"a\""), later(":1}")]);
        assert_eq!(
            chunks.last().unwrap()["choices"][0]["finish_reason"],
            "tool_calls"
        );
    }
}

#[tokio::test]
async fn a_request_may_ask_for_whole_calls() {
    let chunks = chunks(
        &calling(CALL)
            .stream(json!({"tools": tools(), "tool_call_streaming": "complete"}))
            .await,
    );
    let arguments: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()
        })
        .collect();
    assert_eq!(arguments, ["", "{\"a\":1}"]);
}

#[tokio::test]
async fn a_call_that_was_cut_stands_as_far_as_it_came_streamed_or_not() {
    let cut = json!({"tools": tools(), "max_tokens": 4});
    let body = calling(CALL).chat(cut.clone()).await;
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Well"), &json!("length"))
    );
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(call, &json!({"name": "f", "arguments": "{\"a\""}));
    assert_eq!(streamed(&cut).await, (json!("Well"), call.clone()));
}

#[tokio::test]
async fn a_call_that_was_cut_is_text_where_whole_calls_were_asked_for() {
    let cut = json!({"tools": tools(), "max_tokens": 4, "tool_call_streaming": "complete"});
    let body = calling(CALL).chat(cut.clone()).await;
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], "Wellraw");
    assert!(message.get("tool_calls").is_none());
    assert_eq!(streamed(&cut).await, (json!("Wellraw"), Value::Null));
}

/// Content and first call of a stream, joined.
async fn streamed(body: &Value) -> (Value, Value) {
    let (mut content, mut name, mut arguments) = (String::new(), Value::Null, String::new());
    for chunk in chunks(&calling(CALL).stream(body.clone()).await) {
        let delta = &chunk["choices"][0]["delta"];
        content += delta["content"].as_str().unwrap_or_default();
        let function = &delta["tool_calls"][0]["function"];
        if function["name"].is_string() {
            name = function["name"].clone();
        }
        arguments += function["arguments"].as_str().unwrap_or_default();
    }
    let call = match name {
        Value::Null => Value::Null,
        name => json!({"name": name, "arguments": arguments}),
    };
    (content.into(), call)
}

#[tokio::test]
async fn tools_that_may_not_be_called_are_not_offered() {
    let body = calling(CALL)
        .chat(json!({"tools": tools(), "tool_choice": "none"}))
        .await;
    assert_eq!(
        body["choices"][0]["message"]["content"],
        "Well<call>f{\"a\":1}</call>"
    );
    // The template would have written the tool's name and a newline.
    assert_eq!(body["usage"]["prompt_tokens"], 9);
}

#[tokio::test]
async fn the_recommended_template_serves_where_the_models_takes_no_tools() {
    let start = |recommended: Option<&'static str>| {
        let setup = Setup::saying(&[CALL]).model(move |model| {
            model.chat_template = Some(template("{{ messages[0].content }}"));
            model.plugins.set(ActivePlugins {
                tool_parser: Some(marks(false, true)),
                tool_template: recommended.map(template),
                ..ActivePlugins::default()
            });
        });
        setup.start()
    };
    let body = start(Some(
        "{{ tools[0].function.name }}: {{ messages[0].content }}",
    ))
    .chat(json!({"tools": tools()}))
    .await;
    assert_eq!(body["usage"]["prompt_tokens"], 5);
    let (status, body) = read(
        start(None)
            .post(
                "/v1/chat/completions",
                &chat_body(json!({"tools": tools()})),
            )
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("--chat-template"),
        "{body}"
    );
}

#[tokio::test]
async fn reasoning_has_both_its_names_and_is_counted() {
    let setup = || {
        Setup::saying(&[&["let me", " see", "</think>", "Yes"]]).model(|model| {
            model.plugins.set(ActivePlugins {
                reasoning_parser: Some(marks(true, false)),
                ..ActivePlugins::default()
            });
        })
    };
    let body = setup().start().chat(json!({})).await;
    let message = &body["choices"][0]["message"];
    assert_eq!(
        (
            &message["content"],
            &message["reasoning_content"],
            &message["reasoning"]
        ),
        (&json!("Yes"), &json!("let me see"), &json!("let me see"))
    );
    assert_eq!(
        body["usage"]["completion_tokens_details"]["reasoning_tokens"],
        2
    );
    let chunks = chunks(&setup().start().stream(json!({})).await);
    assert_eq!(
        chunks[1]["choices"][0]["delta"],
        json!({"reasoning_content": "let me", "reasoning": "let me"})
    );
}

#[tokio::test]
async fn a_failing_plugin_ends_its_answer_and_no_other() {
    let server = Setup::saying(&[&["a", "<trap>"], &["b"]])
        .model(with_tools)
        .start();
    let request = chat_body(json!({"tools": tools()}));
    let (status, body) = read(server.post("/v1/chat/completions", &request).await).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.to_string().contains("secret"), "{body}");
    server.until(|counters| counters.blocks_used == 0).await;
    assert_eq!(
        server.chat(json!({"tools": tools()})).await["choices"][0]["message"]["content"],
        "b"
    );
}
