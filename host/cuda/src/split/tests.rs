//! Shards on threads of their own, summing as GPUs would, say what the whole model says.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Barrier, Mutex, PoisonError},
};

use candle_core::{DType, Device, Result as Computed};
use weir_engine::{Batch, BatchRow, SequenceId};
use weir_model::{Activation, Checkpoint, KvSlabs};

use super::*;
use crate::{
    decoder::Decoder, heads::Heads, kernels::Kernels, reference::Reference, step::Step,
    weight_source::CheckpointSource,
};

const BLOCK_SIZE: usize = 4;
const MAX_MODEL_LEN: usize = 64;

/// What one of several threads computes with.
#[derive(Debug, Clone)]
struct Together {
    barrier: Arc<Barrier>,
    /// One a thread.
    parts: Arc<Mutex<Vec<Option<Tensor>>>>,
    rank: usize,
}

impl Kernels for Together {
    fn turn(&self, projected: Tensor, heads: &Heads, step: &Step<'_>) -> Computed<Tensor> {
        Reference.turn(projected, heads, step)
    }

    fn store(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Computed<()> {
        Reference.store(projected, heads, slabs, layer, step)
    }

    fn attend(
        &self,
        projected: &Tensor,
        heads: &Heads,
        slabs: &KvSlabs,
        layer: usize,
        step: &Step<'_>,
    ) -> Computed<Tensor> {
        Reference.attend(projected, heads, slabs, layer, step)
    }

    fn gate(&self, both: &Tensor, activation: Activation) -> Computed<Tensor> {
        Reference.gate(both, activation)
    }

    fn sum(&self, part: Tensor) -> Computed<Tensor> {
        let parts = || self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts()[self.rank] = Some(part);
        self.barrier.wait();
        let all: Vec<Tensor> = parts().iter().flatten().cloned().collect();
        // Nobody writes the next part before all have read these.
        self.barrier.wait();
        Tensor::stack(&all, 0)?.sum(0)
    }
}

fn model(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    root.join(name)
}

/// The logits behind a prefill and a decode, by the shard of one rank.
fn run(name: &str, rank: usize, count: usize, kernels: Box<dyn Kernels>) -> Vec<f32> {
    let checkpoint = Checkpoint::open(&model(name)).unwrap();
    let description = checkpoint.describe().unwrap();
    let Attention::Grouped(attention) = &description.layers[0].attention else {
        panic!("{name} has heads of another kind");
    };
    let group = attention.heads / attention.kv_heads;
    let shard = shard(&description, count).unwrap();
    let mut progress = |_| {};
    let mut source = CheckpointSource::new(&checkpoint, &mut progress);
    let mut share = Share {
        whole: &mut source,
        rank,
        count,
        group,
    };
    let cpu = Device::Cpu;
    let decoder = Decoder::load(&shard, MAX_MODEL_LEN, &mut share, DType::F32, &cpu, kernels);
    let decoder = decoder.unwrap();
    source.finish(&description).unwrap();
    let slabs = KvSlabs::new(&shard, 8, BLOCK_SIZE, DType::F32, &cpu).unwrap();
    let mut found = Vec::new();
    for (context_len, tokens) in [(0, vec![5, 6, 7, 8, 9, 10]), (6, vec![11])] {
        let batch = Batch {
            embedded: Vec::new(),
            rows: vec![BatchRow {
                sequence: SequenceId(0),
                context_len,
                len: tokens.len(),
                block_table: vec![6, 1],
                wants_logits: true,
            }],
            tokens,
        };
        let step = Step::new(&batch, BLOCK_SIZE, &cpu).unwrap();
        let logits = decoder.forward(&step, &slabs).unwrap().unwrap();
        found.extend(logits.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    found
}

#[test]
fn shards_sum_to_the_whole() {
    // Plain, biases everywhere, norms behind the halves, fused matrices.
    for name in ["llama", "llama-bias", "gemma2", "qwen3", "phi4-mini"] {
        let right = run(name, 0, 1, Box::new(Reference));
        let together = Together {
            barrier: Arc::new(Barrier::new(2)),
            parts: Arc::new(Mutex::new(vec![None; 2])),
            rank: 0,
        };
        let found = std::thread::scope(|scope| {
            let threads = [0, 1].map(|rank| {
                let kernels = Together {
                    rank,
                    ..together.clone()
                };
                scope.spawn(move || run(name, rank, 2, Box::new(kernels)))
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let largest = right.iter().fold(0f32, |most, logit| most.max(logit.abs()));
        for found in found {
            let off = found.iter().zip(&right).map(|(a, b)| (a - b).abs());
            let off = off.fold(0f32, f32::max) / largest;
            assert!(off < 1e-5, "{name}: off by {off:.1e}");
        }
    }
}

#[test]
fn what_cannot_be_shared_evenly_is_named() {
    let checkpoint = Checkpoint::open(&model("llama")).unwrap();
    let description = checkpoint.describe().unwrap();
    let error = shard(&description, 7).unwrap_err();
    assert!(error.ends_with("cannot be shared by 7 devices"), "{error}");
}
