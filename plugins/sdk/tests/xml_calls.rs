//! Calls with parameters as markup fold to the same events under every chunking and keep the contract, whatever the model
//! wrote; what a value is and where it ends.
//!
//! Formats here stand for those of the plugins: names in tags, names between tags, tags around a token, calls with a type.

use proptest::prelude::*;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, RequestContext,
    testing::{check_contract, joined, tool},
    xml_calls::{Names, Tag, TagRole, XmlCalls, XmlFormat},
};

static IN_TAG: XmlFormat = XmlFormat {
    tags: &[
        Tag::token("<call>", TagRole::BlockStart),
        Tag::token("</call>", TagRole::BlockEnd),
        Tag::text("<f=", TagRole::CallStart),
        Tag::text("</f>", TagRole::CallEnd),
        Tag::text("<p=", TagRole::ParameterStart),
        Tag::text("</p>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: true,
    string_attribute: "",
};

static AFTER_TAG: XmlFormat = XmlFormat {
    tags: &[
        Tag::token("<call>", TagRole::CallStart),
        Tag::token("</call>", TagRole::CallEnd),
        Tag::token("<k>", TagRole::ParameterStart),
        Tag::token("</k>", TagRole::NameEnd),
        Tag::token("<v>", TagRole::ValueStart),
        Tag::token("</v>", TagRole::ParameterEnd),
    ],
    names: Names::AfterTag,
    line_breaks: false,
    string_attribute: "",
};

static AROUND: XmlFormat = XmlFormat {
    tags: &[
        Tag::around("｜M｜", "<｜M｜calls>", TagRole::BlockStart),
        Tag::around("｜M｜", "</｜M｜calls>", TagRole::BlockEnd),
        Tag::around("｜M｜", "<｜M｜f=", TagRole::CallStart),
        Tag::around("｜M｜", "</｜M｜f>", TagRole::CallEnd),
        Tag::around("｜M｜", "<｜M｜p=", TagRole::ParameterStart),
        Tag::around("｜M｜", "</｜M｜p>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "string",
};

static TYPED: XmlFormat = XmlFormat {
    tags: &[
        Tag::token("<calls>", TagRole::BlockStart),
        Tag::token("</calls>", TagRole::BlockEnd),
        Tag::token("<call>", TagRole::BlockStart),
        Tag::token("</call>", TagRole::BlockEnd),
        Tag::token("<sep>", TagRole::Separator),
        Tag::text("<f=", TagRole::CallStart),
        Tag::text("</f>", TagRole::CallEnd),
        Tag::text("<p=", TagRole::ParameterStart),
        Tag::text("</p>", TagRole::ParameterEnd),
    ],
    names: Names::InTag,
    line_breaks: false,
    string_attribute: "",
};

const FORMATS: [&XmlFormat; 4] = [&IN_TAG, &AFTER_TAG, &AROUND, &TYPED];

/// Longer than any name of a tool or a parameter.
const LONG_NAME: &str = concat!(
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
);

const PIECES: &[&str] = &[
    "<call>",
    "</call>",
    "<calls>",
    "</calls>",
    "<sep>",
    "function",
    "<f=",
    "</f>",
    "<f=f>",
    "<f=g>",
    "<p=",
    "</p>",
    "<p=s>",
    "<p=n>",
    "<p=b>",
    "<p=o>",
    "<p=free>",
    "<k>",
    "</k>",
    "<v>",
    "</v>",
    "<",
    "</",
    ">",
    "<｜M｜calls>",
    "</｜M｜calls>",
    "<｜M｜f=\"f\">",
    "</｜M｜f>",
    "<｜M｜p=\"s\" string=\"true\">",
    "<｜M｜p=n string=\"false\">",
    "</｜M｜p>",
    "｜M｜",
    "f",
    "s",
    "n",
    "\n",
    "\n\n",
    " ",
    "\"",
    "\\",
    "\u{1}",
    "é",
    "😀",
    "12",
    "-0.50",
    "1e5",
    "true",
    "True",
    "null",
    "None",
    "nul",
    "{\"a\": [1, \"</p>\"]}",
    "[1,",
    "007",
    "plain text",
    "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
    "                                                                                ",
    "true                                                                            x",
    LONG_NAME,
    "</",
    "</p",
    "</cal",
    "<call>\n<f=f>\n<p=s>\nv\n</p>\n</f>\n</call>",
    "<call>f\n<k>s</k>\n<v>v</v>\n</call>",
    "<｜M｜calls>\n<｜M｜f=\"f\">\n<｜M｜p=\"s\" string=\"true\">v</｜M｜p>\n</｜M｜f>\n</｜M｜calls>",
    "<calls><call>function<sep><f=f><p=o>{}</p></f></call></calls>",
];

fn context(strict_markers: bool) -> RequestContext {
    let tool = tool(
        "f",
        r#"{"type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "integer"},
            "b": {"type": ["boolean", "null"]}, "o": {"anyOf": [{"type": "object"}, {"type": "string"}, {"type": "number"}]},
            "free": {}, "t": {"type": ["string", "null"]}, "a": {"type": "array"}}}"#,
    );
    RequestContext {
        tools: vec![tool],
        strict_markers,
        ..RequestContext::default()
    }
}

/// The events of these fragments, with everything that may be joined joined.
fn run(
    format: &'static XmlFormat,
    fragments: &[Fragment],
    reason: FinishReason,
    strict: bool,
) -> Vec<Event> {
    let mut parser = XmlCalls::new(format, &context(strict));
    let mut events = Vec::new();
    for fragment in fragments {
        parser.push(fragment, &mut events);
    }
    parser.finish(reason, &mut events);
    joined(events)
}

fn cut(fragments: &[Fragment], cuts: &[u8]) -> Vec<Fragment> {
    let mut pieces = Vec::new();
    let mut turn = cuts.iter().cycle();
    for fragment in fragments {
        if fragment.kind == FragmentKind::Control {
            pieces.push(fragment.clone());
            continue;
        }
        let mut rest = fragment.text.as_str();
        while !rest.is_empty() {
            let count = usize::from(*turn.next().unwrap_or(&1)) + 1;
            let at = rest
                .char_indices()
                .nth(count)
                .map_or(rest.len(), |(at, _)| at);
            pieces.push(Fragment::new(&rest[..at], fragment.kind));
            rest = &rest[at..];
        }
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunking_changes_nothing(
        parts in prop::collection::vec((0..PIECES.len(), 0..8u8), 0..24),
        cuts in prop::collection::vec(0..6u8, 1..12),
        format in 0..FORMATS.len(),
        strict in any::<bool>(),
        reason in prop::sample::select(vec![FinishReason::Stop, FinishReason::Length]),
    ) {
        let mut fragments: Vec<Fragment> = Vec::new();
        for (piece, kind) in parts {
            let kind = match kind {
                0 | 1 => FragmentKind::Control,
                2 => FragmentKind::Unknown,
                _ => FragmentKind::Text,
            };
            match fragments.last_mut() {
                Some(last) if last.kind == kind && kind != FragmentKind::Control => last.text.push_str(PIECES[piece]),
                _ => fragments.push(Fragment::new(PIECES[piece], kind)),
            }
        }
        let format = FORMATS[format];
        let whole = run(format, &fragments, reason, strict);
        check_contract(&whole);
        prop_assert_eq!(&run(format, &cut(&fragments, &[0]), reason, strict), &whole);
        prop_assert_eq!(&run(format, &cut(&fragments, &cuts), reason, strict), &whole);
    }
}

/// Well-formed calls, cut off or spoilt at one place.
fn nearly_well_formed() -> impl Strategy<Value = String> {
    let value = prop::sample::select(PIECES.to_vec());
    let parameter = prop::sample::select(vec!["s", "n", "b", "o", "free", "t", "a", "other"]);
    let parameters = prop::collection::vec((parameter, prop::collection::vec(value, 0..4)), 0..4);
    let calls = prop::collection::vec(parameters, 1..3);
    (calls, any::<prop::sample::Index>(), 0..PIECES.len() + 1).prop_map(|(calls, at, spoil)| {
        let mut text = String::from("Well. ");
        for parameters in calls {
            text.push_str("<call>\n<f=f>\n");
            for (name, values) in parameters {
                text.push_str(&format!("<p={name}>\n{}\n</p>\n", values.concat()));
            }
            text.push_str("</f>\n</call>");
        }
        let at = text.floor_char_boundary(at.index(text.len()));
        match PIECES.get(spoil) {
            Some(piece) => text.insert_str(at, piece),
            None => text.truncate(at),
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunking_changes_no_call(
        text in nearly_well_formed(),
        cuts in prop::collection::vec(0..9u8, 1..12),
        reason in prop::sample::select(vec![FinishReason::Stop, FinishReason::Length]),
    ) {
        let fragments = [Fragment::new(text.as_str(), FragmentKind::Text)];
        let whole = run(&IN_TAG, &fragments, reason, false);
        check_contract(&whole);
        prop_assert_eq!(&run(&IN_TAG, &cut(&fragments, &[0]), reason, false), &whole);
        prop_assert_eq!(&run(&IN_TAG, &cut(&fragments, &cuts), reason, false), &whole);
    }
}

/// The arguments of the only call in a text, and whether it ended well.
fn arguments(format: &'static XmlFormat, text: &str, reason: FinishReason) -> (String, bool) {
    let fragment = Fragment::new(text, FragmentKind::Text);
    let mut arguments = String::new();
    let mut ended = false;
    for event in run(format, &[fragment], reason, false) {
        match event {
            Event::CallArguments { delta, .. } => arguments.push_str(&delta),
            Event::CallEnd { .. } => ended = true,
            _ => {}
        }
    }
    (arguments, ended)
}

#[test]
fn a_value_is_what_its_type_says() {
    for (parameter, value, expected) in [
        ("s", "007", r#""007""#),
        ("s", "null", r#""null""#),
        (
            "s",
            "a \"b\" \\ \u{1}\t\n\nc",
            r#""a \"b\" \\ \u0001\t\n\nc""#,
        ),
        ("s", "", r#""""#),
        ("s", "\n x \n", r#""\n x \n""#),
        ("n", "007", r#""007""#),
        ("n", " 12345678901234567890123 ", "12345678901234567890123"),
        ("n", "-0.0", "-0.0"),
        ("n", "None", "null"),
        ("b", "True", "true"),
        ("b", "maybe", r#""maybe""#),
        (
            "o",
            "{\"x\": 1e5,\n\"y\": [1]}",
            "{\"x\": 1e5,\n\"y\": [1]}",
        ),
        ("o", "{x}", r#""{x}""#),
        ("o", "12 monkeys", r#""12 monkeys""#),
        ("o", "12", "12"),
        ("o", "null", r#""null""#),
        ("t", "null", "null"),
        ("t", "nullable", r#""nullable""#),
        ("t", "5", r#""5""#),
        ("a", "[1, 2]", "[1, 2]"),
        ("a", "1, 2", r#""1, 2""#),
        ("free", "5", "5"),
        ("free", "\"5\"", "\"5\""),
        ("free", "True", r#""True""#),
        ("free", "text", r#""text""#),
        ("other", "false", "false"),
    ] {
        let text = format!("<call>\n<f=f>\n<p={parameter}>\n{value}\n</p>\n</f>\n</call>");
        let expected = format!("{{\"{parameter}\": {expected}}}");
        assert_eq!(
            arguments(&IN_TAG, &text, FinishReason::Stop),
            (expected, true),
            "{parameter}: {value}"
        );
    }
}

#[test]
fn only_a_real_end_tag_ends_a_value() {
    for (inside, expected) in [
        ("<p=s>a</p> b</p></f>", r#"{"s": "a</p> b"}"#),
        ("<p=s>a</f> b</p></f>", r#"{"s": "a</f> b"}"#),
        (
            "<p=s>a</call> or <call> b</p></f>",
            r#"{"s": "a</call> or <call> b"}"#,
        ),
        ("<p=s>a<p=x>b</p></f>", r#"{"s": "a<p=x>b"}"#),
        ("<p=s>a<p=s>b</p></f>", r#"{"s": "a<p=s>b"}"#),
        ("<p=s>a <f=g> b</p></f>", r#"{"s": "a <f=g> b"}"#),
        ("<p=s>a</p></p></f>", r#"{"s": "a"}"#),
        // Missing tags.
        ("<p=s>a\n<p=n>1</p></f>", r#"{"s": "a", "n": 1}"#),
        ("<p=s>a</p>", r#"{"s": "a"}"#),
        ("<p=s>a</f>", r#"{"s": "a"}"#),
        ("<p=s>a", r#"{"s": "a"}"#),
        ("", "{}"),
        // The first stands.
        ("<p=s>a</p><p=s>b</p></f>", r#"{"s": "a"}"#),
    ] {
        let text = format!("<call><f=f>{inside}</call>");
        assert_eq!(
            arguments(&IN_TAG, &text, FinishReason::Stop),
            (expected.into(), true),
            "{inside}"
        );
    }
}

#[test]
fn a_cut_off_call_is_abandoned_and_a_stopped_one_is_not() {
    for text in [
        "<call><f=f><p=s>a",
        "<call><f=f><p=s>a</p>",
        "<call><f=f><p=s>a</p",
        "<call><f=f><p=s>a</p></f",
    ] {
        assert_eq!(
            arguments(&IN_TAG, text, FinishReason::Stop),
            (r#"{"s": "a"}"#.into(), true),
            "{text}"
        );
        assert!(!arguments(&IN_TAG, text, FinishReason::Length).1, "{text}");
    }
    assert!(!arguments(&IN_TAG, "<call><f=f><p=a>[1, ", FinishReason::Stop).1);
    assert!(!arguments(&IN_TAG, "<call><f=f>junk</f></call>", FinishReason::Stop).1);
    assert!(
        !arguments(
            &IN_TAG,
            "<call><f=f><p=s\nx</p></f></call>",
            FinishReason::Stop
        )
        .1
    );
}

#[test]
fn a_string_streams_as_it_comes() {
    let mut parser = XmlCalls::new(&IN_TAG, &context(false));
    let mut pushed = |text: &str| {
        let mut events = Vec::new();
        parser.push(&Fragment::new(text, FragmentKind::Text), &mut events);
        let delta = |event| match event {
            Event::CallBegin { .. } => String::from("begin "),
            Event::CallArguments { delta, .. } => delta.to_string(),
            Event::CallEnd { .. } => String::from(" end"),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(delta).collect::<String>()
    };
    for (text, said) in [
        ("<call>\n<f=f", ""),
        (">", "begin "),
        ("\n<p=s>", "{\"s\": \""),
        ("\nab", "ab"),
        ("c\n", "c"),
        ("<", ""),
        ("b>", "\\n<b>"),
        ("</p>", ""),
        ("\n<p=o>\n", "\""),
        ("twelve", ", \"o\": \"twelve"),
        ("</p><p=n>1", "\""),
        ("2</p>\n</f>", ", \"n\": 12} end"),
        ("\n</call>", ""),
    ] {
        assert_eq!(pushed(text), said, "{text}");
    }
}

#[test]
fn where_names_stand_after_tags_a_start_tag_may_be_missing() {
    for (inside, expected) in [
        ("<k>s</k>a b</v><k>n</k><v>1</v>", r#"{"s": "a b", "n": 1}"#),
        ("<k>n</k> 1</v>", r#"{"n": 1}"#),
    ] {
        let text = format!("<call>f{inside}</call>");
        assert_eq!(
            arguments(&AFTER_TAG, &text, FinishReason::Stop),
            (expected.into(), true),
            "{inside}"
        );
    }
    // Which part is the name, nothing tells.
    let events = run(
        &AFTER_TAG,
        &[Fragment::new(
            "<call>fs</k><v>a</v></call>",
            FragmentKind::Text,
        )],
        FinishReason::Stop,
        false,
    );
    let raw = "fs</k><v>a</v>".into();
    assert_eq!(events, [Event::CallAbandoned { index: 0, raw }]);
}
