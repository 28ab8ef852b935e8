//! The tiny checkpoints with one to three keys of config.json or of the metadata tampered with: each loads and computes,
//! or is refused in one line. Nothing panics, and nothing is allocated on the word of a file: each test runs in a process
//! of its own with little address space, where an allocation beyond it ends the process.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use candle_core::quantized::gguf_file::Value as Metadata;
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::{Map, Value, json};
use weir_engine::ModelRunner;
use weir_model::{CandleRunner, Checkpoint, KvCapacity, ModelError, RunnerOptions};

use crate::{
    edited_checkpoints::{Gguf, config, entries, root, with_config},
    tiny_llama::{BLOCK_SIZE, Chunk, batch},
};

/// Of the whole process: the program, its stack and heap, the checkpoint and its KV.
const ADDRESS_SPACE_KIB: usize = 256 * 1024;
const CASES: u32 = 1000;

/// Keys that a configuration may have beside those it has.
const MORE_KEYS: &[&str] = &[
    "attention_bias",
    "attention_multiplier",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "is_causal",
    "layer_types",
    "logits_scaling",
    "mlp_bias",
    "mlp_only_layers",
    "n_group",
    "no_rope_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "q_lora_rank",
    "query_pre_attn_scalar",
    "quantization_config",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "text_config",
    "tie_word_embeddings",
    "use_sliding_window",
];

/// What is done to an object.
#[derive(Debug, Clone)]
enum Tampering {
    Remove(Index),
    Set(Index, Value),
    Exchange(Index, Index),
    Add(&'static str, Value),
}

#[test]
fn tampered_configurations_load_or_are_refused() {
    if !rerun_with_little_memory("tampered_configurations_load_or_are_refused") {
        return;
    }
    let folders = checkpoints(|path| path.join("config.json").is_file());
    let tampering = prop_oneof![
        any::<Index>().prop_map(Tampering::Remove),
        (any::<Index>(), odd_value()).prop_map(|(at, value)| Tampering::Set(at, value)),
        (any::<Index>(), odd_value()).prop_map(|(at, value)| Tampering::Set(at, value)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Tampering::Exchange(a, b)),
        (prop::sample::select(MORE_KEYS), odd_value())
            .prop_map(|(key, value)| Tampering::Add(key, value)),
    ];
    let cases = (any::<Index>(), prop::collection::vec(tampering, 1..=3));
    let judged =
        TestRunner::new(ProptestConfig::with_cases(CASES)).run(&cases, |(folder, tamperings)| {
            let folder = folder.get(&folders);
            let mut config = config(folder);
            for tampering in &tamperings {
                tamper(&mut config, tampering);
            }
            let copy = with_config(folder, &config);
            load_and_step(copy.path())
        });
    assert!(judged.is_ok(), "{}", judged.unwrap_err());
}

#[test]
fn tampered_metadata_load_or_are_refused() {
    if !rerun_with_little_memory("tampered_metadata_load_or_are_refused") {
        return;
    }
    let files: Vec<Gguf> = checkpoints(|path| path.is_dir())
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| path.extension().is_some_and(|kind| kind == "gguf"))
        .map(|path| Gguf::read(&path))
        .collect();
    let metadata = || (any::<Index>(), odd_metadata());
    let cases = (
        any::<Index>(),
        prop::collection::vec(metadata(), 1..=3),
        prop::option::weighted(0.2, (any::<Index>(), any::<Index>())),
    );
    let judged = TestRunner::new(ProptestConfig::with_cases(CASES)).run(
        &cases,
        |(file, values, exchanged)| {
            let file = file.get(&files);
            let mut metadata = file.metadata.clone();
            for (at, value) in values {
                let at = at.index(metadata.len());
                match value {
                    Some(value) => metadata[at].1 = value,
                    None => drop(metadata.swap_remove(at)),
                }
            }
            let mut names: Vec<&str> = file.tensors.iter().map(|(name, _)| name.as_str()).collect();
            if let Some((a, b)) = exchanged {
                let (a, b) = (a.index(names.len()), b.index(names.len()));
                names.swap(a, b);
            }
            let copy = tempfile::tempdir().unwrap();
            let path = copy.path().join("model.gguf");
            file.write_as(&path, &metadata, &names);
            load_and_step(&path)
        },
    );
    assert!(judged.is_ok(), "{}", judged.unwrap_err());
}

