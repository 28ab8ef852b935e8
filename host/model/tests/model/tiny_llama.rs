//! A tiny random-weight llama written as GGUF, so that tests need no model file.
//!
//! Weights are deterministic; matrices are q8_0 as in real files, norms f32.

use std::path::Path;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file, gguf_file::Value},
};
use weir_engine::{Batch, BatchRow, ModelRunner, SequenceId};
use weir_model::{CandleRunner, Checkpoint, KvCapacity, ModelError, RunnerOptions};

pub const VOCAB: usize = 96;
pub const BLOCK_SIZE: usize = 4;
pub const NUM_BLOCKS: usize = 24;
const HIDDEN: usize = 64;
const FFN: usize = 128;
const KV: usize = 32;
const LAYERS: usize = 2;

/// The file's metadata and tensors, to be changed by a test before it is written.
pub struct TinyLlama {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<(String, QTensor)>,
}

impl TinyLlama {
    /// 2 layers, 4 query heads over 2 K and V heads of 16 elements, tied embeddings.
    pub fn new() -> Self {
        let mut model = Self {
            metadata: Vec::new(),
            tensors: Vec::new(),
        };
        model.set("general.architecture", Value::String("llama".to_owned()));
        for (key, value) in [
            ("llama.block_count", LAYERS),
            ("llama.context_length", 64),
            ("llama.embedding_length", HIDDEN),
            ("llama.feed_forward_length", FFN),
            ("llama.attention.head_count", 4),
            ("llama.attention.head_count_kv", 2),
            ("tokenizer.ggml.eos_token_id", 2),
            ("tokenizer.ggml.eot_token_id", 7),
        ] {
            model.set(key, Value::U32(value as u32));
        }
        model.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        model.matrix("token_embd.weight", VOCAB, HIDDEN);
        model.vector("output_norm.weight", HIDDEN);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            model.vector(&name("attn_norm"), HIDDEN);
            model.vector(&name("ffn_norm"), HIDDEN);
            model.matrix(&name("attn_q"), HIDDEN, HIDDEN);
            model.matrix(&name("attn_k"), KV, HIDDEN);
            model.matrix(&name("attn_v"), KV, HIDDEN);
            model.matrix(&name("attn_output"), HIDDEN, HIDDEN);
            model.matrix(&name("ffn_gate"), FFN, HIDDEN);
            model.matrix(&name("ffn_up"), FFN, HIDDEN);
            model.matrix(&name("ffn_down"), HIDDEN, FFN);
        }
        model
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(existing, _)| existing != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub fn remove_tensor(&mut self, name: &str) {
        self.tensors.retain(|(existing, _)| existing != name);
    }

    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize) {
        // Weights of this size keep the residual stream's parts of one size, so that every part shows in the logits.
        let values = random(self.tensors.len() as u64, rows * columns, 0.3);
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        self.tensors.push((
            name.to_owned(),
            QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap(),
        ));
    }

    pub fn vector(&mut self, name: &str, len: usize) {
        let values = random(self.tensors.len() as u64, len, 0.5)
            .iter()
            .map(|value| 1.0 + value)
            .collect();
        let tensor = Tensor::from_vec(values, len, &Device::Cpu).unwrap();
        self.tensors.push((
            name.to_owned(),
            QTensor::quantize(&tensor, GgmlDType::F32).unwrap(),
        ));
    }

    pub fn write(&self, path: &Path) {
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        let tensors: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let mut file = std::fs::File::create(path).unwrap();
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    }

    pub fn load(&self) -> Result<CandleRunner, ModelError> {
        self.load_with_blocks(NUM_BLOCKS)
    }

    pub fn load_with_blocks(&self, blocks: usize) -> Result<CandleRunner, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        self.write(&path);
        let options = RunnerOptions {
            kv_capacity: KvCapacity::Blocks(blocks),
            ..options()
        };
        CandleRunner::load(&Checkpoint::open(&path)?, options, &mut |_| {})
    }

    pub fn load_error(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

pub fn options() -> RunnerOptions {
    RunnerOptions {
        kv_capacity: KvCapacity::Blocks(NUM_BLOCKS),
        block_size: BLOCK_SIZE,
        max_model_len: None,
        end_token_ids: Vec::new(),
    }
}

/// Uniform in (-scale, scale), from a linear congruential generator (Knuth's MMIX constants).
fn random(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

/// `count` token ids of one sequence.
pub fn prompt(seed: u64, count: usize) -> Vec<u32> {
    random(seed + 1000, count, 1.0)
        .iter()
        .map(|value| ((value + 1.0) / 2.0 * VOCAB as f32) as u32)
        .collect()
}

/// One row of a batch and its tokens.
pub struct Chunk<'a> {
    pub sequence: u64,
    pub context_len: usize,
    pub tokens: &'a [u32],
    pub block_table: &'a [u32],
    pub wants_logits: bool,
}

pub fn batch(chunks: &[Chunk<'_>]) -> Batch {
    Batch {
        embedded: Vec::new(),
        tokens: chunks
            .iter()
            .flat_map(|chunk| chunk.tokens.to_vec())
            .collect(),
        rows: chunks
            .iter()
            .map(|chunk| BatchRow {
                sequence: SequenceId(chunk.sequence),
                context_len: chunk.context_len,
                len: chunk.tokens.len(),
                block_table: chunk.block_table.to_vec(),
                wants_logits: chunk.wants_logits,
            })
            .collect(),
    }
}

/// Runs chunks as one batch and returns the rows of logits.
pub fn execute(runner: &mut CandleRunner, chunks: &[Chunk<'_>]) -> Vec<Vec<f32>> {
    let mut logits = runner.execute(&batch(chunks)).unwrap();
    logits.rows_mut().map(|row| row.to_vec()).collect()
}

/// The logits behind a prompt, computed in chunks that end at `ends`, the last at the prompt's end.
pub fn logits_behind(
    runner: &mut CandleRunner,
    prompt: &[u32],
    block_table: &[u32],
    ends: &[usize],
) -> Vec<f32> {
    let mut start = 0;
    let mut rows = Vec::new();
    for &end in ends {
        let tokens = &prompt[start..end];
        let wants_logits = end == prompt.len();
        rows = execute(
            runner,
            &[Chunk {
                sequence: 0,
                context_len: start,
                tokens,
                block_table,
                wants_logits,
            }],
        );
        start = end;
    }
    rows.remove(0)
}

/// Largest difference of two rows of logits.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}
