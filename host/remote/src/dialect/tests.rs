//! What each dialect makes of a request, field by field against the lists in tests/fields.

use std::{collections::BTreeMap, sync::Arc};

use weir_engine::{Constraint, Form, Gbnf, LogitsProcessor, StopConditions};

use super::*;

#[derive(Debug)]
struct Bytes(Vec<[u8; 1]>);

impl TokenTexts for Bytes {
    fn bytes(&self, token: u32) -> &[u8] {
        &self.0[token as usize]
    }
}

fn bytes() -> Bytes {
    Bytes((0..=u8::MAX).map(|byte| [byte]).collect())
}

#[derive(Deserialize)]
struct Protocol {
    fields: BTreeMap<String, Vec<String>>,
    /// The same of a chat.
    chat: BTreeMap<String, Vec<String>>,
}

/// Held to a form or to a grammar alone.
#[derive(Debug)]
struct Held {
    form: Option<Form>,
    special_tokens: bool,
}

impl Constraint for Held {
    fn processor(&self, _: &[u32]) -> Box<dyn LogitsProcessor> {
        unreachable!("masks are the engine's")
    }

    fn form(&self) -> Option<Form> {
        self.form.clone()
    }

    fn gbnf(&self) -> Result<Gbnf, String> {
        Ok(Gbnf {
            text: "root ::= \"a\"".to_owned(),
            special_tokens: self.special_tokens,
        })
    }
}

const SCHEMA: &str = r#"{"type":"object"}"#;

fn held(form: Option<Form>) -> Option<Arc<dyn Constraint>> {
    Some(Arc::new(Held {
        form,
        special_tokens: false,
    }))
}

fn forms() -> [Option<Form>; 4] {
    [
        Some(Form::Json(SCHEMA.to_owned())),
        Some(Form::Regex("a+".to_owned())),
        Some(Form::Choice(vec!["a".to_owned(), "b".to_owned()])),
        None,
    ]
}

/// A chat with everything that this dialect can ask for.
fn chat(dialect: Dialect) -> SequenceRequest {
    let mut fields = json!({"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function", "function": {"name": "f"}}],
        "chat_template_kwargs": {"enable_thinking": false}});
    if dialect != Dialect::Llama {
        fields["continue_final_message"] = json!(true);
        fields["add_generation_prompt"] = json!(false);
    }
    let mut request = everything(dialect);
    request.prompt = fields.to_string().bytes().map(u32::from).collect();
    request.sampling.logprobs = None;
    if dialect == Dialect::Llama {
        request.stop.stop_token_ids.clear();
    }
    request
}

/// The types that a value may be said to be of.
fn kinds(value: &Value) -> Vec<String> {
    let inner = |values: &mut dyn Iterator<Item = &Value>, what: &str| {
        let kinds: Vec<_> = values.map(kinds).collect();
        let common = kinds.first().into_iter().flatten();
        let common = common.filter(|kind| kinds.iter().all(|other| other.contains(kind)));
        let of: Vec<_> = common.map(|kind| format!("{what} of {kind}")).collect();
        [vec![what.to_owned()], of].concat()
    };
    match value {
        Value::Null => vec!["null".to_owned()],
        Value::Bool(_) => vec!["boolean".to_owned()],
        Value::Number(number) if number.is_f64() => vec!["number".to_owned()],
        Value::Number(_) => vec!["integer".to_owned(), "number".to_owned()],
        Value::String(_) => vec!["string".to_owned()],
        Value::Array(values) => inner(&mut values.iter(), "array"),
        Value::Object(values) => inner(&mut values.values(), "object"),
    }
}

/// Everything that this dialect can ask for.
fn everything(dialect: Dialect) -> SequenceRequest {
    let all = dialect == Dialect::Vllm;
    let llama = dialect == Dialect::Llama;
    SequenceRequest {
        prompt: b"hi".map(u32::from).to_vec(),
        embeddings: None,
        sampling: SamplingParams {
            temperature: 0.7,
            top_k: 5,
            top_p: 0.9,
            min_p: 0.1,
            typical_p: if llama { 0.5 } else { 1.0 },
            repetition_penalty: 1.1,
            presence_penalty: 0.5,
            frequency_penalty: -0.5,
            logit_bias: vec![(65, -100.0)],
            allowed_tokens: all.then(|| vec![1, 2]),
            bad_words: if all {
                vec![vec![97], vec![32, 97], vec![98]]
            } else {
                Vec::new()
            },
            seed: Some(u64::MAX),
            logprobs: Some(if dialect == Dialect::Sglang { 0 } else { 3 }),
            prompt_logprobs: None,
        },
        stop: StopConditions {
            max_tokens: Some(9),
            min_tokens: if llama { 0 } else { 2 },
            stop_token_ids: vec![7],
            strings: vec!["END".to_owned()],
            ignore_eos: true,
            ..StopConditions::default()
        },
        constraint: None,
        pooling: None,
        priority: if llama { 0 } else { 4 },
    }
}

