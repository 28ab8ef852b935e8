//! Which plugins there are, which of them take answers apart, and how the choice is made.
//!
//! What the user named is checked before a model is fetched; what is left open is chosen by the model. All of it can be
//! done again while the server runs.

use std::{path::PathBuf, sync::Arc};

use weir_output::{Configured, Parser, PostProcessor, Roles};
use weir_plugin_host::{
    AdHocPlugin, PluginHost, PluginHostConfig, Registry, RegistryBuilder, Role,
};
use weir_prompt::{ChatTemplate, SpecialTokens};

use super::WiringError;
use crate::{
    active_plugins::ActivePlugins,
    cli::{ParserFlags, PluginFlags},
    config::Config,
    pull::cache_folder,
};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The name that turns a role off.
const NONE: &str = "none";

/// Requests that run or wait have at most so many plugins each: two parsers and a few post-processors.
const SESSIONS_PER_REQUEST: usize = 4;
/// Sessions that there is always room for, and the most there is address space for.
const SESSIONS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// Where plugins come from beside the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct PluginSources {
    /// A user's plugins.toml.
    pub manifest: Option<PathBuf>,
    /// Single files, written `NAME=FILE.wasm`.
    pub files: Vec<String>,
}

impl From<&PluginFlags> for PluginSources {
    fn from(flags: &PluginFlags) -> Self {
        Self {
            manifest: flags.plugins.clone(),
            files: flags.plugin.clone(),
        }
    }
}

/// The plugins a user names. A parser that is left out may be chosen by the model; one called `none` is off.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Finds tool calls.
    pub tools: Option<String>,
    /// Splits reasoning from content.
    pub reasoning: Option<String>,
    /// In the order they run.
    pub post: Vec<String>,
}

impl From<&ParserFlags> for Selection {
    fn from(flags: &ParserFlags) -> Self {
        Self {
            tools: flags.tool_call_parser.clone(),
            reasoning: flags.reasoning_parser.clone(),
            post: flags.post_processor.clone(),
        }
    }
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

/// All it takes to choose a server's plugins, now and at every reload.
#[derive(Clone)]
pub struct PluginWiring {
    host: Arc<PluginHost>,
    sources: PluginSources,
    selection: Selection,
}

impl PluginWiring {
    /// From the configuration.
    ///
    /// # Errors
    /// When this machine cannot run plugins.
    pub fn new(config: &Config) -> Result<Self, WiringError> {
        Ok(Self {
            host: plugin_host(config.max_num_seqs.saturating_add(config.max_queue))?,
            sources: PluginSources {
                manifest: config.plugins.clone(),
                files: config.plugin.clone(),
            },
            selection: Selection {
                tools: config.tool_call_parser.clone(),
                reasoning: config.reasoning_parser.clone(),
                post: config.post_processor.clone(),
            },
        })
    }

    /// Reads every source anew. What is wrong with them, or with the names, is said here, before a model is known.
    ///
    /// # Errors
    /// A source that cannot be used, a plugin of the user's that does not load, names that do not go together.
    pub fn read(&self) -> Result<Registry, WiringError> {
        let registry = registry_on(&self.host, &self.sources)?;
        registry.load_users()?;
        Chain::named(&registry, &self.selection)?;
        Ok(registry)
    }

    /// Chooses the plugins for a model from those that were read.
    ///
    /// # Errors
    /// As [`Chain::named`], for the parsers that the model chooses too.
    pub fn choose(
        &self,
        registry: Registry,
        model: &ModelFacts,
    ) -> Result<ActivePlugins, WiringError> {
        let mut chain = Chain::named(&registry, &self.selection)?;
        let template = model.template.as_deref();
        chain.complete_for_model(&registry, &self.selection, &model.name, template)?;
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
            tool_template: tool_template.map(Arc::new),
            registry: Some(Arc::new(registry)),
        })
    }
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
