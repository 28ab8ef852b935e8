//! The shared parsers fold to the same events under every chunking and keep the contract, whatever the model wrote.
//!
//! Texts are made of markers, pieces of JSON and garbage; families here stand for those of the plugins.

use std::borrow::Cow;

use proptest::prelude::*;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, RequestContext,
    bare_calls::{BareCalls, BareFormat},
    chained::Chained,
    listed_calls::{ListFormat, ListRole, ListedCalls},
    marked_calls::{CallFormat, MarkedCalls, MarkerRole, NamePlace},
    python_calls::PythonCalls,
    reasoning::{MarkedReasoning, ReasoningFormat},
    testing::{check_contract, cut, joined, tool},
};

static IN_BODY: CallFormat = CallFormat {
    markers: &["<call>", "</call>"],
    roles: &[MarkerRole::CallStart, MarkerRole::CallEnd],
    name: NamePlace::Body,
};

static AFTER_SEPARATOR: CallFormat = CallFormat {
    markers: &["<calls>", "</calls>", "<call>", "</call>", "<｜sep｜>"],
    roles: &[
        MarkerRole::Block,
        MarkerRole::Block,
        MarkerRole::CallStart,
        MarkerRole::CallEnd,
        MarkerRole::Separator,
    ],
    name: NamePlace::AfterSeparator,
};

static BEFORE_SEPARATOR: CallFormat = CallFormat {
    markers: AFTER_SEPARATOR.markers,
    roles: AFTER_SEPARATOR.roles,
    name: NamePlace::BeforeSeparator,
};

static BARE: BareFormat = BareFormat {
    announcing: &["<calls>", "<call>"],
    ending: &["</call>"],
    wrapped: false,
};

static WRAPPED: BareFormat = BareFormat {
    announcing: BARE.announcing,
    ending: BARE.ending,
    wrapped: true,
};

static LISTED: ListFormat = ListFormat {
    markers: &["<call>", "</call>", "<｜sep｜>", "<calls>"],
    roles: &[
        ListRole::Start,
        ListRole::End,
        ListRole::Arguments,
        ListRole::Id,
    ],
    names: true,
    ids: true,
};

static REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed(""),
    start: Cow::Borrowed("<think>"),
    end: Cow::Borrowed("</think>"),
    starts_inside: true,
    tool_marker_ends: false,
};

static OPTIONAL_REASONING: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed(""),
    start: Cow::Borrowed("<think>"),
    end: Cow::Borrowed("</think>"),
    starts_inside: false,
    tool_marker_ends: true,
};

const PIECES: &[&str] = &[
    "<call>",
    "</call>",
    "<calls>",
    "</calls>",
    "<｜sep｜>",
    "<think>",
    "</think>",
    "<",
    "<｜",
    "</ca",
    "function",
    "name",
    "get",
    "\n",
    " ",
    "```json\n",
    "```",
    "`",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud83d",
    "-0",
    "1e5",
    ".5",
    "true",
    "null",
    "é",
    "😀",
    "{\"name\": \"f\", \"arguments\": {\"a\": [1, \"<call>\"]}}",
    "{\"arguments\": {}, \"name\": \"g\"}",
    "{\"name\": \"h\", \"parameters\": \"{\\\"b\\\": 2}\"}",
    "{\"name\": \"i\", \"arguments\": \"",
    "{\"name\": \"j\", ",
    "\"arguments\": {",
    "{\"a\": 1}",
    "<call>\n{\"name\": \"k\"}\n</call>",
    "<call>function<｜sep｜>l\n```json\n{\"c\": null}\n```</call>",
    "<call>function<｜sep｜>m\n",
    "<call>n<｜sep｜>{\"d\": \"\"}</call>",
    "<call>[{\"id\": \"o\", \"name\": \"o\"}, ",
    "{\"name\": \"p\", \"arguments\": {\"e\": [{}",
    ";",
    "{\"",
    "{\"name\": \"offered\"",
    "{\"name\": \"o\", \"parameters\": {\"x\": ",
    "[{\"name\": \"p\", \"parameters\": {}}, ",
    "{\"q\": {\"name\": \"r\", \"parameters\": {}}}",
    "(",
    ")",
    "'",
    "=",
    "\"\"\"",
    "[s(a='it\\'s', b=(1_0, {None: .5}))]",
    "[offered(c=\"",
    ", t(d='",
    "[u()]",
    "e=[r'<call>', ",
    "f=g(",
];

#[derive(Debug, Clone, Copy)]
enum Family {
    Bare,
    Wrapped,
    Python,
    InBody,
    AfterSeparator,
    BeforeSeparator,
    Reasoning,
    OptionalReasoning,
    Listed,
}

