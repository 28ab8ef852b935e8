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
use weir_engine::{Engine, EngineConfig, Generator, ModelRunner};
use weir_model::{KvCapacity, ModelError, RunnerOptions, TextPooling};
use weir_plugin_host::PluginHostError;
use weir_prompt::{ChatTemplate, PromptError, Tokenizer};
use weir_remote::RemoteError;

use crate::{
    config::Config,
    engine_thread::{EngineHandle, EngineThread},
    pull::{self, Local, PullError, Source},
    replay::{Replay, ReplayError},
    state::{SamplingDefaults, ServedModel},
};

mod embedding;
mod model_files;
mod plugins;
mod remote;
mod runner;

pub use plugins::{Chain, ModelFacts, PluginSources, PluginWiring, Selection, registry};
pub(crate) use plugins::{plugin_host, registry_builder};

use model_files::{ModelFiles, TextFiles};

/// Bytes of KV where none are given.
const KV_BYTES: u64 = 1 << 30;
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
    /// The engines elsewhere.
    #[error(transparent)]
    Remote(#[from] RemoteError),
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
    if config.is_remote() {
        let model = remote::load(config, source, plugins)?;
        return Ok(LoadedModel {
            model,
            engine: None,
        });
    }
    let name = source.default_name();
    let parts = match pull::fetch(source)? {
        Local::Replay(path) => from_replay(config, &path)?,
        Local::Gguf(path) | Local::Folder(path) => {
            let files = ModelFiles::open(&path)?;
            if let Some(embedder) = embedding::embedder(&files.checkpoint)? {
                let id = config.served_model_name.first().unwrap_or(&name).clone();
                let model = embedding::serve(id, embedder, files.tokenizer, config.max_queue)?;
                return Ok(LoadedModel {
                    model,
                    engine: None,
                });
            }
            from_files(config, files)?
        }
    };
    let engine = Engine::new(
        parts.runner,
        EngineConfig {
            max_num_batched_tokens: config.max_num_batched_tokens,
            max_num_seqs: config.max_num_seqs,
            max_queue: config.max_queue,
            prefix_cache: config.prefix_cache.0,
        },
    );
    let max_model_len = engine.info().max_model_len;
    let sizes = embedding::sizes(&engine);
    let prompt_embedding_size = engine.prompt_embedding_size();
    let handle = EngineThread::spawn(engine).map_err(WiringError::Thread)?;
    let generator = Generation {
        generator: Arc::new(handle.clone()),
        max_model_len,
    };
    let mut model = assemble(config, name, generator, parts.text, plugins)?;
    model.embedder = embedding::of_engine(&handle, sizes, parts.pooling, config.max_queue);
    model.constraints.prepare();
    model.prompt_embedding_size = prompt_embedding_size;
    Ok(LoadedModel {
        model,
        engine: Some(handle),
    })
}

/// A model of an engine elsewhere that has tokenizer and template itself.
///
/// # Errors
/// As [`load_model`].
pub fn load_passing(config: &Config, plugins: &PluginWiring) -> Result<LoadedModel, WiringError> {
    let model = remote::load_passing(config, plugins)?;
    Ok(LoadedModel {
        model,
        engine: None,
    })
}

/// Where a model's tokens come from.
struct Generation {
    generator: Arc<dyn Generator>,
    max_model_len: usize,
}

/// A model with all that turns requests into prompts and tokens into answers.
fn assemble(
    config: &Config,
    name: String,
    generation: Generation,
    text: TextFiles,
    plugins: &PluginWiring,
) -> Result<ServedModel, WiringError> {
    let id = config.served_model_name.first().unwrap_or(&name).clone();
    let template = match &config.chat_template {
        Some(path) => Some(read_text(path)?),
        None => text.chat_template,
    };
    let facts = ModelFacts {
        name,
        template,
        special_tokens: text.tokenizer.special_tokens(),
    };
    let compile = |source: Option<&str>| -> Result<_, PromptError> {
        let template = source.map(|source| ChatTemplate::new(source, facts.special_tokens.clone()));
        Ok(template.transpose()?.map(Arc::new))
    };
    let chat_template = compile(facts.template.as_deref())?;
    // A template that was given stands for both.
    let tool_chat_template = match config.chat_template {
        Some(_) => None,
        None => compile(text.tool_chat_template.as_deref())?,
    };
    let Generation {
        generator,
        max_model_len,
    } = generation;
    let mut model = ServedModel::new(id, generator, Arc::new(text.tokenizer), max_model_len);
    // Last: what reloads do for a model, they do for one that is served.
    model.plugins = plugins.choose_for(config, facts)?;
    if chat_template.is_none() && model.plugins.get().tool_template.is_some() {
        tracing::info!("the model has no chat template: the tool-call parser's is used");
    }
    model.chat_template = chat_template;
    model.tool_chat_template = tool_chat_template;
    model.defaults = defaults(config, text.defaults);
    Ok(model)
}

