//! Our own templates against the corpus: one file a case, expected text written by hand.

#![allow(clippy::unwrap_used)] // a test may panic

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_prompt::{ChatTemplate, Conversation, PromptError, SpecialTokens};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    template: String,
    messages: Vec<Value>,
    tools: Vec<Value>,
    add_generation_prompt: bool,
    #[serde(default)]
    continue_final_message: bool,
    expected: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn template(name: &str) -> ChatTemplate {
    let source =
        std::fs::read_to_string(root().join("chat_templates").join(format!("{name}.jinja")))
            .unwrap();
    ChatTemplate::new(&source, SpecialTokens::default()).unwrap()
}

fn names() -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files("chat_templates", "jinja").iter().map(stem).collect()
}

#[test]
fn corpus() {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for path in files("tests/corpora/chat_templates", "json") {
        let case: Case = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let conversation = Conversation {
            messages: case.messages,
            tools: case.tools,
            add_generation_prompt: case.add_generation_prompt,
            continue_final_message: case.continue_final_message,
            ..Conversation::default()
        };
        let rendered = template(&case.template).render(&conversation).unwrap();
        assert_eq!(rendered, case.expected, "{}", path.display());
        *counts.entry(case.template).or_default() += 1;
    }
    for name in names() {
        assert!(
            counts.get(&name).is_some_and(|count| *count >= 2),
            "{name} has fewer than two cases"
        );
    }
}

#[test]
fn all_take_tools_and_say_what_they_are_for() {
    for path in files("chat_templates", "jinja") {
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.starts_with("{#- For "), "{}", path.display());
        assert!(
            ChatTemplate::new(&source, SpecialTokens::default())
                .unwrap()
                .takes_tools(),
            "{}",
            path.display()
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        r#"[{\["a:1,\]}]{0,8}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(KEYS), inner), 0..4).prop_map(|pairs| {
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

const KEYS: &[&str] = &[
    "type",
    "text",
    "name",
    "arguments",
    "function",
    "id",
    "content",
    "tool_calls",
];
const ROLES: &[&str] = &[
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "stranger",
];

fn any_message() -> impl Strategy<Value = Value> {
    let call = any_json().prop_map(
        |arguments| json!({"id": "1", "function": {"name": "f", "arguments": arguments}}),
    );
    let calls = prop_oneof![
        any_json(),
        prop::collection::vec(call, 0..3).prop_map(Value::from)
    ];
    (
        prop::sample::select(ROLES),
        any_json(),
        prop::option::of(calls),
    )
        .prop_map(|(role, content, calls)| {
            let mut message = json!({"role": role, "content": content});
            if let Some(calls) = calls {
                message["tool_calls"] = calls;
            }
            message
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_messages_render_or_are_the_requests_fault(
        messages in prop::collection::vec(any_message(), 0..5),
        tools in prop::collection::vec(any_json(), 0..2),
        add_generation_prompt in any::<bool>(),
        continue_final_message in any::<bool>(),
    ) {
        let conversation =
            Conversation { messages, tools, add_generation_prompt, continue_final_message, ..Conversation::default() };
        for (name, template) in TEMPLATES.iter() {
            if let Err(error) = template.render(&conversation) {
                prop_assert!(error.is_request(), "{name}: {error}");
            }
        }
    }

    /// Past arguments come from a model: whatever they are, the conversation goes on.
    #[test]
    fn any_past_arguments_render(arguments in any_json()) {
        let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let messages = vec![
            json!({"role": "user", "content": "x"}),
            json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        ];
        let conversation = Conversation { messages, ..Conversation::default() };
        for (name, template) in TEMPLATES.iter() {
            let rendered = template.render(&conversation);
            prop_assert!(!matches!(rendered, Err(PromptError::Render(_))), "{name}: {rendered:?}");
            prop_assert!(rendered.is_ok());
        }
    }
}

static TEMPLATES: std::sync::LazyLock<Vec<(String, ChatTemplate)>> =
    std::sync::LazyLock::new(|| {
        names()
            .into_iter()
            .map(|name| (name.clone(), template(&name)))
            .collect()
    });
