//! One sequence's items on their way from the engine's thread to its reader.
//!
//! Invariants: the thread puts items only while there is room for a whole step's; whether there is room, whether the sequence
//! is paused and who waits are looked at and changed together, so a reader that makes room is never overlooked.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use weir_engine::{EngineError, Generated, MAX_FORCED_PER_STEP};

use super::lock;

/// Items a reader may lag behind before its sequence is paused.
const CAPACITY: usize = 64 + MAX_FORCED_PER_STEP;
/// What one step may say of one sequence: what its prompt scored, a token, those that it forces and the end.
const ITEMS_PER_STEP: usize = 3 + MAX_FORCED_PER_STEP;
/// Items a reader lags behind when its paused sequence goes on.
const CAUGHT_UP: usize = 32;

/// What a stream gives.
pub(super) type Item = Result<Generated, EngineError>;

/// Whether nothing follows an item.
pub(super) fn is_end(item: &Item) -> bool {
    matches!(item, Err(_) | Ok(Generated::Finished { .. }))
}

/// What both ends share.
#[derive(Default)]
pub(super) struct Lane(Mutex<State>);

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Whom to wake for the next item.
    waiting: Option<Waker>,
    /// The sequence waits for its reader.
    paused: bool,
    /// The reader is gone.
    left: bool,
    /// The thread says no more.
    closed: bool,
}

/// What a reader took.
pub(super) struct Taken {
    /// None when the thread says no more.
    pub(super) item: Option<Item>,
    /// Its paused sequence may go on.
    pub(super) caught_up: bool,
}

/// What came of putting an item.
pub(super) struct Put {
    /// Who waits for it.
    pub(super) waker: Option<Waker>,
    /// There is no room for another step: the sequence is paused from now on.
    pub(super) full: bool,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// The next item, once it is there.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.state();
        let item = state.items.pop_front();
        if item.is_none() && !state.closed {
            state.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Taken {
            item,
            caught_up: state.may_go_on(),
        })
    }

    /// The reader goes; what it has not read is nobody's.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.left = true;
        state.waiting = None;
        let unread = mem::take(&mut state.items);
        drop(state);
        drop(unread);
    }
}

impl State {
    fn may_go_on(&self) -> bool {
        self.paused && self.items.len() <= CAUGHT_UP
    }
}

/// The thread's end: whoever reads is told when it is dropped.
pub(super) struct Reader(Arc<Lane>);

impl Reader {
    /// The end of a new lane.
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self(lane)
    }

    /// Whether nobody reads any more.
    pub(super) fn has_left(&self) -> bool {
        self.0.state().left
    }

    /// Whether the sequence was paused and its reader has caught up; it is paused no more then.
    pub(super) fn goes_on(&self) -> bool {
        let mut state = self.0.state();
        let goes_on = state.may_go_on();
        state.paused &= !goes_on;
        goes_on
    }

    /// Adds an item. The caller wakes who waits.
    pub(super) fn put(&self, item: Item) -> Put {
        let mut state = self.0.state();
        if state.left {
            return Put {
                waker: None,
                full: false,
            };
        }
        assert!(
            state.items.len() < CAPACITY,
            "a sequence was stepped without room in its lane"
        );
        state.items.push_back(item);
        let full = CAPACITY - state.items.len() < ITEMS_PER_STEP;
        state.paused |= full;
        Put {
            waker: state.waiting.take(),
            full,
        }
    }

    /// Says that the engine does not take the sequence.
    pub(super) fn refuse(&self, error: EngineError) {
        if let Some(waker) = self.put(Err(error)).waker {
            waker.wake();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Arc<Lane>, Reader) {
        let lane = Arc::new(Lane::default());
        (Arc::clone(&lane), Reader::new(lane))
    }

    fn token(id: u32) -> Item {
        Ok(Generated::Token {
            id,
            logprobs: None,
            cached_tokens: 0,
        })
    }

    fn take(lane: &Lane) -> Poll<(Option<Item>, bool)> {
        let mut context = Context::from_waker(Waker::noop());
        let taken = lane.poll_take(&mut context);
        taken.map(|taken| (taken.item, taken.caught_up))
    }

    #[test]
    fn a_slow_reader_fills_the_lane_once_and_empties_half_of_it_to_go_on() {
        let (lane, reader) = ends();
        let numbers = 0..;
        let put = numbers.take_while(|id| !reader.put(token(*id)).full);
        let put = put.count() as u32 + 1;
        assert_eq!(put as usize, CAPACITY - ITEMS_PER_STEP + 1);
        for id in 0..put {
            assert!(!reader.goes_on(), "after {id}");
            let left = (put - id - 1) as usize;
            let item = Some(token(id));
            assert_eq!(take(&lane), Poll::Ready((item, left <= CAUGHT_UP)));
            if left <= CAUGHT_UP {
                break;
            }
        }
        assert!(reader.goes_on());
        assert!(!reader.goes_on(), "it is paused no more");
    }

    #[test]
    fn who_waits_is_woken_once_and_by_the_end_too() {
        let (lane, reader) = ends();
        assert!(reader.put(token(1)).waker.is_none());
        assert_eq!(take(&lane), Poll::Ready((Some(token(1)), false)));
        assert!(take(&lane).is_pending());
        assert!(reader.put(token(2)).waker.is_some());
        assert!(reader.put(token(3)).waker.is_none());
        drop(reader);
        for id in [2, 3] {
            assert_eq!(take(&lane), Poll::Ready((Some(token(id)), false)));
        }
        assert_eq!(take(&lane), Poll::Ready((None, false)));
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_has_left() {
        let (lane, reader) = ends();
        reader.put(token(1));
        lane.leave();
        assert!(reader.has_left());
        assert!(!reader.put(token(2)).full);
        assert!(lane.state().items.is_empty());
    }
}
