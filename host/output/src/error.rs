//! What a plugin can do wrong, with the plugin's name.

use thiserror::Error;

/// A plugin failed; only its session is over.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("plugin `{plugin}`, call `{call}`: {kind}")]
pub struct PluginError {
    /// The name the user knows it by.
    pub plugin: String,
    /// The contract function that failed (`describe`, `constructor`, `push`, `finish`).
    pub call: &'static str,
    /// What happened.
    pub kind: PluginErrorKind,
}

/// What happened in a plugin.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginErrorKind {
    /// It ran past its time for one call.
    #[error("ran longer than {limit_ms} ms")]
    Timeout {
        /// The limit.
        limit_ms: u64,
    },
    /// It asked for more memory than it may have.
    #[error("needs more than {limit_bytes} bytes of memory")]
    Memory {
        /// The limit.
        limit_bytes: usize,
    },
    /// It returned more than it may.
    #[error("returned more than {limit_bytes} bytes")]
    Output {
        /// The limit.
        limit_bytes: usize,
    },
    /// It trapped: panic, unreachable, out-of-bounds access, stack overflow.
    #[error("trapped: {0}")]
    Trap(String),
    /// It broke the contract (a call event out of order, an index reused).
    #[error("broke the contract: {0}")]
    Contract(String),
    /// It refused its configuration.
    #[error("refused its configuration: {0}")]
    Config(String),
    /// It asked for more than plugins.toml grants it.
    #[error("asks for more than it is granted: {grant} {asked} of {granted}")]
    Grant {
        /// The amount's name in plugins.toml.
        grant: &'static str,
        /// What it comes to with this.
        asked: u64,
        /// What it may be.
        granted: u64,
    },
    /// As many sessions as the host allows are live already.
    #[error("no session is free: {limit} are live")]
    Sessions {
        /// The limit.
        limit: u32,
    },
    /// An earlier call of this session failed already.
    #[error("failed earlier in this session")]
    Dead,
}
