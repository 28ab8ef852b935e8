//! Every misbehaviour ends its own session with the error that names it, and nobody else's.

use weir_output::{FinishReason, PluginError, PluginErrorKind as Kind, RequestContext};
use weir_plugin_host::PluginHostError;

use crate::{Expected, HOST, build, echoes, entry, host, registry, session, text};

const TIMEOUT: Expected = |kind| matches!(kind, Kind::Timeout { limit_ms: 60 });
const MEMORY: Expected = |kind| {
    matches!(
        kind,
        Kind::Memory {
            limit_bytes: 8_000_000
        }
    )
};
const OUTPUT: Expected = |kind| {
    matches!(
        kind,
        Kind::Output {
            limit_bytes: 1_000_000
        }
    )
};
const TRAP: Expected = |kind| matches!(kind, Kind::Trap(_));
const CONTRACT: Expected = |kind| matches!(kind, Kind::Contract(_));

/// Runs a session that misbehaves there, beside one that does not; answers the failure.
fn failure(mode: &str, place: &str, limits: &str) -> PluginError {
    let bad = format!("config = {{ mode = \"{mode}\", in = \"{place}\" }}\n{limits}");
    // Counters are a host's, by name: this test's alone.
    let host = host(HOST.1.path(), 4);
    let registry = build(&host, &(entry("good", "") + &entry("bad", &bad))).expect("sound");
    let mut neighbour = session(&registry, "good");
    echoes(neighbour.as_mut(), "before");

    let failure = misbehave(&registry, place);
    assert_eq!(failure.plugin, "bad");
    echoes(neighbour.as_mut(), "after");
    neighbour
        .finish(FinishReason::Stop, &mut Vec::new())
        .expect("the neighbour is well");
    echoes(session(&registry, "good").as_mut(), "a new session");

    let status = registry.status();
    let bad = status.iter().find(|plugin| plugin.name == "bad");
    assert_eq!(bad.expect("its status").counters.failures, 1);
    failure
}

fn misbehave(registry: &weir_plugin_host::Registry, place: &str) -> PluginError {
    let parser = match registry.parser("bad") {
        Ok(parser) => parser,
        Err(PluginHostError::Plugin(error)) => return error,
        Err(other) => panic!("not a plugin's failure: {other}"),
    };
    let mut session = match parser.session(&RequestContext::default()) {
        Ok(session) => session,
        Err(error) => return error,
    };
    let mut events = Vec::new();
    let mut result = session.push(&text("a"), &mut events);
    if place == "finish" {
        result.expect("only finish misbehaves");
        events.clear();
        result = session.finish(FinishReason::Length, &mut events);
    }
    let error = result.expect_err("it misbehaved");
    assert!(events.is_empty(), "a failed call says nothing");
    let again = session
        .push(&text("b"), &mut events)
        .expect_err("it is dead");
    assert_eq!(again.kind, Kind::Dead);
    error
}

fn contained(mode: &str, places: &[&str], limits: &str, expected: Expected) {
    for place in places {
        let error = failure(mode, place, limits);
        let call = if *place == "new" { "start" } else { place };
        assert_eq!(error.call, call, "{mode} in {place}: {error}");
        assert!(expected(&error.kind), "{mode} in {place}: {error}");
    }
}

const EVERYWHERE: &[&str] = &["describe", "new", "push", "finish"];
const WITH_EVENTS: &[&str] = &["push", "finish"];

#[test]
fn endless_loop() {
    contained("loop", EVERYWHERE, "limits.call_ms = 60", TIMEOUT);
}

#[test]
fn unbounded_recursion() {
    contained("recurse", EVERYWHERE, "", TRAP);
}

#[test]
fn memory_bomb() {
    contained(
        "memory",
        EVERYWHERE,
        "limits.memory_bytes = 8_000_000",
        MEMORY,
    );
}

#[test]
fn panicking() {
    contained("panic", EVERYWHERE, "", TRAP);
}

#[test]
fn flood_of_events() {
    contained(
        "many-events",
        WITH_EVENTS,
        "limits.output_bytes = 1_000_000",
        OUTPUT,
    );
}

#[test]
fn flood_of_text() {
    contained(
        "long-text",
        WITH_EVENTS,
        "limits.output_bytes = 1_000_000",
        OUTPUT,
    );
}

#[test]
fn call_indices_with_a_gap() {
    contained("gap", WITH_EVENTS, "", CONTRACT);
}

#[test]
fn arguments_without_a_call() {
    contained("unopened", WITH_EVENTS, "", CONTRACT);
}

#[test]
fn a_call_index_twice() {
    contained("reuse", WITH_EVENTS, "", CONTRACT);
}

#[test]
fn an_empty_fragment() {
    contained("empty", WITH_EVENTS, "", CONTRACT);
}

#[test]
fn a_call_left_open() {
    contained("unclosed", &["finish"], "", CONTRACT);
}

#[test]
fn a_refused_configuration_fails_at_load() {
    let registry = registry(&entry("bad", "config = { mode = \"refuse\" }"));
    let error = registry.parser("bad").err().expect("it refuses");
    assert_eq!(
        error.to_string(),
        "plugin `bad`, call `describe`: refused its configuration: a hostile plugin likes no configuration"
    );
}

#[test]
fn a_full_house_is_an_error_and_places_come_back() {
    let full = host(HOST.1.path(), 2);
    let registry = crate::build(&full, &entry("good", "")).expect("a sound manifest");
    let parser = registry.parser("good").expect("a plugin that loads");
    let context = RequestContext::default();
    let first = parser.session(&context).expect("the first");
    let mut second = parser.session(&context).expect("the second");
    let error = parser.session(&context).err().expect("no place");
    assert_eq!(error.kind, Kind::Sessions { limit: 2 });
    drop(first);
    let _third = parser.session(&context).expect("the place of the first");
    second
        .finish(FinishReason::Stop, &mut Vec::new())
        .expect("the second ends");
    assert_eq!(full.live_sessions(), 1, "a finished session holds no place");
}

#[test]
fn sessions_are_counted() {
    let registry = build(&host(HOST.1.path(), 4), &entry("good", "")).expect("sound");
    let mut session = session(&registry, "good");
    echoes(session.as_mut(), "a");
    echoes(session.as_mut(), "b");
    let count = || registry.status().remove(0).counters;
    assert_eq!((count().live, count().sessions), (1, 0));
    session
        .finish(FinishReason::Stop, &mut Vec::new())
        .expect("an end");
    let count = count();
    assert_eq!(
        (
            count.live,
            count.sessions,
            count.pushes,
            count.events,
            count.failures
        ),
        (0, 1, 2, 2, 0)
    );
    assert!(count.nanoseconds > 0);
}

#[test]
fn counters_go_on_over_a_reload() {
    let host = host(HOST.1.path(), 4);
    for round in 1..=2 {
        let registry = build(&host, &entry("good", "")).expect("a sound manifest");
        echoes(session(&registry, "good").as_mut(), "a");
        assert_eq!(registry.status()[0].counters.sessions, round);
    }
}
