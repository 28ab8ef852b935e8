//! A tiny llama with random weights and a tokenizer of single characters, written as GGUF and loaded the way `serve` does.

use std::{fs::File, path::Path, sync::LazyLock};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};
use tempfile::TempDir;
use weir_server::{
    EngineHandle, ServedModel,
    config::{ByteSize, Config},
    pull::Source,
    wiring::{self, PluginWiring},
};

pub const CONTEXT: usize = 512;
/// Tokens per KV block, as `serve` cuts them.
pub const BLOCK: usize = 32;
const LAYERS: usize = 2;
pub const HIDDEN: usize = 64;
const FFN: usize = 96;
const KV: usize = 32;
/// Line break, the printable ASCII characters, and the two control tokens of ChatML.
const CHARACTERS: usize = 96;
const VOCAB: usize = CHARACTERS + 2;
/// Bytes of K and V that a block holds in f32.
const BLOCK_BYTES: u64 = (LAYERS * 2 * KV * BLOCK * 4) as u64;
/// Room for all that a test runs at once.
pub const KV_BYTES: u64 = 240 * BLOCK_BYTES;

static MODEL: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("tiny.gguf"));
    folder
});

/// The usual configuration.
pub fn config() -> Config {
    Config {
        kv_cache_memory: Some(ByteSize(KV_BYTES)),
        ..Config::default()
    }
}

/// Loads the model and starts its engine.
pub fn load(config: &Config) -> (ServedModel, EngineHandle) {
    let plugins = PluginWiring::new(config).unwrap();
    let source = Source::Gguf(MODEL.path().join("tiny.gguf"));
    let loaded = wiring::load_model(config, &source, &plugins).unwrap();
    (loaded.model, loaded.engine.unwrap())
}

/// A token's row of the embedding table, which is the first matrix there is.
pub fn embedding(token: u32) -> Vec<f32> {
    let mut noise = Noise(7);
    let numbers = (0..).map(|_| noise.next());
    numbers.skip(token as usize * HIDDEN).take(HIDDEN).collect()
}

fn write(path: &Path) {
    let metadata = metadata();
    let tensors = tensors();
    let metadata: Vec<_> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

fn metadata() -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap());
    // Byte-level spelling: these two are written Ċ and Ġ, the rest as they are.
    let characters = ["Ċ".to_owned(), "Ġ".to_owned()]
        .into_iter()
        .chain(('!'..='~').map(String::from));
    let tokens = characters.chain(["<|im_start|>".to_owned(), "<|im_end|>".to_owned()]);
    let types = (0..VOCAB).map(|id| Value::I32(if id < CHARACTERS { 1 } else { 3 }));
    let template = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
    let pairs = [
        ("general.architecture", text("llama")),
        ("llama.block_count", number(LAYERS)),
        ("llama.context_length", number(CONTEXT)),
        ("llama.embedding_length", number(HIDDEN)),
        ("llama.feed_forward_length", number(FFN)),
        ("llama.attention.head_count", number(4)),
        ("llama.attention.head_count_kv", number(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        (
            "tokenizer.ggml.tokens",
            Value::Array(tokens.map(Value::String).collect()),
        ),
        ("tokenizer.ggml.token_type", Value::Array(types.collect())),
        ("tokenizer.ggml.merges", Value::Array(Vec::new())),
        ("tokenizer.ggml.eos_token_id", number(VOCAB - 1)),
        ("tokenizer.chat_template", text(template)),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn tensors() -> Vec<(String, QTensor)> {
    let mut noise = Noise(7);
    let mut tensors = Vec::new();
    // An output matrix of its own: tied to the embedding, random weights say the last token again and again.
    tensors.push((
        "token_embd.weight".to_owned(),
        matrix(&mut noise, VOCAB, HIDDEN, 1.0),
    ));
    tensors.push((
        "output.weight".to_owned(),
        matrix(&mut noise, VOCAB, HIDDEN, 0.3),
    ));
    tensors.push(("output_norm.weight".to_owned(), ones()));
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tensors.push((name("attn_norm"), ones()));
        tensors.push((name("ffn_norm"), ones()));
        let shapes = [
            ("attn_q", HIDDEN, HIDDEN),
            ("attn_k", KV, HIDDEN),
            ("attn_v", KV, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_gate", FFN, HIDDEN),
            ("ffn_up", FFN, HIDDEN),
            ("ffn_down", HIDDEN, FFN),
        ];
        tensors.extend(
            shapes
                .map(|(part, rows, columns)| (name(part), matrix(&mut noise, rows, columns, 0.2))),
        );
    }
    tensors
}

/// Not quantized: candle's threads for quantized products spin while they wait, which takes 20 times as long on a busy machine.
fn matrix(noise: &mut Noise, rows: usize, columns: usize, scale: f32) -> QTensor {
    let values: Vec<f32> = (0..rows * columns).map(|_| noise.next() * scale).collect();
    let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
    QTensor::quantize(&tensor, GgmlDType::F32).unwrap()
}

fn ones() -> QTensor {
    let tensor = Tensor::from_vec(vec![1.0_f32; HIDDEN], HIDDEN, &Device::Cpu).unwrap();
    QTensor::quantize(&tensor, GgmlDType::F32).unwrap()
}

/// Numbers from -1 to 1, the same in every run (a 64-bit linear congruential generator, Knuth's constants).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
