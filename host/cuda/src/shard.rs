//! One device's share of a model, ready to compute; and the threads of those devices that only add their part.
//!
//! The first device's share computes on the thread of whoever steps, and makes the logits. The others have a thread each,
//! which hears of a step, computes its part of it and tells nobody: what it found is in the sums.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use candle_core::{Result, Tensor};
use weir_engine::Batch;
use weir_model::KvSlabs;

use crate::{
    collective::{Collective, take_part},
    decoder::Decoder,
    step::Step,
    uploads::Uploads,
};

/// Weights, KV and the way of a step's integers, all on one device.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) decoder: Decoder,
    pub(crate) slabs: KvSlabs,
    pub(crate) uploads: Uploads,
}

impl Shard {
    /// The logits of a batch's wanted tokens; see [`Decoder::forward`].
    pub(crate) fn logits(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        let step = self.step(batch, false)?;
        self.decoder.forward(&step, &self.slabs)
    }

    /// The hidden states of a batch's wanted tokens; see [`Decoder::forward_hidden`].
    pub(crate) fn hidden(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        let step = self.step(batch, true)?;
        self.decoder.forward_hidden(&step, &self.slabs)
    }

    fn step<'a>(&mut self, batch: &'a Batch, hidden: bool) -> Result<Step<'a>> {
        Step::wanting(batch, self.slabs.block_size(), hidden, &mut self.uploads)
    }

    pub(crate) fn collective(&self) -> Arc<dyn Collective> {
        Arc::clone(self.decoder.collective())
    }
}

/// A step for all devices.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) batch: Arc<Batch>,
    /// Whether hidden states are wanted, not logits.
    pub(crate) hidden: bool,
}

/// A device that adds its part, on its own thread. Whoever drops it must have seen to it that no sum waits.
#[derive(Debug)]
pub(crate) struct Follower {
    /// None once there are no more.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn start(rank: usize, shard: Shard) -> io::Result<Self> {
        let (orders, received) = channel();
        let thread = Builder::new()
            .name(format!("weir-device-{rank}"))
            .spawn(move || follow(rank, shard, &received))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Tells it of a step. One that has ended already has said so to the collective.
    pub(crate) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ended = orders.send(order);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of its own it has told the collective.
            let _panicked = thread.join();
        }
    }
}

fn follow(rank: usize, mut shard: Shard, orders: &Receiver<Order>) {
    let collective = shard.collective();
    for order in orders {
        let computed = take_part(&*collective, rank, || {
            let step = shard.step(&order.batch, order.hidden)?;
            shard.decoder.hidden_states(&step, &shard.slabs)
        });
        if let Err(error) = computed {
            tracing::debug!("device {rank} ends: {error}");
            return;
        }
    }
}
