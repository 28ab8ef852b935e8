//! `weir parse` over a small fake: every field of the input, the shape of the output, and unusable lines.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_output::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, OnError, Parser, ParserInfo,
    ParserSession, PluginError, PluginErrorKind, PostProcessor, PostProcessorInfo,
    PostProcessorSession, RequestContext, Tool, ToolChoice,
};

use super::*;

/// Both a parser and a session: a call is `<f ARGUMENTS>`; content tells the kinds and the context on request (`?`);
/// `#` traps.
#[derive(Default)]
struct Angles {
    info: ParserInfo,
    context: RequestContext,
    open: bool,
    next: u32,
}

impl Parser for Angles {
    fn info(&self) -> &ParserInfo {
        &self.info
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        Ok(Box::new(Self {
            context: context.clone(),
            ..Self::default()
        }))
    }
}

impl ParserSession for Angles {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let control = fragment.kind == FragmentKind::Control;
        for letter in fragment.text.chars() {
            let index = self.next;
            match letter {
                '#' => {
                    let kind = PluginErrorKind::Trap("fake".to_owned());
                    return Err(PluginError {
                        plugin: "angles".to_owned(),
                        call: "push",
                        kind,
                    });
                }
                '<' => {
                    self.open = true;
                    events.push(Event::CallBegin {
                        index,
                        id: None,
                        name: "f".to_owned(),
                    });
                }
                '>' if self.open => {
                    self.open = false;
                    self.next += 1;
                    events.push(Event::CallEnd { index });
                }
                letter if self.open => events.push(Event::CallArguments {
                    index,
                    delta: letter.to_string(),
                }),
                '?' => events.push(content(&format!("{control} {:?}", self.context))),
                letter => events.push(content(&letter.to_string())),
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        if self.open {
            events.push(Event::CallAbandoned {
                index: self.next,
                raw: "cut".to_owned(),
            });
        }
        Ok(())
    }
}

/// Says how long each piece of content is: chunking shows.
#[derive(Default)]
struct Lengths {
    info: PostProcessorInfo,
}

impl PostProcessor for Lengths {
    fn info(&self) -> &PostProcessorInfo {
        &self.info
    }

    fn session(&self, _: &RequestContext) -> Result<Box<dyn PostProcessorSession>, PluginError> {
        Ok(Box::new(Self::default()))
    }
}

impl PostProcessorSession for Lengths {
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), PluginError> {
        if let Event::Content(fragment) = event {
            actions.push(Action::Emit(content(&format!(
                "{} ",
                fragment.text.chars().count()
            ))));
        }
        Ok(())
    }

    fn finish(&mut self, _: FinishReason, _: &mut Vec<Action>) -> Result<(), PluginError> {
        Ok(())
    }
}

fn content(text: &str) -> Event {
    Event::Content(Fragment {
        text: text.to_owned(),
        kind: FragmentKind::Text,
    })
}

fn angles(on_error: OnError) -> ParseOptions {
    ParseOptions {
        tools: Some(Configured::new(Arc::new(Angles::default()), on_error)),
        ..Default::default()
    }
}

fn lengths() -> ParseOptions {
    let info = PostProcessorInfo {
        interests: Interests {
            content: true,
            ..Default::default()
        },
        ..Default::default()
    };
    ParseOptions {
        post: vec![Configured::new(Arc::new(Lengths { info }), OnError::Fail)],
        ..Default::default()
    }
}

fn run_one(case: &Value, options: &ParseOptions) -> Value {
    let mut output = Vec::new();
    run(case.to_string().as_bytes(), &mut output, options)
        .unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&output).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn answers_have_the_documented_shape() {
    let case = json!({"id": "x", "text": "<{\"a\":1}>", "chunking": "chars:2"});
    let expected = r#"{"id":"x","message":{"content":null,"reasoning_content":null,"tool_calls":[{"id":"call_000000000000000000000000","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls","error":null}"#;
    let mut output = Vec::new();
    run(
        case.to_string().as_bytes(),
        &mut output,
        &angles(OnError::Fail),
    )
    .unwrap();
    assert_eq!(String::from_utf8(output).unwrap(), format!("{expected}\n"));
}

