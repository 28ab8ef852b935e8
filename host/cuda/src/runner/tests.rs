//! What only kernels that fail can show: a device that fails ends the runner for all, and one that does not find the largest
//! logits hands over whole rows.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use candle_core::{Result as Computed, Tensor};
use weir_engine::{BatchRow, SequenceId};
use weir_model::{Activation, KvCapacity, KvSlabs};

use super::*;
use crate::{heads::Heads, kernels::Kernels, reference::Reference, step::Step};

/// The plain operations, of which one fails once it is told to, or never finds the largest logits.
#[derive(Debug, Clone)]
struct Failing {
    gate: Arc<AtomicBool>,
    choice: bool,
}

impl Kernels for Failing {
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
        if self.gate.load(Ordering::Relaxed) {
            candle_core::bail!("out of memory");
        }
        Reference.gate(both, activation)
    }

    fn block_maxima(&self, logits: &Tensor) -> Computed<Tensor> {
        if self.choice {
            candle_core::bail!("no such kernel");
        }
        Reference.block_maxima(logits)
    }
}

fn load(name: &str, devices: usize, make: &MakeKernels<'_>) -> CudaRunner {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models");
    let checkpoint = Checkpoint::open(&root.join(name)).unwrap();
    let options = CudaOptions {
        runner: RunnerOptions {
            kv_capacity: KvCapacity::Blocks(8),
            block_size: 4,
            max_model_len: Some(64),
            end_token_ids: Vec::new(),
        },
        dtype: Dtype::F32,
        fill: None,
    };
    let gpus = Gpus::on_the_cpu(devices);
    CudaRunner::with_kernels(&checkpoint, &gpus, options, &mut |_| {}, make).unwrap()
}

fn batch() -> Batch {
    Batch {
        embedded: Vec::new(),
        tokens: vec![5, 6, 7],
        rows: vec![BatchRow {
            sequence: SequenceId(0),
            context_len: 0,
            len: 3,
            block_table: vec![1],
            wants_logits: true,
        }],
    }
}

/// Whichever device it is.
#[test]
fn a_device_that_fails_ends_the_runner_for_all() {
    for (devices, failing) in [(2, 0), (2, 1), (4, 3)] {
        let switch = Arc::new(AtomicBool::new(false));
        let made = AtomicUsize::new(0);
        let make: &MakeKernels<'_> = &|_| {
            // Each device's self-test makes two before the model's are made.
            let number = made.fetch_add(1, Ordering::Relaxed);
            let gate = match number == 2 * devices + failing {
                true => Arc::clone(&switch),
                false => Arc::default(),
            };
            Ok(Box::new(Failing {
                gate,
                choice: false,
            }))
        };
        let mut runner = load("llama", devices, make);
        assert!(runner.execute(&batch()).is_ok());
        switch.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let error = runner.execute(&batch()).unwrap_err();
            let EngineError::Lost(reason) = &error else {
                panic!("{error}");
            };
            assert!(
                reason.starts_with("device ") && reason.contains("out of memory"),
                "{reason}"
            );
        }
        // Followers that wait for nobody any more are joined here.
        drop(runner);
    }
}

#[test]
fn one_device_goes_on_after_a_failed_step() {
    let switch = Arc::new(AtomicBool::new(false));
    let make: &MakeKernels<'_> = &|_| {
        Ok(Box::new(Failing {
            gate: Arc::clone(&switch),
            choice: false,
        }))
    };
    let mut runner = load("llama", 1, make);
    switch.store(true, Ordering::Relaxed);
    let error = runner.execute(&batch()).unwrap_err();
    assert!(matches!(error, EngineError::Runner(_)), "{error}");
    switch.store(false, Ordering::Relaxed);
    assert!(runner.execute(&batch()).is_ok());
}

/// Their vocabulary has two blocks, of which one would be handed over.
#[test]
fn where_the_choice_is_wrong_whole_rows_are_handed_over() {
    let run = |choice| {
        let make: &MakeKernels<'_> = &|_| {
            Ok(Box::new(Failing {
                gate: Arc::default(),
                choice,
            }))
        };
        let mut logits = Logits::default();
        let mut runner = load("llama", 1, make);
        let executed = runner.execute_choosing(&batch(), &[Some(1)], &mut logits);
        executed.unwrap();
        logits
    };
    let (mut part, mut whole) = (run(false), run(true));
    let handed = |logits: &mut Logits| {
        let rows = logits.parts_mut();
        rows.map(|row| row.logits.len()).collect::<Vec<_>>()
    };
    assert_eq!(handed(&mut part), [weir_engine::LOGITS_BLOCK]);
    assert_eq!(handed(&mut whole), [96]);
}
