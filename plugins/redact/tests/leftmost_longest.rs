//! What `redact` replaces, against the regex crate asked about every substring, and under every cut.

use std::sync::Arc;

use proptest::prelude::*;
use regex::Regex;
use weir_plugin_sdk::patterns::{
    program::{Program, Rules},
    search::{MAX_MATCH, Search},
};

fn rules(patterns: &[String]) -> Option<Arc<Rules>> {
    let mut program = Program::new();
    for pattern in patterns {
        program.add(pattern).ok()?;
    }
    let replacements = (0..patterns.len())
        .map(|index| format!("<{index}>"))
        .collect();
    Some(Arc::new(Rules {
        program,
        replacements,
    }))
}

fn replace(rules: &Arc<Rules>, pieces: &[&str]) -> String {
    let mut search = Search::new(Arc::clone(rules));
    let mut out = String::new();
    for piece in pieces {
        search.push(piece, &mut out);
    }
    search.finish(&mut out);
    out
}

/// The definition, word for word: the leftmost match, of those the longest, of those the first pattern's.
fn replace_by_definition(patterns: &[String], text: &str) -> String {
    let whole: Vec<Regex> = patterns
        .iter()
        .map(|pattern| Regex::new(&format!(r"^(?:{pattern})$")).expect("a pattern both know"))
        .collect();
    let mut out = String::new();
    let mut start = 0;
    'text: while start < text.len() {
        for end in (start + 1..=text.len()).rev() {
            if let Some(rule) = whole
                .iter()
                .position(|regex| regex.is_match(&text[start..end]))
            {
                out.push_str(&format!("<{rule}>"));
                start = end;
                continue 'text;
            }
        }
        out.push_str(&text[start..=start]);
        start += 1;
    }
    out
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a", "b", "c", "1", r"\d", r"\w", r"\s", ".", "[ab]", "[^a]", "[a-c1]", r"[\d ]", r"\.",
    ]);
    atom.prop_map(str::to_owned)
        .prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join("|"))),
                (
                    inner,
                    prop::sample::select(vec!["?", "*", "+", "{2}", "{1,}", "{0,2}", "{1,3}"])
                )
                    .prop_map(|(inner, count)| format!("({inner}){count}")),
            ]
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn replaces_what_the_definition_says_under_every_two_way_cut(
        patterns in prop::collection::vec(pattern(), 1..3),
        text in "[abc1 .]{0,24}",
    ) {
        let Some(rules) = rules(&patterns) else { return Ok(()) };
        let expected = replace_by_definition(&patterns, &text);
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            prop_assert_eq!(&replace(&rules, &[one, two]), &expected, "cut at {}", cut);
        }
        let characters: Vec<&str> = text.split("").collect();
        prop_assert_eq!(&replace(&rules, &characters), &expected);
    }
}

#[test]
fn a_match_longer_than_the_limit_loses_its_start_only() {
    let rules = rules(&["k[a-z]+!".to_owned()]).expect("a pattern");
    let text = format!("k{}!.", "a".repeat(2 * MAX_MATCH));
    let whole = replace(&rules, &[&text]);
    assert!(whole.ends_with("a<0>."), "{}", &whole[whole.len() - 20..]);
    assert!(whole.len() > MAX_MATCH && whole.len() < MAX_MATCH + 20);
    let pieces: Vec<&str> = text.split("").collect();
    assert_eq!(replace(&rules, &pieces), whole);
}

#[test]
fn holds_back_no_more_than_what_may_still_match() {
    let rules = rules(&["ab{3}c".to_owned()]).expect("a pattern");
    let mut search = Search::new(rules);
    let mut out = String::new();
    for (piece, so_far) in [
        ("xxa", "xx"),
        ("bb", "xx"),
        ("b", "xx"),
        ("b", "xxabbbb"),
        ("a", "xxabbbb"),
    ] {
        search.push(piece, &mut out);
        assert_eq!(out, so_far);
    }
    search.finish(&mut out);
    assert_eq!(out, "xxabbbba");
}
