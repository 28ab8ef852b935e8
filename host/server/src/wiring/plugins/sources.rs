//! Where plugins come from beside the built-in ones, and what the server's configuration says over theirs.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    cli::PluginFlags,
    config::{Config, PluginConfig},
};

/// Where plugins come from beside the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct PluginSources {
    /// A user's plugins.toml.
    pub manifest: Option<PathBuf>,
    /// Single files, written `NAME=FILE.wasm`.
    pub files: Vec<String>,
    /// Keys over those plugins' own configurations, by name.
    pub configs: BTreeMap<String, PluginConfig>,
}

impl From<&PluginFlags> for PluginSources {
    fn from(flags: &PluginFlags) -> Self {
        Self {
            manifest: flags.plugins.clone(),
            files: flags.plugin.clone(),
            configs: BTreeMap::new(),
        }
    }
}

impl From<&Config> for PluginSources {
    fn from(config: &Config) -> Self {
        Self {
            manifest: config.plugins.clone(),
            files: config.plugin.clone(),
            configs: config.plugin_config.clone(),
        }
    }
}
