//! One plugin of a registry: where its bytes come from, how it is loaded when first asked for, and which contract version's
//! adapter runs it.
//!
//! Invariants: it is loaded once and kept, however many ask at once; the version is chosen at load and never per call. It
//! does not know the other plugins.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use weir_output::{Grants, OnError, Parser, PostProcessor, RequestProcessor, Roles};

use crate::{
    component,
    counters::PluginCounters,
    engine::PluginHost,
    error::PluginHostError,
    limits::{Limits, NamedLimits},
    manifest::{ManifestEntry, ModelPattern, PluginKind, TemplateTexts},
    registry::ChosenBy,
    request_v0_1,
    session::LinkedPlugin,
    v0_1,
};

/// How first-party components are found: their path in the embedded manifest to their bytes.
pub type EmbeddedLookup = fn(&str) -> Option<&'static [u8]>;

/// Where a component's bytes come from.
#[derive(Clone)]
pub(crate) enum Source {
    Embedded {
        path: String,
        lookup: EmbeddedLookup,
    },
    File(PathBuf),
    /// Bytes that are on no disk, and whose compiled form is kept on none.
    Memory(Arc<[u8]>),
}

/// A plugin that runs, by its kind.
#[derive(Clone)]
pub(crate) enum Loaded {
    Parser(Arc<dyn Parser>),
    PostProcessor(Arc<dyn PostProcessor>),
    RequestProcessor(Arc<dyn RequestProcessor>),
}

impl Loaded {
    pub(crate) fn kind(&self) -> PluginKind {
        match self {
            Self::Parser(_) => PluginKind::Parser,
            Self::PostProcessor(_) => PluginKind::PostProcessor,
            Self::RequestProcessor(_) => PluginKind::RequestProcessor,
        }
    }
}

/// What loading told of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentFacts {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// What its sessions may use.
    pub limits: Limits,
    /// The contract's interface that it keeps, with its version.
    pub contract: &'static str,
    /// What the plugin calls its own version.
    pub version: String,
    /// What a parser takes apart; nothing for the others.
    pub roles: Roles,
    /// What a request processor may ask for.
    pub grants: Option<Grants>,
}

/// How much a plugin knows of a model: characters that match. A template says more than any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    by_template: Option<usize>,
    by_name: Option<usize>,
}

impl Fit {
    pub(crate) fn chosen_by(self) -> ChosenBy {
        match self.by_template {
            Some(_) => ChosenBy::ChatTemplate,
            None => ChosenBy::ModelName,
        }
    }
}

/// How far a plugin has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// Nobody asked for it yet.
    NotLoaded,
    /// It runs.
    Loaded(ComponentFacts),
    /// It could not be loaded; why.
    Failed(String),
}

/// The plugin once it runs; else why it does not.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Loaded(Loaded, ComponentFacts),
    Failed(String),
}

/// One plugin, loaded or not.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: PluginKind,
    /// The manifest it stands in, for errors.
    pub(crate) origin: String,
    pub(crate) first_party: bool,
    pub(crate) source: Source,
    pub(crate) pin: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) templates: Vec<TemplateTexts>,
    pub(crate) on_error: OnError,
    pub(crate) limits: NamedLimits,
    pub(crate) grants: Grants,
    pub(crate) config: String,
    pub(crate) counters: Arc<PluginCounters>,
    slot: Mutex<Slot>,
}

impl Entry {
    pub(crate) fn of(
        host: &PluginHost,
        entry: ManifestEntry,
        origin: &str,
        first_party: bool,
        source: Source,
    ) -> Self {
        Self {
            counters: host.counters.of(&entry.name),
            name: entry.name,
            kind: entry.kind,
            origin: origin.to_owned(),
            first_party,
            source,
            pin: entry.pin,
            aliases: entry.aliases,
            models: entry.models,
            templates: entry.templates,
            on_error: entry.on_error,
            limits: entry.limits,
            grants: entry.grants,
            config: entry.config,
            slot: Mutex::default(),
        }
    }

