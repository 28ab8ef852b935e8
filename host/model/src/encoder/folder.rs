//! The encoder that a safetensors folder describes: config.json as transformers writes it, and beside it the files of
//! sentence-transformers, which say how token vectors become one.
//!
//! What a folder asks for and the encoder does not compute is refused by file, key and value.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    encoder::{
        description::{Activation, EncoderDescription, Pooling},
        json::Json,
    },
    error::ModelError,
    safetensors::SafetensorsFolder,
};

/// A model family: transformers' `model_type`, the class that holds the bare encoder, and whether its positions begin
/// behind the padding id (modeling_roberta.py, `create_position_ids_from_input_ids`).
struct Family {
    model_type: &'static str,
    class: &'static str,
    positions_behind_padding: bool,
}

const FAMILIES: &[Family] = &[
    Family {
        model_type: "bert",
        class: "BertModel",
        positions_behind_padding: false,
    },
    Family {
        model_type: "roberta",
        class: "RobertaModel",
        positions_behind_padding: true,
    },
    Family {
        model_type: "xlm-roberta",
        class: "XLMRobertaModel",
        positions_behind_padding: true,
    },
    Family {
        model_type: "camembert",
        class: "CamembertModel",
        positions_behind_padding: true,
    },
];

/// The families' padding id, where config.json names none.
const ROBERTA_PADDING: usize = 1;

/// Whether a config.json's `model_type` is of a family that is an encoder.
pub(super) fn is_encoder(model_type: Option<&str>) -> bool {
    FAMILIES
        .iter()
        .any(|family| Some(family.model_type) == model_type)
}

/// Reads the description of the encoder in a folder.
pub(super) fn describe(folder: &SafetensorsFolder) -> Result<EncoderDescription, ModelError> {
    let config = Json::new(
        folder.path().join("config.json"),
        Value::Object(folder.config().clone()),
    );
    let family = family(&config)?;
    refuse_what_is_not_computed(&config)?;
    let positions = config.required_size("max_position_embeddings")?;
    let padding = match family.positions_behind_padding {
        false => None,
        true => Some(config.count("pad_token_id")?.unwrap_or(ROBERTA_PADDING)),
    };
    let vectors = TextVectors::read(folder)?;
    let mut description = EncoderDescription {
        architecture: family.class.to_owned(),
        vocab: config.required_size("vocab_size")?,
        hidden: config.required_size("hidden_size")?,
        layers: config.required_size("num_hidden_layers")?,
        heads: config.required_size("num_attention_heads")?,
        intermediate: config.required_size("intermediate_size")?,
        positions,
        padding,
        token_types: config.required_size("type_vocab_size")?,
        // transformers' default of all these families.
        norm_eps: config.number("layer_norm_eps")?.unwrap_or(1e-12) as f32,
        activation: activation(&config)?,
        pooling: vectors.pooling.unwrap_or_else(|| {
            tracing::info!(
                "{} has no modules.json: vectors are averaged and normalised",
                folder.path().display()
            );
            Pooling::Mean
        }),
        normalize: vectors.normalize,
        max_tokens: 0,
    };
    description
        .check()
        .map_err(|reason| config.refuse(reason))?;
    let usable = description.usable_positions();
    description.max_tokens = vectors.max_tokens.unwrap_or(usable).min(usable);
    Ok(description)
}

fn family(config: &Json) -> Result<&'static Family, ModelError> {
    let supported = || {
        let classes: Vec<&str> = FAMILIES.iter().map(|family| family.class).collect();
        classes.join(", ")
    };
    let unsupported = |found: String| ModelError::UnsupportedArchitecture {
        found,
        supported: supported(),
    };
    let model_type = config.string("model_type")?;
    let family = FAMILIES
        .iter()
        .find(|family| Some(family.model_type) == model_type)
        .ok_or_else(|| {
            let found = model_type.unwrap_or("(no model_type)");
            unsupported(found.escape_debug().to_string())
        })?;
    // A class with a head on top (BertForMaskedLM) is trained for something else than vectors.
    match config.get("architectures") {
        Some(classes) if *classes != json!([family.class]) => Err(unsupported(classes.to_string())),
        _ => Ok(family),
    }
}

fn refuse_what_is_not_computed(config: &Json) -> Result<(), ModelError> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))
}

/// Names of transformers' activations (activations.py).
fn activation(config: &Json) -> Result<Activation, ModelError> {
    match config.string("hidden_act")?.unwrap_or("gelu") {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(config.refuse(format!(
            "hidden_act {other:?} is not supported (supported: gelu, gelu_new, gelu_pytorch_tanh, relu)"
        ))),
    }
}

