//! The configurations that plugins/README.md shows: every one loads, and reads what stands beside it.

use std::fs;

use toml::Table;
use weir_corpus::fold::Runner;
use weir_output::{Event, FinishReason, Fragment, FragmentKind, RequestContext, ToolCallStreaming};
use weir_tests::{Plugins, manifest, native::NativePlugins};

/// The entries of all TOML examples whose component is configured without code: name, component, configuration.
fn examples() -> Vec<(String, String, Table)> {
    let readme = fs::read_to_string(manifest::root().join("plugins/README.md")).expect("it");
    let blocks = readme
        .split("```")
        .filter_map(|block| block.strip_prefix("toml\n"));
    let mut examples = Vec::new();
    for block in blocks.filter(|block| block.contains("wasm = \"marked_")) {
        for (name, entry) in toml::from_str::<Table>(block).expect("an example is TOML") {
            let wasm = entry["wasm"].as_str().expect("a file");
            let component = wasm.strip_suffix(".wasm").expect("a component");
            let config = entry["config"].as_table().expect("a configuration");
            examples.push((name, component.to_owned(), config.clone()));
        }
    }
    examples
}

#[test]
fn every_configuration_loads() {
    let examples = examples();
    for component in ["marked_calls", "marked_reasoning"] {
        let shown = examples.iter().filter(|(_, named, _)| named == component);
        assert!(shown.count() > 0, "{component}");
    }
    for (name, component, config) in examples {
        let parser = NativePlugins.parser(&component, &config);
        assert!(parser.is_ok(), "{name}: {:?}", parser.err());
    }
}

#[test]
fn the_calls_are_read_as_shown() {
    for (name, text) in [
        (
            "acme",
            "<call>\n{\"tool_name\": \"get_time\", \"tool_args\": {\"zone\": \"UTC\"}}\n</call>",
        ),
        (
            "acme_lists",
            "[CALLS][{\"name\": \"get_time\", \"arguments\": {\"zone\": \"UTC\"}}]",
        ),
        (
            "acme_names",
            "<call>get_time<args>{\"zone\": \"UTC\"}</call>",
        ),
    ] {
        let mut examples = examples().into_iter();
        let (_, component, config) = examples.find(|e| e.0 == name).expect(name);
        let parser = NativePlugins.parser(&component, &config).expect(name);
        let runner = Runner::new(RequestContext::default(), FinishReason::Stop).with_parser(parser);
        let fragment = Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        };
        let events = runner.events(vec![fragment], ToolCallStreaming::Complete);
        let (events, ended) = events.expect(name);
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, Event::Content(_)))
        );
        let calls = runner.fold(&events, ended).calls;
        assert_eq!(calls.len(), 1, "{name}");
        assert_eq!(calls[0].name, "get_time");
        assert_eq!(calls[0].arguments, "{\"zone\": \"UTC\"}");
    }
}
