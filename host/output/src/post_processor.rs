//! The post-processor boundary: sees events on their way to the client and may hold back, rewrite or end.

use crate::{
    error::PluginError,
    event::{Event, FinishReason},
    parser::RequestContext,
};

/// Which events a post-processor wants; the others pass it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interests {
    /// Content events.
    pub content: bool,
    /// Reasoning events.
    pub reasoning: bool,
    /// All call events.
    pub calls: bool,
}

/// What a post-processor says about itself at load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostProcessorInfo {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What it wants to see.
    pub interests: Interests,
    /// The configuration it takes, with every default, as JSON text; empty when it takes none.
    pub default_config: String,
}

/// What a post-processor does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hands an event on.
    Emit(Event),
    /// Ends the generation; the text is the reason, for the log. `stop`, alone or before a colon, ends the answer as a stop
    /// string does; any other reason gives the finish reason `content_filter`.
    Stop(String),
}

/// A factory of sessions.
pub trait PostProcessor: Send + Sync {
    /// What the plugin said at load.
    fn info(&self) -> &PostProcessorInfo;

    /// A fresh session for one choice of one request.
    ///
    /// # Errors
    /// When the plugin's constructor fails.
    fn session(
        &self,
        context: &RequestContext,
    ) -> Result<Box<dyn PostProcessorSession>, PluginError>;
}

/// One choice's post-processing.
pub trait PostProcessorSession: Send {
    /// Takes an event it is interested in and appends what it does.
    ///
    /// # Errors
    /// When the plugin fails; `actions` then holds nothing of this call.
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), PluginError>;

    /// Says that nothing more comes and appends what was held back. Called once.
    ///
    /// # Errors
    /// When the plugin fails; `actions` then holds nothing of this call.
    fn finish(
        &mut self,
        reason: FinishReason,
        actions: &mut Vec<Action>,
    ) -> Result<(), PluginError>;
}
