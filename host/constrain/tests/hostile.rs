//! What strangers send to stop a server: each is refused, or compiled and walked through. That this ends, and that the process
//! still stands behind it, is the test.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use serde_json::{Map, Value, json};
use weir_constrain::{Answer, ConstrainError, Constrainer};
use weir_output::Segment;
use weir_prompt::{TokenKind, Vocabulary};

const END: u32 = 256;

/// No compilation may last so long: what is too slow for its request holds one of few places meanwhile.
const ENDLESS: std::time::Duration = std::time::Duration::from_secs(60);

fn constrainer() -> Constrainer {
    let bytes = (0..=255_u8).map(|byte| ([byte].into(), TokenKind::Normal));
    let end = (b"<end>".as_slice().into(), TokenKind::Special);
    let vocabulary = Arc::new(Vocabulary::new(bytes.chain([end]).collect()));
    Constrainer::of_vocabulary(&vocabulary, END).expect("a vocabulary")
}

/// Compiles it and writes up to a hundred tokens, always the first that is allowed.
fn attack(
    constrainer: &Constrainer,
    name: &str,
    segment: &Segment,
    answer: &Answer,
) -> Result<(), ConstrainError> {
    let began = Instant::now();
    let mut compiled = constrainer.compile(segment, answer);
    // Its thread must end by itself, or its place would be lost.
    while let Err(ConstrainError::TooSlow(_)) = compiled {
        assert!(began.elapsed() < ENDLESS, "{name} is still being compiled");
        std::thread::sleep(std::time::Duration::from_millis(50));
        compiled = constrainer.compile(segment, answer);
    }
    let took = began.elapsed();
    println!(
        "{name}: {took:?}, {:?}",
        compiled.as_ref().err().map(ToString::to_string)
    );
    let mut processor = compiled?.processor(&[END]);
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..100 {
        let began = Instant::now();
        let mut logits = [0.0; 257];
        processor.apply(&mut logits);
        slowest = slowest.max(began.elapsed());
        let allowed = (0..=END).find(|id| logits[*id as usize] == 0.0);
        match allowed {
            Some(END) => break,
            Some(token) => processor.accept(token),
            None => {
                assert!(
                    processor.failure().is_some(),
                    "{name}: no token, and no reason"
                );
                break;
            }
        }
    }
    println!("{name}: slowest mask {slowest:?}");
    Ok(())
}

