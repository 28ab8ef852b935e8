//! A model that is computed elsewhere: its tokenizer and templates are here, its engines are waited for.

use std::sync::Arc;

use tokio::runtime::Handle;
use weir_prompt::Tokenizer;
use weir_remote::{RemoteConfig, RemoteEngine};

use super::{Generation, PluginWiring, TextFiles, WiringError, assemble, replay_text};
use crate::{
    config::Config,
    constraints::VocabularyTexts,
    pull::{self, Local, Source},
    replay::Replay,
    state::{SamplingDefaults, ServedModel},
};

/// The model of a configuration with engines elsewhere; `source` is its tokenizer's. Waits until one of the engines answers: the
/// model is loading until then, as one is whose weights are read. Runs where blocking is allowed, on a runtime.
///
/// # Errors
/// No tokenizer, or engines that cannot be used as they are configured.
pub(super) fn load(
    config: &Config,
    source: &Source,
    plugins: &PluginWiring,
) -> Result<ServedModel, WiringError> {
    let text = match pull::fetch_tokenizer(source)? {
        Local::Replay(path) => replay_text(&Replay::read(&path)?),
        Local::Gguf(path) | Local::Folder(path) => TextFiles::open(&path)?,
    };
    start(config, source.default_name(), text, plugins)
}

/// The same for engines that have tokenizer and template themselves.
///
/// # Errors
/// As [`load`].
pub(super) fn load_passing(
    config: &Config,
    plugins: &PluginWiring,
) -> Result<ServedModel, WiringError> {
    let text = TextFiles {
        // Bytes, of which the messages are made.
        tokenizer: Tokenizer::from_pieces(Vec::new()),
        chat_template: None,
        tool_chat_template: None,
        defaults: SamplingDefaults::default(),
    };
    tracing::info!("no tokenizer is given: messages go to the engine's own chat route");
    let mut model = start(config, config.source().to_owned(), text, plugins)?;
    model.passes_messages = true;
    Ok(model)
}

fn start(
    config: &Config,
    name: String,
    text: TextFiles,
    plugins: &PluginWiring,
) -> Result<ServedModel, WiringError> {
    let engine = RemoteEngine::start(RemoteConfig {
        upstreams: config.upstreams(),
        max_model_len: config.max_model_len,
        timeouts: config.engine_timeouts(),
        end_tokens: text.tokenizer.end_ids().to_vec(),
        texts: Arc::new(VocabularyTexts(Arc::clone(text.tokenizer.vocabulary()))),
        messages: config.passes_messages(),
    })?;
    let max_model_len = Handle::current().block_on(engine.ready())?;
    let generation = Generation {
        generator: Arc::new(engine),
        max_model_len,
    };
    let mut model = assemble(config, name, generation, text, plugins)?;
    model.embedder = Err("its engine is remote".to_owned());
    Ok(model)
}