fn body(dialect: Dialect, request: &SequenceRequest, prompt: PromptForm) -> Result<Value, String> {
    let asked = Asked {
        request,
        model: "m",
        prompt,
        max_tokens: Some(9),
        extras: true,
        texts: &bytes(),
    };
    dialect.body(&asked).map_err(|error| error.to_string())
}

const DOCUMENTED: [(Dialect, &str); 3] = [
    (Dialect::Vllm, include_str!("../../tests/fields/vllm.json")),
    (
        Dialect::Sglang,
        include_str!("../../tests/fields/sglang.json"),
    ),
    (
        Dialect::Llama,
        include_str!("../../tests/fields/llama.json"),
    ),
];

#[test]
fn every_field_is_one_of_the_engines_protocol() {
    for (dialect, protocol) in DOCUMENTED {
        let protocol: Protocol = serde_json::from_str(protocol).expect("a protocol");
        let forms = || forms().into_iter().map(held).chain([None]);
        let asked = [PromptForm::Ids, PromptForm::Text, PromptForm::Messages];
        let asked = asked
            .into_iter()
            .flat_map(|prompt| forms().map(move |form| (prompt, form)));
        for (prompt, constraint) in asked {
            let (mut request, fields) = match prompt {
                PromptForm::Messages => (chat(dialect), &protocol.chat),
                _ => (everything(dialect), &protocol.fields),
            };
            request.constraint = constraint;
            let body = body(dialect, &request, prompt).expect("a body");
            for (name, value) in body.as_object().expect("an object") {
                let known = fields.get(name);
                let known = known.unwrap_or_else(|| panic!("{dialect:?} has no field {name}"));
                let kinds = kinds(value);
                let fits = known.iter().any(|kind| kinds.contains(kind));
                assert!(fits, "{dialect:?} {name}: {value} is none of {known:?}");
            }
        }
    }
}

#[test]
fn the_bodies_are_these() {
    let common = json!({"model": "m", "prompt": [104, 105], "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 9,
        "temperature": 0.7, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": -0.5, "seed": -1, "logit_bias": {"65": -100.0},
        "stop": ["END"]});
    let with = |more: Value| {
        let mut body = common.clone();
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        body
    };
    let cases = [
        (
            Dialect::Vllm,
            with(
                json!({"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 2, "stop_token_ids": [7], "ignore_eos": true,
                "allowed_token_ids": [1, 2], "bad_words": ["a", "b"], "priority": 4, "logprobs": 3, "return_tokens_as_token_ids": true,
                "include_stop_str_in_output": true, "skip_special_tokens": false, "spaces_between_special_tokens": false,
                "add_special_tokens": false, "return_token_ids": true}),
            ),
        ),
        (
            Dialect::Sglang,
            with(
                json!({"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 2, "stop_token_ids": [7], "ignore_eos": true,
                "priority": 4, "logprobs": 0, "no_stop_trim": true, "skip_special_tokens": false, "return_token_ids": true}),
            ),
        ),
        (
            Dialect::Llama,
            json!({"prompt": [104, 105], "stream": true, "n_predict": 9, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1,
                "typical_p": 0.5, "repeat_penalty": 1.1, "repeat_last_n": 11, "presence_penalty": 0.5, "frequency_penalty": -0.5,
                "ignore_eos": true, "logit_bias": [[65, -100.0]], "seed": 0, "n_probs": 3, "return_tokens": true}),
        ),
    ];
    for (dialect, expected) in cases {
        let body = body(dialect, &everything(dialect), PromptForm::Ids);
        assert_eq!(body, Ok(expected), "{dialect:?}");
    }
}