/// The operator's defaults over the model's own.
fn defaults(config: &Config, own: SamplingDefaults) -> SamplingDefaults {
    SamplingDefaults {
        temperature: config.default_temperature.or(own.temperature),
        top_p: config.default_top_p.or(own.top_p),
        max_tokens: config.default_max_tokens.or(own.max_tokens),
        reasoning_budget: config.reasoning_budget,
        mpr_candidates: config.mpr_candidates,
        structured_output_reserve: config.structured_output_reserve,
        ..own
    }
}

/// The runner of a model, for whoever drives it without a server; fetches the model first if need be.
///
/// # Errors
/// As [`load_model`].
pub fn runner(config: &Config, source: &Source) -> Result<Box<dyn ModelRunner>, WiringError> {
    let parts = match pull::fetch(source)? {
        Local::Replay(path) => from_replay(config, &path)?,
        Local::Gguf(path) | Local::Folder(path) => from_files(config, ModelFiles::open(&path)?)?,
    };
    Ok(parts.runner)
}

/// The tokenizer in a model's files, a GGUF file or a folder.
///
/// # Errors
/// As [`load_model`].
pub fn tokenizer(path: &Path) -> Result<Tokenizer, WiringError> {
    Ok(ModelFiles::open(path)?.tokenizer)
}

/// A model that can be served.
pub struct LoadedModel {
    /// What requests see of it.
    pub model: ServedModel,
    /// The thread it is generated on; none for an embedding model and one that is computed elsewhere.
    pub engine: Option<EngineHandle>,
}

/// What a source gives, whatever kind it is.
struct ModelParts {
    runner: Box<dyn ModelRunner>,
    text: TextFiles,
    /// How texts become vectors, or why they cannot.
    pooling: Result<TextPooling, ModelError>,
}

/// The decoder of a model's files, and what else is in them.
fn from_files(config: &Config, files: ModelFiles) -> Result<ModelParts, WiringError> {
    let options = RunnerOptions {
        kv_capacity: KvCapacity::Bytes(config.kv_cache_memory.map_or(KV_BYTES, |size| size.0)),
        block_size: BLOCK_SIZE,
        max_model_len: config.max_model_len,
        end_token_ids: files.tokenizer.end_ids().to_vec(),
    };
    let bar = std::io::stderr().is_terminal().then(|| {
        let style =
            ProgressStyle::with_template("loading the model {bar:30} {bytes}/{total_bytes}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let runner = runner::runner_for(config, &files.checkpoint, options, &mut |progress| {
        if let Some(bar) = &bar {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.loaded_bytes);
        }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(ModelParts {
        runner,
        pooling: TextPooling::of(&files.checkpoint),
        text: files.into(),
    })
}

fn from_replay(config: &Config, path: &Path) -> Result<ModelParts, WiringError> {
    let replay = Replay::read(path)?;
    let text = replay_text(&replay);
    let max_model_len = config.max_model_len.unwrap_or(REPLAY_MODEL_LEN);
    Ok(ModelParts {
        runner: Box::new(replay.runner(max_model_len, config.max_num_seqs)),
        text,
        pooling: Ok(TextPooling::default()),
    })
}

fn replay_text(replay: &Replay) -> TextFiles {
    TextFiles {
        tokenizer: replay.tokenizer(),
        chat_template: Some(REPLAY_TEMPLATE.to_owned()),
        tool_chat_template: None,
        defaults: SamplingDefaults::default(),
    }
}

fn read_text(path: &Path) -> Result<String, WiringError> {
    std::fs::read_to_string(path).map_err(|error| WiringError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
