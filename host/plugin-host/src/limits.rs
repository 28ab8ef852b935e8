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

/// Elements of a plugin's function tables; a compiler's tables are a few hundred, those of a language's runtime ten thousand.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// Core instances, tables and memories of one session, where no pool bounds them; Python's runtime has 38 instances.
const CORE_INSTANCES: usize = 64;
const TABLES: usize = 16;
const MEMORIES: usize = 16;

/// A message in an error is cut here, so that a plugin cannot fill the log.
const MESSAGE_CHARS: usize = 200;

/// The limits a manifest names; the others depend on what the component is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NamedLimits {
    pub(crate) memory_bytes: Option<usize>,
    pub(crate) call_ms: Option<u64>,
    pub(crate) output_bytes: Option<usize>,
}

impl NamedLimits {
    /// The limit that is zero, if one is; such a plugin could never run.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        if self.memory_bytes == Some(0) {
            Some("memory_bytes")
        } else if self.call_ms == Some(0) {
            Some("call_ms")
        } else if self.output_bytes == Some(0) {
            Some("output_bytes")
        } else {
            None
        }
    }

    /// These where they are named, the others as they are here.
    pub(crate) fn over(self, others: Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.unwrap_or(others.memory_bytes),
            call_ms: self.call_ms.unwrap_or(others.call_ms),
            output_bytes: self.output_bytes.unwrap_or(others.output_bytes),
        }
    }
}

/// What one session of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// For a component that brings a language's runtime and so is too large for the pool.
    pub(crate) fn of_a_runtime() -> Self {
        Self {
            memory_bytes: 128 << 20,
            call_ms: 1000,
            ..Self::default()
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

/// Stops a guest that grows past its memory, be it in one piece or in several.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    memory_bytes: usize,
    taken: usize,
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            taken: 0,
        }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let taken = self.taken.saturating_add(desired.saturating_sub(current));
        if taken > self.memory_bytes || maximum.is_some_and(|maximum| desired > maximum) {
            return Err(MemoryDenied.into());
        }
        self.taken = taken;
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

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_are_bounded() {
        let limits = Limits {
            memory_bytes: 100,
            ..Limits::default()
        };
        let mut limiter = MemoryLimiter::new(&limits);
        assert!(limiter.memory_growing(0, 60, None).is_ok());
        assert!(limiter.memory_growing(0, 41, None).is_err());
        assert!(limiter.memory_growing(60, 90, None).is_ok());
        assert!(limiter.memory_growing(0, 10, None).is_ok());
        assert!(limiter.memory_growing(10, 11, None).is_err());
    }

    #[test]
    fn named_limits_go_over_the_usual_ones() {
        let named = NamedLimits {
            call_ms: Some(7),
            ..NamedLimits::default()
        };
        let limits = named.over(Limits::of_a_runtime());
        assert_eq!((limits.call_ms, limits.memory_bytes), (7, 128 << 20));
    }
}
