//! Puts the concrete parts together: which plugins, which runner, which tokenizer, which template.
//!
//! The only room that names implementations behind the traits. It starts the engine thread and nothing else.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
};

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use weir_engine::{Engine, EngineConfig, ModelRunner};
use weir_model::{CandleRunner, Checkpoint, GgufFile, KvCapacity, ModelError, RunnerOptions};
use weir_plugin_host::PluginHostError;
use weir_prompt::{ChatTemplate, GgufVocabulary, PromptError, Tokenizer};

use crate::{
    config::Config,
    engine_thread::{EngineHandle, EngineThread},
    pull::{self, Local, PullError, Source},
    replay::{Replay, ReplayError},
    state::{SamplingDefaults, ServedModel},
};

pub mod embedding;
mod plugins;

pub use plugins::{Chain, ModelFacts, PluginSources, PluginWiring, Selection, registry};
pub(crate) use plugins::{plugin_host, registry_builder};

/// Tokens per KV block. The paged flash-attention kernels want a multiple of 32.
const BLOCK_SIZE: usize = 32;
/// Context of a replayed model that was given no `--max-model-len`; its tokens are bytes.
const REPLAY_MODEL_LEN: usize = 131_072;
/// The template of a replayed model, which has none of its own.
const REPLAY_TEMPLATE: &str = include_str!("../../../chat_templates/hermes.jinja");