#[test]
fn what_changes_nothing_is_said_where_engines_have_defaults_of_their_own() {
    let request = SequenceRequest {
        sampling: SamplingParams::default(),
        stop: StopConditions::default(),
        priority: 0,
        ..everything(Dialect::Llama)
    };
    let off = |dialect, names: [&str; 4]| {
        let body = body(dialect, &request, PromptForm::Ids).expect("a body");
        names.map(|name| body[name].clone())
    };
    let names = ["temperature", "top_p", "top_k", "min_p"];
    assert_eq!(
        off(Dialect::Vllm, names),
        [json!(1.0), json!(1.0), json!(0), json!(0.0)]
    );
    assert_eq!(
        off(Dialect::Sglang, names),
        [json!(1.0), json!(1.0), json!(-1), json!(0.0)]
    );
    assert_eq!(
        off(Dialect::Llama, names),
        [json!(1.0), json!(1.0), json!(0), json!(0.0)]
    );
    let none = json!(null);
    assert_eq!(
        off(Dialect::Openai, names),
        [json!(1.0), json!(1.0), none.clone(), none]
    );
}

#[test]
fn forms_go_into_each_engines_own_fields() {
    let grammar = "root ::= \"a\"";
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}});
    let (ids, messages) = (PromptForm::Ids, PromptForm::Messages);
    let vllm = [
        json!({"json": schema}),
        json!({"regex": "a+"}),
        json!({"choice": ["a", "b"]}),
        json!({"grammar": grammar}),
    ];
    let cases = [
        (
            Dialect::Vllm,
            ids,
            vllm.clone().map(|told| ("structured_outputs", told)),
        ),
        (
            Dialect::Vllm,
            messages,
            vllm.map(|told| ("structured_outputs", told)),
        ),
        (
            Dialect::Sglang,
            ids,
            [
                ("json_schema", json!(SCHEMA)),
                ("regex", json!("a+")),
                ("ebnf", json!(grammar)),
                ("ebnf", json!(grammar)),
            ],
        ),
        (
            Dialect::Sglang,
            messages,
            [
                ("response_format", format.clone()),
                ("regex", json!("a+")),
                ("ebnf", json!(grammar)),
                ("ebnf", json!(grammar)),
            ],
        ),
        (
            Dialect::Llama,
            ids,
            [(); 4].map(|()| ("grammar", json!(grammar))),
        ),
    ];
    for (dialect, prompt, expected) in cases {
        for (form, (field, told)) in forms().into_iter().zip(expected) {
            let mut request = match prompt {
                PromptForm::Messages => chat(dialect),
                _ => everything(dialect),
            };
            request.constraint = held(form);
            let body = body(dialect, &request, prompt).expect("a body");
            assert_eq!(body[field], told, "{dialect:?} {prompt:?}");
        }
    }
}

#[test]
fn what_no_field_can_say_is_refused() {
    let plain = || SequenceRequest {
        sampling: SamplingParams::default(),
        stop: StopConditions::default(),
        priority: 0,
        ..everything(Dialect::Llama)
    };
    for (dialect, special_tokens, words) in [
        (Dialect::Openai, false, "no grammar"),
        (Dialect::Vllm, true, "special tokens"),
        (Dialect::Sglang, true, "special tokens"),
    ] {
        let form = None;
        let request = SequenceRequest {
            constraint: Some(Arc::new(Held {
                form,
                special_tokens,
            })),
            ..plain()
        };
        let refused = body(dialect, &request, PromptForm::Ids).expect_err(words);
        assert!(refused.contains(words), "{dialect:?}: {refused}");
    }
}

#[test]
fn a_chat_is_as_the_model_wrote_it() {
    for (dialect, expected) in [
        (
            Dialect::Vllm,
            json!({"tool_choice": "none", "skip_special_tokens": false}),
        ),
        (
            Dialect::Sglang,
            json!({"tool_choice": "auto", "skip_special_tokens": false, "separate_reasoning": false}),
        ),
        (
            Dialect::Llama,
            json!({"tool_choice": "none", "reasoning_format": "none"}),
        ),
    ] {
        let body = body(dialect, &chat(dialect), PromptForm::Messages).expect("a body");
        for (field, value) in expected.as_object().expect("an object") {
            assert_eq!(&body[field], value, "{dialect:?} {field}");
        }
        assert!(body.get("prompt").is_none());
        assert!(body.get("return_token_ids").is_none());
    }
}