/// What the files of sentence-transformers say.
pub(crate) struct TextVectors {
    /// None where there is no modules.json.
    pub(crate) pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1; they are where nothing is said.
    pub(crate) normalize: bool,
    /// Longest text in tokens.
    pub(crate) max_tokens: Option<usize>,
}

impl TextVectors {
    /// Of files that say no more than this.
    pub(crate) fn new(pooling: Option<Pooling>) -> Self {
        Self {
            pooling,
            normalize: true,
            max_tokens: None,
        }
    }

    /// Reads them; a folder that has none says nothing.
    ///
    /// # Errors
    /// Names the file and key that asks for what is not computed.
    pub(crate) fn read(folder: &SafetensorsFolder) -> Result<Self, ModelError> {
        let dir = folder.path();
        if let Some(config) = Json::read(dir.join("config_sentence_transformers.json"))?
            && let Some(prompt) = config.string("default_prompt_name")?
        {
            return Err(config.refuse(format!(
                "default_prompt_name {prompt:?}: a prompt before every text is not supported"
            )));
        }
        let Some(modules) = Json::read(dir.join("modules.json"))? else {
            return Ok(Self {
                max_tokens: max_tokens(dir)?,
                ..Self::new(None)
            });
        };
        let (pooling_folder, normalize) = pipeline(&modules)?;
        Ok(Self {
            pooling: Some(pooling(dir.join(pooling_folder))?),
            normalize,
            max_tokens: max_tokens(dir)?,
        })
    }
}

/// The folder of the pooling module, and whether a normalisation follows it. Any other pipeline makes other vectors.
fn pipeline(modules: &Json) -> Result<(String, bool), ModelError> {
    let mut pipeline = Vec::new();
    for module in modules.items()? {
        let kind = module.string("type")?.unwrap_or_default();
        // The class's name; its package differs between versions.
        let class = kind.rsplit('.').next().unwrap_or_default().to_owned();
        let path = module.string("path")?.unwrap_or_default().to_owned();
        pipeline.push((class, path));
    }
    let stages: Vec<(&str, &str)> = pipeline
        .iter()
        .map(|(class, path)| (class.as_str(), path.as_str()))
        .collect();
    let (pooling, normalize) = match *stages {
        [("Transformer", ""), ("Pooling", path)] => (path, false),
        [("Transformer", ""), ("Pooling", path), ("Normalize", _)] => (path, true),
        _ => {
            return Err(modules.refuse(format!(
                "the modules {stages:?} are not supported: only Transformer, Pooling and perhaps Normalize are"
            )));
        }
    };
    // A name with parts could lead out of the model's folder.
    if pooling.contains(['/', '\\']) || pooling == ".." {
        return Err(modules.refuse(format!("path {pooling:?} is not a folder beside it")));
    }
    Ok((pooling.to_owned(), normalize))
}

/// `sentence_bert_config.json` beside the encoder.
fn max_tokens(dir: &Path) -> Result<Option<usize>, ModelError> {
    let Some(config) = Json::read(dir.join("sentence_bert_config.json"))? else {
        return Ok(None);
    };
    config.only("do_lower_case", &json!(false))?;
    config.size("max_seq_length")
}

/// `config.json` of a pooling module: one mode by name, or one switch a mode in older files; their mean by default.
fn pooling(dir: PathBuf) -> Result<Pooling, ModelError> {
    let path = dir.join("config.json");
    let Some(config) = Json::read(path.clone())? else {
        return Err(ModelError::File {
            path,
            reason: "is missing".to_owned(),
        });
    };
    let named = config.string("pooling_mode")?;
    let switched: Vec<&str> = config
        .true_keys()
        .filter_map(|key| key.strip_prefix("pooling_mode_"))
        .collect();
    match (named, &*switched) {
        (Some("mean"), _) | (None, [] | ["mean_tokens"]) => Ok(Pooling::Mean),
        (Some("cls"), _) | (None, ["cls_token"]) => Ok(Pooling::Cls),
        (Some("max"), _) | (None, ["max_tokens"]) => Ok(Pooling::Max),
        (Some("lasttoken"), _) | (None, ["lasttoken"]) => Ok(Pooling::Last),
        (named, switched) => Err(config.refuse(format!(
            "pooling {} is not supported (supported: one of mean, cls, max, lasttoken)",
            named
                .map_or_else(|| switched.join(" with "), str::to_owned)
                .escape_debug()
        ))),
    }
}
