//! Parsers under arbitrary input: a short run of the fuzzing that `cargo xtask fuzz` does at length.
//!
//! The same inputs in every run; what must hold of them is listed in `weir_tests::fuzz`.

use std::sync::Arc;

use weir_output::{
    Event, FinishReason, Fragment, Parser, ParserInfo, ParserSession, PluginError, PostProcessor,
    RequestContext,
};
use weir_tests::{
    Plugins,
    fuzz::{Plan, names, run},
    native::NativePlugins,
    wasm::WasmPlugins,
};

const NATIVE_EXECUTIONS_PER_PARSER: u64 = 2000;
const WASM_EXECUTIONS_PER_PARSER: u64 = 500;

fn nothing_is_found(seed: u64, executions_per_parser: u64, wasm: Option<&dyn Plugins>) {
    let parsers = names().expect("the corpora");
    let plan = Plan {
        executions: executions_per_parser * parsers.len() as u64,
        parsers,
        seed,
        time: None,
        progress: false,
    };
    let outcomes = run(&plan, wasm).expect("every parser loads");
    let findings: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.parser, outcome.finding?)))
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
}

#[test]
fn parsers_native() {
    nothing_is_found(1, NATIVE_EXECUTIONS_PER_PARSER, None);
}

#[test]
fn parsers_wasm() {
    let wasm = WasmPlugins::new().expect("a plugin host");
    nothing_is_found(2, WASM_EXECUTIONS_PER_PARSER, Some(&wasm));
}

/// Parsers that lose the second of two braces at the end of a fragment.
struct Broken;

impl Plugins for Broken {
    fn label(&self) -> &'static str {
        "broken"
    }

    fn parser(&self, name: &str, config: &toml::Table) -> anyhow::Result<Arc<dyn Parser>> {
        Ok(Arc::new(BrokenParser(NativePlugins.parser(name, config)?)))
    }

    fn post_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn PostProcessor>> {
        NativePlugins.post_processor(name, config)
    }
}

struct BrokenParser(Arc<dyn Parser>);

impl Parser for BrokenParser {
    fn info(&self) -> &ParserInfo {
        self.0.info()
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        Ok(Box::new(BrokenSession(self.0.session(context)?)))
    }
}

struct BrokenSession(Box<dyn ParserSession>);

impl ParserSession for BrokenSession {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let mut fragment = fragment.clone();
        if fragment.text.ends_with("{{") {
            fragment.text.pop();
        }
        self.0.push(&fragment, events)
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        self.0.finish(reason, events)
    }
}

#[test]
fn what_is_wrong_is_found_and_made_small() {
    let plan = Plan {
        parsers: vec!["qwen25".to_owned()],
        executions: 5000,
        seed: 3,
        time: None,
        progress: false,
    };
    let outcomes = run(&plan, Some(&Broken)).expect("it loads");
    let finding = outcomes[0].finding.as_deref().expect("a finding");
    assert!(finding.contains("chunks = [\"{{\"]"), "{finding}");
}
