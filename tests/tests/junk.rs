//! Parsers under arbitrary input: junk made of markers, pieces of JSON and text, cut anywhere.
//!
//! One fold under every chunking, the same natively and as wasm, no panic and no plugin error: whatever it says.

use proptest::prelude::*;
use weir_output::{FinishReason, Fragment, FragmentKind, RequestContext, ToolCallStreaming};
use weir_tests::{
    Plugins,
    chunking::{apply, cuts},
    fold::Runner,
    native::NativePlugins,
    wasm::WasmPlugins,
};

const CASES: u32 = 300;

const MARKERS: [&str; 9] = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
];

const PIECES: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\\"",
    "\\u00e",
    ":",
    ",",
    " ",
    "\n",
    "```",
    "json",
    "```json\n",
    "\n```",
    "function",
    "f",
    "\"name\"",
    "\"name\": \"f\"",
    "\"arguments\": ",
    "\"parameters\":{}",
    "\"arguments\": {\"a\": [1, \"x\"]}",
    "1e5",
    "-0.0",
    "null",
    "é",
    "🌦️",
    "｜",
    "<",
    "</tool",
    "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
];

/// A piece of junk: half of the markers come as control tokens.
fn fragment() -> impl Strategy<Value = Fragment> {
    let marker = (prop::sample::select(&MARKERS[..]), any::<bool>());
    prop_oneof![
        2 => marker.prop_map(|(marker, control)| Fragment {
            text: marker.to_owned(),
            kind: if control { FragmentKind::Control } else { FragmentKind::Text },
        }),
        5 => prop::sample::select(&PIECES[..]).prop_map(|piece| Fragment {
            text: piece.to_owned(),
            kind: FragmentKind::Text,
        }),
    ]
}

/// Neighbouring text in one piece, as it comes whole.
fn joined(pieces: Vec<Fragment>) -> Vec<Fragment> {
    let mut whole: Vec<Fragment> = Vec::new();
    for piece in pieces {
        match whole.last_mut() {
            Some(last) if last.kind == FragmentKind::Text && piece.kind == FragmentKind::Text => {
                last.text.push_str(&piece.text);
            }
            _ => whole.push(piece),
        }
    }
    whole
}

fn check(parser: &str) {
    let wasm = WasmPlugins::new().expect("a plugin host");
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    };
    let input = (
        prop::collection::vec(fragment(), 0..24).prop_map(joined),
        prop::collection::vec(any::<bool>(), 300),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    proptest!(config, |((whole, chosen, strict_markers, complete, stopped) in input)| {
        let mode = if complete { ToolCallStreaming::Complete } else { ToolCallStreaming::Incremental };
        let ended = if stopped { FinishReason::Stop } else { FinishReason::Length };
        let context = RequestContext { strict_markers, ..RequestContext::default() };
        let all = cuts(&whole);
        let some: Vec<_> = all.iter().zip(&chosen).filter(|(_, cut)| **cut).map(|(cut, _)| *cut).collect();
        let mut expected = None;
        for plugins in [&NativePlugins as &dyn Plugins, &wasm] {
            let runner = Runner::of_parser(plugins.parser(parser, &toml::Table::new()).expect("a parser"), context.clone(), ended);
            for cuts in [&[][..], &some, &all] {
                let folded = runner.run(apply(&whole, cuts), mode).expect("no plugin error");
                let expected = expected.get_or_insert_with(|| folded.clone());
                prop_assert_eq!(&*expected, &folded, "{} cut at {:?}", plugins.label(), cuts);
            }
        }
    });
}

#[test]
fn deepseek_v3() {
    check("deepseek_v3");
}

#[test]
fn deepseek_r1() {
    check("deepseek_r1");
}

#[test]
fn qwen25() {
    check("qwen25");
}
