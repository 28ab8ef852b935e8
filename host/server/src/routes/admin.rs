//! The routes under /admin: what plugins there are and did, and a reload of them.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Map, Value, json};
use weir_plugin_host::{ComponentFacts, CounterSnapshot, PluginState, PluginStatus};

use crate::{
    error::ApiError,
    reload::{PluginChange, Reloader},
    state::AppState,
};

/// GET /admin/plugins: every plugin by name; what loading it tells stands there for those that are loaded.
pub(super) async fn plugins(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    let reloader = reloader(&state)?;
    let status = reloader.plugins();
    let counts = reloader.counts();
    Ok(Json(json!({
        "plugins": status.iter().map(plugin).collect::<Vec<_>>(),
        "reloads": {"succeeded": counts.succeeded, "failed": counts.failed},
    })))
}

/// POST /admin/plugins/reload: all plugins anew, as when their files change; answers which of them are others now.
pub(super) async fn reload(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    let reloader = Arc::clone(reloader(&state)?);
    let reloaded = reloader.reload_in_background("an admin's request").await;
    let changes = reloaded.map_err(|refused| {
        let message = format!("plugins not reloaded, those of before stay: {refused}");
        ApiError::new(StatusCode::CONFLICT, message).with_code("plugins_not_reloaded")
    })?;
    Ok(Json(json!({
        "changed": changes.iter().map(change).collect::<Vec<_>>(),
    })))
}

fn reloader(state: &AppState) -> Result<&Arc<Reloader>, ApiError> {
    let missing = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "this server has no plugins of its own",
        )
    };
    state.reloader.as_ref().ok_or_else(missing)
}

fn plugin(plugin: &PluginStatus) -> Value {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), json!(plugin.name));
    shown.insert("aliases".to_owned(), json!(plugin.aliases));
    shown.insert("kind".to_owned(), json!(plugin.kind.to_string()));
    shown.insert("source".to_owned(), json!(plugin.source));
    let (state, reason) = match &plugin.state {
        PluginState::Loaded(_) => ("loaded", None),
        PluginState::NotLoaded => ("not loaded", None),
        PluginState::Failed(reason) => ("failed", Some(reason)),
    };
    shown.insert("state".to_owned(), json!(state));
    if let Some(reason) = reason {
        shown.insert("reason".to_owned(), json!(reason));
    }
    if let PluginState::Loaded(facts) = &plugin.state {
        shown.extend(component(facts));
        shown.insert("contract".to_owned(), json!(facts.contract));
        shown.insert(
            "roles".to_owned(),
            json!({"tools": facts.roles.tools, "reasoning": facts.roles.reasoning}),
        );
    }
    shown.insert("counters".to_owned(), counters(&plugin.counters));
    Value::Object(shown)
}

fn counters(counters: &CounterSnapshot) -> Value {
    json!({
        "live_sessions": counters.live,
        "sessions": counters.sessions,
        "pushes": counters.pushes,
        "seconds": counters.nanoseconds as f64 / 1e9,
        "events": counters.events,
        "failures": counters.failures,
    })
}

fn change(change: &PluginChange) -> Value {
    let shown = |facts: &Option<ComponentFacts>| facts.as_ref().map(component);
    json!({"name": change.name, "before": shown(&change.before), "after": shown(&change.after)})
}

/// What tells one component from another.
fn component(facts: &ComponentFacts) -> Map<String, Value> {
    let shown = [
        ("version", json!(facts.version)),
        ("bytes", json!(facts.bytes)),
        ("sha256", json!(facts.sha256)),
    ];
    shown
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
