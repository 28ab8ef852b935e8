//! Which plugin answers to which name: the first-party manifest in the binary, a user's manifest, and single files.
//!
//! Invariants: a name or alias stands for one plugin, never silently for another; a plugin is compiled when first asked for
//! and kept; a registry never changes, so a reload makes a new one and running sessions finish on the old.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use weir_output::{Grants, OnError, Parser, PostProcessor, RequestProcessor};

use crate::{
    counters::CounterSnapshot,
    engine::PluginHost,
    entry::{EmbeddedLookup, Entry, Loaded, PluginState, Source},
    error::PluginHostError,
    manifest::{self, PluginKind},
};

/// What a parser is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Split reasoning from content.
    Reasoning,
    /// Find tool calls.
    Tools,
}

/// A plugin from the command line, written `NAME=FILE.wasm`: no pin, default limits, no configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdHocPlugin {
    /// The name it answers to.
    pub name: String,
    /// The component.
    pub wasm: PathBuf,
}

impl FromStr for AdHocPlugin {
    type Err = PluginHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, wasm)) if manifest::check_name(name).is_ok() && !wasm.is_empty() => {
                Ok(Self {
                    name: name.to_owned(),
                    wasm: PathBuf::from(wasm),
                })
            }
            _ => Err(PluginHostError::AdHoc(text.to_owned())),
        }
    }
}

/// What an automatic choice rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// Texts of the model's chat template.
    ChatTemplate,
    /// The model's name.
    ModelName,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatTemplate => "chat template",
            Self::ModelName => "name",
        })
    }
}

/// What is known of a plugin: enough for a list, an admin's view and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginStatus {
    /// The name it answers to.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What it is.
    pub kind: PluginKind,
    /// Where its component comes from: a path, or `built in`.
    pub source: String,
    /// What becomes of an answer when it fails.
    pub on_error: OnError,
    /// How far it has come.
    pub state: PluginState,
    /// What it did since the process started, in every version.
    pub counters: CounterSnapshot,
}

impl PluginStatus {
    fn of(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            aliases: entry.aliases.clone(),
            kind: entry.kind,
            source: match &entry.source {
                Source::Embedded { .. } => "built in".to_owned(),
                Source::File(path) => path.display().to_string(),
                Source::Memory(_) => "an upload".to_owned(),
            },
            on_error: entry.on_error,
            state: entry.state(),
            counters: entry.counters.snapshot(),
        }
    }
}

/// Gathers plugins; see [`Registry::builder`].
pub struct RegistryBuilder {
    host: Arc<PluginHost>,
    first_party: Vec<Entry>,
    users: Vec<(Entry, bool)>,
    manifests: Vec<PathBuf>,
    configs: Vec<(String, JsonObject)>,
    grants: Vec<(String, Grants)>,
}

type JsonObject = serde_json::Map<String, serde_json::Value>;

impl RegistryBuilder {
    /// Adds the plugins that are part of the binary: the manifest's text and its components by path.
    ///
    /// # Errors
    /// [`PluginHostError::Manifest`].
    pub fn embedded(
        mut self,
        manifest: &str,
        lookup: EmbeddedLookup,
    ) -> Result<Self, PluginHostError> {
        const LABEL: &str = "the built-in plugins.toml";
        for entry in manifest::parse(LABEL, manifest)? {
            let source = Source::Embedded {
                path: entry.wasm.clone(),
                lookup,
            };
            let entry = Entry::of(&self.host, entry, LABEL, true, source);
            self.first_party.push(entry);
        }
        Ok(self)
    }

