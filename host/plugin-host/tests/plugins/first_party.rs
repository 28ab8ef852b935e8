//! The checked-in first-party plugins load with their pins and do what they are for; the corpora test them in depth.

use std::path::Path;

use weir_output::{Action, Event, FinishReason, ParserSession, PluginError, RequestContext};
use weir_plugin_host::{PluginState, Registry, Role};

use crate::{HOST, session, text};

fn first_party() -> Registry {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Registry::builder(&HOST.0)
        .manifest_file(&root.join("plugins.toml"))
        .and_then(weir_plugin_host::RegistryBuilder::build)
        .expect("our own manifest")
}

/// Everything a session says of a text that comes in pieces of three characters.
fn parse(session: &mut dyn ParserSession, said: &str) -> Result<Vec<Event>, PluginError> {
    let mut events = Vec::new();
    let characters: Vec<char> = said.chars().collect();
    for piece in characters.chunks(3) {
        session.push(&text(&piece.iter().collect::<String>()), &mut events)?;
    }
    session.finish(FinishReason::Stop, &mut events)?;
    Ok(events)
}

/// A call's name and its whole arguments.
fn call(events: &[Event]) -> (String, String) {
    let mut call = (String::new(), String::new());
    for event in events {
        match event {
            Event::CallBegin { name, .. } => call.0.push_str(name),
            Event::CallArguments { delta, .. } => call.1.push_str(delta),
            _ => {}
        }
    }
    call
}

#[test]
fn every_plugin_loads() {
    let registry = first_party();
    for plugin in registry.status() {
        registry.load(&plugin.name).expect("it loads");
    }
    for plugin in registry.status() {
        let loaded = matches!(plugin.state, PluginState::Loaded(_));
        assert!(loaded, "{plugin:?}");
    }
}

#[test]
fn parsers_find_calls() {
    let registry = first_party();
    let cases = [
        (
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
        ),
        (
            "deepseek_v3",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
    ];
    for (name, said) in cases {
        let events = parse(session(&registry, name).as_mut(), said).expect("a sound plugin");
        assert_eq!(
            call(&events),
            ("f".to_owned(), "{\"a\": 1}".to_owned()),
            "{name}"
        );
        assert!(
            matches!(events.last(), Some(Event::CallEnd { index: 0 })),
            "{name}: {events:?}"
        );
    }
}

#[test]
fn the_reasoning_parser_is_found_by_model() {
    let registry = first_party();
    let model = "deepseek-ai/DeepSeek-R1";
    let (name, _) = registry
        .for_model(model, None, Role::Reasoning)
        .expect("they load")
        .expect("one fits");
    let events =
        parse(session(&registry, name).as_mut(), "<think>why</think>so").expect("a sound plugin");
    let reasoning: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Reasoning { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reasoning, "why");
}

#[test]
fn the_post_processor_hands_content_on() {
    let registry = first_party();
    let post_processor = registry.post_processor("redact").expect("it loads");
    let mut session = post_processor
        .session(&RequestContext::default())
        .expect("a session");
    let mut actions = Vec::new();
    session
        .push(&Event::Content(text("nothing to hide")), &mut actions)
        .expect("a push");
    session
        .finish(FinishReason::Stop, &mut actions)
        .expect("an end");
    let content: String = actions
        .iter()
        .filter_map(|action| match action {
            Action::Emit(Event::Content(fragment)) => Some(fragment.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(content, "nothing to hide");
}