    /// A plugin of one component and nothing else. Its exports alone tell its kind, so it is loaded at once.
    pub(crate) fn ad_hoc(
        name: &str,
        source: Source,
        origin: &str,
        config: &str,
        host: &Arc<PluginHost>,
    ) -> Result<Self, PluginHostError> {
        let mut entry = Self {
            name: name.to_owned(),
            kind: PluginKind::Parser,
            origin: origin.to_owned(),
            first_party: false,
            source,
            pin: None,
            aliases: Vec::new(),
            models: Vec::new(),
            templates: Vec::new(),
            on_error: OnError::default(),
            limits: NamedLimits::default(),
            grants: Grants::default(),
            config: config.to_owned(),
            counters: host.counters.of(name),
            slot: Mutex::default(),
        };
        let (loaded, facts) = entry.load_as(host, None)?;
        entry.kind = loaded.kind();
        entry.slot = Mutex::new(Slot::Loaded(loaded, facts));
        Ok(entry)
    }

    /// Lays keys over its configuration, with which it is loaded when it is next asked for.
    pub(crate) fn configure(&mut self, over: &serde_json::Map<String, serde_json::Value>) {
        let own: Result<serde_json::Map<_, _>, _> = serde_json::from_str(&self.config);
        let mut config = own.unwrap_or_default();
        config.extend(over.clone());
        self.config = serde_json::Value::Object(config).to_string();
        self.slot = Mutex::default();
    }

    /// Changes what it may ask for, from when it is next asked for on.
    pub(crate) fn grant(&mut self, grants: Grants) {
        self.grants = grants;
        self.slot = Mutex::default();
    }

    /// The plugin, compiled by the first who asks; others wait for that. A failure is tried again next time.
    pub(crate) fn load(&self, host: &Arc<PluginHost>) -> Result<Loaded, PluginHostError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Loaded(loaded, _) = &*slot {
            return Ok(loaded.clone());
        }
        match self.load_as(host, Some(self.kind)) {
            Ok((plugin, facts)) => {
                *slot = Slot::Loaded(plugin.clone(), facts);
                Ok(plugin)
            }
            Err(error) => {
                *slot = Slot::Failed(error.to_string());
                Err(error)
            }
        }
    }

    fn load_as(
        &self,
        host: &Arc<PluginHost>,
        kind: Option<PluginKind>,
    ) -> Result<(Loaded, ComponentFacts), PluginHostError> {
        let bytes = self.bytes()?;
        let (linked, sha256) = link(host, self, &bytes)?;
        let limits = linked.limits;
        let (plugin, contract) = adapt(linked, kind)?;
        let (version, roles) = match &plugin {
            Loaded::Parser(parser) => (&parser.info().version, parser.info().roles),
            Loaded::PostProcessor(plugin) => (&plugin.info().version, Roles::default()),
            Loaded::RequestProcessor(plugin) => (&plugin.info().version, Roles::default()),
        };
        let grants = match &plugin {
            Loaded::RequestProcessor(plugin) => Some(*plugin.grants()),
            _ => None,
        };
        let facts = ComponentFacts {
            bytes: bytes.len() as u64,
            sha256,
            limits,
            contract,
            version: version.clone(),
            roles,
            grants,
        };
        tracing::debug!(
            plugin = self.name,
            version = facts.version,
            contract,
            bytes = facts.bytes,
            sha256 = facts.sha256,
            "plugin loaded"
        );
        Ok((plugin, facts))
    }

    /// The component's file.
    fn bytes(&self) -> Result<Cow<'static, [u8]>, PluginHostError> {
        match &self.source {
            Source::File(path) => Ok(Cow::Owned(read(&self.name, path)?)),
            Source::Embedded { path, lookup } => {
                let bytes = lookup(path).ok_or_else(|| PluginHostError::NotEmbedded {
                    plugin: self.name.clone(),
                    path: path.clone(),
                })?;
                Ok(Cow::Borrowed(bytes))
            }
            Source::Memory(bytes) => Ok(Cow::Owned(bytes.to_vec())),
        }
    }

    /// How well it fits a model, if it does.
    pub(crate) fn fit(&self, model: &str, template: Option<&str>) -> Option<Fit> {
        let by_template = template.and_then(|template| {
            let weights = self.templates.iter().map(|texts| texts.weight(template));
            weights.flatten().max()
        });
        let by_name = self.models.iter().filter_map(|p| p.weight(model)).max();
        (by_template.is_some() || by_name.is_some()).then_some(Fit {
            by_template,
            by_name,
        })
    }

    /// How far it has come.
    pub(crate) fn state(&self) -> PluginState {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Slot::Empty => PluginState::NotLoaded,
            Slot::Loaded(_, facts) => PluginState::Loaded(facts.clone()),
            Slot::Failed(reason) => PluginState::Failed(reason.clone()),
        }
    }
}

