//! Whatever a model writes with harmony's markers folds to the same events under every chunking, keeps the contract, leaks
//! no marker and costs linear time.
//!
//! Texts are made of the format's pieces by a small generator of numbers, so that a failure comes again.

use weir_plugin_gpt_oss::GptOss;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, Parser, RequestContext, json_scanner::is_object,
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

/// Numbers that look random (a linear congruential generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// Adjacent pieces of content of one kind, of reasoning and of one call's arguments become one.
fn fold(events: Vec<Event>) -> Vec<Event> {
    let mut folded: Vec<Event> = Vec::new();
    for event in events {
        match (folded.last_mut(), &event) {
            (Some(Event::Content(last)), Event::Content(next)) if last.kind == next.kind => {
                last.text.push_str(&next.text);
            }
            (Some(Event::Reasoning { text }), Event::Reasoning { text: next }) => {
                text.push_str(next)
            }
            (
                Some(Event::CallArguments { delta, .. }),
                Event::CallArguments { delta: next, .. },
            ) => {
                delta.push_str(next);
            }
            _ => folded.push(event),
        }
    }
    folded
}

fn parse(context: &RequestContext, reason: FinishReason, input: &[Fragment]) -> Vec<Event> {
    let mut parser = GptOss::new("{}", context);
    let mut events = Vec::new();
    for fragment in input {
        parser.push(fragment, &mut events);
    }
    parser.finish(reason, &mut events);
    fold(events)
}

/// Cuts text before the characters `cut` picks; control fragments stay whole.
fn cut(input: &[Fragment], mut cut: impl FnMut() -> bool) -> Vec<Fragment> {
    let mut chunks: Vec<Fragment> = Vec::new();
    for fragment in input {
        for (at, character) in fragment.text.char_indices() {
            let inside = at > 0 && (fragment.kind == FragmentKind::Control || !cut());
            match chunks.last_mut() {
                Some(last) if inside => last.text.push(character),
                _ => chunks.push(Fragment::new(character.to_string(), fragment.kind)),
            }
        }
    }
    chunks
}

/// What the contract says of the order of call events, and what a finished call promises.
fn check_contract(events: &[Event]) {
    let mut next = 0;
    let mut open: Option<String> = None;
    for event in events {
        match event {
            Event::CallBegin { index, name, .. } => {
                assert!(open.is_none() && *index == next && !name.is_empty());
                open = Some(String::new());
                next += 1;
            }
            Event::CallArguments { index, delta } => {
                assert!(*index + 1 == next && !delta.is_empty());
                open.as_mut().expect("an open call").push_str(delta);
            }
            Event::CallEnd { index } => {
                assert_eq!(*index + 1, next);
                let arguments = open.take().expect("an open call");
                assert!(is_object(&arguments), "{arguments}");
            }
            Event::CallAbandoned { index, .. } => {
                assert!(open.take().is_some() && *index + 1 == next);
            }
            Event::Content(Fragment { text, .. }) | Event::Reasoning { text } => {
                assert!(!text.is_empty());
            }
        }
    }
    assert!(open.is_none(), "a call stays open");
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
