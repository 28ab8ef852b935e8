//! What the one decoder needs to know of a model, read from GGUF metadata.
//!
//! A family is a row of [`FAMILIES`]; what differs between families is data in [`ModelDescription`], never a second
//! decoder. Invariant: every metadata key under the architecture's prefix is one the decoder honours or one that is
//! known to change nothing; any other key is an error, because ignoring it could give wrong answers.

use crate::{error::ModelError, gguf::GgufFile};

/// How rotary embedding pairs the elements of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Element 2i turns with 2i + 1 (llama's GGUF weights are permuted for it).
    Interleaved,
    /// Element i turns with i + d/2 (GPT-NeoX).
    Halves,
}

/// Rotary position embedding (arXiv 2104.09864): pair i of position p turns by
/// `p / linear_factor * theta^(-2i / dims) / factors[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeDescription {
    /// Which elements pair up.
    pub style: RopeStyle,
    /// The base of the frequencies.
    pub theta: f32,
    /// Elements of a head that turn; the decoder turns all of them.
    pub dims: usize,
    /// Linear position interpolation; 1 is none.
    pub linear_factor: f32,
}

/// A decoder-only transformer, as data.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, for logs and listings.
    pub name: Option<String>,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of one head, of queries, keys and values alike.
    pub head_dim: usize,
    /// Inner width of the feed-forward network.
    pub ffn: usize,
    /// Added under the root of RMSNorm.
    pub norm_eps: f32,
    /// The position embedding.
    pub rope: RopeDescription,
    /// Rows of the embedding, logits of the head.
    pub vocab: usize,
    /// Longest context the model was trained for, in tokens.
    pub context_length: usize,
    /// The head's weights are the embedding's.
    pub tied_embeddings: bool,
    /// Tokens that end a sequence: end of sequence, of turn, of message.
    pub eos_token_ids: Vec<u32>,
}

struct Family {
    architecture: &'static str,
    rope_style: RopeStyle,
}

const FAMILIES: &[Family] = &[Family {
    architecture: "llama",
    rope_style: RopeStyle::Interleaved,
}];

/// Keys under the architecture's prefix that the description honours.
const HONOURED: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.type",
    "vocab_size",
];

/// Keys under the architecture's prefix that describe the file's history and change nothing.
const HARMLESS: &[&str] = &[
    "expert_used_count",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "tensor_data_layout",
];

