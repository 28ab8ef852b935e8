//! A plugin that is only tried: beside all others, in a registry that serves no request of a model.

use std::sync::{Arc, PoisonError};

use weir_plugin_host::{PluginStatus, Registry};

use super::{PluginWiring, registry_builder};
use crate::wiring::WiringError;

/// The name that it answers to.
pub const TRIED: &str = "uploaded";

impl PluginWiring {
    /// Takes a component to be tried with this configuration, JSON text, in place of the one before. It is held in memory,
    /// and a failure is all that becomes of one that does not load. Compiles: not for an async worker.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn try_plugin(&self, wasm: Vec<u8>, config: &str) -> Result<PluginStatus, WiringError> {
        let builder = registry_builder(&self.host, &self.sources)?;
        let registry = builder.in_memory(TRIED, wasm, config)?.build()?;
        let mut status = registry.status().into_iter();
        let tried = status.find(|plugin| plugin.name == TRIED);
        let mut trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        *trial = Some(Arc::new(registry));
        tried.ok_or_else(|| WiringError::Parsers(format!("`{TRIED}` was not kept")))
    }

    /// The plugins with the one that is tried; None where none is.
    pub fn trial(&self) -> Option<Arc<Registry>> {
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        trial.clone()
    }
}
