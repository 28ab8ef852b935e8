//! Streams that have something to say are gone through in rounds: first the text of all of them is made, then all are sent.
//!
//! A step of the engine brings hundreds of streams a token each. Were each token made into text and sent before the next, the
//! plugins' code, ours and the kernel's would push one another out of the processor's caches with every token, and the engine's
//! thread would wake hundreds of tasks on other threads. So it wakes one task a queue, and that wakes the connections where it runs.
//!
//! Invariants: a queue has one round under way at most; whoever joins is written in this round or the next.

use std::{
    mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use tokio::{
    runtime::Handle,
    task::{coop::unconstrained, yield_now},
};

/// Whose text is made before any of it is sent. Many, and what the first had in the caches is gone when it sends; few, and
/// there is no round. Measured: 8 and 128 make no great difference, first tokens come sooner with few.
const TOGETHER: usize = 32;

/// One that makes text when it is its turn.
pub trait Writer: Send + Sync {
    /// Makes what there is to be sent; who sends it, if somebody waits for it.
    fn write(self: Arc<Self>) -> Option<Waker>;
}

/// The queues of a server: as many as its runtime has threads, so that rounds go on side by side.
#[derive(Default)]
pub struct Rounds {
    queues: OnceLock<Vec<Arc<Queue>>>,
    given: AtomicUsize,
}

impl Rounds {
    /// The queue of the next stream, each in its turn. The first call's runtime runs all rounds.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn queue(&self) -> Arc<Queue> {
        let queues = self.queues.get_or_init(|| {
            let runtime = Handle::current();
            let queue = |_| Arc::new(Queue::new(runtime.clone()));
            (0..runtime.metrics().num_workers()).map(queue).collect()
        });
        let turn = self.given.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&queues[turn % queues.len()])
    }
}

/// Writers that wait for their turn.
pub struct Queue {
    runtime: Handle,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    writers: Vec<Arc<dyn Writer>>,
    /// Somebody goes through them.
    under_way: bool,
}

impl Queue {
    fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            waiting: Mutex::default(),
        }
    }

    /// Adds a writer, from any thread.
    pub fn join(self: &Arc<Self>, writer: Arc<dyn Writer>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.writers.push(writer);
        let under_way = mem::replace(&mut waiting.under_way, true);
        drop(waiting);
        if !under_way {
            // How much one writer may say is its own affair, and behind a round everybody else has a turn.
            let rounds = unconstrained(go_round(Arc::clone(self)));
            drop(self.runtime.spawn(rounds));
        }
    }

    /// Takes all that wait in exchange for an empty list; false, and the rounds are over, if nobody does.
    fn take(&self, writers: &mut Vec<Arc<dyn Writer>>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.under_way = !waiting.writers.is_empty();
        mem::swap(&mut waiting.writers, writers);
        waiting.under_way
    }
}

/// Goes round until nobody waits.
async fn go_round(queue: Arc<Queue>) {
    let (mut writers, mut senders) = (Vec::new(), Vec::with_capacity(TOGETHER));
    while queue.take(&mut writers) {
        let mut round = writers.drain(..);
        while round.len() > 0 {
            senders.extend(round.by_ref().take(TOGETHER).filter_map(Writer::write));
            senders.drain(..).for_each(Waker::wake);
            // Those who were woken send before the next write.
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Sender, channel},
        thread,
        time::Duration,
    };

    use super::*;

    /// Says its number whenever it is its turn.
    struct Numbered(usize, Sender<usize>);

    impl Writer for Numbered {
        fn write(self: Arc<Self>) -> Option<Waker> {
            self.1.send(self.0).ok().and(None)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_joins_has_a_turn_each_time() {
        const WRITERS: usize = 3 * TOGETHER + 1;
        const TIMES: usize = 50;
        let rounds = Rounds::default();
        let (sender, written) = channel();
        let queues: Vec<_> = (0..WRITERS).map(|_| rounds.queue()).collect();
        let joining = thread::spawn(move || {
            for _ in 0..TIMES {
                for (number, queue) in queues.iter().enumerate() {
                    queue.join(Arc::new(Numbered(number, sender.clone())));
                }
            }
        });
        let counted = tokio::task::spawn_blocking(move || {
            let mut counts = vec![0; WRITERS];
            while let Ok(number) = written.recv_timeout(Duration::from_secs(60)) {
                counts[number] += 1;
            }
            counts
        });
        assert_eq!(counted.await.unwrap(), vec![TIMES; WRITERS]);
        joining.join().unwrap();
        assert_eq!(rounds.queues.get().map(Vec::len), Some(2));
    }
}
