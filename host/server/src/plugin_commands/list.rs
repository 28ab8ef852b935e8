//! The table of `weir plugin list`: every plugin by name, with what loading it tells.

use weir_output::Roles;
use weir_plugin_host::{PluginKind, PluginState, PluginStatus, Registry};

use crate::table::table;

const HEAD: [&str; 8] = [
    "NAME", "ROLES", "VERSION", "CONTRACT", "SIZE", "SHA256", "SOURCE", "STATE",
];
/// Digits of a hash that tell files apart at a glance.
const HASH_DIGITS: usize = 12;

/// Loads every plugin and lists it; one that does not load says so in its line. Its aliases follow its name.
pub(super) fn list(registry: &Registry) -> String {
    for plugin in registry.status() {
        // A failure stands in the state.
        drop(registry.load(&plugin.name));
    }
    let rows: Vec<_> = registry.status().iter().map(row).collect();
    table(HEAD, &rows)
}

fn row(plugin: &PluginStatus) -> [String; HEAD.len()] {
    let aliases = match plugin.aliases.as_slice() {
        [] => String::new(),
        aliases => format!(" ({})", aliases.join(", ")),
    };
    let name = format!("{}{aliases}", plugin.name);
    let source = plugin.source.clone();
    let [roles, version, contract, size, sha256, state] = match &plugin.state {
        PluginState::Loaded(facts) => [
            roles(plugin.kind, facts.roles),
            facts.version.clone(),
            // What stands in front of the version is the kind again.
            facts
                .contract
                .rsplit('@')
                .next()
                .unwrap_or_default()
                .to_owned(),
            format!("{} KiB", facts.bytes.div_ceil(1024)),
            facts.sha256.chars().take(HASH_DIGITS).collect(),
            "ok".to_owned(),
        ],
        PluginState::NotLoaded => unloaded(plugin.kind, "not loaded"),
        PluginState::Failed(reason) => unloaded(plugin.kind, reason),
    };
    [name, roles, version, contract, size, sha256, source, state]
}

fn unloaded(kind: PluginKind, state: &str) -> [String; 6] {
    [&kind.to_string(), "", "", "", "", state].map(str::to_owned)
}

fn roles(kind: PluginKind, roles: Roles) -> String {
    let role = match (kind, roles.tools, roles.reasoning) {
        (PluginKind::PostProcessor, ..) => "post-processor",
        (PluginKind::RequestProcessor, ..) => "request-processor",
        (PluginKind::Parser, true, true) => "tool calls, reasoning",
        (PluginKind::Parser, true, false) => "tool calls",
        (PluginKind::Parser, false, true) => "reasoning",
        (PluginKind::Parser, false, false) => "none",
    };
    role.to_owned()
}
