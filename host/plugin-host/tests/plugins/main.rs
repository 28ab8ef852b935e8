//! The host from outside: hostile plugins are contained, unfit ones refused, names found, compiled code cached.
//!
//! Limits that are not under test are generous: a busy machine must not make a test fail.

mod cached;
mod contained;
mod first_party;
mod names;
mod refused;
mod requests;

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use tempfile::TempDir;
use weir_output::{Event, Fragment, FragmentKind, ParserSession, PluginErrorKind, RequestContext};
use weir_plugin_host::{PluginHost, PluginHostConfig, PluginHostError, Registry};

/// `tests/hostile`, built.
const HOSTILE: &[u8] = include_bytes!("../../../../tests/hostile/dist/hostile.wasm");

/// One host for all tests, so that the hostile plugin is compiled once.
static HOST: LazyLock<(Arc<PluginHost>, TempDir)> = LazyLock::new(|| {
    let cache = tempfile::tempdir().expect("a temporary folder");
    (host(cache.path(), 64), cache)
});

fn host(cache: &Path, max_sessions: u32) -> Arc<PluginHost> {
    PluginHost::new(&PluginHostConfig {
        max_sessions,
        cache_dir: Some(cache.to_owned()),
    })
    .expect("an engine")
}

fn embedded(path: &str) -> Option<&'static [u8]> {
    (path == "hostile.wasm").then_some(HOSTILE)
}

/// A registry of the embedded hostile plugin under the names of this manifest.
fn registry(manifest: &str) -> Registry {
    build(&HOST.0, manifest).expect("a sound manifest")
}

fn build(host: &Arc<PluginHost>, manifest: &str) -> Result<Registry, PluginHostError> {
    Registry::builder(host)
        .embedded(manifest, embedded)?
        .build()
}

/// A manifest entry of a parser that is the hostile plugin, with more keys.
fn entry(name: &str, more: &str) -> String {
    let time = if more.contains("call_ms") {
        ""
    } else {
        "limits.call_ms = 20000"
    };
    format!("[{name}]\nkind = \"parser\"\nwasm = \"hostile.wasm\"\n{time}\n{more}\n")
}

fn text(text: &str) -> Fragment {
    Fragment {
        text: text.to_owned(),
        kind: FragmentKind::Text,
    }
}

fn session(registry: &Registry, name: &str) -> Box<dyn ParserSession> {
    let parser = registry.parser(name).expect("a plugin that loads");
    parser
        .session(&RequestContext::default())
        .expect("a session")
}

/// Pushes a text and expects it back as content.
fn echoes(session: &mut dyn ParserSession, said: &str) {
    let mut events = Vec::new();
    session.push(&text(said), &mut events).expect("a push");
    assert_eq!(events, [Event::Content(text(said))]);
}

/// Whether a failure is of the kind a test names.
type Expected = fn(&PluginErrorKind) -> bool;