/// Whether this process has little memory already; if not, runs the test in one that has.
fn rerun_with_little_memory(test: &str) -> bool {
    const MARK: &str = "WEIR_TEST_HAS_LITTLE_MEMORY";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let limited = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tampered::{test}")])
        .args(["--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env("CANDLE_NUM_THREADS", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let passed = String::from_utf8_lossy(&output.stdout);
    assert!(passed.contains("1 passed"), "no test has the name {test}");
    false
}

/// Loads a checkpoint and runs three tokens through it. It may fail at either, in one line.
fn load_and_step(path: &Path) -> Result<(), TestCaseError> {
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Bytes(1 << 20),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    };
    let loaded = Checkpoint::open(path)
        .and_then(|checkpoint| CandleRunner::load(&checkpoint, options, &mut |_| {}));
    match loaded {
        Err(error) => one_line(&error),
        Ok(mut runner) => {
            let last = runner.info().vocab_size as u32 - 1;
            let chunk = Chunk {
                sequence: 0,
                context_len: 0,
                tokens: &[0, last, 1.min(last)],
                block_table: &[0],
                wants_logits: true,
            };
            if let Err(error) = runner.execute(&batch(&[chunk])) {
                prop_assert!(!error.to_string().is_empty());
            }
            Ok(())
        }
    }
}

fn one_line(error: &ModelError) -> Result<(), TestCaseError> {
    let line = error.to_string();
    prop_assert!(!line.contains(char::is_control), "{line:?}");
    prop_assert!((10..5000).contains(&line.len()), "{line}");
    Ok(())
}

fn tamper(config: &mut Value, tampering: &Tampering) {
    let mut places = Vec::new();
    list_places(config, "", &mut places);
    match tampering {
        Tampering::Remove(at) => {
            let (object, key) = at.get(&places).rsplit_once('/').unwrap();
            object_at(config, object).remove(key);
        }
        Tampering::Set(at, value) => {
            let at: &String = at.get(&places);
            *config.pointer_mut(at).unwrap() = value.clone();
        }
        Tampering::Exchange(a, b) => {
            let (a, b) = (a.get(&places), b.get(&places));
            let [from_a, from_b] = [a, b].map(|at| config.pointer(at).unwrap().clone());
            // One may be inside the other.
            for (at, value) in [(a, from_b), (b, from_a)] {
                if let Some(place) = config.pointer_mut(at) {
                    *place = value;
                }
            }
        }
        Tampering::Add(key, value) => {
            object_at(config, "").insert((*key).to_owned(), value.clone());
        }
    }
}

fn object_at<'a>(config: &'a mut Value, pointer: &str) -> &'a mut Map<String, Value> {
    config
        .pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap()
}

/// Pointers to all values of an object and of the objects in it.
fn list_places(value: &Value, at: &str, places: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        list_places(value, &at, places);
        places.push(at);
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    let values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(7),
        json!(16),
        json!(64),
        json!(-1),
        json!(1u64 << 24),
        json!(1u64 << 31),
        json!(u32::MAX),
        json!(1u64 << 32),
        json!(1u64 << 53),
        json!(u64::MAX),
        json!(0.0),
        json!(-0.0),
        json!(0.5),
        json!(1.0),
        json!(-0.5),
        json!(16.0),
        json!(1e-320),
        json!(1e-40),
        json!(1e39),
        json!(1e308),
        json!(-1e308),
        json!(""),
        json!("64"),
        json!("NaN"),
        json!("a\nb\u{7}"),
        json!("long ".repeat(5000)),
        json!("yarn"),
        json!("linear"),
        json!("llama3"),
        json!("longrope"),
        json!("default"),
        json!("gelu"),
        json!("sliding_attention"),
        json!([]),
        json!([0]),
        json!([1, 1]),
        json!([0, 0, 0, 0]),
        json!([1e-300, 1e308, 1, 1]),
        json!(["sliding_attention", "full_attention"]),
        json!([[[]]]),
        json!(vec![1; 5000]),
        json!({}),
        json!({"rope_type": "yarn", "factor": 4}),
        json!({"type": "linear", "factor": 1e-300}),
        json!({"a\nb": 1}),
        json!({"full_attention": {"rope_type": "linear"}}),
        json!({"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}),
    ];
    prop::sample::select(values)
}

/// None takes the key away.
fn odd_metadata() -> impl Strategy<Value = Option<Metadata>> {
    let mut values = vec![None];
    let numbers = [0, 1, 2, 3, 7, 16, 64, 1 << 24, 1 << 31, u32::MAX];
    values.extend(numbers.map(Metadata::U32).map(Some));
    values.extend([1 << 32, 1 << 53, u64::MAX].map(Metadata::U64).map(Some));
    values.extend([-1, i32::MIN].map(Metadata::I32).map(Some));
    let floats = [
        0.0,
        -0.0,
        -1.0,
        0.5,
        1.0,
        1e-40,
        1e38,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    values.extend(floats.map(Metadata::F32).map(Some));
    let texts = [
        "", "a\nb", "none", "linear", "yarn", "longrope", "llama", "qwen3moe", "gemma2",
    ];
    values.extend(texts.map(|text| Some(Metadata::String(text.to_owned()))));
    values.push(Some(Metadata::String("long ".repeat(5000))));
    values.extend([true, false].map(Metadata::Bool).map(Some));
    values.extend(
        [vec![], vec![Metadata::U32(1); 4]]
            .map(Metadata::Array)
            .map(Some),
    );
    prop::sample::select(values)
}

fn checkpoints(wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let root = root();
    let mut found = entries(&root);
    found.retain(|path| wanted(path));
    assert!(!found.is_empty(), "no checkpoint in {}", root.display());
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths = entries(folder);
    paths.retain(|path| path.is_file());
    paths
}
