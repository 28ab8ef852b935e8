//! What the grammars allow, held to llguidance's reading of the same rules; llama.cpp itself reads them in
//! `cargo xtask remote-peer`.

use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};

use super::*;

/// Tokens of one byte each, and one that ends.
const END: u32 = 256;

fn vocabulary() -> Vocabulary {
    let bytes = (0..=u8::MAX).map(|byte| ([byte].into(), TokenKind::Normal));
    Vocabulary::new(
        bytes
            .chain([(b"<end>".as_slice().into(), TokenKind::Special)])
            .collect(),
    )
}

/// The same rules in Lark's syntax, which differs in three signs.
fn as_lark(gbnf: &str) -> String {
    let mut lark = String::new();
    let mut rest = gbnf;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '"' => {
                let end = closed(rest, '"');
                lark.push_str(&rest[..end]);
                end
            }
            '[' => {
                let end = closed(rest, ']');
                lark.push_str(&format!("/{}/", rest[..end].replace('/', "\\/")));
                end
            }
            ':' => {
                lark.push(':');
                "::=".len()
            }
            other => {
                lark.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    lark.replace("root:", "start:").replace("root :", "start:")
}

fn closed(text: &str, sign: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == sign && !escaped {
            return at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    panic!("no end: {text}")
}

/// Whether the grammar allows each of these texts as a whole.
fn allows(gbnf: &Gbnf, texts: &[&str]) -> Vec<bool> {
    let vocabulary = Arc::new(vocabulary());
    let environment: toktrie::TokEnv = Arc::new(
        crate::environment::Environment::new(&vocabulary, None, END).expect("a vocabulary"),
    );
    let mut factory = llguidance::ParserFactory::new_simple(&environment).expect("a factory");
    factory.quiet();
    let lark = as_lark(&gbnf.text);
    let one = |text: &&str| {
        let grammar = TopLevelGrammar {
            grammars: vec![GrammarWithLexer::from_lark(lark.clone())],
            max_tokens: None,
        };
        let parser = factory
            .create_parser(grammar)
            .unwrap_or_else(|error| panic!("{error}: {lark}"));
        let mut matcher = llguidance::Matcher::new(Ok(parser));
        let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
        let all = matcher.validate_tokens(&tokens).expect("a matcher") == tokens.len();
        all && matcher.consume_tokens(&tokens).is_ok() && matcher.is_accepting().expect("a matcher")
    };
    texts.iter().map(one).collect()
}

#[track_caller]
fn holds(segment: &Segment, right: &[&str], wrong: &[&str]) {
    let gbnf = gbnf(segment, &Answer::Free, &vocabulary()).expect("a grammar");
    for (texts, expected) in [(right, true), (wrong, false)] {
        for (text, allowed) in texts.iter().zip(allows(&gbnf, texts)) {
            assert_eq!(allowed, expected, "{text:?} of {}", gbnf.text);
        }
    }
}

fn json(schema: &str) -> Segment {
    Segment::Json(schema.to_owned())
}

#[test]
fn text_goes_on_to_the_first_marker() {
    let until = Segment::Until("</t>".to_owned());
    holds(
        &until,
        &["</t>", "a</</t>", "<<</t>", "</</t>"],
        &["", "</t>a", "a</t></t>", "</t"],
    );
    let without = Segment::TextWithout(vec!["aab".to_owned(), "ba".to_owned()]);
    holds(
        &without,
        &["", "aa", "ab", "aacab", "b"],
        &["aab", "xaaab", "ba", "abab"],
    );
    let row = Segment::Sequence(vec![
        Segment::TextWithout(vec!["<x".to_owned()]),
        Segment::Marker("<y>".to_owned()),
        Segment::Literal("\"é\n".to_owned()),
    ]);
    holds(
        &row,
        &["<y>\"é\n", "a<<y>\"é\n"],
        &["<x<y>\"é\n", "<y><y>\"é\n", "\"é\n"],
    );
}

#[test]
fn choices_repetitions_and_patterns_are_said() {
    let text = |text: &str| Segment::Literal(text.to_owned());
    let either = Segment::Alternative(vec![text("a"), text("bc")]);
    let list = |min, max| Segment::Repeat {
        segment: Box::new(either.clone()),
        separator: Some(Box::new(text(", "))),
        min,
        max,
    };
    holds(&list(1, Some(2)), &["a", "bc, a"], &["", "a, a, a", "a,a"]);
    holds(&list(0, None), &["", "a, bc, a"], &["a, "]);
    let date = Segment::Pattern(r"^\d{2}/[a-f^\]-]+(x|yz)?$".to_owned());
    holds(
        &date,
        &["12/af", "12/^]-", "12/ax", "12/ayz"],
        &["1/a", "12/g", "12/", "12/ay"],
    );
}

#[test]
fn json_of_a_schema_is_held() {
    let shirt = json(
        r#"{"type": "object", "properties": {"size": {"enum": ["S", "M"]}, "n": {"type": "integer", "minimum": 1, "maximum": 12},
            "note": {"type": ["string", "null"], "maxLength": 3}}, "required": ["size"], "additionalProperties": false}"#,
    );
    holds(
        &shirt,
        &[
            r#"{"size": "S"}"#,
            r#"{"size": "M", "n": 12}"#,
            r#"{"size": "M", "note": null}"#,
            r#"{"size": "S", "n": 1, "note": "a\"é"}"#,
        ],
        &[
            "{}",
            r#"{"size": "L"}"#,
            r#"{"size": "S", "n": 13}"#,
            r#"{"size": "S", "note": "abcd"}"#,
            r#"{"size": "S", "x": 1}"#,
        ],
    );
    let tree = json(
        r##"{"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}}}"##,
    );
    holds(
        &tree,
        &["{}", r#"{"of": []}"#, r#"{"of": [{}, {"of": [{}]}]}"#],
        &[r#"{"of": [1]}"#],
    );
    let any = json("{}");
    holds(
        &any,
        &["1", "-0.5", r#"{"a": [true, {}]}"#, "\"x\""],
        &["01", "{a}", "1e9", ""],
    );
    let first = json(r#"{"properties": {"a": {"type": "null"}, "b": {"type": "boolean"}}}"#);
    holds(
        &first,
        &["{}", r#"{"b": true}"#, r#"{"a": null, "b": false}"#],
        &[r#"{, "b": true}"#, "1"],
    );
}

#[test]
fn what_cannot_be_said_is_named() {
    let cases = [
        (
            json(r#"{"type": "string", "pattern": "^a"}"#),
            "\"pattern\"",
        ),
        (json(r#"{"type": "integer", "minimum": 5}"#), "\"minimum\""),
        (
            json(r#"{"type": "number", "multipleOf": 0.5}"#),
            "\"multipleOf\"",
        ),
        (
            json(r#"{"allOf": [{"type": "string"}, {"minLength": 1}]}"#),
            "\"allOf\"",
        ),
        (Segment::Lark("\"a\"".to_owned()), "Lark"),
        (Segment::Pattern(r"a\b".to_owned()), "pattern"),
        (
            Segment::Sequence(vec![
                Segment::Pattern("[a-z]{3}".to_owned()),
                Segment::Marker("end".to_owned()),
            ]),
            "in front of",
        ),
    ];
    for (segment, named) in cases {
        let refused = gbnf(&segment, &Answer::Free, &vocabulary()).expect_err(named);
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn special_tokens_are_told() {
    for (marker, special) in [("<end>", true), ("</end>", false)] {
        let gbnf = gbnf(
            &Segment::Marker(marker.to_owned()),
            &Answer::Free,
            &vocabulary(),
        );
        assert_eq!(gbnf.expect("a grammar").special_tokens, special, "{marker}");
    }
}
