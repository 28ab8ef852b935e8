//! The plugins that read a model's answers, as of one load, and the place where a reload puts the next ones.
//!
//! Invariants: a request keeps the plugins it began with until its last byte; putting new ones in place waits for nobody.

use std::sync::{Arc, PoisonError, RwLock};

use weir_output::{Configured, Parser, PostProcessor, RequestProcessor};
use weir_prompt::ChatTemplate;

/// Loads a request processor by its name, unless that was done. Compiles: not for an async worker.
pub type LoadProcessor =
    Arc<dyn Fn(&str) -> Result<Configured<dyn RequestProcessor>, String> + Send + Sync>;

/// What plans the requests to a model and reads its answers.
#[derive(Default)]
pub struct ActivePlugins {
    /// Splits reasoning from content.
    pub reasoning_parser: Option<Configured<dyn Parser>>,
    /// Finds tool calls.
    pub tool_parser: Option<Configured<dyn Parser>>,
    /// In the order they run.
    pub post_processors: Vec<Configured<dyn PostProcessor>>,
    /// Plan its requests, in the order they run.
    pub request_processors: Vec<Configured<dyn RequestProcessor>>,
    /// Where they come from that only a request asks for.
    pub on_request: Option<LoadProcessor>,
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
