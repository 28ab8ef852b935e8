//! The pipeline as a whole, over fakes: roles, tool choice, stop strings, failures, and one fold under every chunking.

mod fakes;

use std::sync::Arc;

use fakes::{FakeParser, FakePost, fragment, text};
use proptest::prelude::*;
use weir_output::{
    CallIds, Configured, Detokenizer, Event, FinishReason, FoldedMessage, Fragment, FragmentKind,
    MessageFold, OnError, OutputPipeline, Parser, PipelineSpec, PluginError, PluginErrorKind,
    PostProcessor, RequestContext, StopStrings, Tool, ToolCallStreaming, ToolChoice,
};
use weir_prompt::{TokenKind, Vocabulary};

/// What came of one choice.
#[derive(Debug, PartialEq)]
struct Outcome {
    message: FoldedMessage,
    ended: Result<FinishReason, PluginError>,
    error: Option<PluginError>,
}

fn run(spec: PipelineSpec, fragments: impl IntoIterator<Item = Fragment>) -> Outcome {
    let mut pipeline = OutputPipeline::new(spec).unwrap_or_else(|error| panic!("{error}"));
    let mut events = Vec::new();
    let mut result = Ok(());
    for fragment in fragments {
        result = pipeline.push_fragment(fragment, &mut events);
        if result.is_err() || pipeline.stopped() {
            break;
        }
    }
    let ended = result.and_then(|()| pipeline.finish(FinishReason::Stop, &mut events));
    let mut fold = MessageFold::new();
    fold.extend(&events);
    Outcome {
        message: fold.into_message(),
        ended,
        error: pipeline.error().cloned(),
    }
}

fn tool_context(tool_choice: ToolChoice) -> RequestContext {
    let tool = Tool {
        name: "f".into(),
        description: None,
        parameters: "{}".into(),
        strict: false,
    };
    RequestContext {
        tools: vec![tool],
        tool_choice,
        ..Default::default()
    }
}

fn parser(parser: Arc<dyn Parser>) -> Option<Configured<dyn Parser>> {
    Some(Configured::new(parser, OnError::Fail))
}

fn lenient(parser: Arc<dyn Parser>) -> Option<Configured<dyn Parser>> {
    Some(Configured::new(parser, OnError::Passthrough))
}

fn post(post: Arc<dyn PostProcessor>, on_error: OnError) -> Vec<Configured<dyn PostProcessor>> {
    vec![Configured::new(post, on_error)]
}

fn two_parsers() -> PipelineSpec {
    PipelineSpec {
        reasoning: parser(FakeParser::new("r", true, false).arc()),
        tools: parser(FakeParser::new("t", false, true).arc()),
        context: tool_context(ToolChoice::Auto),
        call_ids: CallIds::Counting(0),
        ..Default::default()
    }
}

