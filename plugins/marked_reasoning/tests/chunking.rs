//! Whatever the configured markers: junk made of them and of their beginnings folds to the same, however it is cut.

use weir_plugin_marked_reasoning::MarkedReasoning;
use weir_plugin_sdk::{
    Event, FinishReason, Fragment, FragmentKind, Parser, RequestContext, testing::Numbers,
};

const CONFIGS: [&str; 6] = [
    r#"{}"#,
    r#"{"start": "==>>", "end": "==<<"}"#,
    r#"{"start": "\n\n", "end": "\n--\n", "starts_inside": true}"#,
    r#"{"start": "", "end": "aab", "starts_inside": true}"#,
    r#"{"start": "◁a▷", "end": "◁/a▷", "tool_marker_ends": true}"#,
    r#"{"start": " a", "end": "a ", "tool_marker_ends": true}"#,
];
const TEXTS: usize = 400;

/// Reasoning and content.
fn fold(config: &str, pieces: impl IntoIterator<Item = Fragment>) -> (String, String) {
    let context = RequestContext {
        tool_markers: vec!["x".into()],
        ..RequestContext::default()
    };
    let mut parser = MarkedReasoning::new(config, &context);
    let mut events = Vec::new();
    for piece in pieces {
        parser.push(&piece, &mut events);
    }
    parser.finish(FinishReason::Stop, &mut events);
    let (mut reasoning, mut content) = (String::new(), String::new());
    for event in events {
        match event {
            Event::Reasoning { text } => reasoning.push_str(&text),
            Event::Content(fragment) => content.push_str(&fragment.text),
            call => panic!("{call:?}"),
        }
    }
    (reasoning, content)
}

fn characters(fragment: &Fragment) -> Vec<Fragment> {
    if fragment.kind == FragmentKind::Control {
        return vec![fragment.clone()];
    }
    let characters = fragment.text.chars();
    characters
        .map(|c| Fragment::new(c.to_string(), fragment.kind))
        .collect()
}

#[test]
fn junk_folds_to_the_same_however_it_is_cut() {
    let mut numbers = Numbers(7);
    for config in CONFIGS {
        let info = MarkedReasoning::describe(config).expect("a good configuration");
        let mut pieces: Vec<String> = ["\n", " ", "a", "-", "=", "x"].map(String::from).into();
        for marker in info.special_tokens {
            let cut = numbers.below(marker.chars().count());
            pieces.push(marker.chars().take(cut).collect());
            pieces.push(marker);
        }
        for _ in 0..TEXTS {
            let mut whole: Vec<Fragment> = Vec::new();
            for _ in 0..numbers.below(12) {
                let piece = &pieces[numbers.below(pieces.len())];
                let control = numbers.below(6) == 0;
                match whole.last_mut() {
                    _ if piece.is_empty() => {}
                    _ if control => whole.push(Fragment::new(piece, FragmentKind::Control)),
                    Some(last) if last.kind == FragmentKind::Text => last.text.push_str(piece),
                    _ => whole.push(Fragment::new(piece, FragmentKind::Text)),
                }
            }
            let cut = whole.iter().flat_map(characters);
            assert_eq!(
                fold(config, whole.clone()),
                fold(config, cut),
                "{config} {whole:?}"
            );
        }
    }
}
