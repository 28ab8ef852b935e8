//! What a file may hold: everything else is refused at load with a line that names the culprit.

use crate::tiny_llama::{BLOCK_SIZE, TinyLlama, VOCAB, options};
use candle_core::quantized::gguf_file::Value;
use weir_engine::ModelRunner;
use weir_model::{
    Attention, CandleRunner, Checkpoint, GgufFile, KvCapacity, ModelError, RunnerOptions,
};

#[test]
fn a_model_is_described_and_sized() {
    let runner = TinyLlama::new().load().unwrap();
    let info = runner.info();
    assert_eq!(
        (info.vocab_size, info.max_model_len, info.block_size),
        (VOCAB, 64, BLOCK_SIZE)
    );
    assert_eq!(info.eos_token_ids, [2, 7]);
    let description = runner.description();
    let Attention::Grouped(attention) = &description.layers[0].attention else {
        panic!("{:?}", description.layers[0]);
    };
    assert_eq!(
        (attention.heads, attention.kv_heads, attention.head_dim),
        (4, 2, 16)
    );
    assert!(description.tied_embeddings);
}

#[test]
fn tensors_that_are_missing_or_misshapen_or_unknown_are_named() {
    let mut missing = TinyLlama::new();
    missing.remove_tensor("blk.1.ffn_up.weight");
    assert_eq!(
        missing.load_error(),
        "tensor blk.1.ffn_up.weight is missing"
    );

    let mut misshapen = TinyLlama::new();
    misshapen.remove_tensor("blk.0.attn_k.weight");
    misshapen.matrix("blk.0.attn_k.weight", 64, 64);
    assert_eq!(
        misshapen.load_error(),
        "tensor blk.0.attn_k.weight has shape [64, 64], the metadata asks for [32, 64]"
    );

    let mut unknown = TinyLlama::new();
    unknown.vector("blk.0.attn_sinks.weight", 64);
    assert_eq!(
        unknown.load_error(),
        "tensor blk.0.attn_sinks.weight is not supported in architecture llama"
    );
}

#[test]
fn metadata_that_is_not_supported_is_named() {
    let cases = [
        (
            "general.architecture",
            Value::String("mamba".to_owned()),
            "architecture mamba is not supported (supported: llama, qwen2, qwen3, qwen3moe, gemma2, gemma3, deepseek2, phi3, granite, smollm3)",
        ),
        (
            "llama.rope.scaling.type",
            Value::String("dynamic".to_owned()),
            "GGUF metadata llama.rope.scaling.type: rope scaling dynamic is not supported",
        ),
        (
            "llama.rope.scaling.type",
            Value::String("linear".to_owned()),
            "GGUF metadata llama.rope.scaling.factor is missing",
        ),
        (
            "llama.rope.dimension_count",
            Value::U32(7),
            "GGUF metadata llama.rope.dimension_count: turning 7 of 16 elements of a head is not supported",
        ),
        (
            "llama.expert_count",
            Value::U32(8),
            "GGUF metadata llama.expert_count: mixtures of experts are not supported",
        ),
        (
            "llama.attention.causal",
            Value::Bool(false),
            "GGUF metadata llama.attention.causal: only causal attention is supported",
        ),
        (
            "llama.attention.temperature_scale",
            Value::F32(0.1),
            "GGUF metadata llama.attention.temperature_scale: not supported, and ignoring it could change the answers",
        ),
        (
            "llama.attention.head_count_kv",
            Value::U32(3),
            "the model contradicts itself: layer 0 has 4 heads of queries over 3 of keys",
        ),
        (
            "llama.attention.head_count_kv",
            Value::Array(vec![Value::U32(2)]),
            "GGUF metadata llama.attention.head_count_kv is not a non-negative integer",
        ),
        (
            "llama.vocab_size",
            Value::U32(95),
            "GGUF metadata llama.vocab_size: is 95, but token_embd.weight has 96 rows",
        ),
    ];
    for (key, value, message) in cases {
        let mut model = TinyLlama::new();
        model.set(key, value);
        assert_eq!(model.load_error(), message);
    }
    let mut model = TinyLlama::new();
    model.metadata.retain(|(key, _)| key != "llama.block_count");
    assert_eq!(
        model.load_error(),
        "GGUF metadata llama.block_count is missing"
    );
}

