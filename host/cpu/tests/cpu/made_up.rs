//! A made-up DeepSeek of quantized matrices: latent attention of many heads, experts in groups, a shared one, one dense
//! layer. The tiny checkpoints hold floats, and are narrower than a block.

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file::Value},
};

use crate::tiny_llama::{TinyLlama, VOCAB};

const HIDDEN: usize = 64;
const HEADS: usize = 34;
const QUERY_RANK: usize = 32;
const KV_RANK: usize = 64;
const NOPE: usize = 32;
const ROPE: usize = 8;
const VALUE: usize = 32;
const EXPERTS: usize = 4;
const INNER: usize = 32;

/// `format` for every matrix but the router's. All experts are visited: which are would hang on roundings, and is held to
/// the golden logits.
pub fn deepseek(format: GgmlDType) -> TinyLlama {
    let mut model = TinyLlama {
        metadata: Vec::new(),
        tensors: Vec::new(),
    };
    describe(&mut model);
    let mut tensor = |name: &str, shape: &[usize], format: GgmlDType| {
        let tensor = random(model.tensors.len() as u64, shape, 0.3);
        let tensor = QTensor::quantize(&tensor, format).unwrap();
        model.tensors.push((name.to_owned(), tensor));
    };
    tensor("token_embd.weight", &[VOCAB, HIDDEN], format);
    tensor("output.weight", &[VOCAB, HIDDEN], format);
    tensor("output_norm.weight", &[HIDDEN], GgmlDType::F32);
    for layer in 0..2 {
        let mut part = |part: &str, shape: &[usize], format: GgmlDType| {
            tensor(&format!("blk.{layer}.{part}"), shape, format);
        };
        for (norm, width) in [
            ("attn_norm.weight", HIDDEN),
            ("ffn_norm.weight", HIDDEN),
            ("attn_q_a_norm.weight", QUERY_RANK),
            ("attn_kv_a_norm.weight", KV_RANK),
        ] {
            part(norm, &[width], GgmlDType::F32);
        }
        let queries = HEADS * (NOPE + ROPE);
        for (name, shape) in [
            ("attn_q_a.weight", &[QUERY_RANK, HIDDEN][..]),
            ("attn_q_b.weight", &[queries, QUERY_RANK]),
            ("attn_kv_a_mqa.weight", &[KV_RANK + ROPE, HIDDEN]),
            ("attn_k_b.weight", &[HEADS, KV_RANK, NOPE]),
            ("attn_v_b.weight", &[HEADS, VALUE, KV_RANK]),
            ("attn_output.weight", &[HIDDEN, HEADS * VALUE]),
        ] {
            part(name, shape, format);
        }
        if layer == 0 {
            part("ffn_gate.weight", &[128, HIDDEN], format);
            part("ffn_up.weight", &[128, HIDDEN], format);
            part("ffn_down.weight", &[HIDDEN, 128], format);
            continue;
        }
        part("ffn_gate_inp.weight", &[EXPERTS, HIDDEN], GgmlDType::F32);
        part("exp_probs_b.bias", &[EXPERTS], GgmlDType::F32);
        part("ffn_gate_exps.weight", &[EXPERTS, INNER, HIDDEN], format);
        part("ffn_up_exps.weight", &[EXPERTS, INNER, HIDDEN], format);
        part("ffn_down_exps.weight", &[EXPERTS, HIDDEN, INNER], format);
        part("ffn_gate_shexp.weight", &[INNER, HIDDEN], format);
        part("ffn_up_shexp.weight", &[INNER, HIDDEN], format);
        part("ffn_down_shexp.weight", &[HIDDEN, INNER], format);
    }
    model
}

fn describe(model: &mut TinyLlama) {
    model.set(
        "general.architecture",
        Value::String("deepseek2".to_owned()),
    );
    for (key, value) in [
        ("block_count", 2),
        ("context_length", 128),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", 128),
        ("leading_dense_block_count", 1),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", 1),
        ("attention.q_lora_rank", QUERY_RANK),
        ("attention.kv_lora_rank", KV_RANK),
        ("attention.key_length", KV_RANK + ROPE),
        ("attention.value_length", KV_RANK),
        ("attention.key_length_mla", NOPE + ROPE),
        ("attention.value_length_mla", VALUE),
        ("rope.dimension_count", ROPE),
        ("expert_count", EXPERTS),
        ("expert_used_count", EXPERTS),
        ("expert_shared_count", 1),
        ("expert_feed_forward_length", INNER),
        ("expert_gating_func", 2),
        ("expert_group_count", 2),
        ("expert_group_used_count", 2),
    ] {
        model.set(&format!("deepseek2.{key}"), Value::U32(value as u32));
    }
    let epsilon = "deepseek2.attention.layer_norm_rms_epsilon";
    model.set(epsilon, Value::F32(1e-5));
    model.set("deepseek2.expert_weights_norm", Value::Bool(true));
    model.set("deepseek2.expert_weights_scale", Value::F32(2.5));
    model.set("tokenizer.ggml.eos_token_id", Value::U32(2));
}

/// Uniform in (-scale, scale); around 1 in a vector, which is a norm's.
fn random(seed: u64, shape: &[usize], scale: f32) -> Tensor {
    let mut state = seed + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
    };
    let middle = if shape.len() == 1 { 1.0 } else { 0.0 };
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| middle + next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}
