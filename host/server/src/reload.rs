//! Reloading plugins while the server runs: on SIGHUP, and with `--reload` when one of their files changes.
//!
//! Invariants: a reload takes all of the new plugins, for every model, or none; one that fails is reported and what was
//! there stays; requests that run finish on the plugins they began with. The server's own configuration is not read again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::signal::unix::Signal;
use weir_plugin_host::{ComponentFacts, PluginState, PluginStatus, Registry};

use crate::{
    file_watch::{self, FileWatch},
    wiring::{PluginWiring, WiringError},
};

/// Makes the plugins of all models anew, and counts how often.
pub struct Reloader {
    wiring: Arc<PluginWiring>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// How often plugins were reloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReloadCounts {
    /// With success.
    pub succeeded: u64,
    /// In vain: what was there stayed.
    pub failed: u64,
}

/// One plugin that a reload made another of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginChange {
    /// Its name.
    pub name: String,
    /// What ran before, if anything did.
    pub before: Option<ComponentFacts>,
    /// What runs now, if anything does.
    pub after: Option<ComponentFacts>,
}

impl Reloader {
    /// For the models whose plugins `wiring` chooses.
    pub fn new(wiring: Arc<PluginWiring>) -> Self {
        Self {
            wiring,
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Reads all plugins anew and puts them in place; answers which of them are others now. Compiles: not for an async
    /// worker.
    ///
    /// # Errors
    /// Whatever keeps the new plugins from being used; those that were there stay then.
    pub fn reload(&self) -> Result<Vec<PluginChange>, WiringError> {
        let reloaded = self.wiring.reload();
        let count = match &reloaded {
            Ok(_) => &self.succeeded,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        reloaded.map(|(before, after)| changes(&before, &after))
    }

    /// The same from an async worker, and logs what changed; `why` is for the log.
    ///
    /// # Errors
    /// Why everything stayed as it was.
    pub async fn reload_in_background(
        self: &Arc<Self>,
        why: &str,
    ) -> Result<Vec<PluginChange>, String> {
        let reloader = Arc::clone(self);
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
        let changes = reloaded
            .map_err(|panic| panic.to_string())?
            .map_err(|error| error.to_string())?;
        log_changes(&changes, why);
        Ok(changes)
    }

    /// Every plugin there is now, used or not.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        self.wiring.registry().status()
    }

    /// The plugins themselves.
    pub fn wiring(&self) -> &Arc<PluginWiring> {
        &self.wiring
    }

    /// How often it was asked to.
    pub fn counts(&self) -> ReloadCounts {
        ReloadCounts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

fn changes(before: &Registry, after: &Registry) -> Vec<PluginChange> {
    let loaded = |plugins: &Registry| -> Vec<(String, ComponentFacts)> {
        let status = plugins.status().into_iter();
        status
            .filter_map(|PluginStatus { name, state, .. }| match state {
                PluginState::Loaded(facts) => Some((name, facts)),
                PluginState::NotLoaded | PluginState::Failed(_) => None,
            })
            .collect()
    };
    let (before, after) = (loaded(before), loaded(after));
    let facts = |list: &[(String, ComponentFacts)], name: &str| {
        let found = list.iter().find(|(other, _)| other == name);
        found.map(|(_, facts)| facts.clone())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| PluginChange {
            name: name.clone(),
            before: facts(&before, name),
            after: facts(&after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// Reloads whenever it is told to, for as long as the server runs.
pub async fn run(reloader: Arc<Reloader>, mut hangup: Signal, watch: bool) {
    let mut ticks = file_watch::ticks();
    let mut watched = FileWatch::default();
    let mut complaint: Option<String> = None;
    loop {
        tokio::select! {
            told = hangup.recv() => match told {
                Some(()) => complaint = reload(&reloader, "SIGHUP", None).await,
                None => return,
            },
            _ = ticks.tick(), if watch => {
                let registry = reloader.wiring.registry();
                if watched.changed(&registry.files(), complaint.is_some()) {
                    let before = complaint.take();
                    complaint = reload(&reloader, "a file that changed", before).await;
                }
            }
        }
    }
}

/// Reloads and says how that went. Answers the complaint, which is not repeated if it is the one of `before`.
async fn reload(reloader: &Arc<Reloader>, why: &str, before: Option<String>) -> Option<String> {
    let complaint = reloader.reload_in_background(why).await.err()?;
    if before.as_ref() != Some(&complaint) {
        tracing::error!("plugins not reloaded, those of before stay: {complaint}");
    }
    Some(complaint)
}

fn log_changes(changes: &[PluginChange], why: &str) {
    let shown = |facts: &Option<ComponentFacts>| match facts {
        Some(facts) => format!("{} ({})", facts.version, &facts.sha256[..8]),
        None => "none".to_owned(),
    };
    for change in changes {
        let (before, after) = (shown(&change.before), shown(&change.after));
        tracing::info!(plugin = change.name, before, after, "plugin reloaded");
    }
    tracing::info!(changed = changes.len(), "plugins reloaded because of {why}");
}