    /// Adds a user's manifest; its wasm paths are relative to it.
    ///
    /// # Errors
    /// [`PluginHostError::Read`], [`PluginHostError::Manifest`].
    pub fn manifest_file(mut self, path: &Path) -> Result<Self, PluginHostError> {
        let text = fs::read_to_string(path).map_err(|source| PluginHostError::Read {
            path: path.to_owned(),
            source,
        })?;
        let label = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new(""));
        for entry in manifest::parse(&label, &text)? {
            let source = Source::File(folder.join(&entry.wasm));
            let replace = entry.replace;
            let entry = Entry::of(&self.host, entry, &label, false, source);
            self.users.push((entry, replace));
        }
        self.manifests.push(path.to_owned());
        Ok(self)
    }

    /// Adds one component file. It is loaded here, since only its exports tell what it is.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn ad_hoc(self, plugin: &AdHocPlugin) -> Result<Self, PluginHostError> {
        self.ad_hoc_configured(plugin, "{}")
    }

    /// Adds one component file with this configuration, JSON text.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn ad_hoc_configured(
        mut self,
        plugin: &AdHocPlugin,
        config: &str,
    ) -> Result<Self, PluginHostError> {
        let source = Source::File(plugin.wasm.clone());
        let origin = "the command line";
        let entry = Entry::ad_hoc(&plugin.name, source, origin, config, &self.host)?;
        self.users.push((entry, false));
        Ok(self)
    }

    /// Adds one component that is in memory alone, with this configuration, JSON text. Neither it nor what it is compiled to
    /// is put on disk.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn in_memory(
        mut self,
        name: &str,
        wasm: Vec<u8>,
        config: &str,
    ) -> Result<Self, PluginHostError> {
        let source = Source::Memory(wasm.into());
        let entry = Entry::ad_hoc(name, source, "an upload", config, &self.host)?;
        self.users.push((entry, false));
        Ok(self)
    }

    /// Lays these keys over the configuration of the plugin with this name or alias.
    #[must_use]
    pub fn configured(mut self, name: &str, config: &JsonObject) -> Self {
        self.configs.push((name.to_owned(), config.clone()));
        self
    }

    /// Grants the request processor with this name or alias this and no more.
    #[must_use]
    pub fn granted(mut self, name: &str, grants: Grants) -> Self {
        self.grants.push((name.to_owned(), grants));
        self
    }

    /// Checks that every name stands for one plugin.
    ///
    /// # Errors
    /// [`PluginHostError::Duplicate`]; [`PluginHostError::Unknown`] for a configuration or grants of nobody's.
    pub fn build(self) -> Result<Registry, PluginHostError> {
        let replaced = |name: &str| {
            self.users
                .iter()
                .any(|(user, replace)| *replace && user.name == name)
        };
        let mut entries: Vec<Entry> = Vec::new();
        let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
        let first_party = self
            .first_party
            .into_iter()
            .filter(|entry| !replaced(&entry.name))
            .collect::<Vec<_>>();
        for entry in first_party
            .into_iter()
            .chain(self.users.into_iter().map(|(entry, _)| entry))
        {
            for name in std::iter::once(&entry.name).chain(&entry.aliases) {
                if let Some(first) = by_name.insert(name.clone(), entries.len()) {
                    let first = entries.get(first).unwrap_or(&entry);
                    return Err(PluginHostError::Duplicate {
                        name: name.clone(),
                        first: format!("`{}` in {}", first.name, first.origin),
                        second: format!("`{}` in {}", entry.name, entry.origin),
                    });
                }
            }
            entries.push(entry);
        }
        let mut registry = Registry {
            host: self.host,
            entries,
            by_name,
            manifests: self.manifests,
        };
        for (name, config) in &self.configs {
            registry.entry_mut(name)?.configure(config);
        }
        for (name, grants) in &self.grants {
            registry.entry_mut(name)?.grant(*grants);
        }
        Ok(registry)
    }
}

/// Every plugin of a process, by name.
pub struct Registry {
    host: Arc<PluginHost>,
    entries: Vec<Entry>,
    /// Names and aliases.
    by_name: BTreeMap<String, usize>,
    /// The files of the users' manifests.
    manifests: Vec<PathBuf>,
}

impl Registry {
    /// An empty registry to add plugins to.
    #[must_use]
    pub fn builder(host: &Arc<PluginHost>) -> RegistryBuilder {
        RegistryBuilder {
            host: Arc::clone(host),
            first_party: Vec::new(),
            users: Vec::new(),
            manifests: Vec::new(),
            configs: Vec::new(),
            grants: Vec::new(),
        }
    }

    /// The parser with this name or alias, loaded when it is not yet. The same plugin is always the same `Arc`.
    ///
    /// # Errors
    /// [`PluginHostError::Unknown`], [`PluginHostError::WrongKind`], and every error of loading a plugin.
    pub fn parser(&self, name: &str) -> Result<Arc<dyn Parser>, PluginHostError> {
        match self.of_kind(name, PluginKind::Parser)?.load(&self.host)? {
            Loaded::Parser(parser) => Ok(parser),
            _ => unreachable!("an entry loads as its own kind"),
        }
    }

    /// The post-processor with this name or alias, loaded when it is not yet.
    ///
    /// # Errors
    /// As [`Registry::parser`].
    pub fn post_processor(&self, name: &str) -> Result<Arc<dyn PostProcessor>, PluginHostError> {
        match self
            .of_kind(name, PluginKind::PostProcessor)?
            .load(&self.host)?
        {
            Loaded::PostProcessor(post_processor) => Ok(post_processor),
            _ => unreachable!("an entry loads as its own kind"),
        }
    }

    /// The request processor with this name or alias, loaded when it is not yet.
    ///
    /// # Errors
    /// As [`Registry::parser`].
    pub fn request_processor(
        &self,
        name: &str,
    ) -> Result<Arc<dyn RequestProcessor>, PluginHostError> {
        let entry = self.of_kind(name, PluginKind::RequestProcessor)?;
        match entry.load(&self.host)? {
            Loaded::RequestProcessor(processor) => Ok(processor),
            _ => unreachable!("an entry loads as its own kind"),
        }
    }

