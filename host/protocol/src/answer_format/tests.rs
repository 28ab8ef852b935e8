//! Every spelling, what contradicts itself, and what is wrong in itself.

use serde_json::json;

use super::*;
use crate::{
    ChatRequest, CompletionRequest, GenerateRequest, MessagesRequest, ResponsesRequest,
    generate::GenerateInput,
};

fn chat(fields: Value) -> Result<Option<AnswerFormat>, Invalid> {
    let mut body = json!({"messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut()
        .expect("an object")
        .extend(fields.as_object().expect("an object").clone());
    ChatRequest::from_json(body).map(|request| request.options.answer_format)
}

fn form(fields: Value) -> Option<AnswerForm> {
    let format = chat(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error}"));
    format.map(|format| format.form)
}

#[test]
fn every_spelling_is_understood() {
    let schema = || json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let text = schema().to_string();
    let json = || Some(AnswerForm::JsonSchema(schema()));
    let named = json!({"name": "n", "schema": schema(), "strict": true});
    for fields in [
        json!({"response_format": {"type": "json_schema", "json_schema": named}}),
        json!({"response_format": {"type": "json_schema", "schema": schema()}}),
        json!({"response_format": {"type": "json_object", "schema": schema()}}),
        json!({"guided_json": schema()}),
        json!({"guided_json": text}),
        json!({"structured_outputs": {"json": schema()}}),
        json!({"structured_outputs": {"json": text, "disable_any_whitespace": true}}),
        json!({"nvext": {"guided_json": schema()}}),
        json!({"nvext": {"guided_json": text, "guided_decoding_backend": "xgrammar"}}),
    ] {
        assert_eq!(form(fields.clone()), json(), "{fields}");
    }
    let regex = || Some(AnswerForm::Regex("a+".to_owned()));
    for fields in [
        json!({"response_format": {"type": "regex", "pattern": "a+"}}),
        json!({"response_format": {"type": "grammar", "syntax": "regex", "definition": "a+"}}),
        json!({"guided_regex": "a+"}),
        json!({"structured_outputs": {"regex": "a+"}}),
        json!({"nvext": {"guided_regex": "a+"}}),
    ] {
        assert_eq!(form(fields.clone()), regex(), "{fields}");
    }
    let grammar = || Some(AnswerForm::Grammar("start: \"a\"".to_owned()));
    for fields in [
        json!({"response_format": {"type": "grammar", "grammar": "start: \"a\""}}),
        json!({"guided_grammar": "start: \"a\""}),
        json!({"structured_outputs": {"grammar": "start: \"a\""}}),
    ] {
        assert_eq!(form(fields.clone()), grammar(), "{fields}");
    }
    let choice = || Some(AnswerForm::Choice(vec!["a".to_owned(), "b".to_owned()]));
    for fields in [
        json!({"guided_choice": ["a", "b"]}),
        json!({"structured_outputs": {"choice": ["a", "b"]}}),
        json!({"nvext": {"guided_choice": ["a", "b"]}}),
    ] {
        assert_eq!(form(fields.clone()), choice(), "{fields}");
    }
    for fields in [
        json!({"response_format": {"type": "json_object"}}),
        json!({"structured_outputs": {"json_object": true}}),
        json!({"response_format": {"type": "json_object"}, "enable_structured_output": true}),
    ] {
        assert_eq!(
            form(fields.clone()),
            Some(AnswerForm::JsonObject),
            "{fields}"
        );
    }
    for fields in [
        json!({"response_format": {"type": "text"}}),
        json!({"response_format": null, "guided_json": null}),
        json!({"structured_outputs": {"json_object": false}}),
    ] {
        assert_eq!(form(fields.clone()), None, "{fields}");
    }
}

#[test]
fn structural_tags_have_two_shapes() {
    let structures = json!({"type": "structural_tag", "triggers": ["<f="], "structures": [
        {"begin": "<f=a>", "schema": {"type": "object"}, "end": "</f>"}]});
    let content = json!({"type": "json_schema", "json_schema": {"type": "object"}});
    let tree = json!({"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["<f="],
        "tags": [{"begin": "<f=a>", "content": content, "end": "</f>"}]}});
    let older = form(json!({"response_format": structures}));
    assert!(matches!(
        older,
        Some(AnswerForm::StructuralTag(TagFormat::TriggeredTags { .. }))
    ));
    assert_eq!(older, form(json!({"response_format": tree})));
    let tag = json!({"structured_outputs": {"structural_tag": tree.to_string()}});
    assert_eq!(older, form(tag));
}

#[test]
fn what_says_the_same_may_be_said_twice() {
    let schema = json!({"type": "object"});
    let both = json!({"guided_json": schema, "response_format": {"type": "json_object"}});
    assert_eq!(form(both), Some(AnswerForm::JsonSchema(schema)));
    let twice = json!({"guided_regex": "a", "structured_outputs": {"regex": "a"}});
    assert_eq!(form(twice), Some(AnswerForm::Regex("a".to_owned())));
}

#[test]
fn contradictions_name_both_fields() {
    for (fields, names) in [
        (
            json!({"guided_regex": "a", "guided_choice": ["a"]}),
            ["guided_regex", "guided_choice"],
        ),
        (
            json!({"response_format": {"type": "json_object"}, "guided_json": {"type": "array"}}),
            ["response_format", "guided_json"],
        ),
        (
            json!({"structured_outputs": {"json": {}, "regex": "a"}}),
            ["structured_outputs.json", "structured_outputs.regex"],
        ),
        (
            json!({"guided_json": {}, "nvext": {"guided_regex": "a"}}),
            ["guided_json", "nvext.guided_regex"],
        ),
    ] {
        let error = chat(fields.clone()).expect_err("a contradiction");
        for name in names {
            assert!(
                error.message.contains(&format!("`{name}`")),
                "{fields}: {error}"
            );
        }
        assert_eq!(error.param.as_deref(), Some(names[1]), "{fields}");
    }
}

#[test]
fn a_wrong_format_is_named() {
    for (fields, param) in [
        (json!({"response_format": "json"}), "response_format"),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format.json_schema.schema",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "strict": 2}}}),
            "response_format.json_schema.strict",
        ),
        (json!({"guided_json": "{"}), "guided_json"),
        (json!({"guided_json": "[]"}), "guided_json"),
        (json!({"guided_choice": []}), "guided_choice"),
        (json!({"guided_choice": [1]}), "guided_choice"),
        (json!({"guided_regex": ""}), "guided_regex"),
        (
            json!({"response_format": {"type": "structural_tag"}}),
            "response_format",
        ),
        (
            json!({"structured_outputs": {"structural_tag": {"format": {"type": "nothing"}}}}),
            "structured_outputs.structural_tag.format.type",
        ),
    ] {
        let error = chat(fields.clone()).expect_err("a wrong format");
        assert_eq!(error.param.as_deref(), Some(param), "{fields}: {error}");
    }
}

