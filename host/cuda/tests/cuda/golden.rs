//! Every family that is built held to the logits that transformers computes of its tiny checkpoint, from safetensors and
//! from GGUF, however its prompts are cut and batched.

use std::{collections::BTreeSet, path::Path};

use weir_cuda::{CudaRunner, Dtype};
use weir_model::{Checkpoint, ModelError};

use crate::{
    checkpoints::{Chunk, Prompt, distance, execute, pooled_distance, scattered},
    models::{Model, decoders, load, load_shared},
};

/// Of a row's largest logit. gelu in place of its tanh approximation shows as 1.6e-4.
const TOLERANCE: f32 = 2e-5;
const BLOCK_SIZE: usize = 4;

/// Families with what is not built; every other checkpoint must be computed.
const LACKING: [&str; 6] = [
    "deepseek-v2",
    "deepseek-v2-lite",
    "deepseek-v3",
    "deepseek-v3-fp8",
    "qwen3-moe",
    "qwen3-moe-dense-layer",
];

/// Where each prompt's chunks end; chunks at the same place of their lists are one batch.
type Schedule = Vec<Vec<usize>>;

fn family(model: &Model) -> String {
    let folder = match model.path.is_dir() {
        true => model.path.as_path(),
        false => model.path.parent().unwrap(),
    };
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Runs every checkpoint by the schedules that `cut` makes of its prompts and names all that miss the golden logits.
fn judge(dtype: Dtype, tolerance: f32, cut: impl Fn(&[Prompt]) -> Vec<Schedule>) {
    judge_loaded(|path| load(path, BLOCK_SIZE, dtype), tolerance, cut);
}

fn judge_loaded(
    load: impl Fn(&Path) -> Result<CudaRunner, ModelError>,
    tolerance: f32,
    cut: impl Fn(&[Prompt]) -> Vec<Schedule>,
) {
    let mut failures = Vec::new();
    let mut computed = 0;
    for model in decoders() {
        if LACKING.contains(&family(&model).as_str()) {
            continue;
        }
        let name = model.path.display();
        match load(&model.path) {
            Ok(mut runner) => {
                let schedules = cut(&model.prompts);
                let runs = schedules
                    .iter()
                    .map(|ends| run(&mut runner, &model.prompts, ends));
                let off = runs.fold(0.0, f32::max);
                if off > tolerance {
                    failures.push(format!("{name}: off by {off:.1e}"));
                }
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        computed += 1;
    }
    assert!(computed >= 35, "only {computed} checkpoints");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn run(runner: &mut CudaRunner, prompts: &[Prompt], ends: &Schedule) -> f32 {
    let mut first = 0;
    let mut tables = Vec::new();
    for prompt in prompts {
        let count = prompt.tokens.len().div_ceil(BLOCK_SIZE);
        tables.push(scattered(first, count));
        first += count;
    }
    let mut starts = vec![0; prompts.len()];
    let (mut compared, mut off) = (0, 0.0f32);
    for step in 0..ends.iter().map(Vec::len).max().unwrap_or(0) {
        let mut chunks = Vec::new();
        let mut golden = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let Some(&end) = ends[index].get(step) else {
                continue;
            };
            golden.extend(prompt.rows.get(&end));
            chunks.push(Chunk {
                sequence: index as u64,
                context_len: starts[index],
                tokens: &prompt.tokens[starts[index]..end],
                block_table: &tables[index],
                wants_logits: prompt.rows.contains_key(&end),
            });
            starts[index] = end;
        }
        for (row, golden) in execute(runner, &chunks).iter().zip(&golden) {
            off = off.max(distance(row, golden));
        }
        compared += golden.len();
    }
    assert!(compared > 0, "a schedule that compares nothing");
    off
}

/// Each prompt by itself, in one piece up to each golden row.
fn whole(prompts: &[Prompt]) -> Vec<Schedule> {
    let alone = |index: usize, &end: &usize| {
        let mut ends = vec![Vec::new(); prompts.len()];
        ends[index] = vec![end];
        ends
    };
    let each = prompts.iter().enumerate();
    each.flat_map(|(index, prompt)| prompt.rows.keys().map(move |end| alone(index, end)))
        .collect()
}

/// Each prompt by itself, in chunks of one length.
fn each_alone(prompts: &[Prompt], length: usize) -> Vec<Schedule> {
    let chunks = |index: usize| {
        let mut ends = vec![Vec::new(); prompts.len()];
        let tokens = prompts[index].tokens.len();
        ends[index] = (length..tokens).step_by(length).chain([tokens]).collect();
        ends
    };
    (0..prompts.len()).map(chunks).collect()
}

/// A decode beside a prefill, both ways round, and chunks that end within a block.
fn together() -> Vec<Schedule> {
    let first = vec![6, 7, 21, 37, 48, 49, 64, 68, 69, 70];
    vec![vec![first, vec![5, 9, 10, 11, 22, 23]]]
}

#[test]
fn whole_prompts_give_the_golden_logits() {
    judge(Dtype::F32, TOLERANCE, whole);
}

#[test]
fn chunks_of_seven_give_the_golden_logits() {
    judge(Dtype::F32, TOLERANCE, |prompts| each_alone(prompts, 7));
}

#[test]
fn prompts_together_in_uneven_chunks_give_the_golden_logits() {
    judge(Dtype::F32, TOLERANCE, |_| together());
}

/// All checkpoints have two heads of keys: two devices have one each, of four each two have the same.
#[test]
fn devices_that_share_a_model_give_the_golden_logits() {
    for devices in [2, 4] {
        let load = |path: &Path| load_shared(path, BLOCK_SIZE, devices);
        judge_loaded(load, TOLERANCE, |_| together());
    }
}

/// What half precision may round, and no more: 2^-11 of each number, over a few layers.
#[test]
fn half_precision_is_near_the_golden_logits() {
    judge(Dtype::F16, 1e-2, |_| together());
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let mut refused = BTreeSet::new();
    for model in decoders() {
        let checkpoint = Checkpoint::open(&model.path).unwrap();
        let Err(reason) = CudaRunner::supports(&checkpoint) else {
            continue;
        };
        assert!(
            reason == "the model has latent attention, which the GPU runner lacks"
                || reason == "the model has experts, which the GPU runner lacks",
            "{}: {reason}",
            model.path.display()
        );
        let error = load(&model.path, BLOCK_SIZE, Dtype::F32).err().unwrap();
        assert_eq!(error.to_string(), reason);
        refused.insert(family(&model));
    }
    let refused: Vec<_> = refused.iter().map(String::as_str).collect();
    assert_eq!(refused, LACKING);
}

#[test]
fn hidden_states_give_the_golden_vectors() {
    for model in decoders() {
        if LACKING.contains(&family(&model).as_str()) {
            continue;
        }
        for devices in [1, 2] {
            let mut runner = load_shared(&model.path, BLOCK_SIZE, devices).unwrap();
            for prompt in &model.prompts {
                let off = pooled_distance(&mut runner, prompt, 7, BLOCK_SIZE);
                let name = model.path.display();
                assert!(off <= TOLERANCE, "{name}: off by {off:.1e}");
            }
        }
    }
}