const END_TOKEN_KEYS: &[&str] = &[
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

impl ModelDescription {
    /// Reads the description of the model in a file.
    ///
    /// # Errors
    /// Names the architecture, key or tensor that is missing or not supported.
    pub fn from_gguf(gguf: &GgufFile) -> Result<Self, ModelError> {
        let architecture = required("general.architecture", gguf.string("general.architecture")?)?;
        let family = FAMILIES
            .iter()
            .find(|family| family.architecture == architecture)
            .ok_or_else(|| ModelError::UnsupportedArchitecture {
                found: architecture.to_owned(),
                supported: FAMILIES
                    .iter()
                    .map(|family| family.architecture)
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        let keys = FamilyKeys {
            gguf,
            prefix: family.architecture,
        };
        keys.refuse_unknown()?;
        keys.refuse_experts_and_encoders()?;

        let hidden = keys.size("embedding_length")?;
        let heads = keys.size("attention.head_count")?;
        let kv_heads = keys
            .optional_size("attention.head_count_kv")?
            .unwrap_or(heads);
        if heads % kv_heads != 0 {
            return Err(keys.unsupported(
                "attention.head_count_kv",
                format!("{kv_heads} does not divide {heads} heads"),
            ));
        }
        let head_dim = keys.head_dim(hidden, heads)?;
        Ok(Self {
            architecture: architecture.to_owned(),
            name: gguf.string("general.name")?.map(str::to_owned),
            layers: keys.size("block_count")?,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn: keys.size("feed_forward_length")?,
            norm_eps: keys.required_float("attention.layer_norm_rms_epsilon")?,
            rope: keys.rope(family.rope_style, head_dim)?,
            vocab: keys.vocab()?,
            context_length: keys.size("context_length")?,
            tied_embeddings: gguf.tensor_shape("output.weight").is_none(),
            eos_token_ids: end_tokens(gguf)?,
        })
    }
}

/// Metadata under one architecture's prefix.
struct FamilyKeys<'a> {
    gguf: &'a GgufFile,
    prefix: &'static str,
}

impl FamilyKeys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn unsupported(&self, name: &str, reason: impl Into<String>) -> ModelError {
        ModelError::UnsupportedMetadata {
            key: self.key(name),
            reason: reason.into(),
        }
    }

    fn refuse_unknown(&self) -> Result<(), ModelError> {
        let prefix = self.key("");
        let mut unknown: Vec<&str> = self
            .gguf
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|name| !HONOURED.contains(name) && !HARMLESS.contains(name))
            .collect();
        unknown.sort_unstable();
        match unknown.first() {
            None => Ok(()),
            Some(name) => Err(self.unsupported(
                name,
                "not supported, and ignoring it could change the answers",
            )),
        }
    }

    fn refuse_experts_and_encoders(&self) -> Result<(), ModelError> {
        if self.gguf.unsigned(&self.key("expert_count"))?.unwrap_or(0) > 0 {
            return Err(self.unsupported("expert_count", "mixtures of experts are not supported"));
        }
        if self.gguf.boolean(&self.key("attention.causal"))? == Some(false) {
            return Err(self.unsupported("attention.causal", "only causal attention is supported"));
        }
        Ok(())
    }

    /// A size: a positive integer.
    fn optional_size(&self, name: &str) -> Result<Option<usize>, ModelError> {
        match self.gguf.unsigned(&self.key(name))? {
            None => Ok(None),
            Some(value) => match usize::try_from(value) {
                Ok(size) if size > 0 => Ok(Some(size)),
                _ => Err(self.unsupported(name, format!("{value} is no size"))),
            },
        }
    }

    fn size(&self, name: &str) -> Result<usize, ModelError> {
        required(&self.key(name), self.optional_size(name)?)
    }

    fn required_float(&self, name: &str) -> Result<f32, ModelError> {
        let key = self.key(name);
        required(&key, self.gguf.float(&key)?)
    }

    fn head_dim(&self, hidden: usize, heads: usize) -> Result<usize, ModelError> {
        let head_dim = match self.optional_size("attention.key_length")? {
            Some(length) => length,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let reason = format!("{heads} heads do not divide {hidden} elements");
                return Err(self.unsupported("attention.head_count", reason));
            }
        };
        if let Some(length) = self.optional_size("attention.value_length")?
            && length != head_dim
        {
            let reason = format!(
                "{length} elements a value head and {head_dim} a key head are not supported"
            );
            return Err(self.unsupported("attention.value_length", reason));
        }
        Ok(head_dim)
    }

    fn rope(&self, style: RopeStyle, head_dim: usize) -> Result<RopeDescription, ModelError> {
        let dims = self
            .optional_size("rope.dimension_count")?
            .unwrap_or(head_dim);
        if dims != head_dim || dims % 2 != 0 {
            let reason =
                format!("turning {dims} of {head_dim} elements of a head is not supported");
            return Err(self.unsupported("rope.dimension_count", reason));
        }
        let factor = self.gguf.float(&self.key("rope.scaling.factor"))?;
        let linear_factor = match (self.gguf.string(&self.key("rope.scaling.type"))?, factor) {
            (None, None) | (Some("none"), _) => 1.0,
            (None | Some("linear"), Some(factor)) if factor > 0.0 => factor,
            (None | Some("linear"), Some(factor)) => {
                return Err(
                    self.unsupported("rope.scaling.factor", format!("{factor} is no factor"))
                );
            }
            (Some("linear"), None) => {
                return Err(ModelError::MissingMetadata {
                    key: self.key("rope.scaling.factor"),
                });
            }
            (Some(kind), _) => {
                return Err(self.unsupported(
                    "rope.scaling.type",
                    format!("rope scaling {kind} is not supported"),
                ));
            }
        };
        // 10000 is the format's default base.
        let theta = self
            .gguf
            .float(&self.key("rope.freq_base"))?
            .unwrap_or(10_000.0);
        Ok(RopeDescription {
            style,
            theta,
            dims,
            linear_factor,
        })
    }

    /// The embedding has the last word on the vocabulary's size, because it is what ids index.
    fn vocab(&self) -> Result<usize, ModelError> {
        let name = "token_embd.weight";
        let rows = match self.gguf.tensor_shape(name) {
            Some([rows, _]) if *rows > 0 => *rows,
            Some(shape) => {
                let expected = vec![self.size("vocab_size")?, self.size("embedding_length")?];
                return Err(ModelError::TensorShape {
                    name: name.to_owned(),
                    found: shape.to_vec(),
                    expected,
                });
            }
            None => {
                return Err(ModelError::MissingTensor {
                    name: name.to_owned(),
                });
            }
        };
        match self.optional_size("vocab_size")? {
            Some(size) if size != rows => Err(self.unsupported(
                "vocab_size",
                format!("is {size}, but {name} has {rows} rows"),
            )),
            _ => Ok(rows),
        }
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, ModelError> {
    value.ok_or_else(|| ModelError::MissingMetadata {
        key: key.to_owned(),
    })
}

fn end_tokens(gguf: &GgufFile) -> Result<Vec<u32>, ModelError> {
    let mut ids = Vec::new();
    for key in END_TOKEN_KEYS {
        if let Some(value) = gguf.unsigned(key)? {
            let id = u32::try_from(value).map_err(|_| ModelError::UnsupportedMetadata {
                key: (*key).to_owned(),
                reason: format!("{value} is no token id"),
            })?;
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
