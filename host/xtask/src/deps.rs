//! `cargo xtask deps`: who must not depend on whom.
//!
//! Only direct dependencies between our crates and on the named libraries count, dev-dependencies left out: the rule is
//! about what a room's code can name. The reasons stand in ARCHITECTURE.md.

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// What a crate must not depend on. A plugin is every crate whose folder lies under `plugins/`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("weir-protocol", &["weir-*"]),
    (
        "weir-engine",
        &["tokio", "axum", "candle-*", "wasmtime", "weir-*"],
    ),
    (
        "weir-model",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "weir-protocol",
            "weir-output",
            "weir-server",
            "weir-prompt",
        ],
    ),
    (
        "weir-cpu",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "weir-protocol",
            "weir-output",
            "weir-server",
            "weir-prompt",
        ],
    ),
    (
        "weir-cuda",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "weir-protocol",
            "weir-output",
            "weir-server",
            "weir-prompt",
        ],
    ),
    (
        "weir-prompt",
        &["axum", "tokio", "wasmtime", "candle-*", "weir-*"],
    ),
    (
        "weir-output",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "candle-*",
            "weir-engine",
            "weir-protocol",
            "weir-server",
        ],
    ),
    (
        "weir-corpus",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "candle-*",
            "weir-engine",
            "weir-plugin-host",
            "weir-prompt",
            "weir-protocol",
            "weir-server",
        ],
    ),
    (
        "weir-constrain",
        &[
            "axum",
            "tokio",
            "wasmtime",
            "candle-*",
            "weir-plugin-host",
            "weir-protocol",
            "weir-server",
        ],
    ),
    (
        "weir-remote",
        &[
            "axum",
            "wasmtime",
            "candle-*",
            "weir-output",
            "weir-prompt",
            "weir-protocol",
            "weir-server",
        ],
    ),
    (
        "weir-plugin-host",
        &[
            "axum",
            "tokio",
            "candle-*",
            "weir-engine",
            "weir-protocol",
            "weir-server",
        ],
    ),
];

/// What plugins are written with.
const SDKS: [&str; 2] = ["weir-plugin-sdk", "weir-plugin-request-sdk"];

/// Checks every crate of the workspace against the table.
pub fn run() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let mut broken = Vec::new();
    for package in &metadata.packages {
        for dependency in direct_dependencies(package) {
            if let Some(rule) = forbidden_by(package, &dependency) {
                broken.push(format!(
                    "{} depends on {dependency}, which {rule} forbids",
                    package.name
                ));
            }
        }
    }
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    println!(
        "deps: {} crates keep to their rooms",
        metadata.packages.len()
    );
    Ok(())
}

fn direct_dependencies(package: &Package) -> Vec<String> {
    package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal)
        .map(|d| d.name.clone())
        .collect()
}

/// The rule that forbids it, in words.
fn forbidden_by(package: &Package, dependency: &str) -> Option<String> {
    let is_plugin = package.manifest_path.as_str().contains("/plugins/");
    let is_sdk = SDKS.contains(&dependency);
    if is_plugin && dependency.starts_with("weir-") && !is_sdk {
        return Some("the rule that plugins know only the SDKs".to_owned());
    }
    let (_, patterns) = FORBIDDEN
        .iter()
        .find(|(name, _)| *name == package.name.as_str())?;
    let hit = patterns
        .iter()
        .find(|pattern| matches(pattern, dependency) && !allowed(package, dependency))?;
    Some(format!("`{hit}`"))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// The one edge a pattern would catch by mistake: output reads prompt's vocabulary, and model implements engine's trait.
fn allowed(package: &Package, dependency: &str) -> bool {
    matches!(
        (package.name.as_str(), dependency),
        ("weir-output", "weir-prompt") | ("weir-model", "weir-engine")
    )
}
