//! Which plugins there are, which of them take answers apart, and how the choice is made.
//!
//! What the user named is checked before a model is fetched; what is left open is chosen by the model. All of it can be
//! done again while the server runs.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use weir_output::{Configured, Parser, PostProcessor, RequestProcessor, Roles};
use weir_plugin_host::{
    AdHocPlugin, PluginHost, PluginHostConfig, Registry, RegistryBuilder, Role,
};
use weir_prompt::{ChatTemplate, SpecialTokens};

use super::WiringError;
use crate::{
    active_plugins::{ActivePlugins, LoadProcessor, PluginSlot},
    cli::ParserFlags,
    config::Config,
    pull::cache_folder,
};

mod sources;
mod trial;

pub use sources::PluginSources;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The name that turns a role off.
const NONE: &str = "none";

/// Requests that run or wait have at most so many plugins each: two parsers and a few post-processors.
const SESSIONS_PER_REQUEST: usize = 4;
/// Sessions that there is always room for, and the most there is address space for.
const SESSIONS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// The plugins a user names. A parser that is left out may be chosen by the model; one called `none` is off.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Finds tool calls.
    pub tools: Option<String>,
    /// Splits reasoning from content.
    pub reasoning: Option<String>,
    /// In the order they run.
    pub post: Vec<String>,
    /// Request processors, in the order they run.
    pub request: Vec<String>,
}

impl From<&ParserFlags> for Selection {
    fn from(flags: &ParserFlags) -> Self {
        Self {
            tools: flags.tool_call_parser.clone(),
            reasoning: flags.reasoning_parser.clone(),
            post: flags.post_processor.clone(),
            request: Vec::new(),
        }
    }
}

impl From<&Config> for Selection {
    fn from(config: &Config) -> Self {
        Self {
            tools: config.tool_call_parser.clone(),
            reasoning: config.reasoning_parser.clone(),
            post: config.post_processor.clone(),
            request: request_processors(config),
        }
    }
}

/// Those that are named, behind the one of long documents where documents are preloaded.
fn request_processors(config: &Config) -> Vec<String> {
    const LONG: &str = "long_document";
    let mut names = config.request_processor.clone();
    if !config.preload.is_empty() && names.iter().all(|name| name != LONG) {
        names.insert(0, LONG.to_owned());
    }
    names
}

/// A host with room for the sessions of so many requests, and this user's cache of compiled components.
///
/// # Errors
/// When this machine cannot run it.
pub(crate) fn plugin_host(max_requests: usize) -> Result<Arc<PluginHost>, WiringError> {
    let wanted = max_requests.saturating_mul(SESSIONS_PER_REQUEST);
    let sessions = wanted.clamp(*SESSIONS.start(), *SESSIONS.end());
    let config = PluginHostConfig {
        max_sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
        cache_dir: Some(cache_folder().join("plugins")),
    };
    Ok(PluginHost::new(&config)?)
}

/// The built-in plugins, those of a user's manifest, and single files, on a host of their own.
///
/// # Errors
/// A manifest or component that cannot be used, a name that is taken twice.
pub fn registry(sources: &PluginSources) -> Result<Registry, WiringError> {
    registry_on(&plugin_host(0)?, sources)
}

fn registry_on(host: &Arc<PluginHost>, sources: &PluginSources) -> Result<Registry, WiringError> {
    Ok(registry_builder(host, sources)?.build()?)
}

/// The plugins of [`registry`], to which more may be added.
///
/// # Errors
/// As there.
pub(crate) fn registry_builder(
    host: &Arc<PluginHost>,
    sources: &PluginSources,
) -> Result<RegistryBuilder, WiringError> {
    let mut builder = Registry::builder(host).embedded(embedded::MANIFEST, embedded::component)?;
    if let Some(path) = &sources.manifest {
        builder = builder.manifest_file(path)?;
    }
    for file in &sources.files {
        builder = builder.ad_hoc(&file.parse::<AdHocPlugin>()?)?;
    }
    for (name, config) in &sources.configs {
        builder = builder.configured(name, config);
    }
    Ok(builder)
}

/// What the plugins are chosen for.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// The text of its own chat template, or of the one given instead.
    pub template: Option<String>,
    /// What templates may write.
    pub special_tokens: SpecialTokens,
}

/// The plugins of a server: read once for all its models, chosen for each, and made anew by a reload.
///
/// Invariant: every model whose plugins were chosen has them from the registry of now.
pub struct PluginWiring {
    host: Arc<PluginHost>,
    sources: PluginSources,
    /// What is named for each model that is configured, loaded or not.
    selections: Vec<(String, Selection)>,
    registry: RwLock<Arc<Registry>>,
    /// Held while plugins are chosen, for one model or by a reload for all.
    models: Mutex<Vec<ModelPlugins>>,
    /// These plugins and one that is only tried.
    trial: Mutex<Option<Arc<Registry>>>,
}

