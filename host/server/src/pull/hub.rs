//! A model hub: asks which files a repository has and fetches the wanted ones into the cache that Python's tools share.
//!
//! The `hf-hub` crate (1.0.0) is not used: it begins a broken file anew, compares no digest, knows no HF_HUB_OFFLINE, and
//! brings about a hundred more crates, a C library among them. The wire is small: one list of files, and for each file a
//! HEAD, whose headers name its etag (an LFS file's sha256) and its length, and a GET.
//!
//! What a hub says is not trusted: names are checked before they become paths, and the token goes to the hub's own host
//! alone. Weights come after everything else, so a snapshot that has them has what goes with them too.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use ureq::{Agent, Body, http::Response};

use super::{
    HubModel, Local, PullError, Wanted,
    cache::RepoCache,
    choice::{self, Chosen, SHARD_LIST, WEIGHTS},
    download::{self, Download},
    file_error,
    source::{is_inner_path, is_name},
};

/// Where a hub is, who asks it, and where its files are kept.
pub(super) struct Hub {
    endpoint: String,
    token: Option<String>,
    token_file: PathBuf,
    offline: bool,
    /// The hub's cache.
    pub cache: PathBuf,
}

/// What a repository has at a revision: `GET /api/models/REPO/revision/REVISION`.
#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "sha")]
    commit: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    path: String,
}

/// What the headers of a file say.
struct FileFacts {
    url: String,
    etag: String,
    bytes: Option<u64>,
}

impl Hub {
    /// The variables and their defaults are those of Python's huggingface_hub (its constants.py).
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let folder = |name: &str| set(name).map(PathBuf::from);
        let is_on = |name: &str| {
            let value = set(name).unwrap_or_default().to_ascii_lowercase();
            matches!(value.as_str(), "1" | "on" | "yes" | "true")
        };
        let home = folder("HF_HOME").unwrap_or_else(|| {
            let user = folder("HOME").unwrap_or_else(std::env::temp_dir);
            folder("XDG_CACHE_HOME")
                .unwrap_or_else(|| user.join(".cache"))
                .join("huggingface")
        });
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = set("HF_TOKEN")
            .or_else(|| set("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| fs::read_to_string(&token_file).ok())
            .map(|token| token.trim().to_owned());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            token_file,
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            cache: cache.unwrap_or_else(|| home.join("hub")),
        }
    }

    /// The model, fetched as far as it is not in the cache. A hub that does not answer is made up for by a whole model
    /// in the cache.
    ///
    /// # Errors
    /// See [`PullError`].
    pub fn fetch(&self, model: &HubModel) -> Result<Local, PullError> {
        let cache = RepoCache::new(&self.cache, &model.repo);
        let revision = model.revision.as_deref().unwrap_or("main");
        let cached = || cache.find(revision, &model.wanted);
        if self.offline {
            let reason = "HF_HUB_OFFLINE is set".to_owned();
            return cached().ok_or_else(|| self.unreachable(model, reason));
        }
        match self.listing(model, revision) {
            Ok(listing) => self.fetch_listed(model, revision, &listing, &cache),
            Err(error) => match cached() {
                Some(local) => {
                    let reason = match &error {
                        PullError::Offline { reason, .. }
                        | PullError::Access { reason, .. }
                        | PullError::Unusable { reason, .. } => reason,
                        _ => &error.to_string(),
                    };
                    tracing::warn!("{model}: using the cache, because {reason}");
                    Ok(local)
                }
                None => Err(error),
            },
        }
    }

    fn fetch_listed(
        &self,
        model: &HubModel,
        revision: &str,
        listing: &Listing,
        cache: &RepoCache,
    ) -> Result<Local, PullError> {
        let commit = &listing.commit;
        let files: Vec<String> = listing.siblings.iter().map(|s| s.path.clone()).collect();
        let unusable = |reason: String| PullError::Unusable {
            model: model.to_string(),
            reason,
        };
        if !is_name(commit) {
            return Err(unusable(format!("the hub says its commit is `{commit}`")));
        }
        let fetch = |file: &str| self.fetch_file(model, commit, file, cache);
        let snapshot = cache.snapshot(commit);
        let local = match choice::choose(&files, &model.wanted).map_err(unusable)? {
            Chosen::Gguf(file) => Local::Gguf(fetch(&file)?),
            Chosen::Folder => {
                for file in choice::side_files(&files) {
                    fetch(file)?;
                }
                if model.wanted == Wanted::Tokenizer {
                    // The weights are elsewhere.
                } else if files.iter().any(|file| file == WEIGHTS) {
                    fetch(WEIGHTS)?;
                } else {
                    let list = fetch(SHARD_LIST)?;
                    let shards = choice::shards(&list)
                        .map_err(|reason| unusable(format!("{SHARD_LIST}: {reason}")))?;
                    for shard in &shards {
                        fetch(shard)?;
                    }
                }
                Local::Folder(snapshot)
            }
        };
        cache.write_ref(revision, commit)?;
        Ok(local)
    }