#[test]
fn the_other_routes_have_their_own_names() {
    let schema = json!({"type": "object"});
    let json = Some(AnswerForm::JsonSchema(schema.clone()));
    let completion = json!({"prompt": "x", "guided_json": schema});
    let completion = CompletionRequest::from_json(completion).expect("a completion");
    assert_eq!(
        completion.options.answer_format.map(|format| format.form),
        json
    );

    let text = json!({"format": {"type": "json_schema", "name": "n", "schema": schema}});
    let response = ResponsesRequest::from_json(json!({"input": "x", "text": text}));
    let format = response
        .expect("a response")
        .chat
        .options
        .answer_format
        .expect("a format");
    assert_eq!(
        (format.param.as_str(), Some(format.form)),
        ("text.format", json.clone())
    );

    let message = |fields: &str| {
        let body = format!(
            r#"{{"max_tokens": 9, "messages": [{{"role": "user", "content": "x"}}], {fields}}}"#
        );
        let body = serde_json::from_str(&body).expect("JSON");
        let request = MessagesRequest::from_json(body).expect("a message");
        request.chat.options.answer_format.map(|format| format.form)
    };
    let format = format!(r#"{{"type": "json_schema", "schema": {schema}}}"#);
    assert_eq!(message(&format!(r#""output_format": {format}"#)), json);
    assert_eq!(
        message(&format!(r#""output_config": {{"format": {format}}}"#)),
        json
    );

    let native = |fields: Value| {
        let mut body = json!({"prompt": "x"});
        body.as_object_mut()
            .expect("an object")
            .extend(fields.as_object().expect("an object").clone());
        match GenerateRequest::from_json(body)
            .expect("a generation")
            .input
        {
            GenerateInput::Prompt(request) => {
                request.options.answer_format.map(|format| format.form)
            }
            GenerateInput::Chat(_) => None,
        }
    };
    let text = schema.to_string();
    assert_eq!(
        native(json!({"sampling_config": {"json_schema": text}})),
        None
    );
    assert_eq!(
        native(json!({"enable_structured_output": true})),
        Some(AnswerForm::JsonObject)
    );
    let config =
        json!({"enable_structured_output": true, "sampling_config": {"json_schema": text}});
    assert_eq!(native(config), json);
    let regex = json!({"enable_structured_output": "true", "structured_output_regex": "a"});
    assert_eq!(native(regex), Some(AnswerForm::Regex("a".to_owned())));
}