/// A model whose plugins were chosen, and by what.
struct ModelPlugins {
    label: String,
    selection: Selection,
    facts: ModelFacts,
    slot: Arc<PluginSlot>,
}

impl PluginWiring {
    /// Reads the plugins that the configuration tells of. What is wrong with them, or with the names that it gives for any
    /// model, is said here, before a model is known.
    ///
    /// # Errors
    /// A machine that cannot run plugins, a source that cannot be used, a plugin of the user's that does not load, names
    /// that do not go together.
    pub fn new(config: &Config) -> Result<Self, WiringError> {
        let models = config.of_each_model();
        let requests = |model: &Config| model.max_num_seqs.saturating_add(model.max_queue);
        let host = plugin_host(models.iter().map(requests).fold(0, usize::saturating_add))?;
        let sources = PluginSources::from(config);
        let named = |model: &Config| (model.model_label().to_owned(), model.into());
        let selections: Vec<_> = models.iter().map(named).collect();
        Ok(Self {
            registry: RwLock::new(read(&host, &sources, &selections)?),
            host,
            sources,
            selections,
            models: Mutex::default(),
            trial: Mutex::default(),
        })
    }

    /// Every plugin there is now, used or not.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Plugin sessions alive now, of all requests.
    pub fn live_sessions(&self) -> u32 {
        self.host.live_sessions()
    }

    /// Chooses the plugins of one more model, whose configuration this is. Every reload will choose them again.
    ///
    /// # Errors
    /// As [`Chain::named`], for the parsers that the model chooses too.
    pub fn choose_for(
        &self,
        config: &Config,
        facts: ModelFacts,
    ) -> Result<Arc<PluginSlot>, WiringError> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let selection = config.into();
        let slot = Arc::new(PluginSlot::default());
        slot.set(choose(&self.registry(), &selection, &facts)?);
        models.push(ModelPlugins {
            label: config.model_label().to_owned(),
            selection,
            facts,
            slot: Arc::clone(&slot),
        });
        Ok(slot)
    }

    /// Reads every source anew and chooses for every model. All models get new plugins or none does. Answers what there
    /// was and what there is.
    ///
    /// # Errors
    /// As [`PluginWiring::new`] and [`PluginWiring::choose_for`].
    pub fn reload(&self) -> Result<(Arc<Registry>, Arc<Registry>), WiringError> {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let after = read(&self.host, &self.sources, &self.selections)?;
        let several = self.selections.len() > 1;
        let anew = |model: &ModelPlugins| {
            let chosen = choose(&after, &model.selection, &model.facts);
            chosen.map_err(|error| of_model(&model.label, several, error))
        };
        let chosen: Vec<_> = models.iter().map(anew).collect::<Result<_, _>>()?;
        for (model, plugins) in models.iter().zip(chosen) {
            model.slot.set(plugins);
        }
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *registry, Arc::clone(&after));
        Ok((before, after))
    }
}

/// Reads every source, loads what the user brought and checks the names given for each model.
fn read(
    host: &Arc<PluginHost>,
    sources: &PluginSources,
    selections: &[(String, Selection)],
) -> Result<Arc<Registry>, WiringError> {
    let registry = registry_on(host, sources)?;
    registry.load_users()?;
    for (model, selection) in selections {
        Chain::named(&registry, selection)
            .map_err(|error| of_model(model, selections.len() > 1, error))?;
    }
    Ok(Arc::new(registry))
}

/// With a single model there is no need to say which.
fn of_model(model: &str, several: bool, error: WiringError) -> WiringError {
    if !several {
        return error;
    }
    WiringError::OfModel {
        model: model.to_owned(),
        error: Box::new(error),
    }
}

