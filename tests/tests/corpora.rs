//! Every corpus case, under every chunking, in both modes, natively and as the components that are shipped.
//!
//! `WEIR_DIST=FOLDER` checks the components of that folder in place of those of `plugins.toml`; `BLESS=1` rewrites what
//! is expected (read `check` before you use it).

use weir_tests::{
    check::check_all, corpora, manifest::Manifest, native::NativePlugins, wasm::WasmPlugins,
};

/// Below this, a format's oddities are not covered. One that is both a tool and a reasoning parser owes both.
const MANDATED_TOOL_CASES: usize = 60;
const TOOL_CASES: usize = 25;
const REASONING_CASES: usize = 30;
/// Of a name that is another plugin's configuration and no format of its own.
const CONFIGURED_CASES: usize = 5;
const POST_PROCESSOR_CASES: usize = 12;

fn passes(result: anyhow::Result<()>) {
    if let Err(report) = result {
        panic!("{report:#}");
    }
}

#[test]
fn parsers_native() {
    let cases = corpora::read_all("parsers").expect("the corpus");
    passes(check_all(&NativePlugins, &cases, false));
}

#[test]
fn parsers_wasm() {
    let plugins = WasmPlugins::new().expect("a plugin host");
    let cases = corpora::read_all("parsers").expect("the corpus");
    passes(check_all(&plugins, &cases, false));
}

#[test]
fn post_processors_native() {
    let cases = corpora::read_all("post_processors").expect("the corpus");
    passes(check_all(&NativePlugins, &cases, true));
}

#[test]
fn post_processors_wasm() {
    let plugins = WasmPlugins::new().expect("a plugin host");
    let cases = corpora::read_all("post_processors").expect("the corpus");
    passes(check_all(&plugins, &cases, true));
}

#[test]
fn every_case_names_its_source() {
    for folder in ["parsers", "post_processors"] {
        for case in corpora::read_all(folder).expect("the corpus") {
            let named = !case.source.trim().is_empty() && !case.shows.trim().is_empty();
            assert!(named, "{}", case.path.display());
        }
    }
}

#[test]
fn every_corpus_is_large_enough() {
    let manifest = Manifest::read().expect("plugins.toml");
    let read = |folder: &str| corpora::read_all(folder).expect("the corpus");
    let (parsers, post_processors) = (read("parsers"), read("post_processors"));
    for (name, entry) in &manifest.0 {
        let (cases, least) = match entry["kind"].as_str() {
            Some("parser") => (&parsers, least(name)),
            // Those that plan requests read no answers; tests/request_processors.rs holds them.
            Some("request-processor") => continue,
            _ => (&post_processors, POST_PROCESSOR_CASES),
        };
        let count = cases.iter().filter(|case| case.plugin() == name).count();
        assert!(count >= least, "{name}: {count} cases, not {least}");
    }
}

fn least(parser: &str) -> usize {
    match parser {
        "gpt_oss" | "mistral" => MANDATED_TOOL_CASES + REASONING_CASES,
        "deepseek_v3" | "deepseek_v31" | "llama3" | "qwen25" => MANDATED_TOOL_CASES,
        "kimi" => CONFIGURED_CASES,
        "deepseek_r1" | "marked_reasoning" | "qwen3" => REASONING_CASES,
        _ => TOOL_CASES,
    }
}
