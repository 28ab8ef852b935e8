//! A client that adds up the events of a streamed response has the plain answer.

use serde_json::{Value, json};

use crate::{
    responses::{events, respond, tools, with_both},
    server::Setup,
};

/// The response that a client makes of the events alone, without believing the last one.
fn fold(events: &[Value]) -> Value {
    let mut response = events[0]["response"].clone();
    let mut items: Vec<Value> = Vec::new();
    for event in events {
        let index = event["output_index"]
            .as_u64()
            .map(|index| usize::try_from(index).unwrap());
        let name = event["type"].as_str().unwrap();
        match (name, index) {
            ("response.output_item.added", Some(index)) => {
                assert_eq!(index, items.len());
                items.push(event["item"].clone());
            }
            ("response.output_item.done", Some(index)) => {
                items[index]["status"] = event["item"]["status"].clone();
                assert_eq!(items[index], event["item"]);
            }
            (_, Some(index)) => {
                assert_eq!(event["item_id"], items[index]["id"], "{event}");
                fold_into(&mut items[index], name, event);
            }
            ("response.created" | "response.in_progress", None) => {}
            (_, None) => {
                for field in ["status", "completed_at", "usage", "incomplete_details"] {
                    response[field] = event["response"][field].clone();
                }
                response["output"] = Value::from(items.clone());
                assert_eq!(response, event["response"]);
            }
        }
    }
    response
}

fn fold_into(item: &mut Value, name: &str, event: &Value) {
    let (list, index) = match event.get("summary_index") {
        Some(index) => ("summary", index.as_u64()),
        None => ("content", event["content_index"].as_u64()),
    };
    let text = match (item["type"].as_str().unwrap(), index) {
        ("function_call", _) => &mut item["arguments"],
        ("custom_tool_call", _) => &mut item["input"],
        (_, Some(_)) if name.ends_with("_part.added") => {
            item[list]
                .as_array_mut()
                .unwrap()
                .push(event["part"].clone());
            return;
        }
        (_, Some(index)) => {
            let part = &mut item[list][usize::try_from(index).unwrap()];
            if name.ends_with("_part.done") {
                assert_eq!(*part, event["part"]);
                return;
            }
            &mut part["text"]
        }
        other => panic!("{name}: {other:?}"),
    };
    if name.ends_with(".delta") {
        let grown = format!(
            "{}{}",
            text.as_str().unwrap(),
            event["delta"].as_str().unwrap()
        );
        *text = grown.into();
        return;
    }
    let whole = ["text", "arguments", "input"]
        .into_iter()
        .find_map(|key| event.get(key));
    assert_eq!(Some(&*text), whole, "{event}");
}

/// The same without what differs from answer to answer.
fn without_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match key.as_str() {
                    "id" | "call_id" | "created_at" | "completed_at" | "cached_tokens" => {
                        *value = value.is_null().into()
                    }
                    _ => without_ids(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_ids),
        _ => {}
    }
}

/// What the model says, and the fields beside the input.
fn cases() -> Vec<(&'static str, (Vec<&'static str>, Value))> {
    let call = |name| vec!["<call>", name, "{\"input\"", ":\"a\"}", "</call>"];
    let think = vec!["a ", "thought", "</think>"];
    let with_tools = json!({"tools": tools()});
    let no_tools = json!({"reasoning": {"summary": "detailed"}});
    vec![
        (
            "calls only",
            ([think.clone(), call("f")].concat(), with_tools.clone()),
        ),
        (
            "text then call",
            (
                [think.clone(), vec!["te", "xt"], call("crm__f")].concat(),
                with_tools.clone(),
            ),
        ),
        (
            "call then text",
            (
                [think.clone(), call("patch"), vec!["te", "xt"]].concat(),
                with_tools.clone(),
            ),
        ),
        (
            "reasoning then text",
            ([think.clone(), vec!["te", "xt"]].concat(), no_tools.clone()),
        ),
        (
            "two calls",
            (
                [think.clone(), call("f"), call("patch")].concat(),
                with_tools.clone(),
            ),
        ),
        (
            "a tool nobody offered",
            ([think.clone(), call("nope")].concat(), with_tools.clone()),
        ),
        (
            "cut in text",
            (
                [think.clone(), vec!["te", "xt", "!"]].concat(),
                json!({"max_output_tokens": 4}),
            ),
        ),
        (
            "cut in reasoning",
            (think.clone(), json!({"max_output_tokens": 1})),
        ),
        (
            "cut in a call",
            (
                [think.clone(), call("f")].concat(),
                json!({"tools": tools(), "max_output_tokens": 6, "tool_call_streaming": "complete"}),
            ),
        ),
        ("empty", (think.clone(), no_tools)),
        ("nothing at all", (vec!["</think>"], with_tools)),
    ]
}

#[tokio::test]
async fn folded_events_are_the_plain_answer() {
    for (case, (answer, more)) in cases() {
        let server = Setup::saying(&[&answer, &answer]).model(with_both).start();
        let events = events(&server, more.clone()).await;
        let mut folded = fold(&events);
        let mut plain = respond(&server, more).await;
        without_ids(&mut folded);
        without_ids(&mut plain);
        assert_eq!(folded, plain, "{case}");
    }
}