#[test]
fn finish_reasons_follow_input_and_calls() {
    let options = angles(OnError::Fail);
    let named = json!({"type": "function", "function": {"name": "f"}});
    for (case, expected) in [
        (json!({"text": "a"}), "stop"),
        (json!({"text": "a", "finish_reason": "length"}), "length"),
        (json!({"text": "<{}>", "finish_reason": "length"}), "length"),
        (json!({"text": "<{}>", "tool_choice": named}), "stop"),
        (json!({"text": "<{}>", "tool_choice": "none"}), "stop"),
        (json!({"text": "<{"}), "stop"),
    ] {
        assert_eq!(
            run_one(&case, &options)["finish_reason"],
            expected,
            "{case}"
        );
    }
}

#[test]
fn sessions_are_told_about_the_case() {
    let case = json!({
        "chunks": [{"text": "?", "control": true}, {"text": "?"}, "?"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1e5, "a": 2}, "strict": true}}],
        "tool_choice": "required",
        "prompt": "<think>",
    });
    let tool = Tool {
        name: "f".into(),
        description: None,
        parameters: r#"{"b":100000.0,"a":2}"#.into(),
        strict: true,
    };
    let context = RequestContext {
        tools: vec![tool],
        tool_choice: ToolChoice::Required,
        parallel_tool_calls: true,
        prompt_tail: "<think>".into(),
        ..Default::default()
    };
    let answer = run_one(&case, &angles(OnError::Fail));
    assert_eq!(
        answer["message"]["content"],
        format!("true {context:?}false {context:?}false {context:?}")
    );
}

#[test]
fn tool_call_streaming_and_choice_none() {
    let case = json!({"text": "a<{"});
    let cut = run_one(&case, &angles(OnError::Fail));
    assert_eq!(
        cut["message"]["tool_calls"][0]["function"]["arguments"],
        "{"
    );
    let complete = ParseOptions {
        tool_call_streaming: ToolCallStreaming::Complete,
        ..angles(OnError::Fail)
    };
    let message = run_one(&case, &complete)["message"].clone();
    assert_eq!(
        message,
        json!({"content": "acut", "reasoning_content": null, "tool_calls": []})
    );
    let none = run_one(&json!({"text": "<{}>", "tool_choice": "none"}), &complete);
    assert_eq!(none["message"]["content"], "<{}>");
}

#[test]
fn chunkings_cut_text_and_leave_control_chunks_whole() {
    let chunks = json!(["ab", "cdé", {"text": "<tool>", "control": true}, "fg", ""]);
    for (chunking, expected) in [
        (json!(null), "2 3 6 2 "),
        (json!("whole"), "5 6 2 "),
        (json!("chars:1"), "1 1 1 1 1 6 1 1 "),
        (json!("chars:4"), "4 1 6 2 "),
    ] {
        let answer = run_one(&json!({"chunks": chunks, "chunking": chunking}), &lengths());
        assert_eq!(answer["message"]["content"], expected, "{chunking}");
    }
    let random = |seed: &str| {
        let case = json!({"text": "x".repeat(500), "chunking": format!("random:{seed}")});
        run_one(&case, &lengths())["message"]["content"].clone()
    };
    assert_eq!(random("1"), random("1"));
    assert_ne!(random("1"), random("2"));
}

#[test]
fn a_plugin_error_stands_in_its_case_alone() {
    let input =
        "{\"id\":1,\"text\":\"a#b\",\"chunking\":\"chars:1\"}\n\n{\"id\":2,\"text\":\"c\"}\n";
    for (on_error, content, finish_reason) in [
        (OnError::Fail, "a", json!(null)),
        (OnError::Passthrough, "a#b", json!("stop")),
    ] {
        let mut output = Vec::new();
        run(input.as_bytes(), &mut output, &angles(on_error)).unwrap();
        let answers: Vec<Value> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0]["message"]["content"], content);
        assert_eq!(answers[0]["finish_reason"], finish_reason);
        assert_eq!(
            answers[0]["error"],
            "plugin `angles`, call `push`: trapped: fake"
        );
        assert_eq!(
            (&answers[1]["message"]["content"], &answers[1]["error"]),
            (&json!("c"), &json!(null))
        );
    }
}

#[test]
fn events_are_printed_on_request() {
    let options = ParseOptions {
        events: true,
        ..angles(OnError::Fail)
    };
    let answer = run_one(&json!({"text": "a<{}>"}), &options);
    let id = "call_000000000000000000000000";
    let expected = json!([
        {"type": "content", "text": "a", "kind": "text"},
        {"type": "call_begin", "index": 0, "id": id, "name": "f"},
        {"type": "call_arguments", "index": 0, "delta": "{"},
        {"type": "call_arguments", "index": 0, "delta": "}"},
        {"type": "call_end", "index": 0},
    ]);
    assert_eq!(answer["events"], expected);
}

