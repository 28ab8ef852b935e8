//! The corpora's runner: every case under every chunking, through the real output pipeline, natively and as wasm.
//!
//! A case is a file under `tests/corpora`; [`case`] is its format, [`chunking`] and [`boundaries`] cut its text, [`fold`] runs it, [`check`]
//! compares and explains; [`fuzz`] makes inputs of its own; [`manifest`] is plugins.toml. [`native`] and [`wasm`] are the two ways to come by a plugin. Nothing here knows a format.

pub mod boundaries;
pub mod case;
pub mod check;
pub mod chunking;
pub mod fold;
pub mod fuzz;
pub mod manifest;
pub mod native;
pub mod wasm;

use std::sync::Arc;

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
