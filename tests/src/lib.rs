//! The project's own use of the corpora's runner: every case under every chunking, natively and as wasm.
//!
//! `weir_corpus` is the runner; here are [`corpora`] (where the cases are), [`boundaries`] (where real tokenizers cut them),
//! [`check`] (all cases, on all cores), [`fuzz`] (inputs of its own), [`requests`] (bodies of its own), [`constraints`]
//! (schemas and grammars of its own), [`manifest`] (plugins.toml), and [`native`] and [`wasm`], the two ways to come by a plugin
//! ([`native_requests`] those that plan requests). Nothing here knows a format.

pub mod boundaries;
pub mod check;
pub mod constraints;
pub mod corpora;
pub mod fuzz;
pub mod manifest;
pub mod native;
pub mod native_requests;
pub mod requests;
pub mod wasm;

use std::{process::ExitCode, sync::Arc};

use weir_corpus::{case::Case, fold::Runner};
use weir_output::{Parser, PostProcessor};

/// Where plugins come from; cases are run on several threads.
pub trait Plugins: Sync {
    /// How it is called in a failure's report.
    fn label(&self) -> &'static str;

    /// The parser of this name with this configuration.
    ///
    /// # Errors
    /// When there is none, it cannot be loaded, or it refuses the configuration.
    fn parser(&self, name: &str, config: &toml::Table) -> anyhow::Result<Arc<dyn Parser>>;

    /// The post-processor of this name with this configuration.
    ///
    /// # Errors
    /// When there is none, it cannot be loaded, or it refuses the configuration.
    fn post_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn PostProcessor>>;
}

/// Loads the plugins of a case: that of its folder, a parser or a post-processor, and the parser of `with`.
///
/// # Errors
/// When one cannot be loaded.
pub fn runner(plugins: &dyn Plugins, case: &Case, post_processor: bool) -> anyhow::Result<Runner> {
    let mut runner = Runner::of_case(case);
    runner = if post_processor {
        runner.with_post_processor(plugins.post_processor(case.plugin(), &case.config)?)
    } else {
        runner.with_parser(plugins.parser(case.plugin(), &case.config)?)
    };
    if let Some(other) = &case.with {
        runner = runner.with_parser(plugins.parser(other, &toml::Table::new())?);
    }
    Ok(runner)
}

/// How a program of the fuzzing ends: whether nothing was found, or why nobody knows.
pub fn verdict(program: &str, clean: anyhow::Result<bool>) -> ExitCode {
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
