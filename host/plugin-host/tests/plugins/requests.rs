//! Request processors: what one sees and asks for crosses the border unchanged; one that asks for more than it is granted, loops
//! or traps is contained, with an error that names it.

use std::sync::Arc;

use weir_output::{
    FinishReason, PlannedMessage, PlannedModel, PlannedRequest, PluginError,
    PluginErrorKind as Kind, ProcessorAction, ProcessorOutcome, ProcessorStep,
    request_processor::PlannedAnswer,
};
use weir_plugin_host::{PluginHost, PluginHostError, PluginState, Registry};

use crate::{Expected, HOST, host};

/// `tests/hostile_request`, built.
const HOSTILE: &[u8] =
    include_bytes!("../../../../tests/hostile_request/dist/hostile_request.wasm");

const GRANTED: &str = "grants = { steps = 4, generations = 2, generated_tokens = 8, embeddings = 1, stored_bytes = 1000 }";

fn embedded(path: &str) -> Option<&'static [u8]> {
    (path == "hostile_request.wasm").then_some(HOSTILE)
}

fn registry(host: &Arc<PluginHost>, more: &str) -> Registry {
    let time = if more.contains("call_ms") {
        ""
    } else {
        "limits.call_ms = 20000"
    };
    let manifest = format!(
        "[it]\nkind = \"request-processor\"\nwasm = \"hostile_request.wasm\"\n{time}\n{more}"
    );
    Registry::builder(host)
        .embedded(&manifest, embedded)
        .and_then(weir_plugin_host::RegistryBuilder::build)
        .expect("a sound manifest")
}

fn message(role: &str, content: Option<&str>, more: &str) -> PlannedMessage {
    PlannedMessage {
        role: role.to_owned(),
        content: content.map(str::to_owned),
        more: more.to_owned(),
    }
}