    /// One file in the snapshot of a commit.
    fn fetch_file(
        &self,
        model: &HubModel,
        commit: &str,
        file: &str,
        cache: &RepoCache,
    ) -> Result<PathBuf, PullError> {
        let unusable = |reason: String| PullError::Unusable {
            model: model.to_string(),
            reason,
        };
        if !is_inner_path(file) {
            let reason = format!("the hub lists the file `{file}`, which leads out of its folder");
            return Err(unusable(reason));
        }
        let path = cache.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(path);
        }
        let facts = self.file_facts(model, commit, file)?;
        if !is_name(&facts.etag) {
            let etag = &facts.etag;
            let reason =
                format!("the hub gives {file} the etag `{etag}`, which cannot name a file");
            return Err(unusable(reason));
        }
        let lock = cache.lock(&facts.etag)?;
        let blob = cache.blob(&facts.etag);
        if !blob.is_file() {
            self.fetch_blob(file, &facts, &blob)?;
        }
        cache.link(commit, file, &facts.etag)?;
        drop(lock);
        Ok(path)
    }

    fn fetch_blob(&self, file: &str, facts: &FileFacts, blob: &Path) -> Result<(), PullError> {
        let blobs = blob.parent().unwrap_or(&self.cache);
        fs::create_dir_all(blobs).map_err(|error| file_error(blobs, &error))?;
        let etag = facts.etag.as_str();
        let is_sha256 = etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit());
        let download = Download {
            name: file,
            url: &facts.url,
            token: self.token.as_deref(),
            partial: &blobs.join(format!("{etag}.incomplete")),
            target: blob,
            sha256: is_sha256.then_some(etag),
            bytes: facts.bytes,
        };
        download.run()
    }

    fn listing(&self, model: &HubModel, revision: &str) -> Result<Listing, PullError> {
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.endpoint,
            model.repo,
            revision.replace('/', "%2F")
        );
        let (_, mut response) = self.ask(model, "GET", url)?;
        if !response.status().is_success() {
            return Err(self.refusal(model, revision, None, &response));
        }
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.unreachable(model, self.cannot_reach(&error)))?;
        serde_json::from_str(&text).map_err(|error| PullError::Unusable {
            model: model.to_string(),
            reason: format!("{} gives no list of files: {error}", self.endpoint),
        })
    }

    fn file_facts(
        &self,
        model: &HubModel,
        commit: &str,
        file: &str,
    ) -> Result<FileFacts, PullError> {
        let url = format!("{}/{}/resolve/{commit}/{file}", self.endpoint, model.repo);
        let (url, response) = self.ask(model, "HEAD", url.replace(' ', "%20"))?;
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let redirected = response.status().is_redirection();
        if !response.status().is_success() && !redirected {
            return Err(self.refusal(model, commit, Some(file), &response));
        }
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let etag = etag
            .unwrap_or_default()
            .trim_start_matches("W/")
            .trim_matches('"');
        // The length of a redirect's own body is of no use.
        let length = || (!redirected).then(|| header("content-length")).flatten();
        let bytes = header("x-linked-size").or_else(length);
        Ok(FileFacts {
            url,
            etag: etag.to_owned(),
            bytes: bytes.and_then(|bytes| bytes.parse().ok()),
        })
    }

    /// Asks the hub, and where it sends us on within itself (a renamed repository, its own cache), there. A redirect to
    /// another host is an answer: its headers are about the file.
    fn ask(
        &self,
        model: &HubModel,
        method: &str,
        mut url: String,
    ) -> Result<(String, Response<Body>), PullError> {
        let agent: Agent = download::agent_config()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build()
            .into();
        let mut redirects = 0;
        loop {
            let request = match method {
                "HEAD" => agent.head(&url),
                _ => agent.get(&url),
            };
            let request = match &self.token {
                Some(token) => request.header("Authorization", format!("Bearer {token}")),
                None => request,
            };
            // Compressed, a file would have another length.
            let response = request
                .header("Accept-Encoding", "identity")
                .call()
                .map_err(|error| self.unreachable(model, self.cannot_reach(&error)))?;
            let location = response.headers().get("location");
            let location = location.and_then(|location| location.to_str().ok());
            let inside = location.filter(|location| {
                response.status().is_redirection()
                    && location.starts_with('/')
                    && !location.starts_with("//")
            });
            match inside {
                Some(path) if redirects < 5 => {
                    let host = url.split('/').take(3).collect::<Vec<_>>().join("/");
                    url = format!("{host}{path}");
                    redirects += 1;
                }
                _ => return Ok((url, response)),
            }
        }
    }

    fn cannot_reach(&self, error: &ureq::Error) -> String {
        format!("cannot reach {} ({error})", self.endpoint)
    }

    fn unreachable(&self, model: &HubModel, reason: String) -> PullError {
        PullError::Offline {
            model: model.to_string(),
            reason,
            cache: self.cache.clone(),
        }
    }

    /// What the hub means by a status; `X-Error-Code` tells more than the status does. Of a repository that is private or
    /// does not exist it says 401 to whom it does not know.
    fn refusal(
        &self,
        model: &HubModel,
        revision: &str,
        file: Option<&str>,
        response: &Response<Body>,
    ) -> PullError {
        let status = response.status().as_u16();
        let code = response.headers().get("x-error-code");
        let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
        let (repo, endpoint) = (&model.repo, &self.endpoint);
        let token = match &self.token {
            Some(_) => "with the token given",
            None => "without a token",
        };
        let missing = match (status, code, file) {
            (_, "RevisionNotFound", _) => format!("{repo} has no revision {revision}"),
            (401 | 403 | 404, "RepoNotFound", _) | (404, _, None) => format!(
                "{endpoint} shows no repository {repo} {token}; if it is private, put a token into HF_TOKEN or {}",
                self.token_file.display()
            ),
            (404, _, Some(file)) => format!("{repo} has no file {file} at {revision}"),
            (401 | 403, ..) => {
                let code = if code.is_empty() { "refused" } else { code };
                return PullError::Access {
                    model: model.to_string(),
                    reason: format!("{status} {code}, {token}"),
                    page: format!("{endpoint}/{repo}"),
                    token_file: self.token_file.clone(),
                };
            }
            _ => {
                let reason = format!("{endpoint} answers with status {status}");
                return self.unreachable(model, reason);
            }
        };
        PullError::Unusable {
            model: model.to_string(),
            reason: missing,
        }
    }
}
