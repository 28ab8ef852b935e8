//! What a decoder's files say of text vectors, and that saying it changes nothing else.

use std::{fs, path::Path};

use serde_json::{Value, json};
use weir_engine::Pooling;
use weir_model::{Checkpoint, TextPooling};

use crate::{
    edited_checkpoints::{config, root, with_config},
    tiny_llama::TinyLlama,
};
use candle_core::quantized::gguf_file::Value as Metadata;

fn of_gguf(pooling_type: Option<u32>) -> Result<TextPooling, String> {
    let mut model = TinyLlama::new();
    if let Some(number) = pooling_type {
        model.set("llama.pooling_type", Metadata::U32(number));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    model.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    checkpoint.describe().unwrap();
    TextPooling::of(&checkpoint).map_err(|error| error.to_string())
}

fn of_folder(files: &[(&str, Value)]) -> Result<TextPooling, String> {
    let llama = root().join("llama");
    let copy = with_config(&llama, &config(&llama));
    for (name, value) in files {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
    let checkpoint = Checkpoint::open(copy.path()).unwrap();
    checkpoint.describe().unwrap();
    TextPooling::of(&checkpoint).map_err(|error| error.to_string())
}

fn modules(last: &str) -> Value {
    json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2", "type": format!("sentence_transformers.models.{last}")},
    ])
}

#[test]
fn the_last_token_is_taken_where_no_file_says_more() {
    for found in [of_gguf(None), of_gguf(Some(0)), of_folder(&[])] {
        assert_eq!(found, Ok(TextPooling::default()));
    }
}

#[test]
fn a_gguf_file_says_it_by_a_number() {
    for (number, pooling) in [(1, Pooling::Mean), (3, Pooling::Last)] {
        let found = of_gguf(Some(number)).unwrap();
        assert_eq!((found.pooling, found.declared), (pooling, true));
    }
    for (number, complaint) in [
        (
            2,
            "llama.pooling_type: pooling Cls of a decoder is not supported",
        ),
        (4, "llama.pooling_type: 4 is not supported"),
    ] {
        let error = of_gguf(Some(number)).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_folder_says_it_by_the_files_of_sentence_transformers() {
    let said = |pooling: Value, last: &str| {
        of_folder(&[
            ("modules.json", modules(last)),
            ("1_Pooling/config.json", pooling),
            ("sentence_bert_config.json", json!({"max_seq_length": 17})),
        ])
    };
    let found = said(json!({"pooling_mode_lasttoken": true}), "Normalize").unwrap();
    let expected = TextPooling {
        max_tokens: Some(17),
        declared: true,
        ..TextPooling::default()
    };
    assert_eq!(found, expected);
    let found = said(json!({"pooling_mode": "mean"}), "Normalize").unwrap();
    assert_eq!(found.pooling, Pooling::Mean);
    for (pooling, last, complaint) in [
        (
            json!({"pooling_mode": "cls"}),
            "Normalize",
            "pooling Cls of a decoder",
        ),
        (
            json!({"pooling_mode": "mean"}),
            "Dense",
            "are not supported",
        ),
    ] {
        let error = said(pooling, last).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
}