fn request() -> PlannedRequest {
    PlannedRequest {
        messages: vec![
            message("system", Some("Ein Dokument – 文件"), ""),
            message("assistant", None, r#"{"tool_calls":[]}"#),
        ],
        digests: vec!["d1".to_owned(), "d2".to_owned()],
        parameters: vec![("mpr_candidates".to_owned(), "5".to_owned())],
        max_tokens: Some(7),
        may_call_tools: true,
        candidates: Vec::new(),
    }
}

const MODEL: PlannedModel = PlannedModel {
    context_tokens: 99,
    embedding_tokens: Some(3),
};

fn outcomes() -> Vec<ProcessorOutcome> {
    let answer = PlannedAnswer {
        text: "an answer".to_owned(),
        finish_reason: FinishReason::Length,
        mean_logprob: Some(-0.5),
        tokens: 2,
    };
    vec![
        ProcessorOutcome::Counted(vec![2, 0]),
        ProcessorOutcome::Kept(true),
        ProcessorOutcome::Found(vec![Some(vec![0, 255]), None]),
        ProcessorOutcome::Generated(vec![answer]),
        ProcessorOutcome::Embedded(vec![vec![0.5, -1.0], vec![]]),
        ProcessorOutcome::Failed("no".to_owned()),
    ]
}

#[test]
fn everything_crosses_the_border_as_it_is() {
    let registry = registry(&HOST.0, GRANTED);
    let plugin = registry.request_processor("it").expect("it loads");
    let (mut session, step) = plugin.start(&request(), &MODEL).expect("it starts");
    let ProcessorStep::Perform(actions) = step else {
        panic!("it wants things done: {step:?}")
    };
    assert_eq!(actions.len(), 6);
    assert_eq!(actions[1], ProcessorAction::CountPrompt(request().messages));
    assert_eq!(
        actions[2],
        ProcessorAction::StorePut {
            document: "d1".to_owned(),
            entries: vec![("a".to_owned(), vec![1, 2])],
        }
    );
    let ProcessorAction::Generate(generations) = &actions[4] else {
        panic!("a generation: {actions:?}")
    };
    let first = &generations[0];
    assert_eq!((first.max_tokens, first.temperature), (4, Some(0.5)));
    assert_eq!(first.shown.as_deref(), Some("thinking: "));
    let ProcessorStep::Answer(seen) = session.resume(&outcomes()).expect("it goes on") else {
        panic!("it answers")
    };
    for part in [
        r#"content: Some("Ein Dokument – 文件")"#,
        r#"more: "{\"tool_calls\":[]}""#,
        r#"parameters: [("mpr_candidates", "5")]"#,
        "max_tokens: Some(7), may_call_tools: true",
        "generations: 2, generated_tokens: 8, embeddings: 1, stored_bytes: 1000",
        "context_tokens: 99, embedding_tokens: Some(3)",
        "Counted([2, 0]), Kept(true), Found([Some([0, 255]), None])",
        r#"text: "an answer", finish_reason: Length, mean_logprob: Some(-0.5), tokens: 2"#,
        r#"Embedded([[0.5, -1.0], []]), Failed("no")"#,
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
}

/// A request that is ill treated; answers the failure.
fn failure(mode: &str, place: &str, more: &str) -> PluginError {
    // Counters are a host's, by name: this test's alone.
    let host = host(HOST.1.path(), 4);
    let config = format!("config = {{ mode = \"{mode}\", in = \"{place}\" }}\n{GRANTED}\n{more}");
    let registry = registry(&host, &config);
    let failure = misbehave(&registry);
    assert_eq!(failure.plugin, "it");
    assert_eq!(registry.status()[0].counters.failures, 1, "{failure}");
    assert_eq!(host.live_sessions(), 0, "its instance is gone");
    failure
}

fn misbehave(registry: &Registry) -> PluginError {
    let plugin = match registry.request_processor("it") {
        Ok(plugin) => plugin,
        Err(PluginHostError::Plugin(error)) => return error,
        Err(other) => panic!("not a plugin's failure: {other}"),
    };
    let (mut session, _) = match plugin.start(&request(), &MODEL) {
        Ok(started) => started,
        Err(error) => return error,
    };
    let error = session.resume(&outcomes()).expect_err("it misbehaves");
    let again = session.resume(&outcomes()).expect_err("it is dead");
    assert_eq!(again.kind, Kind::Dead);
    error
}

fn contained(mode: &str, places: &[&str], more: &str, expected: Expected) {
    for place in places {
        let error = failure(mode, place, more);
        assert_eq!(error.call, *place, "{mode} in {place}: {error}");
        assert!(expected(&error.kind), "{mode} in {place}: {error}");
    }
}

const EVERYWHERE: &[&str] = &["describe", "start", "resume"];
const WITH_STEPS: &[&str] = &["start", "resume"];

#[test]
fn what_runs_away_or_traps_is_ended() {
    contained("loop", EVERYWHERE, "limits.call_ms = 60", |kind| {
        matches!(kind, Kind::Timeout { limit_ms: 60 })
    });
    contained("recurse", EVERYWHERE, "", |kind| {
        matches!(kind, Kind::Trap(_))
    });
    contained("panic", EVERYWHERE, "", |kind| {
        matches!(kind, Kind::Trap(_))
    });
    let memory = "limits.memory_bytes = 8_000_000";
    contained("memory", EVERYWHERE, memory, |kind| {
        matches!(kind, Kind::Memory { .. })
    });
    let output = "limits.output_bytes = 1_000_000";
    contained("flood", WITH_STEPS, output, |kind| {
        matches!(kind, Kind::Output { .. })
    });
    for mode in ["no-role", "done", "choose", "behind"] {
        contained(mode, WITH_STEPS, "", |kind| {
            matches!(kind, Kind::Contract(_))
        });
    }
}

#[test]
fn more_than_is_granted_is_refused_by_name_and_amount() {
    let cases = [
        (
            "generations",
            "generations 1000 of 2",
            "generations 1002 of 2",
        ),
        (
            "tokens",
            "generated_tokens 4294967295 of 8",
            "generations 3 of 2",
        ),
        ("embeddings", "embeddings 1000 of 1", "embeddings 1001 of 1"),
        (
            "storage",
            "stored_bytes 1048577 of 1000",
            "stored_bytes 1048577 of 1000",
        ),
    ];
    for (mode, at_first, later) in cases {
        for (place, amount) in [("start", at_first), ("resume", later)] {
            let error = failure(mode, place, "");
            assert_eq!(
                error.to_string(),
                format!("plugin `it`, call `{place}`: asks for more than it is granted: {amount}")
            );
        }
    }
}

#[test]
fn one_that_never_comes_to_an_end_runs_out_of_steps() {
    let config = format!("config = {{ mode = \"again\", in = \"resume\" }}\n{GRANTED}");
    let registry = registry(&HOST.0, &config);
    let plugin = registry.request_processor("it").expect("it loads");
    let (mut session, _) = plugin.start(&request(), &MODEL).expect("it starts");
    for _ in 0..2 {
        session.resume(&[]).expect("there are steps left");
    }
    let error = session.resume(&[]).expect_err("there are none left");
    let granted = Kind::Grant {
        grant: "steps",
        asked: 5,
        granted: 4,
    };
    assert_eq!(error.kind, granted);
}

#[test]
fn what_is_granted_can_be_looked_up_and_the_kind_is_checked() {
    let registry = registry(&HOST.0, GRANTED);
    let plugin = registry.request_processor("it").expect("it loads");
    let status = registry.status();
    let PluginState::Loaded(facts) = &status[0].state else {
        panic!("it is loaded")
    };
    assert_eq!(facts.grants.as_ref(), Some(plugin.grants()));
    assert_eq!(facts.contract, "weir:request/request-processor@0.1.0-draft");
    let error = registry.parser("it").err().expect("another kind");
    assert!(
        matches!(error, PluginHostError::WrongKind { .. }),
        "{error}"
    );
    let parser = "[it]\nkind = \"parser\"\nwasm = \"hostile_request.wasm\"";
    let wrong = Registry::builder(&HOST.0)
        .embedded(parser, embedded)
        .and_then(weir_plugin_host::RegistryBuilder::build)
        .expect("a sound manifest");
    let error = wrong.parser("it").err().expect("another world");
    assert!(
        matches!(error, PluginHostError::WrongWorld { .. }),
        "{error}"
    );
}