fn parse(family: Family, strict: bool, reason: FinishReason, input: &[Fragment]) -> Vec<Event> {
    let mut events = Vec::new();
    let context = RequestContext {
        strict_markers: strict,
        tool_markers: vec!["<call>".into()],
        tools: vec![tool("offered", "{}")],
        ..RequestContext::default()
    };
    let format = match family {
        Family::Python => {
            let markers = ["<call>", "</call>"].map(Cow::Borrowed);
            let mut parser = PythonCalls::new(markers.into(), &context);
            for fragment in input {
                parser.push(fragment, &mut events);
            }
            parser.finish(reason, &mut events);
            return joined(events);
        }
        Family::Bare | Family::Wrapped => {
            let format = match family {
                Family::Bare => &BARE,
                _ => &WRAPPED,
            };
            let mut parser = BareCalls::new(format, &context);
            for fragment in input {
                parser.push(fragment, &mut events);
            }
            parser.finish(reason, &mut events);
            return joined(events);
        }
        Family::InBody => &IN_BODY,
        Family::AfterSeparator => &AFTER_SEPARATOR,
        Family::BeforeSeparator => &BEFORE_SEPARATOR,
        Family::Listed => {
            let tools = ListedCalls::new(&LISTED, strict);
            let mut parser = Chained::new(&OPTIONAL_REASONING, tools, &["<call>"], &context);
            for fragment in input {
                parser.push(fragment, &mut events);
            }
            parser.finish(reason, &mut events);
            return joined(events);
        }
        Family::Reasoning | Family::OptionalReasoning => {
            let format = match family {
                Family::Reasoning => &REASONING,
                _ => &OPTIONAL_REASONING,
            };
            let mut parser = MarkedReasoning::new(format, &context);
            for fragment in input {
                parser.push(fragment, &mut events);
            }
            parser.finish(reason, &mut events);
            return joined(events);
        }
    };
    let mut parser = MarkedCalls::new(format, strict);
    for fragment in input {
        parser.push(fragment, &mut events);
    }
    parser.finish(reason, &mut events);
    joined(events)
}

/// Joins adjacent text, as an engine that sends everything at once would.
fn join(pieces: &[(usize, bool)]) -> Vec<Fragment> {
    let mut input: Vec<Fragment> = Vec::new();
    for (piece, control) in pieces {
        let text = PIECES[*piece];
        let control = *control && text.starts_with('<') && text.ends_with('>');
        match input.last_mut() {
            Some(last) if !control && last.kind == FragmentKind::Text => last.text.push_str(text),
            _ if control => input.push(Fragment::new(text, FragmentKind::Control)),
            _ => input.push(Fragment::new(text, FragmentKind::Text)),
        }
    }
    input
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_chunking_folds_to_the_same(
        pieces in proptest::collection::vec((0..PIECES.len(), any::<bool>()), 0..14),
        cuts in proptest::collection::vec(any::<bool>(), 64),
        strict in any::<bool>(),
        stopped in any::<bool>(),
        family in prop_oneof![
            Just(Family::Bare), Just(Family::Wrapped), Just(Family::Python), Just(Family::InBody), Just(Family::AfterSeparator), Just(Family::Reasoning),
            Just(Family::OptionalReasoning), Just(Family::Listed)
        ],
    ) {
        let input = join(&pieces);
        let reason = if stopped { FinishReason::Stop } else { FinishReason::Length };
        let whole = parse(family, strict, reason, &input);
        check_contract(&whole);
        let mut at = 0;
        let random = cut(&input, || { at += 1; cuts[at % cuts.len()] });
        prop_assert_eq!(&parse(family, strict, reason, &random), &whole, "{:?}", random);
        prop_assert_eq!(&parse(family, strict, reason, &cut(&input, || true)), &whole);
    }
}

/// A quadratic parser would take minutes here.
#[test]
fn work_is_linear() {
    let texts = [
        "<call>{\"a\n".repeat(6_000),
        "<call>{\"<\n".repeat(6_000),
        format!("<call>{}", "\n".repeat(60_000)),
        format!("<call>function<｜sep｜>{}", "\n".repeat(60_000)),
        format!("<call>function<｜sep｜>x```{}", "\n".repeat(60_000)),
        "<".repeat(60_000),
        "<call>{\"x</call>".repeat(4_000),
        format!("<call>{}", "{\"a\":[".repeat(10_000)),
        format!(
            "<call>{{\"name\":\"f\",\"arguments\":{{\"a\":\"{}",
            "<call>".repeat(10_000)
        ),
        "{ ".repeat(30_000),
        "{\"".repeat(30_000),
        "{\"a\"b".repeat(12_000),
        "{\"a {\" ".repeat(8_000),
        "{\"<\"b<".repeat(8_000),
        "{}".repeat(30_000),
        format!("{{\"x {}", " ".repeat(60_000)),
        "{\"name\": \"f\", \"parameters\": {'".repeat(2_000),
        format!("<call>[{}", "{\"name\": \"f\" {}, ".repeat(3_000)),
        format!("<call>[{}", "{\"x}, ".repeat(8_000)),
        format!("<call>[{}", "{\"a\": \"x}, {\", ".repeat(4_000)),
        "{\"name\": \"f\", \"parameters\": {\"a\": \"x}}\n".repeat(1_500),
        "```json\n[".repeat(6_000),
        "[f(a='x), ".repeat(6_000),
        "[f(a='x' y), ".repeat(5_000),
        format!("[{}", "f(a='x), f(a=\"y<call>\" z), ".repeat(2_500)),
        format!("[f(a={}", "[".repeat(60_000)),
        format!("[f(a='''{}", "''\\u00".repeat(10_000)),
        format!("[f(a=\"{}", "<call>, g(a='x".repeat(4_000)),
        "[f(x(".repeat(12_000),
        "[offered(".repeat(6_000),
    ];
    for text in &texts {
        for family in [
            Family::Bare,
            Family::Wrapped,
            Family::Python,
            Family::InBody,
            Family::AfterSeparator,
            Family::BeforeSeparator,
            Family::Reasoning,
            Family::Listed,
        ] {
            let whole = [Fragment::new(text.as_str(), FragmentKind::Text)];
            let events = parse(family, false, FinishReason::Stop, &whole);
            check_contract(&events);
            assert_eq!(
                events,
                parse(family, false, FinishReason::Stop, &cut(&whole, || true))
            );
        }
    }
}
