//! Which tokens are told beside content: each that has a part in it, once, in order, however the text is cut into tokens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "pipeline/fakes.rs"]
#[allow(dead_code, reason = "the pipeline's tests use the rest")]
mod fakes;

use std::sync::Arc;

use fakes::FakeParser;
use proptest::prelude::*;
use weir_output::{
    Configured, Detokenizer, Event, FinishReason, OnError, OutputPipeline, PipelineSpec,
    RequestContext, StopStrings, Tool, ToolCallStreaming, ToolChoice, TracedToken,
};
use weir_prompt::{TokenKind, Vocabulary};

/// What came of one choice: the events of each push, and the tokens told with them.
struct Outcome {
    steps: Vec<(Vec<Event>, Vec<TracedToken>)>,
}

impl Outcome {
    fn contents(&self) -> impl Iterator<Item = &str> {
        let events = self.steps.iter().flat_map(|(events, _)| events);
        events.filter_map(|event| match event {
            Event::Content(fragment) => Some(fragment.text.as_str()),
            _ => None,
        })
    }

    fn content(&self) -> String {
        self.contents().collect()
    }

    fn told(&self) -> Vec<TracedToken> {
        self.steps
            .iter()
            .flat_map(|(_, told)| told.clone())
            .collect()
    }

    fn numbers(&self) -> Vec<usize> {
        self.told().iter().map(|token| token.number).collect()
    }

    /// Where in the content each told token that has text begins.
    fn starts(&self) -> Vec<(usize, usize)> {
        let mut before = 0;
        let mut starts = Vec::new();
        for (events, told) in &self.steps {
            for (index, event) in events.iter().enumerate() {
                let Event::Content(fragment) = event else {
                    continue;
                };
                let here = told.iter().filter(|token| token.event == Some(index));
                starts.extend(here.map(|token| (token.number, before + token.offset)));
                before += fragment.text.len();
            }
        }
        starts
    }
}

type Token = (Vec<u8>, TokenKind);

/// Pushes all tokens in order, until a stop string ends it.
fn run(tokens: &[Token], spec: PipelineSpec) -> Outcome {
    let vocabulary = tokens
        .iter()
        .map(|(bytes, kind)| (bytes.clone().into_boxed_slice(), *kind))
        .collect();
    let mut pipeline = OutputPipeline::new(PipelineSpec {
        detokenizer: Detokenizer::new(Arc::new(Vocabulary::new(vocabulary)), Arc::from([])),
        trace_tokens: true,
        ..spec
    })
    .unwrap();
    let mut steps = Vec::new();
    for id in 0..u32::try_from(tokens.len()).unwrap() {
        let mut events = Vec::new();
        pipeline.push_token(id, &mut events).unwrap();
        steps.push((events, pipeline.take_traced()));
        if pipeline.stopped() {
            break;
        }
    }
    let mut events = Vec::new();
    pipeline.finish(FinishReason::Stop, &mut events).unwrap();
    steps.push((events, pipeline.take_traced()));
    Outcome { steps }
}

fn texts(texts: &[&str]) -> Vec<Token> {
    let token = |text: &&str| (text.as_bytes().to_vec(), TokenKind::Normal);
    texts.iter().map(token).collect()
}

fn stopping(stops: &[&str], include: bool) -> PipelineSpec {
    PipelineSpec {
        stop_strings: StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()), include),
        ..Default::default()
    }
}

/// A reasoning parser in front of a tool parser, each of one letter's markers.
fn two_parsers(streaming: ToolCallStreaming) -> PipelineSpec {
    let parser = |name, reasoning, tools| {
        let parser = FakeParser::new(name, reasoning, tools).arc();
        Some(Configured::new(parser, OnError::Fail))
    };
    let tool = Tool {
        name: "f".into(),
        description: None,
        parameters: "{}".into(),
        strict: false,
    };
    PipelineSpec {
        reasoning: parser("r", true, false),
        tools: parser("t", false, true),
        context: RequestContext {
            tools: vec![tool],
            tool_choice: ToolChoice::Auto,
            ..Default::default()
        },
        tool_call_streaming: streaming,
        ..Default::default()
    }
}

#[test]
fn a_stop_string_cuts_tokens_behind_it_and_none_before() {
    // Tokens, stop strings, whether the stop string stays, the content, the tokens told.
    type Case = (
        &'static [&'static str],
        &'static [&'static str],
        bool,
        &'static str,
        &'static [usize],
    );
    let cases: [Case; 6] = [
        (&["Hel", "lo", " wo", "rld"], &["lo wo"], false, "Hel", &[0]),
        (
            &["Hel", "lo", " wo", "rld"],
            &["lo wo"],
            true,
            "Hello wo",
            &[0, 1, 2],
        ),
        (
            &["Hel", "lo", " wo", "rld"],
            &["o w"],
            false,
            "Hell",
            &[0, 1],
        ),
        (
            &["Hel", "lo", " wo", "rld"],
            &["o x"],
            false,
            "Hello world",
            &[0, 1, 2, 3],
        ),
        (&["stop"], &["stop"], false, "", &[]),
        (&["a", "b", "a", "c"], &["abax", "bac"], false, "a", &[0]),
    ];
    for (tokens, stops, include, content, told) in cases {
        let outcome = run(&texts(tokens), stopping(stops, include));
        assert_eq!(outcome.content(), content, "{tokens:?} {stops:?}");
        assert_eq!(outcome.numbers(), told, "{tokens:?} {stops:?}");
    }
}