/// The plugins for a model.
fn choose(
    registry: &Arc<Registry>,
    selection: &Selection,
    model: &ModelFacts,
) -> Result<ActivePlugins, WiringError> {
    let mut chain = Chain::named(registry, selection)?;
    let template = model.template.as_deref();
    chain.complete_for_model(registry, selection, &model.name, template)?;
    let recommended = chain
        .tools
        .as_ref()
        .and_then(|parser| parser.plugin.info().chat_template.as_deref());
    let tool_template = recommended
        .map(|source| ChatTemplate::new(source, model.special_tokens.clone()))
        .transpose()?;
    Ok(ActivePlugins {
        reasoning_parser: chain.reasoning,
        tool_parser: chain.tools,
        post_processors: chain.post,
        request_processors: chain.request,
        on_request: Some(on_request(Arc::clone(registry))),
        tool_template: tool_template.map(Arc::new),
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
    /// Plan requests, in the order they run.
    pub request: Vec<Configured<dyn RequestProcessor>>,
}

impl Chain {
    /// The plugins with these names.
    ///
    /// # Errors
    /// An unknown name (the message lists the known ones), a plugin without the role, or two plugins for one role.
    pub fn named(registry: &Registry, selection: &Selection) -> Result<Self, WiringError> {
        let named = |name: &Option<String>| {
            let name = name.as_deref().filter(|name| *name != NONE);
            name.map(|name| parser(registry, name)).transpose()
        };
        let mut chain = Self {
            reasoning: named(&selection.reasoning)?,
            tools: named(&selection.tools)?,
            post: selection
                .post
                .iter()
                .map(|name| post_processor(registry, name))
                .collect::<Result<_, _>>()?,
            request: selection
                .request
                .iter()
                .map(|name| request_processor(registry, name))
                .collect::<Result<_, _>>()?,
        };
        chain.check_roles(selection)?;
        Ok(chain)
    }

    /// Fills the roles that the selection leaves to the model, by what the plugins know of its chat template and its name.
    ///
    /// # Errors
    /// As [`Chain::named`].
    fn complete_for_model(
        &mut self,
        registry: &Registry,
        selection: &Selection,
        model: &str,
        template: Option<&str>,
    ) -> Result<(), WiringError> {
        let choose = |chain: &Self, role: Role, what: &str| -> Result<_, WiringError> {
            let Some((name, by)) = registry.for_model(model, template, role)? else {
                return Ok(None);
            };
            if chain.clashes(registry, name)? {
                return Ok(None);
            }
            tracing::info!(
                parser = name,
                model,
                "{what} chosen by the model's {by}; --{} NAME or `none` overrides",
                what.replace(' ', "-")
            );
            Ok(Some(parser(registry, name)?))
        };
        if self.tools.is_none() && selection.tools.is_none() {
            self.tools = choose(self, Role::Tools, "tool-call parser")?;
        }
        if self.reasoning.is_none() && selection.reasoning.is_none() {
            self.reasoning = choose(self, Role::Reasoning, "reasoning parser")?;
        }
        self.check_roles(selection)
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
    fn check_roles(&mut self, selection: &Selection) -> Result<(), WiringError> {
        let roles = |parser: &Option<Configured<dyn Parser>>| {
            parser
                .as_ref()
                .map_or(Roles::default(), |parser| parser.plugin.info().roles)
        };
        let (tools, reasoning) = (roles(&self.tools), roles(&self.reasoning));
        // What the user calls it; several names may stand for one component.
        let name = |named: &Option<String>, parser: &Option<Configured<dyn Parser>>| {
            let own = parser
                .iter()
                .map(|parser| parser.plugin.info().name.clone());
            named.iter().cloned().chain(own).next().unwrap_or_default()
        };
        let tools_name = name(&selection.tools, &self.tools);
        let reasoning_name = name(&selection.reasoning, &self.reasoning);
        let wrong = |message: String| Err(WiringError::Parsers(message));
        if self.tools.is_some() && !tools.tools {
            return wrong(format!("parser `{tools_name}` does not parse tool calls"));
        }
        if self.reasoning.is_some() && !reasoning.reasoning {
            return wrong(format!(
                "parser `{reasoning_name}` does not parse reasoning"
            ));
        }
        let off = |name: &Option<String>| name.as_deref() == Some(NONE);
        match (&self.tools, &self.reasoning) {
            (Some(_), None) if tools.reasoning && off(&selection.reasoning) => {
                return wrong(both_roles(&tools_name, "reasoning"));
            }
            (None, Some(_)) if reasoning.tools && off(&selection.tools) => {
                return wrong(both_roles(&reasoning_name, "tool-call"));
            }
            (Some(both), None) if tools.reasoning => self.reasoning = Some(both.clone()),
            (None, Some(both)) if reasoning.tools => self.tools = Some(both.clone()),
            (Some(first), Some(second))
                if (tools.reasoning || reasoning.tools)
                    && !Arc::ptr_eq(&first.plugin, &second.plugin) =>
            {
                return wrong(format!(
                    "parsers `{tools_name}` and `{reasoning_name}` both parse the same part; name one of them"
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

fn both_roles(name: &str, off: &str) -> String {
    format!(
        "parser `{name}` parses reasoning and tool calls in one, so the {off} parser cannot be `{NONE}` beside it"
    )
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

/// Whatever of these plugins a request asks for.
fn on_request(registry: Arc<Registry>) -> LoadProcessor {
    Arc::new(move |name| request_processor(&registry, name).map_err(|error| error.to_string()))
}

fn request_processor(
    registry: &Registry,
    name: &str,
) -> Result<Configured<dyn RequestProcessor>, WiringError> {
    Ok(Configured::new(
        registry.request_processor(name)?,
        registry.on_error(name)?,
    ))
}