/// A server that cannot be put together; one line that says what is wrong.
#[derive(Debug, Error)]
pub enum WiringError {
    /// A plugin.
    #[error(transparent)]
    Plugin(#[from] PluginHostError),
    /// Where the model comes from.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The model itself.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the chat template.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The replay file.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A file that cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Parsers that do not go together.
    #[error("{0}")]
    Parsers(String),
    /// What is wrong is wrong for one model of several.
    #[error("model `{model}`: {error}")]
    OfModel {
        /// Which.
        model: String,
        /// What.
        error: Box<WiringError>,
    },
    /// The engine's thread did not start.
    #[error("cannot start the engine thread: {0}")]
    Thread(std::io::Error),
}

/// Loads the model of a configuration that tells of one, fetching it first if need be, and starts its engine.
///
/// # Errors
/// Whatever stands in the way, in one line.
pub fn load_model(
    config: &Config,
    source: &Source,
    plugins: &PluginWiring,
) -> Result<LoadedModel, WiringError> {
    let parts = match pull::fetch(source)? {
        Local::Gguf(path) => from_gguf(config, &path)?,
        Local::Folder(path) => {
            let reason = "this version does not load folders of safetensors".to_owned();
            return Err(WiringError::File { path, reason });
        }
        Local::Replay(path) => from_replay(config, &path)?,
    };
    let template = match &config.chat_template {
        Some(path) => Some(read_text(path)?),
        None => parts.chat_template,
    };
    let facts = ModelFacts {
        name: source.default_name(),
        template,
        special_tokens: parts.tokenizer.special_tokens(),
    };
    let own_template = facts.template.as_deref();
    let chat_template = own_template
        .map(|source| ChatTemplate::new(source, facts.special_tokens.clone()))
        .transpose()?
        .map(Arc::new);
    let engine = Engine::new(
        parts.runner,
        EngineConfig {
            max_num_batched_tokens: config.max_num_batched_tokens,
            max_num_seqs: config.max_num_seqs,
            max_queue: config.max_queue,
        },
    );
    let max_model_len = engine.info().max_model_len;
    let handle = EngineThread::spawn(engine).map_err(WiringError::Thread)?;
    let id = config.served_model_name.first().unwrap_or(&facts.name);
    let mut model = ServedModel::new(
        id.clone(),
        Arc::new(handle.clone()),
        Arc::new(parts.tokenizer),
        max_model_len,
    );
    // Last: what reloads do for a model, they do for one that is served.
    model.plugins = plugins.choose_for(config, facts)?;
    if chat_template.is_none() && model.plugins.get().tool_template.is_some() {
        tracing::info!("the model has no chat template: the tool-call parser's is used");
    }
    model.chat_template = chat_template;
    model.defaults = SamplingDefaults {
        temperature: config.default_temperature,
        top_p: config.default_top_p,
        max_tokens: config.default_max_tokens,
        ..SamplingDefaults::default()
    };
    Ok(LoadedModel {
        model,
        engine: handle,
    })
}

/// A model that can be served.
pub struct LoadedModel {
    /// What requests see of it.
    pub model: ServedModel,
    /// The thread it is computed on.
    pub engine: EngineHandle,
}

/// What a source gives, whatever kind it is.
struct ModelParts {
    runner: Box<dyn ModelRunner>,
    tokenizer: Tokenizer,
    chat_template: Option<String>,
}

fn from_gguf(config: &Config, path: &Path) -> Result<ModelParts, WiringError> {
    let checkpoint = Checkpoint::open(path)?;
    let Checkpoint::Gguf(gguf) = &checkpoint else {
        unreachable!()
    };
    let tokenizer = Tokenizer::from_gguf(gguf_vocabulary(gguf)?)?;
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Bytes(config.kv_cache_memory.0),
        block_size: BLOCK_SIZE,
        max_model_len: config.max_model_len,
    };
    let bar = std::io::stderr().is_terminal().then(|| {
        let style =
            ProgressStyle::with_template("loading the model {bar:30} {bytes}/{total_bytes}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let runner = CandleRunner::load(&checkpoint, options, &mut |progress| {
        if let Some(bar) = &bar {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.loaded_bytes);
        }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(ModelParts {
        runner: Box::new(runner),
        tokenizer,
        chat_template: gguf.string("tokenizer.chat_template")?.map(str::to_owned),
    })
}

fn from_replay(config: &Config, path: &Path) -> Result<ModelParts, WiringError> {
    let replay = Replay::read(path)?;
    let tokenizer = replay.tokenizer();
    let max_model_len = config.max_model_len.unwrap_or(REPLAY_MODEL_LEN);
    Ok(ModelParts {
        runner: Box::new(replay.runner(max_model_len, config.max_num_seqs)),
        tokenizer,
        chat_template: Some(REPLAY_TEMPLATE.to_owned()),
    })
}

/// The `tokenizer.ggml.*` keys; their names are llama.cpp's (gguf-py/gguf/constants.py).
fn gguf_vocabulary(gguf: &GgufFile) -> Result<GgufVocabulary, WiringError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| -> Result<Option<u32>, ModelError> {
        Ok(gguf
            .unsigned(&key(name))?
            .and_then(|id| u32::try_from(id).ok()))
    };
    let strings = |name: &str| -> Result<Vec<String>, ModelError> {
        let list = gguf.strings(&key(name))?.unwrap_or_default();
        Ok(list.into_iter().map(str::to_owned).collect())
    };
    let flag = |name: &str| gguf.boolean(&key(name));
    let types = gguf.integers(&key("token_type"))?.unwrap_or_default();
    Ok(GgufVocabulary {
        model: gguf.string(&key("model"))?.unwrap_or_default().to_owned(),
        pre: gguf.string(&key("pre"))?.map(str::to_owned),
        tokens: strings("tokens")?,
        token_types: types
            .into_iter()
            .map(|kind| i32::try_from(kind).unwrap_or(0))
            .collect(),
        model_name: gguf.string("general.name")?.unwrap_or_default().to_owned(),
        scores: gguf.floats(&key("scores"))?.unwrap_or_default(),
        merges: strings("merges")?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        unk: id("unknown_token_id")?,
        pad: id("padding_token_id")?,
        eom: id("eom_token_id")?,
        // The key is spelled so.
        sep: id("seperator_token_id")?,
        cls: id("cls_token_id")?,
        mask: id("mask_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?.unwrap_or(false),
        add_sep: flag("add_sep_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?.unwrap_or(false),
        lowercase: flag("normalizer.lowercase")?,
        strip_accents: flag("normalizer.strip_accents")?,
    })
}

fn read_text(path: &Path) -> Result<String, WiringError> {
    std::fs::read_to_string(path).map_err(|error| WiringError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
