//! The plugins that read a model's answers, as of one load, and the place where a reload puts the next ones.
//!
//! Invariants: a request keeps the plugins it began with until its last byte; putting new ones in place waits for nobody.

use std::sync::{Arc, PoisonError, RwLock};

use weir_output::{Configured, Parser, PostProcessor};
use weir_prompt::ChatTemplate;

/// What reads the answers of a model.
#[derive(Default)]
pub struct ActivePlugins {
    /// Splits reasoning from content.
    pub reasoning_parser: Option<Configured<dyn Parser>>,
    /// Finds tool calls.
    pub tool_parser: Option<Configured<dyn Parser>>,
    /// In the order they run.
    pub post_processors: Vec<Configured<dyn PostProcessor>>,
    /// The template the tool parser recommends: used when tools are given and the model's own takes none, or it has none.
    pub tool_template: Option<Arc<ChatTemplate>>,
}

/// Holds the plugins that new requests get.
#[derive(Default)]
pub struct PluginSlot(RwLock<Arc<ActivePlugins>>);

impl PluginSlot {
    /// The plugins of now.
    pub fn get(&self) -> Arc<ActivePlugins> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in place; answers those that were there.
    pub fn set(&self, plugins: ActivePlugins) -> Arc<ActivePlugins> {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, Arc::new(plugins))
    }
}
