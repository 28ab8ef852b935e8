//! Where the project keeps its cases: `tests/corpora`, a folder for each plugin.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use weir_corpus::case::{Case, read_folder};

/// The repository's `tests/corpora`.
pub fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

/// The cases of all plugins under `folder` of the corpora, sorted; `CORPUS=NAME` in the environment leaves only those of one
/// plugin.
///
/// # Errors
/// When a folder or a case cannot be read.
pub fn read_all(folder: &str) -> anyhow::Result<Vec<Case>> {
    let folder = corpora().join(folder);
    let only = env::var_os("CORPUS");
    let mut plugins = Vec::new();
    for plugin in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let plugin = plugin?;
        if only.as_ref().is_none_or(|only| *only == plugin.file_name()) {
            plugins.push(plugin.path());
        }
    }
    plugins.sort();
    let mut cases = Vec::new();
    for plugin in &plugins {
        cases.extend(read_folder(plugin)?);
    }
    Ok(cases)
}
