//! The keys of a config.json, and which of them were read.

use std::{cell::RefCell, collections::BTreeSet};

use serde_json::{Map, Value};

use crate::{error::ModelError, safetensors::SafetensorsFolder};

/// Keys that tell where a model comes from, how it was trained, or what other libraries should do with it.
const HARMLESS: &[&str] = &[
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "aux_loss_alpha",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "ep_size",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "model_type",
    "neftune_noise_alpha",
    "num_mtp_layers",
    "num_nextn_predict_layers",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "quantization_config",
    "resid_pdrop",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "seq_aux",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

/// What keys of the same kind begin with.
const HARMLESS_PREFIXES: &[&str] = &["_", "unsloth"];

/// Typed access that remembers what was asked for.
pub(super) struct Keys<'a> {
    folder: &'a SafetensorsFolder,
    config: &'a Map<String, Value>,
    architecture: &'static str,
    /// What stands before a key in messages: the object it is in.
    path: String,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        folder: &'a SafetensorsFolder,
        config: &'a Map<String, Value>,
        architecture: &'static str,
    ) -> Self {
        Self {
            folder,
            config,
            architecture,
            path: String::new(),
            read: RefCell::default(),
        }
    }

    pub(super) fn architecture(&self) -> &'static str {
        self.architecture
    }

    pub(super) fn folder(&self) -> &'a SafetensorsFolder {
        self.folder
    }

    /// The value of a key; `null` is as good as absent.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(name.to_owned());
        self.config.get(name).filter(|value| !value.is_null())
    }

    /// The keys of an object under a key.
    pub(super) fn object(&self, name: &str) -> Result<Option<Keys<'a>>, ModelError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(config)) => Ok(Some(Keys {
                folder: self.folder,
                config,
                architecture: self.architecture,
                path: format!("{}{name}.", self.path),
                read: RefCell::default(),
            })),
            Some(other) => Err(self.unsupported(name, format!("{other} is no object"))),
        }
    }

    /// An error about a key's value.
    pub(super) fn unsupported(&self, name: &str, reason: impl AsRef<str>) -> ModelError {
        ModelError::unsupported_config(&format!("{}{name}", self.path), reason.as_ref())
    }

    /// Whether both objects hold the same, as far as this one goes.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        let same = |(name, value): (&String, &Value)| other.config.get(name) == Some(value);
        self.config.iter().all(same)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.config.is_empty()
    }

    pub(super) fn missing(&self, name: &str) -> ModelError {
        ModelError::MissingConfig {
            key: format!("{}{name}", self.path),
        }
    }

    /// A count, which may be zero.
    pub(super) fn optional_count(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let count = self.value(name).map(|value| {
            let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
            count
                .map(|count| count as usize)
                .ok_or_else(|| self.unsupported(name, format!("{value} is no size")))
        });
        count.transpose()
    }

    /// A size: a positive integer.
    pub(super) fn optional_size(&self, name: &str) -> Result<Option<usize>, ModelError> {
        match self.optional_count(name)? {
            Some(0) => Err(self.unsupported(name, "0 is no size")),
            size => Ok(size),
        }
    }

    pub(super) fn size(&self, name: &str) -> Result<usize, ModelError> {
        self.optional_size(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn size_or(&self, name: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(name)?.unwrap_or(default))
    }

    /// A size whose absence means the family's default, while `null` means that there is none.
    pub(super) fn size_unless_null(
        &self,
        name: &str,
        default: Option<usize>,
    ) -> Result<Option<usize>, ModelError> {
        match self.config.contains_key(name) {
            true => self.optional_size(name),
            false => Ok(default),
        }
    }

    /// A positive number whose absence means the family's default, while `null` means that there is none.
    pub(super) fn factor_unless_null(
        &self,
        name: &str,
        default: Option<f64>,
    ) -> Result<Option<f64>, ModelError> {
        match self.config.contains_key(name) {
            true => self.optional_factor(name),
            false => Ok(default),
        }
    }

    pub(super) fn optional_number(&self, name: &str) -> Result<Option<f64>, ModelError> {
        let number = self.value(name).map(|value| {
            value
                .as_f64()
                .filter(|number| number.is_finite())
                .ok_or_else(|| self.unsupported(name, format!("{value} is no number")))
        });
        number.transpose()
    }

    /// A positive number.
    pub(super) fn optional_factor(&self, name: &str) -> Result<Option<f64>, ModelError> {
        match self.optional_number(name)? {
            Some(number) if number <= 0.0 => {
                Err(self.unsupported(name, format!("{number} is no factor")))
            }
            number => Ok(number),
        }
    }

    pub(super) fn factor(&self, name: &str) -> Result<f64, ModelError> {
        self.optional_factor(name)?
            .ok_or_else(|| self.missing(name))
    }

    pub(super) fn factor_or(&self, name: &str, default: f64) -> Result<f64, ModelError> {
        Ok(self.optional_factor(name)?.unwrap_or(default))
    }

    pub(super) fn boolean_or(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => {
                Err(self.unsupported(name, format!("{other} is neither true nor false")))
            }
        }
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, ModelError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(other) => Err(self.unsupported(name, format!("{other} is no text"))),
        }
    }

    /// A list whose elements are all of one kind.
    pub(super) fn list<T>(
        &self,
        name: &str,
        element: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ModelError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let list = value
            .as_array()
            .and_then(|list| list.iter().map(element).collect::<Option<Vec<T>>>());
        list.map(Some)
            .ok_or_else(|| self.unsupported(name, "has elements of another kind than expected"))
    }

    /// A value other than the one that is computed is refused.
    pub(super) fn only<T: PartialEq + std::fmt::Display>(
        &self,
        name: &str,
        value: T,
        computed: T,
    ) -> Result<(), ModelError> {
        if value == computed {
            Ok(())
        } else {
            Err(self.unsupported(
                name,
                format!("{value} is not supported, only {computed} is"),
            ))
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn refuse_unread(&self) -> Result<(), ModelError> {
        // What no model has is switched off with false; this is what all have.
        self.only("is_causal", self.boolean_or("is_causal", true)?, true)?;
        let read = self.read.borrow();
        let harmless = |name: &str| {
            HARMLESS.contains(&name)
                || HARMLESS_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        };
        let unread = self
            .config
            .iter()
            .filter(|(name, value)| !read.contains(*name) && !harmless(name) && !off(value))
            .map(|(name, _)| name.as_str())
            .min();
        match unread {
            None => Ok(()),
            Some(name) => Err(self.unsupported(
                name,
                "not supported, and ignoring it could change the answers",
            )),
        }
    }
}

/// A key that is switched off changes nothing, whatever it is.
fn off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