#[test]
fn unusable_input_names_its_line_after_answering_the_lines_before() {
    for (bad, expected) in [
        ("{", "EOF while parsing"),
        ("[]", "invalid"),
        ("{}", "either `text` or `chunks`"),
        (r#"{"text":"a","chunks":[]}"#, "either `text` or `chunks`"),
        (r#"{"chunks":[1]}"#, "a chunk is a string or"),
        (
            r#"{"text":"a","finish_reason":"tool_calls"}"#,
            "unknown variant",
        ),
        (r#"{"text":"a","tool_choice":"maybe"}"#, "tool_choice is"),
        (
            r#"{"text":"a","tools":[{"name":"f"}]}"#,
            "missing field `function`",
        ),
        (r#"{"text":"a","chunking":"chars:0"}"#, "not `chars:0`"),
    ] {
        let mut output = Vec::new();
        let input = format!("{{\"text\":\"ok\"}}\n{bad}\n{{\"text\":\"never\"}}\n");
        let error = run(input.as_bytes(), &mut output, &ParseOptions::default()).unwrap_err();
        assert_eq!(error.line, 2, "{bad}");
        assert!(error.message.contains(expected), "{bad}: {}", error.message);
        assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}

/// Splits of this text under these options, in JSON.
fn splits(text: &str, options: &ParseOptions, bounds: Bounds) -> Value {
    let case: Case = serde_json::from_value(json!({"text": text})).unwrap();
    let splits = Splits::of(&Input::of(case).unwrap(), options, bounds);
    serde_json::to_value(splits).unwrap()
}

#[test]
fn the_smallest_split_is_the_first_single_cut_that_changes_the_message() {
    let found = splits("a\u{e9}c", &lengths(), Bounds::default());
    // Lengths of the pieces are content, so each cut shows.
    assert_eq!(found["differing"], json!([1, 2]));
    assert_eq!(found["smallest"]["cuts"], json!([1]));
    assert_eq!(found["smallest"]["fragments"][1]["text"], "\u{e9}c");
    assert_eq!(found["whole"]["message"]["content"], "3 ");
    assert_eq!(found["smallest"]["answer"]["message"]["content"], "1 2 ");
}

#[test]
fn a_text_that_no_cut_changes_is_cut_in_every_way_there_is() {
    let found = splits("a<b>c", &angles(OnError::Fail), Bounds::default());
    // Four single cuts, six pairs, fifty at random and one everywhere.
    assert_eq!((&found["tried"], &found["ways"]), (&json!(61), &json!(61)));
    assert_eq!(found["smallest"], Value::Null);
}

#[test]
fn a_search_without_time_tries_nothing_and_says_so() {
    let bounds = Bounds::new(std::time::Duration::ZERO, 1000);
    let found = splits("a<b>c", &angles(OnError::Fail), bounds);
    assert_eq!((&found["tried"], &found["ways"]), (&json!(0), &json!(4)));
    assert!(found["whole"]["error"].as_str().unwrap().contains("longer"));
}

#[test]
fn a_run_that_says_too_much_is_given_up() {
    let bounds = Bounds::new(std::time::Duration::from_secs(3600), 2);
    let found = splits("abcd", &angles(OnError::Fail), bounds);
    assert!(
        found["whole"]["error"]
            .as_str()
            .unwrap()
            .contains("more than")
    );
}

#[test]
fn steps_show_what_came_and_the_fragment_that_failed() {
    let case: Case = serde_json::from_value(json!({"chunks": ["a<", "b", "#", "c"]})).unwrap();
    let input = Input::of(case).unwrap();
    let (options, bounds) = (angles(OnError::Fail), Bounds::default());
    let whole = run_case(
        &input.context,
        &input.fragments,
        input.ended,
        &options,
        bounds,
    );
    let steps = steps(&input.context, &input.fragments, &whole, &options, bounds);
    let steps = serde_json::to_value(steps).unwrap();
    let texts: Vec<_> = (0..3)
        .map(|index| steps[index]["fragment"]["text"].clone())
        .collect();
    assert_eq!(texts, [json!("a<"), json!("b"), json!("#")]);
    assert_eq!(steps[1]["events"][0]["delta"], "b");
    assert_eq!(steps.as_array().unwrap().len(), 3);
}