/// The component, ready for the adapter of its contract, which has not been chosen yet, and its file's SHA-256.
fn link(
    host: &Arc<PluginHost>,
    entry: &Entry,
    bytes: &[u8],
) -> Result<(LinkedPlugin, String), PluginHostError> {
    let keep = !matches!(entry.source, Source::Memory(_));
    let prepared = component::prepare(host, &entry.name, entry.pin.as_deref(), bytes, keep)?;
    let usual = if host.is_on_demand(prepared.pre.component()) {
        Limits::of_a_runtime()
    } else {
        Limits::default()
    };
    let linked = LinkedPlugin {
        name: entry.name.clone(),
        config: entry.config.clone(),
        limits: entry.limits.over(usual),
        grants: entry.grants,
        counters: Arc::clone(&entry.counters),
        host: Arc::clone(host),
        pre: prepared.pre,
    };
    Ok((linked, prepared.sha256))
}

fn read(plugin: &str, path: &Path) -> Result<Vec<u8>, PluginHostError> {
    let failed = |source| PluginHostError::Read {
        path: path.to_owned(),
        source,
    };
    component::check_size(plugin, fs::metadata(path).map_err(failed)?.len())?;
    fs::read(path).map_err(failed)
}

/// Whether an export is this interface, the patch number of its version aside. A pre-release is itself alone.
fn same_but_for_patch(export: &str, interface: &str) -> bool {
    if interface.ends_with("-draft") {
        return export == interface;
    }
    let Some((version, _)) = interface.rsplit_once('.') else {
        return false;
    };
    let patch = export
        .strip_prefix(version)
        .and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Every kind with the interface that it exports.
const INTERFACES: [(PluginKind, &str); 3] = [
    (PluginKind::Parser, v0_1::PARSER),
    (PluginKind::PostProcessor, v0_1::POST_PROCESSOR),
    (
        PluginKind::RequestProcessor,
        request_v0_1::REQUEST_PROCESSOR,
    ),
];

/// Chooses the adapter of the contract's version by what the component exports: once, here, and never per call.
fn adapt(
    plugin: LinkedPlugin,
    kind: Option<PluginKind>,
) -> Result<(Loaded, &'static str), PluginHostError> {
    let exports = component::exports(plugin.pre.component());
    let wanted = INTERFACES
        .into_iter()
        .filter(|(own, _)| kind.is_none_or(|kind| kind == *own));
    let has = |interface: &str| {
        let mut exports = exports.iter();
        exports.any(|export| same_but_for_patch(export, interface))
    };
    let found = wanted.clone().find(|(_, interface)| has(interface));
    let Some((kind, interface)) = found else {
        let names: Vec<&str> = wanted.map(|(_, interface)| interface).collect();
        return Err(PluginHostError::WrongWorld {
            plugin: plugin.name,
            wanted: names.join(" or "),
            exports,
        });
    };
    let loaded = match kind {
        PluginKind::Parser => Loaded::Parser(v0_1::load_parser(plugin)?),
        PluginKind::PostProcessor => Loaded::PostProcessor(v0_1::load_post_processor(plugin)?),
        PluginKind::RequestProcessor => {
            Loaded::RequestProcessor(request_v0_1::load_request_processor(plugin)?)
        }
    };
    Ok((loaded, interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_the_same_contract_and_nothing_else_is() {
        let same = |export: &str| same_but_for_patch(export, v0_1::PARSER);
        assert!(same("weir:plugin/parser@0.1.0") && same("weir:plugin/parser@0.1.12"));
        for other in [
            "weir:plugin/parser@0.1.0-draft",
            "weir:plugin/parser@0.1.",
            "weir:plugin/parser@0.10.0",
            "weir:plugin/parser@0.2.0",
            "weir:plugin/parser",
            "weir:plugin/post-processor@0.1.0",
        ] {
            assert!(!same(other), "{other}");
        }
        let draft = request_v0_1::REQUEST_PROCESSOR;
        assert!(same_but_for_patch(draft, draft));
        assert!(!same_but_for_patch(draft.trim_end_matches("-draft"), draft));
    }
}
