//! What templates of real models lean on, one small template each.

use serde_json::{Map, Value, json};

use super::*;

fn template(source: &str) -> ChatTemplate {
    let special = SpecialTokens {
        bos: Some("<s>".to_owned()),
        ..SpecialTokens::default()
    };
    ChatTemplate::new(source, special).unwrap()
}

fn conversation(messages: Value) -> Conversation {
    let Value::Array(messages) = messages else {
        panic!("messages are a list")
    };
    Conversation {
        messages,
        ..Conversation::default()
    }
}

fn render(source: &str, messages: Value) -> Result<String, PromptError> {
    template(source).render(&conversation(messages))
}

/// A conversation with one call that has `arguments`.
fn call(arguments: Value) -> Value {
    let function = json!({"name": "f", "arguments": arguments});
    json!([
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "R"},
    ])
}

/// Template and what it gives for `idiom_messages`.
const PYTHON_IDIOMS: &[(&str, &str)] = &[
    (
        "{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}",
        "Hé",
    ),
    ("{{ messages[0]['content'].startswith('<think>') }}", "True"),
    (
        "{{ messages[-1].role.upper() ~ messages[::-1][0]['content'] }}",
        "ASSISTANTB",
    ),
    (
        "{{ messages[0].missing is defined }}{{ none }}{{ messages[0].missing }}",
        "FalseNone",
    ),
    (
        "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
        "user",
    ),
    (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "2",
    ),
    (
        "{{ messages[0] | tojson }}",
        r#"{"role": "user", "content": "<think>a</think>\n\nHé"}"#,
    ),
    (
        "{{ messages[0] | tojson(ensure_ascii=True, separators=(',', ':')) }}",
        r#"{"role":"user","content":"<think>a</think>\n\nH\u00e9"}"#,
    ),
    (
        "{{ {'b': 1, 'a': [1.5]} | tojson(indent=2) }}",
        "{\n  \"b\": 1,\n  \"a\": [\n    1.5\n  ]\n}",
    ),
    (
        "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
        r#"{"a": 2, "b": 1}"#,
    ),
    (
        "{% for k, v in {'x': 1}.items() %}{{ k }}={{ v }}{% endfor %}{{ {'x': 1} | items | list | length }}",
        "x=11",
    ),
    (
        "{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ add_generation_prompt }}",
        "<s>||True|False",
    ),
    (
        "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(messages[1].content) }}",
        "[B]",
    ),
    ("{% if true %}\n  x\n  {% endif %}\ny\n", "  x\ny"),
    (
        "a{%- generation -%} b {%- endgeneration %} c{% generation %}d{% endgeneration %}",
        "ab cd",
    ),
    (
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
        "1",
    ),
    (
        "{{ messages | map(attribute='role') | join(',') }}",
        "user,assistant",
    ),
    (
        "{{ tools is iterable }}{{ 'x' is iterable }}{{ {} is iterable }}{{ 1 is iterable }}{{ missing is iterable }}",
        "FalseTrueTrueFalseTrue",
    ),
    (
        "{{ tools is sequence }}{{ 'x' is sequence }}{{ {} is sequence }}{{ [] is sequence }}{{ 1 is sequence }}",
        "FalseTrueTrueTrueFalse",
    ),
    (
        "{{ 1e-7 }} {{ 2.5e30 | string }} {{ [1e16, 'a', none, {'b': true}] }}",
        "1e-07 2.5e+30 [1e+16, 'a', None, {'b': True}]",
    ),
    (
        "{{ [1e-7, none, 'a'] | join(', ') }}{{ messages | join('+', attribute='role') }}{{ 'ab' | join('.') }}",
        "1e-07, None, auser+assistanta.b",
    ),
    (
        "{{ 'a-b-c'.rsplit('-', 1) }}{{ 'abc'.removesuffix('c').upper() }}",
        "['a-b', 'c']AB",
    ),
];

#[test]
fn python_idioms() {
    let messages = json!([
        {"role": "user", "content": "<think>a</think>\n\nHé"},
        {"role": "assistant", "content": "B"},
    ]);
    for (source, expected) in PYTHON_IDIOMS {
        assert_eq!(
            render(source, messages.clone()).unwrap(),
            *expected,
            "{source}"
        );
    }
}

#[test]
fn time_is_formatted_as_strftime_does() {
    let year = render("{{ strftime_now('%Y') }}", json!([])).unwrap();
    assert!(
        year.len() == 4 && year.parse::<u32>().is_ok_and(|year| year > 2024),
        "{year}"
    );
}

#[test]
fn a_refusal_keeps_the_templates_words() {
    let source =
        "{% macro no() %}{{ raise_exception('Roles must alternate!') }}{% endmacro %}{{ no() }}";
    let error = render(source, json!([])).unwrap_err();
    assert_eq!(
        error,
        PromptError::Template("Roles must alternate!".to_owned())
    );
    assert!(error.is_request());
}

#[test]
fn broken_templates_are_errors() {
    let special = SpecialTokens::default;
    assert!(matches!(
        ChatTemplate::new("{% if %}", special()),
        Err(PromptError::TemplateSyntax(_))
    ));
    assert!(matches!(
        render("{{ messages.a.b }}", json!([])),
        Err(PromptError::Render(_))
    ));
    let mut endless = template(
        "{% for a in range(9000) %}{% for b in range(9000) %}{{ '' }}{% endfor %}{% endfor %}",
    );
    endless.environment.set_fuel(Some(10_000));
    let error = endless.render(&conversation(json!([]))).unwrap_err();
    assert!(
        matches!(error, PromptError::Render(_)) && error.to_string().contains("instructions"),
        "{error}"
    );
    let recursive = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(matches!(
        render(recursive, json!([])),
        Err(PromptError::Render(_))
    ));
}

