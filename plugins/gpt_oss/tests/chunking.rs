//! Whatever a model writes with harmony's markers folds to the same events under every chunking, keeps the contract, leaks
//! no marker and costs linear time.
//!
//! Texts are made of the format's pieces by a small generator of numbers, so that a failure comes again.

use weir_plugin_gpt_oss::GptOss;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, Parser, RequestContext,
    testing::{Numbers, check_contract, cut, joined},
};

const PIECES: &[&str] = &[
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<|return|>",
    "<|call|>",
    "<|",
    "<",
    "assistant",
    "analysis",
    "commentary",
    "final",
    " to=functions.f",
    " to=",
    "to=assistant",
    "json",
    " ",
    "\n",
    "We need é.",
    "{",
    "}",
    "\"",
    "\\",
    ":",
    "[1]",
    "{\"a\": \"<|end|>\"}",
    "{\"b\": \"",
    "\"{\\\"c\\\": 1}\"",
    "<|channel|>analysis<|message|>Hm.\n",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>commentary to=functions.g <|constrain|>json<|message|>",
    "<|start|>assistant to=h<|channel|>commentary<|message|>{}<|call|>",
];

fn parse(context: &RequestContext, reason: FinishReason, input: &[Fragment]) -> Vec<Event> {
    let mut parser = GptOss::new("{}", context);
    let mut events = Vec::new();
    for fragment in input {
        parser.push(fragment, &mut events);
    }
    parser.finish(reason, &mut events);
    joined(events)
}

/// Of control fragments, none that is a marker is ever handed out.
fn check_no_marker_leaks(events: &[Event]) {
    for event in events {
        if let Event::Content(Fragment { text, kind }) = event {
            assert!(*kind != FragmentKind::Control, "{text}");
        }
    }
}

#[test]
fn every_chunking_folds_to_the_same() {
    let mut numbers = Numbers(7);
    for _ in 0..4_000 {
        let mut input: Vec<Fragment> = Vec::new();
        for _ in 0..numbers.below(14) {
            let piece = PIECES[numbers.below(PIECES.len())];
            let whole = piece.starts_with("<|") && piece.find("|>") == Some(piece.len() - 2);
            if whole && numbers.below(2) == 0 {
                input.push(Fragment::new(piece, FragmentKind::Control));
                continue;
            }
            match input.last_mut() {
                Some(last) if last.kind == FragmentKind::Text => last.text.push_str(piece),
                _ => input.push(Fragment::new(piece, FragmentKind::Text)),
            }
        }
        let prompts = [
            "",
            "<|start|>assistant",
            "<|start|>assistant<|channel|>analysis<|message|>",
        ];
        let context = RequestContext {
            strict_markers: numbers.below(3) == 0,
            prompt_tail: prompts[numbers.below(prompts.len())].into(),
            ..RequestContext::default()
        };
        let reason = [FinishReason::Stop, FinishReason::Length][numbers.below(2)];
        let whole = parse(&context, reason, &input);
        check_contract(&whole);
        check_no_marker_leaks(&whole);
        let random = cut(&input, || numbers.below(4) == 0);
        assert_eq!(parse(&context, reason, &random), whole, "{random:?}");
        assert_eq!(
            parse(&context, reason, &cut(&input, || true)),
            whole,
            "{input:?}"
        );
    }
}

/// A quadratic parser would take minutes here.
#[test]
fn work_is_linear() {
    let call = "<|channel|>commentary to=functions.f<|message|>";
    for text in [
        "<|start|>".repeat(8_000),
        "<|channel|>x y".repeat(8_000),
        "<|channel|>final a<|end|>".repeat(4_000),
        "assistant to=".repeat(8_000),
        "\n".repeat(60_000),
        format!("<|channel|>analysis<|message|>{}", "\n".repeat(60_000)),
        format!("<|channel|>{}", "to=a ".repeat(12_000)),
        format!("{call}{{\"x\n").repeat(2_000),
        format!("{call}{{\"x<|call|>").repeat(2_000),
        format!("{call}{}", "\n".repeat(60_000)),
        format!("{call}{}", "{\"a\":[".repeat(10_000)),
        format!("{call}{{\"a\":\"{}", format!("{call}{{\\\"").repeat(1_000)),
        format!(
            "{call}{{\"a\":\"{}",
            "<|channel|>final a<|end|>".repeat(2_000)
        ),
    ] {
        let whole = [Fragment::new(text.as_str(), FragmentKind::Text)];
        let context = RequestContext::default();
        let events = parse(&context, FinishReason::Stop, &whole);
        check_contract(&events);
        assert_eq!(
            events,
            parse(&context, FinishReason::Stop, &cut(&whole, || true))
        );
    }
}
