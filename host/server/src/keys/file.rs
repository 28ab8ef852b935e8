//! The file of keys: TOML, YAML or JSON by its name with a list `keys`; any other file has one key a line.
//!
//! Invariants: a file is taken whole or not at all; what is wrong with it is said without a key or a hash in the words. It
//! is read again when it changes and on SIGHUP; one that cannot be used leaves the keys of before in place.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::{Figment, value::Value};
use serde::Deserialize;
use thiserror::Error;
use tokio::signal::unix::Signal;
use uuid::Uuid;

use super::{ApiKey, KeyHash, KeyLimits};
use crate::{
    config::{ConfigError, FileLayer},
    file_watch::{self, FileWatch},
    state::AppState,
};

/// Longest name of a key: it stands in every log line of its requests.
const MAX_NAME: usize = 64;

/// A file of keys that cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It cannot be read as what its name says.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// An entry is wrong.
    #[error("{path}: {reason}", path = path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    /// Whatever it is: were it anything but text, the complaint of its type would hold it.
    sha256: Option<Value>,
    key: Option<Value>,
    max_concurrency: Option<usize>,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
    models: Option<Vec<String>>,
    #[serde(default)]
    admin: bool,
}

/// Reads a file of keys.
///
/// # Errors
/// A file that cannot be read, holds no key or a wrong entry: one line that names the file and the entry.
pub fn read(path: &Path) -> Result<Vec<ApiKey>, KeyFileError> {
    let wrong = |reason: String| KeyFileError::Entry {
        path: path.to_owned(),
        reason,
    };
    let keys = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml" | "yaml" | "yml" | "json") => {
            let file: KeyFile = Figment::from(FileLayer::new(path)?)
                .extract()
                .map_err(|error| wrong(complaint(&error)))?;
            let keys = file.keys.into_iter().map(KeyEntry::into_key);
            keys.collect::<Result<Vec<_>, _>>().map_err(wrong)?
        }
        _ => {
            let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            lines(path, &text)
        }
    };
    if keys.is_empty() {
        return Err(wrong("holds no key".to_owned()));
    }
    let mut names = HashSet::new();
    let mut hashes = HashSet::new();
    for key in &keys {
        if !names.insert(&key.name) {
            return Err(wrong(format!("two keys are named `{}`", key.name)));
        }
        if !hashes.insert(key.hash.0) {
            return Err(wrong(format!("the key of `{}` is another's too", key.name)));
        }
    }
    Ok(keys)
}

/// Which key is wrong and how, without what the file says there when it is not a table at all.
fn complaint(error: &figment::Error) -> String {
    match error.path.as_slice() {
        [] if error.to_string().contains("invalid type") => "must hold a list `keys`".to_owned(),
        [] => error.kind.to_string(),
        path => format!("{}: {}", path.join("."), error.kind),
    }
}

/// One key a line; empty lines and those that begin with `#` are none.
fn lines(path: &Path, text: &str) -> Vec<ApiKey> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, key)| ApiKey::plain(format!("{file}:{}", number + 1), key))
        .collect()
}

impl KeyEntry {
    fn into_key(self) -> Result<ApiKey, String> {
        let name = self.name;
        check_name(&name)?;
        let hash = match (&self.sha256, &self.key) {
            (Some(sha256), None) => sha256.as_str().and_then(parse_hash).ok_or_else(|| {
                format!("the sha256 of `{name}` is not 64 hexadecimal digits in quotes")
            })?,
            (None, Some(key)) => match key.as_str() {
                Some(key) if !key.is_empty() => KeyHash::of(key),
                _ => return Err(format!("the key of `{name}` is no text")),
            },
            _ => return Err(format!("`{name}` needs either sha256 or key")),
        };
        let limits = KeyLimits {
            max_concurrency: self.max_concurrency,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            models: self.models,
        };
        let none = [
            ("max_concurrency", limits.max_concurrency == Some(0)),
            ("requests_per_minute", limits.requests_per_minute == Some(0)),
            ("tokens_per_minute", limits.tokens_per_minute == Some(0)),
            ("models", limits.models.as_ref().is_some_and(Vec::is_empty)),
        ];
        if let Some((limit, _)) = none.iter().find(|(_, none)| *none) {
            return Err(format!(
                "{limit} of `{name}` lets it do nothing: leave it out for no limit, or remove the key"
            ));
        }
        Ok(ApiKey {
            name,
            hash,
            limits,
            admin: self.admin,
            api: true,
        })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte);
    match !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "`{}` names no key: 1 to {MAX_NAME} letters, digits and any of - _ . @ :",
            name.chars()
                .take(MAX_NAME)
                .collect::<String>()
                .escape_debug()
        )),
    }
}

fn parse_hash(digits: &str) -> Option<KeyHash> {
    let digits = digits.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(KeyHash(hash))
}

/// A new key of 244 random bits, and its entry for a TOML file.
///
/// # Errors
/// A name that no key can have.
pub fn new_entry(name: &str) -> Result<(String, String), String> {
    check_name(name)?;
    let random = || Uuid::new_v4().simple();
    let key = format!("sk-weir-{}{}", random(), random());
    let bytes = KeyHash::of(&key).0;
    let sha256: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n");
    Ok((key, entry))
}

/// Reads the file again whenever it changes or `hangup` says so, for as long as the server runs.
pub async fn watch(state: Arc<AppState>, path: PathBuf, mut hangup: Signal) {
    let mut ticks = file_watch::ticks();
    let mut file = FileWatch::default();
    let mut complaint: Option<String> = None;
    loop {
        tokio::select! {
            told = hangup.recv() => if told.is_none() { return },
            _ = ticks.tick() => {
                if !file.changed(&[path.as_path()], complaint.is_some()) {
                    continue;
                }
            }
        }
        match read(&path) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "API keys reloaded");
                state.keys.replace_file(keys);
                complaint = None;
            }
            Err(error) => {
                let error = error.to_string();
                if complaint.as_ref() != Some(&error) {
                    tracing::error!("API keys not reloaded, those of before stay: {error}");
                }
                complaint = Some(error);
            }
        }
    }
}
