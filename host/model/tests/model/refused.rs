//! What no checkpoint may ask for, and the line that says so: the tiny checkpoints, each with something in it that the
//! decoder does not compute or that cannot be.
//!
//! The cases are data, two lines each: what is changed in which tiny model, and what is said of it.

use std::path::Path;

use candle_core::quantized::gguf_file::Value as Metadata;
use serde_json::{Value, json};
use weir_model::{CandleRunner, Checkpoint};

use crate::{
    edited_checkpoints::{Gguf, changed, root, with_header},
    gguf_fixture::{self, STRING, U32, string, value},
    tiny_llama::{TinyLlama, options},
};

/// A model, then the keys of its config.json that are set, or taken out where they are `ABSENT`.
const CONFIGURATIONS: &str = include_str!("refused/configurations.txt");
/// A model, a key of its metadata, then the value that it is set to: a number with a point is a float.
const METADATA: &str = include_str!("refused/metadata.txt");

const ARCHITECTURES: &str = "llama, mistral, qwen2, qwen3, qwen3_moe, gemma2, gemma3_text, deepseek_v2, deepseek_v3, \
                             kimi_k2, phi3, granite, smollm3";

/// The message about a checkpoint that does not load, with `FOLDER` for where it is.
fn complaint(path: &Path) -> String {
    let loaded = Checkpoint::open(path)
        .and_then(|checkpoint| CandleRunner::load(&checkpoint, options(), &mut |_| {}));
    match loaded {
        Ok(_) => "it loads".to_owned(),
        Err(error) => error
            .to_string()
            .replace(&path.display().to_string(), "FOLDER"),
    }
}

/// Applies the change of each case and names those of which something else is said.
fn judge(cases: &str, complaint_about: impl Fn(&str) -> String) {
    let lines: Vec<&str> = cases.lines().collect();
    let wrong: Vec<String> = lines
        .chunks_exact(2)
        .filter_map(|case| {
            let found = complaint_about(case[0]);
            (found != case[1].trim()).then(|| format!("{}\n    {found}", case.join("\n")))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn configurations_that_ask_for_what_is_not_computed() {
    judge(CONFIGURATIONS, |case| {
        let (model, changes) = case.split_once(' ').unwrap();
        let changes = serde_json::from_str(changes).unwrap();
        complaint(changed(model, &changes).path())
    });
}

#[test]
fn metadata_that_ask_for_what_is_not_computed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    judge(METADATA, |case| {
        let mut words = case.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        let mut file = Gguf::read(&root().join(word()).join("model.gguf"));
        file.set(word(), metadata(&serde_json::from_str(word()).unwrap()));
        file.write(&path);
        complaint(&path)
    });
}

fn metadata(value: &Value) -> Metadata {
    match value {
        Value::String(text) => Metadata::String(text.clone()),
        Value::Array(list) => Metadata::Array(list.iter().map(metadata).collect()),
        number => match number.as_u64() {
            Some(number) => u32::try_from(number).map_or(Metadata::U64(number), Metadata::U32),
            None => Metadata::F32(number.as_f64().unwrap() as f32),
        },
    }
}

#[test]
fn architectures() {
    for name in [
        "mixtral",
        "mamba",
        "siglip_vision_model",
        "gpt_oss",
        "gemma3",
        "a\nb",
    ] {
        let folder = changed("llama", &json!({"model_type": name}));
        let name = name.replace('\n', "\\n");
        assert_eq!(
            complaint(folder.path()),
            format!("architecture {name} is not supported (supported: {ARCHITECTURES})")
        );
    }
}

#[test]
fn tensors_of_an_adapter_and_half_a_pair_of_ropes() {
    let adapted = changed("llama", &json!({}));
    with_header(&adapted, |header, end| {
        let name = "model.layers.0.self_attn.q_proj.lora_A.weight";
        let extra = json!({"dtype": "F32", "shape": [1, 1], "data_offsets": [end, end + 4]});
        header.insert(name.to_owned(), extra);
    });
    assert_eq!(
        complaint(adapted.path()),
        "tensor model.layers.0.self_attn.q_proj.lora_A.weight is not supported in architecture llama"
    );
    let mut adapter = TinyLlama::new();
    adapter.vector("blk.0.attn_q.weight.lora_a", 64);
    assert_eq!(
        adapter.load_error(),
        "tensor blk.0.attn_q.weight.lora_a is not supported in architecture llama"
    );
    let mut one_of_two = Gguf::read(&root().join("phi3-longrope-long/model.gguf"));
    one_of_two
        .tensors
        .retain(|(name, _)| name != "rope_factors_long.weight");
    let path = adapted.path().join("model.gguf");
    one_of_two.write(&path);
    assert_eq!(
        complaint(&path),
        "tensor rope_factors_long.weight is missing"
    );
}

#[test]
fn folders_that_hold_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let expect = |message: &str| assert_eq!(complaint(folder.path()), message);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    expect("cannot open FOLDER/config.json: No such file or directory (os error 2)");
    write(
        "config.json",
        &format!("{}{}", "{\"a\":".repeat(200), "}".repeat(200)),
    );
    expect("FOLDER/config.json: recursion limit exceeded at line 1 column 636");
    write("config.json", "{\"model_type\": \"llama\"}");
    expect("FOLDER: holds neither model.safetensors nor model.safetensors.index.json");
    write("pytorch_model.bin", "");
    expect("FOLDER: holds pytorch_model.bin but no safetensors");
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    assert_eq!(
        complaint(&circle),
        "cannot open FOLDER: Too many levels of symbolic links (os error 40)"
    );
}

#[test]
fn tensor_types() {
    // Number, and the bytes that 256 elements take.
    for (number, bytes, name) in [(17, 74, "IQ2_XS"), (39, 136, "MXFP4")] {
        let number_of = |key, number: u32| value(key, U32, &number.to_le_bytes());
        let values = [
            value("general.architecture", STRING, &string("llama")),
            number_of("llama.block_count", 1),
            number_of("llama.context_length", 8),
            number_of("llama.embedding_length", 256),
            number_of("llama.feed_forward_length", 8),
            number_of("llama.attention.head_count", 4),
            value(
                "llama.attention.layer_norm_rms_epsilon",
                6,
                &1e-5f32.to_le_bytes(),
            ),
        ];
        let tensor = gguf_fixture::tensor("token_embd.weight", &[256, 1], number, 0);
        let written = gguf_fixture::write(&gguf_fixture::file(&values, &[tensor], bytes));
        assert_eq!(
            complaint(&written.path),
            format!("tensor token_embd.weight is of type {name}, which is not supported")
        );
    }
}
