//! One plugin of a registry: where its bytes come from, how it is loaded when first asked for, and which contract version's
//! adapter runs it.
//!
//! Invariants: it is loaded once and kept, however many ask at once; the version is chosen at load and never per call. It
//! does not know the other plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use weir_output::{OnError, Parser, PostProcessor};

use crate::{
    component,
    counters::PluginCounters,
    engine::PluginHost,
    error::PluginHostError,
    limits::{Limits, NamedLimits},
    manifest::{ManifestEntry, ModelPattern, PluginKind},
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
}

/// A plugin that runs.
#[derive(Clone)]
pub(crate) enum Loaded {
    Parser(Arc<dyn Parser>),
    PostProcessor(Arc<dyn PostProcessor>),
}

impl Loaded {
    pub(crate) fn kind(&self) -> PluginKind {
        match self {
            Self::Parser(_) => PluginKind::Parser,
            Self::PostProcessor(_) => PluginKind::PostProcessor,
        }
    }
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
    pub(crate) on_error: OnError,
    pub(crate) limits: NamedLimits,
    pub(crate) config: String,
    pub(crate) counters: Arc<PluginCounters>,
    pub(crate) loaded: Mutex<Option<Loaded>>,
}

impl Entry {
    pub(crate) fn of(
        entry: ManifestEntry,
        origin: &str,
        first_party: bool,
        source: Source,
    ) -> Self {
        Self {
            name: entry.name,
            kind: entry.kind,
            origin: origin.to_owned(),
            first_party,
            source,
            pin: entry.pin,
            aliases: entry.aliases,
            models: entry.models,
            on_error: entry.on_error,
            limits: entry.limits,
            config: entry.config,
            counters: Arc::default(),
            loaded: Mutex::new(None),
        }
    }

    /// A plugin of one file and nothing else. Its exports alone tell its kind, so it is loaded at once.
    pub(crate) fn ad_hoc(
        name: &str,
        wasm: &Path,
        config: &str,
        host: &Arc<PluginHost>,
    ) -> Result<Self, PluginHostError> {
        let mut entry = Self {
            name: name.to_owned(),
            kind: PluginKind::Parser,
            origin: "the command line".to_owned(),
            first_party: false,
            source: Source::File(wasm.to_owned()),
            pin: None,
            aliases: Vec::new(),
            models: Vec::new(),
            on_error: OnError::default(),
            limits: NamedLimits::default(),
            config: config.to_owned(),
            counters: Arc::default(),
            loaded: Mutex::new(None),
        };
        let loaded = adapt(link(host, &entry)?, None)?;
        entry.kind = loaded.kind();
        entry.loaded = Mutex::new(Some(loaded));
        Ok(entry)
    }

    /// The plugin, compiled by the first who asks; others wait for that. A failure is tried again next time.
    pub(crate) fn load(&self, host: &Arc<PluginHost>) -> Result<Loaded, PluginHostError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let linked = link(host, self)?;
        let plugin = adapt(linked, Some(self.kind))?;
        *loaded = Some(plugin.clone());
        Ok(plugin)
    }
}

fn link(host: &Arc<PluginHost>, entry: &Entry) -> Result<LinkedPlugin, PluginHostError> {
    let pin = entry.pin.as_deref();
    let pre = match &entry.source {
        Source::File(path) => {
            component::prepare(host, &entry.name, pin, &read(&entry.name, path)?)?
        }
        Source::Embedded { path, lookup } => {
            let bytes = lookup(path).ok_or_else(|| PluginHostError::NotEmbedded {
                plugin: entry.name.clone(),
                path: path.clone(),
            })?;
            component::prepare(host, &entry.name, pin, bytes)?
        }
    };
    let usual = if host.is_on_demand(pre.component()) {
        Limits::of_a_runtime()
    } else {
        Limits::default()
    };
    Ok(LinkedPlugin {
        name: entry.name.clone(),
        config: entry.config.clone(),
        limits: entry.limits.over(usual),
        counters: Arc::clone(&entry.counters),
        host: Arc::clone(host),
        pre,
    })
}

fn read(plugin: &str, path: &Path) -> Result<Vec<u8>, PluginHostError> {
    let failed = |source| PluginHostError::Read {
        path: path.to_owned(),
        source,
    };
    component::check_size(plugin, fs::metadata(path).map_err(failed)?.len())?;
    fs::read(path).map_err(failed)
}

/// Whether an export is this interface, the patch number of its version aside. A pre-release is another version.
fn same_but_for_patch(export: &str, interface: &str) -> bool {
    let Some((version, _)) = interface.rsplit_once('.') else {
        return false;
    };
    let patch = export
        .strip_prefix(version)
        .and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Chooses the adapter of the contract's version by what the component exports: once, here, and never per call.
fn adapt(plugin: LinkedPlugin, kind: Option<PluginKind>) -> Result<Loaded, PluginHostError> {
    let exports = component::exports(plugin.pre.component());
    let has = |interface: &str| {
        exports
            .iter()
            .any(|export| same_but_for_patch(export, interface))
    };
    let parser = kind != Some(PluginKind::PostProcessor);
    let post_processor = kind != Some(PluginKind::Parser);
    if parser && has(v0_1::PARSER) {
        v0_1::load_parser(plugin).map(Loaded::Parser)
    } else if post_processor && has(v0_1::POST_PROCESSOR) {
        v0_1::load_post_processor(plugin).map(Loaded::PostProcessor)
    } else {
        let wanted = match kind {
            Some(PluginKind::Parser) => v0_1::PARSER.to_owned(),
            Some(PluginKind::PostProcessor) => v0_1::POST_PROCESSOR.to_owned(),
            None => format!("{} or {}", v0_1::PARSER, v0_1::POST_PROCESSOR),
        };
        Err(PluginHostError::WrongWorld {
            plugin: plugin.name,
            wanted,
            exports,
        })
    }
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
    }
}
