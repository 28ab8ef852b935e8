//! What one plugin may use, and how a failed call is named.
//!
//! Time is enforced by epochs (see `engine`), memory by [`MemoryLimiter`], output by the store's fuel for data that
//! crosses from guest to host. Traps are matched widely: the same bug surfaces as different traps (a recursion as an
//! out-of-bounds access, a panic as `unreachable`).

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Trap};
use weir_output::PluginErrorKind;

/// Elements of a plugin's function table; the compiler's tables are a few hundred.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// A message in an error is cut here, so that a plugin cannot fill the log.
const MESSAGE_CHARS: usize = 200;

/// What one session of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory_bytes: usize,
    /// Wall-clock time of one call, in milliseconds.
    pub call_ms: u64,
    /// What one call may return, in bytes of the host's copy: the texts and the events that hold them.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            call_ms: 250,
            output_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// The limit that is zero, if one is; such a plugin could never run.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        if self.memory_bytes == 0 {
            Some("memory_bytes")
        } else if self.call_ms == 0 {
            Some("call_ms")
        } else if self.output_bytes == 0 {
            Some("output_bytes")
        } else {
            None
        }
    }

    pub(crate) fn call_time(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    /// Names the failure of a call.
    pub(crate) fn kind_of(&self, error: &wasmtime::Error) -> PluginErrorKind {
        if error.is::<MemoryDenied>() {
            return PluginErrorKind::Memory {
                limit_bytes: self.memory_bytes,
            };
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return match trap {
                Trap::Interrupt => PluginErrorKind::Timeout {
                    limit_ms: self.call_ms,
                },
                other => PluginErrorKind::Trap(other.to_string()),
            };
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return PluginErrorKind::Trap(short(error));
        }
        let root = error.root_cause().to_string();
        // The type of this error is private to wasmtime; the flood tests notice when its words change.
        if root.contains("fuel allocated for hostcalls") {
            return PluginErrorKind::Output {
                limit_bytes: self.output_bytes,
            };
        }
        // What is left comes from reading the result: a wild pointer, bad UTF-8, a variant that does not exist.
        PluginErrorKind::Contract(shortened(&root))
    }
}

/// An error's innermost message, cut to a length fit for a log line.
pub(crate) fn short(error: &wasmtime::Error) -> String {
    shortened(&error.root_cause().to_string())
}

/// A guest's message, cut to a length fit for a log line.
pub(crate) fn shortened(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS).collect()
}

/// Raised inside the guest instead of a failed `memory.grow`, so that the cause is known and not guessed from a panic.
#[derive(Debug, Error)]
#[error("memory limit reached")]
struct MemoryDenied;

/// Stops a guest that grows past its memory.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    memory_bytes: usize,
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
        }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let most = maximum.map_or(self.memory_bytes, |maximum| maximum.min(self.memory_bytes));
        if desired > most {
            return Err(MemoryDenied.into());
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
