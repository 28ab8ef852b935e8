//! What lies in the cache.

use std::{fs, path::PathBuf, time::SystemTime};

use super::{NAMED, cache_folder};

/// A model that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// Its short name, or the cache's name of where it came from.
    pub source: String,
    /// Where it lies.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was fetched.
    pub fetched: SystemTime,
}

/// Every model in the cache, by source; a cache that cannot be read holds none.
pub fn cached() -> Vec<CachedModel> {
    let models = cache_folder().join("models");
    let folders = fs::read_dir(models).into_iter().flatten().flatten();
    let mut found: Vec<_> = folders
        .flat_map(|folder| {
            let source = source_of(&folder.file_name().to_string_lossy());
            let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            files.filter_map(move |entry| {
                let file = entry.path();
                let facts = entry.metadata().ok()?;
                (file.extension()? == "gguf").then(|| CachedModel {
                    source: source.clone(),
                    file,
                    bytes: facts.len(),
                    fetched: facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                })
            })
        })
        .collect();
    found.sort_unstable_by(|a, b| (&a.source, &a.file).cmp(&(&b.source, &b.file)));
    found
}

fn source_of(folder: &str) -> String {
    let named = NAMED
        .iter()
        .find(|(_, package, _)| super::folder_of(package) == folder);
    named.map_or(folder, |(name, ..)| name).to_owned()
}
