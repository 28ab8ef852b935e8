//! Who may work behind answers: what nobody waits for must not pile up, nor take the processor from what somebody waits for.
//!
//! Invariants: one works at a time, in the whole server, and a bounded number waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Pieces of work that run or wait at most; each holds an instance and the document it is about.
const PLACES: usize = 8;

/// The places and the turn.
#[derive(Debug)]
pub struct BehindAnswers {
    places: Arc<Semaphore>,
    turn: Semaphore,
}

impl Default for BehindAnswers {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            turn: Semaphore::new(1),
        }
    }
}

impl BehindAnswers {
    /// A place to wait and work in, if one is left.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// The turn to work; given back when dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.turn.acquire().await.ok()
    }
}
