//! The reference runner and this one on the same quantized files.

use candle_core::{
    Device,
    quantized::{GgmlDType, QTensor},
};
use weir_cpu::CpuRunner;
use weir_model::{CandleRunner, Checkpoint};

use crate::{
    checkpoints::{behind, distance},
    made_up::deepseek,
    tiny_llama::{TinyLlama, options, prompt},
};

/// Of a row's largest logit: activations in int8 are off by up to 1/254 of the largest of 32, in each of 14 matrices,
/// and the reference rounds them too, for all but Q4_1, Q5_0 and Q5_1.
const TOLERANCE: f32 = 0.05;

const FORMATS: [GgmlDType; 7] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::F16,
    GgmlDType::F32,
];

#[test]
fn quantized_matrices_give_the_reference_logits() {
    for format in FORMATS {
        let mut model = TinyLlama::new();
        for (name, tensor) in &mut model.tensors {
            if !name.contains("norm") {
                let wide = tensor.dequantize(&Device::Cpu).unwrap();
                *tensor = QTensor::quantize(&wide, format).unwrap();
            }
        }
        compare(&model, format);
    }
}

#[test]
fn quantized_experts_and_latents_give_the_reference_logits() {
    for format in FORMATS {
        compare(&deepseek(format), format);
    }
}

fn compare(model: &TinyLlama, format: GgmlDType) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let mut reference = CandleRunner::load(&checkpoint, options(), &mut |_| {}).unwrap();
    let mut bytes = Vec::new();
    let mut progress = |at: weir_model::LoadProgress| bytes.push(at);
    let mut runner = CpuRunner::load(&checkpoint, options(), Some(2), &mut progress).unwrap();
    assert_eq!(bytes[0].loaded_bytes, 0);
    let last = bytes[bytes.len() - 1];
    assert_eq!(last.loaded_bytes, last.total_bytes);
    let tokens = prompt(11, 40);
    let ends = [1, 2, 17, 39, 40];
    let table: Vec<u32> = (0..10).collect();
    let right = behind(&mut reference, &tokens, &table, &ends);
    let found = behind(&mut runner, &tokens, &table, &ends);
    for (found, right) in found.iter().zip(&right) {
        let off = distance(found, right);
        println!("{format:?} {off:.1e}");
        assert!(off < TOLERANCE, "{format:?} is off by {off:.1e}");
    }
}

#[test]
fn what_nobody_takes_is_refused() {
    let mut model = TinyLlama::new();
    model.vector("blk.0.attn_q_norm.weight", 16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let refused = CpuRunner::load(&checkpoint, options(), Some(2), &mut |_| {});
    assert_eq!(
        refused.unwrap_err().to_string(),
        CandleRunner::load(&checkpoint, options(), &mut |_| {})
            .unwrap_err()
            .to_string()
    );
}

#[test]
fn what_is_missing_is_named() {
    let mut model = TinyLlama::new();
    model.remove_tensor("blk.1.ffn_up.weight");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let refused = CpuRunner::load(&checkpoint, options(), Some(2), &mut |_| {});
    let message = refused.unwrap_err().to_string();
    assert_eq!(message, "tensor blk.1.ffn_up.weight is missing");
}
