//! Reloading plugins while the server runs: on SIGHUP, and with `--reload` when one of their files changes.
//!
//! Invariants: a reload takes all of the new plugins, for every model, or none; one that fails is reported and what was
//! there stays; requests that run finish on the plugins they began with. The server's own configuration is not read again.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{signal::unix::Signal, time::MissedTickBehavior};
use weir_plugin_host::{ComponentFacts, PluginState, PluginStatus, Registry};

use crate::wiring::{PluginWiring, WiringError};

/// How often the files are looked at. A change counts once it has been still for as long: a copy may be under way.
const LOOK: Duration = Duration::from_millis(500);

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
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            told = hangup.recv() => match told {
                Some(()) => watched.complaint = reload(&reloader, "SIGHUP", None).await,
                None => return,
            },
            _ = ticks.tick(), if watch => {
                if watched.changed(&reloader.wiring.registry()) {
                    let before = watched.complaint.take();
                    watched.complaint = reload(&reloader, "a file that changed", before).await;
                }
            }
        }
    }
}

/// Reloads and says how that went. Answers the complaint, which is not repeated if it is the one of `before`.
async fn reload(reloader: &Arc<Reloader>, why: &str, before: Option<String>) -> Option<String> {
    let reloading = Arc::clone(reloader);
    match tokio::task::spawn_blocking(move || reloading.reload()).await {
        Ok(Ok(changes)) => {
            log_changes(&changes, why);
            None
        }
        Ok(Err(error)) => {
            let complaint = error.to_string();
            if before.as_ref() != Some(&complaint) {
                tracing::error!("plugins not reloaded, those of before stay: {complaint}");
            }
            Some(complaint)
        }
        Err(panic) => {
            tracing::error!("plugins not reloaded: {panic}");
            None
        }
    }
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

/// The files of the plugins in use, as they were last seen.
#[derive(Default)]
struct Watched {
    /// As they were when the plugins in place were made.
    loaded: Option<Vec<Seen>>,
    /// As they were at the last look.
    last: Vec<Seen>,
    /// Why the last reload failed. As long as there is one, another is tried: a file may be missing that nobody watches.
    complaint: Option<String>,
}

/// A file's looks: where it is, when it was written, its size and its number, which a rename changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    looks: Option<(SystemTime, u64, u64)>,
}

impl Seen {
    fn at(path: PathBuf) -> Self {
        use std::os::unix::fs::MetadataExt;
        let looks = fs::metadata(&path)
            .ok()
            .and_then(|data| Some((data.modified().ok()?, data.len(), data.ino())));
        Self { path, looks }
    }
}

impl Watched {
    /// Whether a reload is due.
    fn changed(&mut self, registry: &Registry) -> bool {
        let now: Vec<Seen> = registry
            .files()
            .into_iter()
            .map(|path| Seen::at(path.to_owned()))
            .collect();
        let still = self.last == now;
        self.last.clone_from(&now);
        match &self.loaded {
            None => {
                self.loaded = Some(now);
                false
            }
            Some(loaded) if still && (*loaded != now || self.complaint.is_some()) => {
                self.loaded = Some(now);
                true
            }
            Some(_) => false,
        }
    }
}
