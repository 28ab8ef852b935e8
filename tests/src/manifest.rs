//! The project's plugins.toml: which component a name stands for, and with which configuration.
//!
//! Several names may stand for one component. A case's configuration goes over its plugin's own, key by key.

use std::{fs, path::Path};

use anyhow::Context;
use toml::{Table, Value};

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The project's plugins.toml.
#[derive(Debug, Clone)]
pub struct Manifest(pub Table);

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read or is no TOML.
    pub fn read() -> anyhow::Result<Self> {
        let text = fs::read_to_string(root().join("plugins.toml"))?;
        Ok(Self(toml::from_str(&text)?))
    }

    fn entry(&self, name: &str) -> anyhow::Result<&Table> {
        let entry = self.0.get(name).and_then(Value::as_table);
        entry.with_context(|| format!("no `{name}` in plugins.toml"))
    }

    /// The file name of its component, without extension.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub fn component(&self, name: &str) -> anyhow::Result<String> {
        let wasm = self.entry(name)?.get("wasm").and_then(Value::as_str);
        let stem = wasm.and_then(|wasm| Path::new(wasm).file_stem()?.to_str());
        let stem = stem.with_context(|| format!("`{name}` names no component"))?;
        Ok(stem.to_owned())
    }

    /// Its configuration with this one over it.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub fn config(&self, name: &str, over: &Table) -> anyhow::Result<Table> {
        let own = self.entry(name)?.get("config").and_then(Value::as_table);
        let mut config = own.cloned().unwrap_or_default();
        config.extend(over.clone());
        Ok(config)
    }
}