    /// What a plugin with this name or alias is.
    ///
    /// # Errors
    /// [`PluginHostError::Unknown`].
    pub fn kind(&self, name: &str) -> Result<PluginKind, PluginHostError> {
        self.any_kind(name).map(|entry| entry.kind)
    }

    /// The plugin's own name behind a name or alias.
    ///
    /// # Errors
    /// [`PluginHostError::Unknown`].
    pub fn canonical_name(&self, name: &str) -> Result<&str, PluginHostError> {
        self.any_kind(name).map(|entry| entry.name.as_str())
    }

    /// What becomes of a response when this plugin fails.
    ///
    /// # Errors
    /// [`PluginHostError::Unknown`].
    pub fn on_error(&self, name: &str) -> Result<OnError, PluginHostError> {
        self.any_kind(name).map(|entry| entry.on_error)
    }

    /// The parser with this role that fits a model, by its chat template and its name; candidates are loaded, for only they
    /// know their roles. A user's parser goes before a first-party one; then a template, which shows what the model was
    /// trained on, before a name; then whoever knows more of it, then the first name.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn for_model(
        &self,
        model: &str,
        template: Option<&str>,
        role: Role,
    ) -> Result<Option<(&str, ChosenBy)>, PluginHostError> {
        let mut candidates: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.fit(model, template)?, entry)))
            .collect();
        candidates.sort_by_key(|(fit, entry)| (entry.first_party, Reverse(*fit), &entry.name));
        for (fit, entry) in candidates {
            if let Loaded::Parser(parser) = entry.load(&self.host)? {
                let roles = parser.info().roles;
                let fits = match role {
                    Role::Reasoning => roles.reasoning,
                    Role::Tools => roles.tools,
                };
                if fits {
                    return Ok(Some((&entry.name, fit.chosen_by())));
                }
            }
        }
        Ok(None)
    }

    /// Loads every plugin that is not part of the binary.
    ///
    /// # Errors
    /// Of the first one that cannot be loaded.
    pub fn load_users(&self) -> Result<(), PluginHostError> {
        let mut users = self.entries.iter().filter(|entry| !entry.first_party);
        users.try_for_each(|entry| entry.load(&self.host).map(drop))
    }

    /// Loads a plugin, if nobody did yet.
    ///
    /// # Errors
    /// Every error of loading a plugin.
    pub fn load(&self, name: &str) -> Result<(), PluginHostError> {
        self.any_kind(name)?.load(&self.host).map(drop)
    }

    /// The files that say what this registry holds: the users' manifests and components.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let components = self.entries.iter().filter_map(|entry| match &entry.source {
            Source::File(path) => Some(path.as_path()),
            Source::Embedded { .. } | Source::Memory(_) => None,
        });
        let manifests = self.manifests.iter().map(PathBuf::as_path);
        manifests.chain(components).collect()
    }

    /// What is known of every plugin, by name; loads none.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        let mut all: Vec<_> = self.entries.iter().map(PluginStatus::of).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn of_kind(&self, name: &str, kind: PluginKind) -> Result<&Entry, PluginHostError> {
        match self.entry(name) {
            Some(entry) if entry.kind == kind => Ok(entry),
            Some(entry) => Err(PluginHostError::WrongKind {
                plugin: entry.name.clone(),
                kind: entry.kind,
                wanted: kind,
            }),
            None => Err(self.unknown(name, Some(kind))),
        }
    }

    fn any_kind(&self, name: &str) -> Result<&Entry, PluginHostError> {
        self.entry(name).ok_or_else(|| self.unknown(name, None))
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name
            .get(name)
            .and_then(|&index| self.entries.get(index))
    }

    fn entry_mut(&mut self, name: &str) -> Result<&mut Entry, PluginHostError> {
        match self.by_name.get(name) {
            Some(&index) => Ok(&mut self.entries[index]),
            None => Err(self.unknown(name, None)),
        }
    }

    fn unknown(&self, name: &str, kind: Option<PluginKind>) -> PluginHostError {
        let wanted = |entry: &&Entry| kind.is_none_or(|kind| entry.kind == kind);
        let mut known: Vec<_> = self
            .entries
            .iter()
            .filter(wanted)
            .map(|entry| entry.name.clone())
            .collect();
        known.sort_unstable();
        let answers = self
            .entries
            .iter()
            .filter(wanted)
            .flat_map(|entry| std::iter::once(&entry.name).chain(&entry.aliases));
        PluginHostError::Unknown {
            wanted: kind.map_or("plugin", PluginKind::as_str),
            name: name.to_owned(),
            nearest: nearest(name, answers).cloned(),
            known,
        }
    }
}

/// The known name a typing slip away: at most one edit in three letters.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let lower = name.to_lowercase();
    known
        .map(|known| {
            (
                strsim::damerau_levenshtein(&lower, &known.to_lowercase()),
                known,
            )
        })
        .filter(|(edits, known)| edits * 3 <= known.len())
        .min()
        .map(|(_, known)| known)
}
