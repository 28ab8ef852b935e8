//! Every corpus case, under every chunking, in both modes, natively and as the components that are shipped.
//!
//! `WEIR_DIST=FOLDER` checks the components of that folder in place of those of `plugins.toml`; `BLESS=1` rewrites what
//! is expected (read `check` before you use it).

use weir_tests::{case, check::check_all, native::NativePlugins, wasm::WasmPlugins};

/// What the parsers of an issue's first three families owe.
const CASES_PER_PARSER: usize = 25;
const CASES_PER_POST_PROCESSOR: usize = 12;

fn passes(result: anyhow::Result<()>) {
    if let Err(report) = result {
        panic!("{report:#}");
    }
}

#[test]
fn parsers_native() {
    let cases = case::read_all("parsers").expect("the corpus");
    passes(check_all(&NativePlugins, &cases, false));
}

#[test]
fn parsers_wasm() {
    let plugins = WasmPlugins::new().expect("a plugin host");
    let cases = case::read_all("parsers").expect("the corpus");
    passes(check_all(&plugins, &cases, false));
}

#[test]
fn post_processors_native() {
    let cases = case::read_all("post_processors").expect("the corpus");
    passes(check_all(&NativePlugins, &cases, true));
}

#[test]
fn post_processors_wasm() {
    let plugins = WasmPlugins::new().expect("a plugin host");
    let cases = case::read_all("post_processors").expect("the corpus");
    passes(check_all(&plugins, &cases, true));
}

#[test]
fn every_case_names_its_source() {
    for folder in ["parsers", "post_processors"] {
        for case in case::read_all(folder).expect("the corpus") {
            let named = !case.source.trim().is_empty() && !case.shows.trim().is_empty();
            assert!(named, "{}", case.path.display());
        }
    }
}

#[test]
fn every_corpus_is_large_enough() {
    for (folder, plugin, least) in [
        ("parsers", "deepseek_v3", CASES_PER_PARSER),
        ("parsers", "deepseek_r1", CASES_PER_PARSER),
        ("parsers", "qwen25", CASES_PER_PARSER),
        ("post_processors", "redact", CASES_PER_POST_PROCESSOR),
    ] {
        let cases = case::read_all(folder).expect("the corpus");
        let count = cases.iter().filter(|case| case.plugin() == plugin).count();
        assert!(count >= least, "{plugin}: {count} cases");
    }
}