fn chain(length: usize) -> Value {
    let names = 0..length;
    let definition = |n| {
        (
            format!("d{n}"),
            json!({"$ref": format!("#/$defs/d{}", n + 1)}),
        )
    };
    let mut definitions: Map<String, Value> = names.map(definition).collect();
    definitions.insert(format!("d{length}"), json!({"type": "null"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

fn properties(count: usize, required: bool) -> Value {
    let names: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
    let properties: Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), json!({"type": "integer"})))
        .collect();
    let required = if required { names } else { Vec::new() };
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// None of these is an error of ours.
fn attacked(cases: &[(&str, Value)]) {
    let constrainer = constrainer();
    for (name, schema) in cases {
        let segment = Segment::Json(schema.to_string());
        let outcome = attack(&constrainer, name, &segment, &Answer::Free);
        assert!(!outcome.is_err_and(|error| error.is_internal()), "{name}");
    }
}

#[test]
fn schemas_that_grow() {
    let choice = |n: usize| json!({"anyOf": (0..n).map(|m| json!({"properties": {format!("k{m}"): {"const": m}}})).collect::<Vec<_>>()});
    let patterns: Map<String, Value> = (0..32)
        .map(|n| (format!("^{n}_[a-z]+$"), json!({"type": "string"})))
        .collect();
    let nested = (0..60).fold(
        json!({"type": "null"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    attacked(&[
        ("a chain of 1,000 references", chain(1000)),
        ("a chain of 3,900 references", chain(3900)),
        ("a chain of 10,000 references", chain(10_000)),
        (
            "references in a circle",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        ),
        ("itself", json!({"$ref": "#"})),
        (
            "a circle with siblings",
            json!({"type": "object", "properties": {"a": {"$ref": "#", "minProperties": 1}}}),
        ),
        ("4,000 optional properties", properties(4000, false)),
        ("500 optional properties", properties(500, false)),
        ("2,000 properties", properties(2000, true)),
        (
            "choices that multiply",
            json!({"type": "object", "allOf": vec![choice(20); 8]}),
        ),
        (
            "many patterns of names",
            json!({"type": "object", "patternProperties": patterns}),
        ),
        ("deep lists", nested),
        ("nothing", json!(false)),
    ]);
}

#[test]
fn values_that_grow() {
    attacked(&[
        (
            "a multiple that takes minutes",
            json!({"type": "integer", "multipleOf": 99_999_999}),
        ),
        (
            "the largest multiple",
            json!({"type": "integer", "multipleOf": 9973, "minimum": -1_000_000, "maximum": 1_000_000}),
        ),
        (
            "a small multiple",
            json!({"type": "number", "multipleOf": 0.0001}),
        ),
        (
            "10,000 words",
            json!({"enum": (0..10_000).map(|n| format!("word {n}")).collect::<Vec<_>>()}),
        ),
        (
            "10,000 numbers",
            json!({"enum": (0..10_000).map(|n| n * 7919).collect::<Vec<_>>()}),
        ),
        (
            "nested repetitions",
            json!({"type": "string", "pattern": "^((a|b){1,99}c){1,60}$"}),
        ),
        (
            "the longest repetition",
            json!({"type": "string", "pattern": "^[a-z]{20000}$"}),
        ),
        (
            "a long pattern with a length",
            json!({"type": "string", "pattern": "^(a|ab|abc)*$", "maxLength": 100_000}),
        ),
        (
            "a long string",
            json!({"type": "string", "minLength": 99_999, "maxLength": 100_000}),
        ),
        (
            "a long list",
            json!({"type": "array", "items": {"type": "string", "maxLength": 5000}, "minItems": 99_999}),
        ),
        (
            "intersected numbers",
            json!({"allOf": (1..100).map(|n| json!({"type": "number", "minimum": n, "multipleOf": 1})).collect::<Vec<_>>()}),
        ),
        (
            "intersected patterns",
            json!({"type": "string", "allOf": (0..60).map(|n| json!({"pattern": format!("[a-z]{{{n}}}x")})).collect::<Vec<_>>()}),
        ),
        (
            "patterns that meet",
            json!({"type": "string", "allOf": (27..31).map(|n| json!({"pattern": format!("[a-z]{{{n}}}x")})).collect::<Vec<_>>()}),
        ),
        (
            "long patterns that meet",
            json!({"type": "string", "pattern": "(a|b)*a(a|b){400}", "allOf": [{"pattern": "(b|c)*b[abc]{800}"}]}),
        ),
        (
            "what nothing matches",
            json!({"type": "string", "enum": [1]}),
        ),
        ("a long constant", json!({"const": "x".repeat(200_000)})),
    ]);
}

#[test]
fn grammars() {
    let mut laughs = String::from("start: A0\n");
    let mut rules = String::from("start: a0\n");
    for n in 0..60 {
        let _ = writeln!(laughs, "A{n}: A{0} A{0}", n + 1);
        let _ = writeln!(rules, "a{n}: a{0} a{0}", n + 1);
    }
    laughs.push_str("A60: \"ha\"\n");
    rules.push_str("a60: \"ha\"\n");
    let words: String = (0..3000).map(|n| format!("\"w{n}\" | ")).collect();
    let cases = [
        ("a billion laughs in terminals", laughs),
        ("a billion laughs in rules", rules),
        (
            "an ambiguous grammar",
            "start: s\ns: s s | s s s | \"a\" | \"\"".to_owned(),
        ),
        ("a rule that is itself", "start: start".to_owned()),
        (
            "left recursion",
            "start: start \"a\" | start start | \"b\"".to_owned(),
        ),
        (
            "repetitions in repetitions",
            "start: (((\"a\"{1,20}){1,20}){1,20})".to_owned(),
        ),
        ("a long repetition", "start: \"a\"{20000}".to_owned()),
        (
            "a pattern that multiplies",
            "start: /(x{1000}){1000}/".to_owned(),
        ),
        (
            "a pattern without what it is not",
            "start: A\nA: /(?s:.*)/ & ~/(?s:.*)(a|b)(?s:.{300})(?s:.*)/".to_owned(),
        ),
        ("many words", format!("start: {words} \"x\"")),
        ("another's grammar", "start: @lark_grammar".to_owned()),
        ("nothing", String::new()),
        ("zero bytes", "start: \"\\x00\" /\0/".to_owned()),
    ];
    let constrainer = constrainer();
    for (name, lark) in cases {
        let outcome = attack(&constrainer, name, &Segment::Answer, &Answer::Lark(lark));
        assert!(!outcome.is_err_and(|error| error.is_internal()), "{name}");
    }
    let patterns = [
        "(a?){1000}a{1000}",
        "(.*a){9}.{900}",
        "[\\p{L}\\p{N}]{5000}",
        "(a|aa|aaa|aaaa){4000}",
        "(?i:sensitive){500}",
        "$^",
        "a|",
    ];
    for pattern in patterns {
        let segment = Segment::Pattern(pattern.to_owned());
        let outcome = attack(&constrainer, pattern, &segment, &Answer::Free);
        assert!(
            !outcome.is_err_and(|error| error.is_internal()),
            "{pattern}"
        );
    }
}
