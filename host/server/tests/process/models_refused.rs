//! Models that weir does not run: the process ends with 2 and one line that names what is wrong, before anything is loaded.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::weir::{Files, run};

const TINY_MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tiny_models");

/// Serves a model that is none, and compares the one line that comes of it; `FOLDER` stands for where the files are.
fn refuses(files: &Files, model: &Path, complaint: &str) {
    let started = Instant::now();
    let ended = run(["--port", "0", "--model", model.to_str().unwrap()]);
    let folder = files.path().display().to_string();
    assert_eq!(ended.complaint().replace(&folder, "FOLDER"), complaint);
    assert!(started.elapsed() < Duration::from_secs(10), "not at once");
}

/// A GGUF file of texts alone, without tensors.
fn gguf(values: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    // The tokens are a list: of texts (8), one of them.
    bytes.extend((values.len() as u64 + 1).to_le_bytes());
    bytes.extend(text("tokenizer.ggml.tokens"));
    bytes.extend([9u32.to_le_bytes(), 8u32.to_le_bytes()].concat());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(text("a"));
    for (key, value) in values {
        bytes.extend(text(key));
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(text(value));
    }
    bytes
}

#[test]
fn a_folder_of_another_architecture() {
    let files = Files::new();
    refuses(
        &files,
        files.path(),
        "weir: model `FOLDER`: there are neither safetensors (model.safetensors or model.safetensors.index.json) nor \
         GGUF files",
    );
    let tiny = |file: &str| fs::read(format!("{TINY_MODELS}/{file}")).unwrap();
    files.write("tokenizer.json", tiny("bert-mean/tokenizer.json"));
    files.write("model.safetensors", tiny("llama/model.safetensors"));
    files.write("config.json", json!({"model_type": "mixtral"}).to_string());
    refuses(
        &files,
        files.path(),
        "weir: architecture mixtral is not supported (supported: llama, mistral, qwen2, qwen3, qwen3_moe, gemma2, \
         gemma3_text, deepseek_v2, deepseek_v3, kimi_k2, phi3, granite, smollm3)",
    );
}

#[test]
fn a_path_that_leads_nowhere() {
    let files = Files::new();
    let circle = files.path().join("circle.gguf");
    symlink(&circle, &circle).unwrap();
    let ended = run(["--port", "0", "--model", circle.to_str().unwrap()]);
    let complaint = ended.complaint();
    let expected = format!("weir: model `{}`: no such file", circle.display());
    assert!(complaint.starts_with(&expected), "{complaint}");
}

#[test]
fn tokenizers_that_are_not_built() {
    let files = Files::new();
    for kind in ["rwkv", "t5", "a\nb"] {
        let values = [
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", kind),
        ];
        let model = files.write("model.gguf", gguf(&values));
        let kind = kind.replace('\n', " ");
        refuses(
            &files,
            &model,
            &format!(
                "weir: this kind of tokenizer is not supported: the GGUF file names the tokenizer model `{kind}`; known \
                 are gpt2 (byte-level BPE), llama (SentencePiece) and bert (WordPiece)"
            ),
        );
    }
    let values = [
        ("general.architecture", "llama"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "made-up"),
    ];
    let model = files.write("model.gguf", gguf(&values));
    let ended = run(["--port", "0", "--model", model.to_str().unwrap()]);
    let complaint = ended.complaint();
    assert!(
        complaint.contains("the GGUF file names the pre-tokenizer `made-up`; known are "),
        "{complaint}"
    );
}
