//! Where `stop_on` ends a text, against the regex crate asked about every substring, and under every cut.

use proptest::prelude::*;
use regex::Regex;
use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, PostProcessor, RequestContext,
    json_text::json_string,
};
use weir_plugin_stop_on::StopOn;

/// The text that goes out, and whether the generation was ended.
fn guard(config: &str, pieces: &[&str]) -> (String, bool) {
    let mut session = StopOn::new(config, &RequestContext::default());
    let mut actions = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let fragment = Fragment::new(*piece, FragmentKind::Text);
        session.push(&Event::Content(fragment), &mut actions);
    }
    session.finish(FinishReason::Stop, &mut actions);
    let (mut out, mut stops) = (String::new(), 0);
    for action in &actions {
        match action {
            Action::Emit(Event::Content(fragment)) => {
                assert_eq!(stops, 0, "nothing follows a stop");
                out.push_str(&fragment.text);
            }
            Action::Stop(_) => stops += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(stops < 2, "one stop");
    (out, stops == 1)
}

/// The definition, word for word: all before the leftmost match.
fn guard_by_definition(patterns: &[String], text: &str) -> (String, bool) {
    let whole = patterns
        .iter()
        .map(|pattern| Regex::new(&format!(r"^(?:{pattern})$")).expect("a pattern both know"));
    let whole: Vec<Regex> = whole.collect();
    for start in 0..text.len() {
        for end in start + 1..=text.len() {
            if whole.iter().any(|regex| regex.is_match(&text[start..end])) {
                return (text[..start].to_owned(), true);
            }
        }
    }
    (text.to_owned(), false)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn ends_where_the_definition_says_under_every_two_way_cut(
        patterns in prop::collection::vec("([ab1.]|a\\+|[ab]{2}|\\(ab\\|b1\\+\\)|\\[\\^a\\]1|b\\{2,3\\}){1,4}", 1..4),
        text in "[ab1 ]{0,20}",
    ) {
        let list: Vec<String> = patterns
            .iter()
            .map(|pattern| format!(r#"{{"pattern": {}}}"#, json_string(pattern)))
            .collect();
        let config = format!(r#"{{"patterns": [{}]}}"#, list.join(", "));
        if StopOn::describe(&config).is_err() {
            return Ok(());
        }
        let expected = guard_by_definition(&patterns, &text);
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            prop_assert_eq!(&guard(&config, &[one, two]), &expected, "cut at {}", cut);
        }
        let characters: Vec<&str> = text.split("").collect();
        prop_assert_eq!(&guard(&config, &characters), &expected);
    }
}

#[test]
fn holds_back_no_more_than_what_may_still_match_and_stops_at_once() {
    let config = r#"{"phrases": ["secret plan"]}"#;
    let mut session = StopOn::new(config, &RequestContext::default());
    for (piece, expected) in [
        ("a se", vec!["a "]),
        ("cret ", vec![]),
        ("pla", vec![]),
        ("te, secret plan", vec!["secret plate, ", "stop"]),
        ("more", vec![]),
    ] {
        let mut actions = Vec::new();
        let fragment = Fragment::new(piece, FragmentKind::Text);
        session.push(&Event::Content(fragment), &mut actions);
        let said: Vec<&str> = actions
            .iter()
            .map(|action| match action {
                Action::Emit(Event::Content(fragment)) => fragment.text.as_str(),
                Action::Stop(reason) => {
                    assert_eq!(reason, "content_filter: phrase `secret plan` matched");
                    "stop"
                }
                Action::Emit(other) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, expected, "{piece}");
    }
}
