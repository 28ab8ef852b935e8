//! First-party plugins as the components the project ships: those of `plugins.toml`, or of the folder `WEIR_DIST`.
//!
//! With `WEIR_DIST` the pins are left out, because what is there is about to be compared.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use tempfile::TempDir;
use weir_output::{Parser, PostProcessor, RequestProcessor};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};

use crate::{
    Plugins,
    manifest::{Manifest, root},
};

/// A call that takes this long hangs. The limits of the manifest are wall-clock time, and a machine that runs tests on all
/// cores is slow at times.
const CALL_MS: i64 = 10_000;

/// First-party components by name.
pub struct WasmPlugins {
    host: Arc<PluginHost>,
    manifest: Manifest,
    parsers: Registry,
    /// Holds manifests and compiled components.
    folder: TempDir,
}

impl WasmPlugins {
    /// Reads the manifest and starts the plugin host.
    ///
    /// # Errors
    /// When the manifest cannot be read or this machine cannot run the host.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let host = PluginHost::new(&PluginHostConfig {
            max_sessions: 8,
            cache_dir: Some(folder.path().join("cache")),
        })?;
        let manifest = manifest()?;
        let parsers = registry(&host, folder.path(), &manifest)?;
        Ok(Self {
            host,
            manifest,
            parsers,
            folder,
        })
    }
}

impl WasmPlugins {
    /// A registry in which the plugin of this name has this configuration.
    fn configured(&self, name: &str, config: &toml::Table) -> anyhow::Result<Registry> {
        let mut manifest = self.manifest.clone();
        let config = manifest.config(name, config)?;
        if let Some(entry) = manifest.0.get_mut(name).and_then(toml::Value::as_table_mut) {
            entry.insert("config".to_owned(), config.into());
        }
        registry(&self.host, self.folder.path(), &manifest)
    }

    /// The request processor of this name with this configuration.
    ///
    /// # Errors
    /// When there is none, it cannot be loaded, or it refuses the configuration.
    pub fn request_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn RequestProcessor>> {
        Ok(self.configured(name, config)?.request_processor(name)?)
    }
}

impl Plugins for WasmPlugins {
    fn label(&self) -> &'static str {
        "wasm"
    }

    fn parser(&self, name: &str, config: &toml::Table) -> anyhow::Result<Arc<dyn Parser>> {
        if config.is_empty() {
            return Ok(self.parsers.parser(name)?);
        }
        Ok(self.configured(name, config)?.parser(name)?)
    }

    fn post_processor(
        &self,
        name: &str,
        config: &toml::Table,
    ) -> anyhow::Result<Arc<dyn PostProcessor>> {
        Ok(self.configured(name, config)?.post_processor(name)?)
    }
}

/// The project's manifest with paths that hold from anywhere.
fn manifest() -> anyhow::Result<Manifest> {
    let mut manifest = Manifest::read()?;
    let dist = env::var_os("WEIR_DIST").map(PathBuf::from);
    for (name, entry) in &mut manifest.0 {
        let entry = entry
            .as_table_mut()
            .with_context(|| format!("`{name}` is no table"))?;
        let wasm = Path::new(
            entry
                .get("wasm")
                .and_then(toml::Value::as_str)
                .unwrap_or_default(),
        );
        let path = match (&dist, wasm.file_name()) {
            (Some(dist), Some(file)) => env::current_dir()?.join(dist).join(file),
            _ => root().join(wasm),
        };
        entry.insert("wasm".to_owned(), path.display().to_string().into());
        let limits = entry.entry("limits").or_insert(toml::Table::new().into());
        if let Some(limits) = limits.as_table_mut() {
            limits.insert("call_ms".to_owned(), CALL_MS.into());
        }
        if dist.is_some() {
            entry.remove("sha256");
        }
    }
    Ok(manifest)
}

fn registry(
    host: &Arc<PluginHost>,
    folder: &Path,
    manifest: &Manifest,
) -> anyhow::Result<Registry> {
    // A file of its own: cases with configurations are loaded by several threads.
    let file = tempfile::NamedTempFile::with_suffix_in(".toml", folder)?;
    fs::write(file.path(), toml::to_string(&manifest.0)?)?;
    Ok(Registry::builder(host)
        .manifest_file(file.path())?
        .build()?)
}
