//! What a step of the CPU runner allocates: nothing, once its buffers have grown. A binary of its own with one test, for it
//! counts every allocation.

use std::{alloc::System, path::Path};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use weir_cpu::CpuRunner;
use weir_engine::{Batch, BatchRow, Logits, ModelRunner, SequenceId};
use weir_model::{Checkpoint, KvCapacity, RunnerOptions};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of this process so far, those that move one among them.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

const SEQUENCES: usize = 8;
const BLOCK_SIZE: usize = 16;
const MAX_MODEL_LEN: usize = 128;
const CONTEXT: usize = 32;
/// What a thread may allocate, in all, that waits or takes a piece of some kind for the first time: on a busy machine it
/// may not have come to that before. Far less than one a step.
const FIRST_TIMES: usize = 12;

/// Eight sequences with `len` new tokens each, behind `context_len`.
fn batch(context_len: usize, len: usize) -> Batch {
    let blocks = (MAX_MODEL_LEN / BLOCK_SIZE) as u32;
    let row = |number: usize| BatchRow {
        sequence: SequenceId(number as u64),
        context_len,
        len,
        block_table: (0..blocks)
            .map(|block| number as u32 * blocks + block)
            .collect(),
        wants_logits: true,
    };
    Batch {
        embedded: Vec::new(),
        tokens: (0..SEQUENCES * len)
            .map(|token| token as u32 % 90)
            .collect(),
        rows: (0..SEQUENCES).map(row).collect(),
    }
}

#[test]
fn a_decode_step_allocates_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let checkpoint = Checkpoint::open(&root.join("llama/model.gguf")).unwrap();
    let options = || RunnerOptions {
        kv_capacity: KvCapacity::Blocks(SEQUENCES * MAX_MODEL_LEN / BLOCK_SIZE),
        block_size: BLOCK_SIZE,
        max_model_len: Some(MAX_MODEL_LEN),
        end_token_ids: Vec::new(),
    };
    for (threads, most) in [(1, 0), (3, 3 * FIRST_TIMES)] {
        let mut runner =
            CpuRunner::load(&checkpoint, options(), Some(threads), &mut |_| {}).unwrap();
        let mut logits = Logits::default();
        let steps: Vec<Batch> = (CONTEXT..MAX_MODEL_LEN).map(|at| batch(at, 1)).collect();
        let (warm_up, measured) = steps.split_at(10);
        runner
            .execute_into(&batch(0, CONTEXT), &mut logits)
            .unwrap();
        for step in warm_up {
            runner.execute_into(step, &mut logits).unwrap();
        }
        let before = allocated();
        for step in measured {
            runner.execute_into(step, &mut logits).unwrap();
        }
        let allocations = allocated() - before;
        assert!(allocations <= most, "{allocations} with {threads} threads");
    }
}
