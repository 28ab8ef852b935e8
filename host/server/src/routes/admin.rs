//! The routes under /admin: what plugins there are and did, and a reload of them.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use weir_plugin_host::{self as host, ComponentFacts, CounterSnapshot, PluginStatus};

use crate::{
    error::ApiError,
    reload::{self, Reloader},
    state::AppState,
};

/// The answer of `GET /admin/plugins`.
#[derive(Serialize, ToSchema)]
pub(super) struct PluginList {
    /// Every plugin by name.
    plugins: Vec<Plugin>,
    /// How often plugins were reloaded.
    reloads: ReloadCounts,
}

/// A plugin, and what it did since the process started.
#[derive(Serialize, ToSchema)]
struct Plugin {
    /// The name it answers to.
    name: String,
    /// Its other names.
    aliases: Vec<String>,
    /// `parser`, `post-processor` or `request-processor`.
    kind: String,
    /// Where its component comes from: a path, or `built in`.
    source: String,
    /// How far it has come.
    #[serde(flatten)]
    state: PluginState,
    /// What it did.
    counters: Counters,
}

/// How far a plugin has come.
#[derive(Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
enum PluginState {
    /// It can be used; what only loading tells stands beside.
    Loaded {
        /// Which component it is.
        #[serde(flatten)]
        component: Component,
        /// The contract's interface that it keeps, with its version.
        contract: &'static str,
        /// What a parser takes apart.
        roles: Roles,
    },
    /// Nobody has used it yet.
    #[serde(rename = "not loaded")]
    NotLoaded,
    /// It cannot be used.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What tells one component from another.
#[derive(Serialize, ToSchema)]
struct Component {
    /// What the plugin calls its own version.
    version: String,
    /// Size of the file.
    bytes: u64,
    /// Hexadecimal SHA-256 of the file.
    sha256: String,
}

/// What a parser takes apart; nothing for the others.
#[derive(Serialize, ToSchema)]
struct Roles {
    /// It finds tool calls.
    tools: bool,
    /// It splits reasoning from content.
    reasoning: bool,
}

/// What a plugin did, in every version.
#[derive(Serialize, ToSchema)]
struct Counters {
    /// Sessions that run now.
    live_sessions: u64,
    /// Sessions that ended or failed.
    sessions: u64,
    /// Pieces of text it was given.
    pushes: u64,
    /// Time inside calls.
    seconds: f64,
    /// Events or actions returned.
    events: u64,
    /// Calls that failed.
    failures: u64,
}

/// How often plugins were reloaded.
#[derive(Serialize, ToSchema)]
struct ReloadCounts {
    /// With success.
    succeeded: u64,
    /// In vain: what was there stayed.
    failed: u64,
}

/// The answer of `POST /admin/plugins/reload`.
#[derive(Serialize, ToSchema)]
pub(super) struct PluginChanges {
    /// The plugins that are others now.
    changed: Vec<PluginChange>,
}

/// One plugin that a reload made another of.
#[derive(Serialize, ToSchema)]
struct PluginChange {
    /// Its name.
    name: String,
    /// What ran before, if anything did.
    before: Option<Component>,
    /// What runs now, if anything does.
    after: Option<Component>,
}

/// GET /admin/plugins: every plugin by name; what loading it tells stands there for those that are loaded.
pub(super) async fn plugins(
    State(state): State<Arc<AppState>>,
) -> Result<Json<PluginList>, ApiError> {
    let reloader = reloader(&state)?;
    let reload::ReloadCounts { succeeded, failed } = reloader.counts();
    Ok(Json(PluginList {
        plugins: reloader.plugins().into_iter().map(Plugin::from).collect(),
        reloads: ReloadCounts { succeeded, failed },
    }))
}

/// POST /admin/plugins/reload: all plugins anew, as when their files change; answers which of them are others now.
pub(super) async fn reload(
    State(state): State<Arc<AppState>>,
) -> Result<Json<PluginChanges>, ApiError> {
    let reloader = Arc::clone(reloader(&state)?);
    let reloaded = reloader.reload_in_background("an admin's request").await;
    let changes = reloaded.map_err(|refused| {
        let message = format!("plugins not reloaded, those of before stay: {refused}");
        ApiError::new(StatusCode::CONFLICT, message).with_code("plugins_not_reloaded")
    })?;
    let changed = changes.into_iter().map(PluginChange::from).collect();
    Ok(Json(PluginChanges { changed }))
}

fn reloader(state: &AppState) -> Result<&Arc<Reloader>, ApiError> {
    let missing = || ApiError::not_found("this server has no plugins of its own");
    state.reloader.as_ref().ok_or_else(missing)
}

impl From<PluginStatus> for Plugin {
    fn from(plugin: PluginStatus) -> Self {
        Self {
            name: plugin.name,
            aliases: plugin.aliases,
            kind: plugin.kind.to_string(),
            source: plugin.source,
            state: match plugin.state {
                host::PluginState::Loaded(facts) => PluginState::Loaded {
                    contract: facts.contract,
                    roles: Roles {
                        tools: facts.roles.tools,
                        reasoning: facts.roles.reasoning,
                    },
                    component: facts.into(),
                },
                host::PluginState::NotLoaded => PluginState::NotLoaded,
                host::PluginState::Failed(reason) => PluginState::Failed { reason },
            },
            counters: plugin.counters.into(),
        }
    }
}

impl From<ComponentFacts> for Component {
    fn from(facts: ComponentFacts) -> Self {
        Self {
            version: facts.version,
            bytes: facts.bytes,
            sha256: facts.sha256,
        }
    }
}

impl From<CounterSnapshot> for Counters {
    fn from(counters: CounterSnapshot) -> Self {
        Self {
            live_sessions: counters.live,
            sessions: counters.sessions,
            pushes: counters.pushes,
            seconds: counters.nanoseconds as f64 / 1e9,
            events: counters.events,
            failures: counters.failures,
        }
    }
}

impl From<reload::PluginChange> for PluginChange {
    fn from(change: reload::PluginChange) -> Self {
        Self {
            name: change.name,
            before: change.before.map(Component::from),
            after: change.after.map(Component::from),
        }
    }
}