#[test]
fn parts_of_a_character_come_together_and_tokens_without_text_go_along() {
    let special = |text: &str| (text.as_bytes().to_vec(), TokenKind::Special);
    let mut tokens = vec![
        (b"\xE2\x82".to_vec(), TokenKind::Normal),
        (b"\xAC!".to_vec(), TokenKind::Normal),
    ];
    tokens.extend([special("<|pad|>"), (b"x".to_vec(), TokenKind::Normal)]);
    tokens.extend([
        (b"\xF0\x9F".to_vec(), TokenKind::Normal),
        (b"<call>".to_vec(), TokenKind::Added),
    ]);
    tokens.extend([(b"\xF0".to_vec(), TokenKind::Normal), special("<|end|>")]);
    let outcome = run(&tokens, PipelineSpec::default());
    assert_eq!(outcome.content(), "€!x\u{FFFD}<call>\u{FFFD}");
    assert_eq!(outcome.numbers(), [0, 1, 2, 3, 4, 5, 6, 7]);
    let hidden = outcome
        .told()
        .iter()
        .map(|token| token.hidden)
        .collect::<Vec<_>>();
    assert_eq!(
        hidden,
        [false, false, true, false, false, false, false, true]
    );
    // In bytes of the content: the euro sign has three, so has U+FFFD.
    let starts = [
        (0, 0),
        (1, 0),
        (2, 4),
        (3, 4),
        (4, 5),
        (5, 8),
        (6, 14),
        (7, 14),
    ];
    assert_eq!(outcome.starts(), starts);
}

#[test]
fn tokens_of_reasoning_calls_and_markers_are_not_told() {
    let tokens = texts(&["a(", "why", ")b", "[f", "{\"b\":1}", "]", "c", "d"]);
    for streaming in [ToolCallStreaming::Incremental, ToolCallStreaming::Complete] {
        let outcome = run(&tokens, two_parsers(streaming));
        assert_eq!(outcome.content(), "abcd");
        assert_eq!(outcome.numbers(), [0, 2, 6, 7], "{streaming:?}");
    }
}

/// Whether the letters of `part` stand in `whole` in this order.
fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|letter| rest.any(|other| other == letter))
}

proptest! {
    #[test]
    fn whatever_the_bytes_every_token_is_told_once(
        tokens in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| (bytes, TokenKind::Normal)),
                prop::collection::vec(
                    prop::sample::select(b"a\xC3\xE2\x82\xAC\xF0\x9F\x98\x80\xED\xA0\xFF".to_vec()), 0..4
                ).prop_map(|bytes| (bytes, TokenKind::Normal)),
                "\\PC{1,3}".prop_map(|text| (text.into_bytes(), TokenKind::Added)),
                "\\PC{1,3}".prop_map(|text| (text.into_bytes(), TokenKind::Special)),
            ],
            0..30,
        )
    ) {
        let outcome = run(&tokens, PipelineSpec::default());
        prop_assert_eq!(outcome.numbers(), (0..tokens.len()).collect::<Vec<_>>());
        for (token, (_, kind)) in outcome.told().iter().zip(&tokens) {
            prop_assert!(token.hidden || *kind != TokenKind::Special);
        }
    }

    #[test]
    fn a_stop_string_leaves_the_tokens_that_content_has_a_byte_of(
        tokens in prop::collection::vec("[ab]{1,4}", 1..20),
        stops in prop::collection::vec("[ab]{2,5}", 0..3),
        include in any::<bool>(),
    ) {
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let outcome = run(&texts(&tokens), stopping(&stops, include));
        let content = outcome.content();
        let mut starts = Vec::new();
        let mut start = 0;
        for (number, token) in tokens.iter().enumerate() {
            if start < content.len() {
                starts.push((number, start));
            }
            start += token.len();
        }
        // Each begins in the event it is told with, since no token is longer than what is released at once.
        prop_assert_eq!(outcome.starts(), starts);
    }

    #[test]
    fn what_parsers_make_content_of_has_its_tokens(
        chunks in prop::collection::vec("[ab(){}\\[\\]!é]{1,6}|\\[f\\{\"a\":1\\}\\]", 0..12),
        complete in any::<bool>(),
    ) {
        let streaming = || if complete { ToolCallStreaming::Complete } else { ToolCallStreaming::Incremental };
        let letters: Vec<String> = chunks.concat().chars().map(String::from).collect();
        for cut in [&chunks, &letters] {
            let tokens: Vec<&str> = cut.iter().map(String::as_str).collect();
            let outcome = run(&texts(&tokens), two_parsers(streaming()));
            let numbers = outcome.numbers();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
            let told: String = numbers.iter().map(|&number| tokens[number]).collect();
            let content = outcome.content();
            // Reasoning inside of a call that is abandoned in the end can be mistaken for it, letter by letter.
            let mixed = chunks.concat().contains('[') && chunks.concat().contains('(');
            prop_assert!(mixed || is_subsequence(&content, &told), "{:?} of {:?}", content, told);
            if !chunks.concat().contains('[') && cut == &letters {
                prop_assert_eq!(told, content);
            }
        }
    }
}