#[test]
fn files_that_are_no_gguf_or_are_cut_off_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    assert!(matches!(
        Checkpoint::open(&path),
        Err(ModelError::Io { .. })
    ));
    std::fs::write(&path, "<html>not found</html>").unwrap();
    assert!(matches!(
        Checkpoint::open(&path),
        Err(ModelError::Gguf { .. })
    ));

    TinyLlama::new().write(&path);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    assert!(matches!(
        Checkpoint::open(&path),
        Err(ModelError::Gguf { .. })
    ));
}

#[test]
fn options_are_checked_and_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    TinyLlama::new().write(&path);
    let gguf = Checkpoint::open(&path).unwrap();
    let load = |options| CandleRunner::load(&gguf, options, &mut |_| {});

    // Two layers of K and V, 4 tokens a block, 2 heads of 16 floats: 2,048 bytes a block.
    let bytes = RunnerOptions {
        kv_capacity: KvCapacity::Bytes(9000),
        max_model_len: Some(32),
        ..options()
    };
    let runner = load(bytes).unwrap();
    assert_eq!(
        (runner.info().num_blocks, runner.info().max_model_len),
        (4, 32)
    );

    for refused in [
        RunnerOptions {
            max_model_len: Some(65),
            ..options()
        },
        RunnerOptions {
            block_size: 0,
            ..options()
        },
        RunnerOptions {
            kv_capacity: KvCapacity::Bytes(2000),
            ..options()
        },
    ] {
        assert!(matches!(load(refused), Err(ModelError::InvalidOptions(_))));
    }
}

#[test]
fn progress_runs_from_nothing_to_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    TinyLlama::new().write(&path);
    let mut heard = Vec::new();
    CandleRunner::load(
        &Checkpoint::open(&path).unwrap(),
        options(),
        &mut |progress| heard.push(progress),
    )
    .unwrap();
    assert_eq!(heard[0].loaded_bytes, 0);
    assert!(heard.is_sorted_by_key(|progress| progress.loaded_bytes));
    let last = heard[heard.len() - 1];
    assert_eq!(last.loaded_bytes, last.total_bytes);
}

#[test]
fn metadata_reads_by_type() {
    let mut model = TinyLlama::new();
    let strings = |items: &[&str]| {
        Value::Array(
            items
                .iter()
                .map(|item| Value::String((*item).to_owned()))
                .collect(),
        )
    };
    model.set("tokenizer.ggml.tokens", strings(&["a", "Ġb"]));
    model.set(
        "tokenizer.ggml.token_type",
        Value::Array(vec![Value::I32(3), Value::I32(1)]),
    );
    model.set(
        "tokenizer.ggml.scores",
        Value::Array(vec![Value::F32(-0.5)]),
    );
    model.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    model.write(&path);
    let gguf = GgufFile::open(&path).unwrap();
    assert_eq!(
        gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap(),
        ["a", "Ġb"]
    );
    assert_eq!(
        gguf.integers("tokenizer.ggml.token_type").unwrap().unwrap(),
        [3, 1]
    );
    assert_eq!(
        gguf.floats("tokenizer.ggml.scores").unwrap().unwrap(),
        [-0.5]
    );
    assert_eq!(
        gguf.boolean("tokenizer.ggml.add_bos_token").unwrap(),
        Some(true)
    );
    assert_eq!(gguf.string("general.architecture").unwrap(), Some("llama"));
    assert_eq!(gguf.unsigned("tokenizer.ggml.bos_token_id").unwrap(), None);
    assert_eq!(
        gguf.string("llama.block_count").unwrap_err().to_string(),
        "GGUF metadata llama.block_count is not a string"
    );
    let embedding = gguf
        .tensors()
        .find(|tensor| tensor.name == "token_embd.weight")
        .unwrap();
    assert_eq!(
        (embedding.shape, embedding.dtype.as_str(), embedding.bytes),
        (&[96, 64][..], "Q8_0", 96 * 2 * 34)
    );
}
