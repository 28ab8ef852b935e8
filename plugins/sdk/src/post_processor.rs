//! The trait a post-processor implements: it sees events on their way to the client.

use alloc::{string::String, vec::Vec};

use crate::types::{Action, Event, FinishReason, PostProcessorInfo, RequestContext};

/// One choice's post-processing; the value is the session: made per request and choice, never reused.
///
/// Content, reasoning and argument pieces may be cut anywhere; what is emitted must fold to the same message whatever
/// the cuts.
pub trait PostProcessor: Sized + 'static {
    /// Says at load what this post-processor is. `config` is JSON text (`{}` when the user gave none).
    ///
    /// # Errors
    /// A message for the user when `config` is unusable; the plugin is then refused.
    fn describe(config: &str) -> Result<PostProcessorInfo, String>;

    /// A session for one choice of one request. `config` is one that [`PostProcessor::describe`] took.
    fn new(config: &str, context: &RequestContext) -> Self;

    /// Takes an event it is interested in and appends what it does.
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>);

    /// Says that nothing more comes and appends what was held back. Called once.
    fn finish(&mut self, reason: FinishReason, actions: &mut Vec<Action>);
}