#[test]
fn knows_whether_tools_are_looked_at() {
    assert!(template("{% if tools %}{{ tools | tojson }}{% endif %}").takes_tools());
    assert!(
        template("{% if not tools is defined %}{% set tools = none %}{% endif %}").takes_tools()
    );
    assert!(!template("{{ messages[0].tools }}{# tools #}").takes_tools());
}

#[test]
fn kwargs_reach_the_template_but_cannot_replace_messages() {
    let mut request = conversation(json!([{"role": "user", "content": "x"}]));
    request.kwargs = Map::from_iter([
        ("enable_thinking".to_owned(), json!(false)),
        ("messages".to_owned(), json!([])),
    ]);
    let rendered = template("{{ enable_thinking }}{{ messages | length }}")
        .render(&request)
        .unwrap();
    assert_eq!(rendered, "False1");
}

#[test]
fn content_has_the_shape_the_template_wants() {
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]);
    let strings = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}";
    assert_eq!(render(strings, parts.clone()).unwrap(), "usera\nb");
    let loops =
        "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}";
    assert_eq!(render(loops, parts).unwrap(), "a\nb");
    assert_eq!(
        render(loops, json!([{"role": "user", "content": "a"}])).unwrap(),
        "a"
    );
}

#[test]
fn arguments_have_the_shape_the_template_wants() {
    let tojson = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}";
    let text = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ '>' + c.function.arguments }}{% endfor %}{% endfor %}";
    let items = "{% for m in messages %}{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}{% endfor %}{% endfor %}";
    for (source, arguments, expected) in [
        (tojson, json!(r#"{"a":1}"#), r#"{"a": 1}"#),
        (tojson, json!(r#"{"a":"#), r#""{\"a\":""#),
        (tojson, json!(""), "{}"),
        (tojson, json!({"a": 1}), r#"{"a": 1}"#),
        (text, json!(r#"{"a":1}"#), r#">{"a":1}"#),
        (text, json!({"a": 1}), r#">{"a": 1}"#),
        (text, json!(r#"{"a":"#), r#">{"a":"#),
        (text, json!(null), ">{}"),
        (items, json!(r#"{"a":1}"#), "a=1"),
        (items, json!("bad"), "arguments=bad"),
    ] {
        assert_eq!(
            render(source, call(arguments.clone())).unwrap(),
            expected,
            "{arguments} in {source}"
        );
    }
}

#[test]
fn blank_content_of_a_call_is_what_the_template_looks_for() {
    let none = "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}{{ m.tool_calls[0].function | tojson }}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    assert_eq!(
        render(none, call(json!("{}"))).unwrap(),
        r#"Q{"name": "f", "arguments": {}}R"#
    );
    let string = "{% for m in messages %}{{ '|' + m.content }}{% endfor %}";
    assert_eq!(render(string, call(json!("{}"))).unwrap(), "|Q||R");
    let printed = "{% for m in messages %}{{ m.content }};{% endfor %}";
    assert_eq!(render(printed, call(json!("{}"))).unwrap(), "Q;;R;");
}

#[test]
fn the_developer_role_is_kept_where_it_means_something() {
    let messages = json!([{"role": "developer", "content": "D"}, {"role": "user", "content": "U"}]);
    for (source, expected) in [
        // It has a place of its own, or stands beside `system`.
        (
            "{% for m in messages %}{% if m.role == 'developer' %}!{% endif %}{{ m.content }}{% endfor %}",
            "!DU",
        ),
        // It is refused, dropped, or written like any other word.
        (
            "{# developer #}{% for m in messages %}{% if m.role not in ['system', 'user'] %}{{ raise_exception('no') }}{% endif %}{{ m.role + m.content }}{% endfor %}",
            "systemDuserU",
        ),
        (
            "developer:{% for m in messages %}{% if m.role in ['system', 'user'] %}{{ m.content }}{% endif %}{% endfor %}",
            "developer:DU",
        ),
        (
            "{% for m in messages %}{{ m.role + m.content }}{% endfor %}",
            "systemDuserU",
        ),
    ] {
        assert_eq!(render(source, messages.clone()).unwrap(), expected);
    }
}

#[test]
fn blank_content_is_found_out_without_results_too() {
    let source = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{{ m.content + ';' }}{% endfor %}";
    let Value::Array(mut messages) = call(json!("{}")) else {
        panic!("messages are a list")
    };
    messages.pop();
    assert_eq!(render(source, Value::from(messages)).unwrap(), "Q;;");
}

#[test]
fn a_fixed_time_stands_still() {
    let template = template("{{ strftime_now('%Y-%m-%d %d %b %Y, %B %-d %H:%M') }}");
    let text = template
        .with_fixed_time(1_767_344_700)
        .render(&conversation(json!([])));
    assert_eq!(text.unwrap(), "2026-01-02 02 Jan 2026, January 2 09:05");
}

#[test]
fn the_final_message_is_continued() {
    let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}";
    let mut request = conversation(
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "x, "}]),
    );
    request.continue_final_message = true;
    // A template that trims the message trims what is to be continued as well, as in transformers.
    for (source, expected) in [
        (source, "<user>x</s><assistant>x,"),
        (&source.replace(" | trim", ""), "<user>x</s><assistant>x, "),
    ] {
        assert_eq!(template(source).render(&request).unwrap(), expected);
    }
    assert!(matches!(
        template("static").render(&request),
        Err(PromptError::Conversation(_))
    ));
    request.add_generation_prompt = true;
    assert!(matches!(
        template(source).render(&request),
        Err(PromptError::Conversation(_))
    ));
    let mut empty = conversation(json!([]));
    empty.continue_final_message = true;
    assert!(matches!(
        template(source).render(&empty),
        Err(PromptError::Conversation(_))
    ));
}
