//! `cargo xtask wit`: the plugin contract parses, imports no function, and what is frozen has not changed.
//!
//! `wit/frozen.toml` maps a contract folder to the sha256 of its files; a folder that is not listed is a draft.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use wit_parser::{Resolve, World, WorldItem};

use crate::plugins::sha256;

/// Checks every `wit/v*` folder.
pub fn run(root: &Path) -> Result<()> {
    let frozen: BTreeMap<String, String> = match fs::read_to_string(root.join("wit/frozen.toml")) {
        Ok(text) => toml::from_str(&text).context("wit/frozen.toml")?,
        Err(_) => BTreeMap::new(),
    };
    for entry in fs::read_dir(root.join("wit"))? {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        let version = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        check_no_imports(&folder).with_context(|| version.clone())?;
        match frozen.get(&version) {
            Some(pin) => ensure!(
                *pin == digest(&folder)?,
                "wit/{version} is frozen and has changed: a change is a new folder"
            ),
            None => println!("wit: {version} is a draft"),
        }
    }
    for version in frozen.keys() {
        ensure!(
            root.join("wit").join(version).is_dir(),
            "wit/{version} is frozen and gone"
        );
    }
    Ok(())
}

fn check_no_imports(folder: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder)?;
    for (name, world) in &resolve.packages[package].worlds {
        if imports_function(&resolve, &resolve.worlds[*world]) {
            bail!("world `{name}` imports a function: plugins are data in, data out");
        }
    }
    Ok(())
}

/// Whether a world imports anything that can be called; the types it shares are imports too and cannot.
pub fn imports_function(resolve: &Resolve, world: &World) -> bool {
    world.imports.values().any(|item| match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    })
}

fn digest(folder: &Path) -> Result<String> {
    let mut files: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut bytes = Vec::new();
    for file in files {
        bytes.extend(fs::read(file.path())?);
    }
    Ok(sha256(&bytes))
}