/// Content, reasoning, and each call as `name arguments` with `...` behind those that did not complete.
fn summary(outcome: &Outcome) -> (Option<&str>, Option<&str>, Vec<String>) {
    let message = &outcome.message;
    let calls = message.tool_calls.iter().map(|call| {
        format!(
            "{} {}{}",
            call.name,
            call.arguments,
            if call.complete { "" } else { "..." }
        )
    });
    (
        message.content.as_deref(),
        message.reasoning.as_deref(),
        calls.collect(),
    )
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn reasoning_comes_first_and_its_content_goes_to_the_tool_parser() {
    let outcome = run(two_parsers(), [text("(draft [g{}] )a[f{\"x\":1}]b?")]);
    assert_eq!(
        summary(&outcome),
        (
            Some("abmarkers"),
            Some("draft [g{}] "),
            strings(&["f {\"x\":1}"])
        ),
        "a call in the reasoning is none, and the reasoning parser knows the markers behind it"
    );
    assert_eq!(
        outcome.message.tool_calls[0].id.as_deref(),
        Some("call_000000000000000000000000")
    );
}

#[test]
fn kinds_survive_the_chain() {
    let mut pipeline = OutputPipeline::new(two_parsers()).unwrap();
    let mut events = Vec::new();
    pipeline
        .push_fragment(fragment("x", FragmentKind::Control), &mut events)
        .unwrap();
    assert_eq!(
        events,
        [Event::Content(fragment("x", FragmentKind::Control))]
    );
}

#[test]
fn a_parser_with_both_roles_runs_once() {
    let both = FakeParser::new("both", true, true).arc();
    let named = |reasoning: bool, tools: bool, tool_choice| PipelineSpec {
        reasoning: parser(Arc::clone(&both)).filter(|_| reasoning),
        tools: parser(Arc::clone(&both)).filter(|_| tools),
        context: tool_context(tool_choice),
        ..Default::default()
    };
    for (reasoning, tools) in [(true, true), (true, false), (false, true)] {
        let outcome = run(
            named(reasoning, tools, ToolChoice::Auto),
            [text("(r)a[f{}]?")],
        );
        assert_eq!(
            summary(&outcome),
            (Some("anone"), Some("r"), strings(&["f {}"]))
        );
    }
    let outcome = run(named(false, true, ToolChoice::None), [text("(r)a")]);
    assert_eq!(
        summary(&outcome),
        (Some("a"), Some("r"), vec![]),
        "it still splits the reasoning"
    );
}

#[test]
fn without_tools_or_with_choice_none_calls_are_content() {
    for context in [tool_context(ToolChoice::None), RequestContext::default()] {
        let outcome = run(
            PipelineSpec {
                context,
                ..two_parsers()
            },
            [text("(r)[f{}]")],
        );
        assert_eq!(summary(&outcome), (Some("[f{}]"), Some("r"), vec![]));
    }
    let spec = PipelineSpec {
        context: RequestContext::default(),
        parse_without_tools: true,
        ..two_parsers()
    };
    assert_eq!(
        summary(&run(spec, [text("[f{}]")])),
        (None, None, strings(&["f {}"]))
    );
}

#[test]
fn abandoned_calls_follow_the_mode_and_indices_have_no_gaps() {
    let input = "[a{\"x\"!-[b{}]-[junk!-[c{1}]-[d{";
    let outcome = run(two_parsers(), [text(input)]);
    assert_eq!(
        summary(&outcome),
        (
            Some("--junk--"),
            None,
            strings(&["a {\"x\"...", "b {}", "c {1}", "d {..."])
        ),
        "incremental: deltas stand"
    );
    let spec = PipelineSpec {
        tool_call_streaming: ToolCallStreaming::Complete,
        ..two_parsers()
    };
    let mut pipeline = OutputPipeline::new(spec).unwrap();
    let mut events = Vec::new();
    pipeline
        .push_fragment(text(&format!("{input}!{input}")), &mut events)
        .unwrap();
    pipeline.finish(FinishReason::Stop, &mut events).unwrap();
    let calls: Vec<u32> = events
        .iter()
        .filter_map(|event| match event {
            Event::CallBegin { index, .. } => Some(*index),
            _ => None,
        })
        .collect();
    assert_eq!(calls, [0, 1]);
    let mut fold = MessageFold::new();
    fold.extend(&events);
    assert_eq!(
        fold.into_message().content.as_deref(),
        Some("a{\"x\"--junk-{1}-d{a{\"x\"--junk-{1}-d{")
    );
}

#[test]
fn stop_strings_end_the_text_before_any_parser_sees_them() {
    for (input, expected) in [
        ("abSTOPc", (Some("ab"), None, vec![])),
        ("(thinkSTOP)c", (Some(""), Some("think"), vec![])),
        ("[f{STOP}]", (None, None, strings(&["f {..."]))),
    ] {
        let stop_strings = StopStrings::new(["STOP".to_owned()], false);
        let outcome = run(
            PipelineSpec {
                stop_strings,
                ..two_parsers()
            },
            [text(input)],
        );
        assert_eq!(summary(&outcome), expected);
        assert_eq!(outcome.ended, Ok(FinishReason::Stop));
    }
    let stop_strings = StopStrings::new(["STOP".to_owned()], false);
    let mut pipeline = OutputPipeline::new(PipelineSpec {
        stop_strings,
        ..Default::default()
    })
    .unwrap();
    let mut events = Vec::new();
    pipeline.push_fragment(text("aSTO"), &mut events).unwrap();
    assert!(!pipeline.stopped());
    pipeline.push_fragment(text("Pb"), &mut events).unwrap();
    assert!(pipeline.stopped());
    assert_eq!(
        pipeline.finish(FinishReason::Length, &mut events),
        Ok(FinishReason::Stop)
    );
    assert_eq!(
        (events, pipeline.stop_string()),
        (vec![Event::Content(text("a"))], Some("STOP"))
    );
}

#[test]
fn tokens_go_through_the_detokenizer() {
    let tokens: [(&[u8], TokenKind); 3] = [
        (b"\xC3", TokenKind::Normal),
        (b"\xA9", TokenKind::Normal),
        (b"<x>", TokenKind::Special),
    ];
    let tokens = tokens
        .map(|(bytes, kind)| (Box::from(bytes), kind))
        .to_vec();
    let detokenizer =
        Detokenizer::new(Arc::new(Vocabulary::new(tokens)), ["<x>".to_owned()].into());
    let mut pipeline = OutputPipeline::new(PipelineSpec {
        detokenizer,
        ..Default::default()
    })
    .unwrap();
    let mut events = Vec::new();
    for id in [0, 1, 2, 0] {
        pipeline.push_token(id, &mut events).unwrap();
    }
    pipeline.finish(FinishReason::Length, &mut events).unwrap();
    let expected = [
        text("é"),
        fragment("<x>", FragmentKind::Control),
        text("\u{FFFD}"),
    ];
    assert_eq!(events, expected.map(Event::Content));
}

#[test]
fn a_failing_parser_fails_the_answer_or_is_passed_over() {
    let input = || {
        [
            "(r)a".to_owned(),
            "[f{1".to_owned(),
            "b#c".to_owned(),
            "[g{}]".to_owned(),
        ]
        .map(|part| text(&part))
    };
    let outcome = run(two_parsers(), input());
    assert_eq!(outcome.ended, Err(fakes::trap("r", "push")));
    assert_eq!(outcome.message.content.as_deref(), Some("a"));

    let spec = PipelineSpec {
        reasoning: lenient(FakeParser::new("r", true, false).arc()),
        tools: None,
        ..two_parsers()
    };
    let outcome = run(spec, input());
    assert_eq!(
        summary(&outcome),
        (Some("a[f{1b#c[g{}]"), Some("r"), vec![])
    );
    assert_eq!(
        (outcome.ended, outcome.error),
        (Ok(FinishReason::Stop), Some(fakes::trap("r", "push")))
    );

    let spec = PipelineSpec {
        reasoning: None,
        tools: lenient(FakeParser::new("t", false, true).arc()),
        ..two_parsers()
    };
    let outcome = run(spec, input());
    assert_eq!(
        summary(&outcome),
        (Some("(r)ab#c[g{}]"), None, strings(&["f {1..."])),
        "the open call is ended"
    );
}

#[test]
fn a_failing_constructor_and_a_call_out_of_place_are_failures_too() {
    let spec = PipelineSpec {
        tools: parser(FakeParser::failing("t").arc()),
        ..two_parsers()
    };
    assert_eq!(
        OutputPipeline::new(spec).err(),
        Some(fakes::trap("t", "constructor"))
    );
    let spec = PipelineSpec {
        reasoning: None,
        tools: lenient(FakeParser::failing("t").arc()),
        ..two_parsers()
    };
    let outcome = run(spec, [text("[f{}]")]);
    assert_eq!(summary(&outcome), (Some("[f{}]"), None, vec![]));
    assert_eq!(outcome.error, Some(fakes::trap("t", "constructor")));
    let outcome = run(two_parsers(), [text("a@")]);
    let error = outcome.ended.unwrap_err();
    assert_eq!((error.plugin.as_str(), error.call), ("r", "push"));
    assert!(
        matches!(error.kind, PluginErrorKind::Contract(_)),
        "a reasoning parser may not call"
    );
}

#[test]
fn post_processors_rewrite_stop_and_fail() {
    let spec = |on_error| PipelineSpec {
        post: post(FakePost::new("capitals").arc(), on_error),
        ..two_parsers()
    };
    let outcome = run(spec(OnError::Fail), [text("(r)ab[f{}]c")]);
    assert_eq!(
        summary(&outcome),
        (Some("ABC"), Some("r"), strings(&["f {}"]))
    );
    let outcome = run(spec(OnError::Fail), [text("ab$cd"), text("e")]);
    assert_eq!(
        (summary(&outcome).0, outcome.ended.clone()),
        (Some("AB"), Ok(FinishReason::ContentFilter))
    );
    let outcome = run(spec(OnError::Fail), [text("ab"), text("%c")]);
    assert_eq!(
        (summary(&outcome).0, outcome.ended.clone()),
        (Some("A"), Err(fakes::trap("capitals", "push")))
    );
    let outcome = run(spec(OnError::Passthrough), [text("ab"), text("%c")]);
    assert_eq!(
        (summary(&outcome).0, outcome.ended.clone()),
        (Some("A%c"), Ok(FinishReason::Stop)),
        "held text is lost"
    );
}

#[test]
fn abandoned_calls_reach_who_wants_calls_and_become_content_before_who_does_not() {
    let capitals = || Configured::new(FakePost::new("capitals").arc(), OnError::Fail);
    let mender = || Configured::new(fakes::Mender::arc(), OnError::Fail);
    let run = |mode, post| {
        let spec = PipelineSpec {
            tool_call_streaming: mode,
            post,
            ..two_parsers()
        };
        run(spec, [text("a[f{}!b")])
    };
    for mode in [ToolCallStreaming::Incremental, ToolCallStreaming::Complete] {
        let outcome = run(mode, vec![mender(), capitals()]);
        let mended = (Some("AB"), None, strings(&["f {}"]));
        assert_eq!(summary(&outcome), mended, "{mode:?}");
    }
    let outcome = run(ToolCallStreaming::Complete, vec![capitals(), mender()]);
    assert_eq!(summary(&outcome), (Some("AF{}B"), None, vec![]));
}

#[test]
fn a_reason_of_stop_ends_the_answer_as_a_stop_string_does() {
    let spec = PipelineSpec {
        post: post(fakes::Mender::arc(), OnError::Fail),
        ..two_parsers()
    };
    let outcome = run(spec, [text("a[z{}]b"), text("c")]);
    assert_eq!(summary(&outcome), (Some("a"), None, vec![]));
    assert_eq!(outcome.ended, Ok(FinishReason::Stop));
}

fn random_spec(complete: bool, stops: &[String], with_post: usize) -> PipelineSpec {
    let capitals = || Configured::new(FakePost::new("capitals").arc(), OnError::Fail);
    PipelineSpec {
        stop_strings: StopStrings::new(stops.to_vec(), false),
        post: (0..with_post).map(|_| capitals()).collect(),
        tool_call_streaming: if complete {
            ToolCallStreaming::Complete
        } else {
            ToolCallStreaming::Incremental
        },
        ..two_parsers()
    }
}

proptest! {
    #[test]
    fn every_chunking_folds_to_the_same_message(
        chunks in prop::collection::vec("[ab(){}\\[\\]!$\"é]{1,6}|\\[f\\{\"a\":1\\}\\]", 0..12),
        stops in prop::collection::vec("[ab{é]{1,3}", 0..2),
        complete in any::<bool>(),
        with_post in 0usize..3,
    ) {
        let spec = || random_spec(complete, &stops, with_post);
        let whole = run(spec(), [text(&chunks.concat())]);
        let chunked = run(spec(), chunks.iter().map(|chunk| text(chunk)));
        prop_assert_eq!(&chunked, &whole);
        let letters = chunks.concat();
        let single = run(spec(), letters.chars().map(|letter| text(&letter.to_string())));
        prop_assert_eq!(&single, &whole);
        if complete {
            prop_assert!(whole.message.tool_calls.iter().all(|call| call.complete
                && weir_output::is_json_object(&call.arguments)));
        }
    }
}
