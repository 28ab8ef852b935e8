//! Who calls: API keys, what each may do and use, and how much of it is in use now.
//!
//! Invariants: a key is kept as its SHA-256 and found by comparing that with all others to the last byte, so the time a
//! look-up takes tells nothing of a key; neither key nor hash is ever printed. What a name has used outlives a reload of
//! the file. Counting is by name: two keys of one name would share their limits, which the file does not allow.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use sha2::{Digest, Sha256};

use crate::error::ApiError;

mod bucket;
mod file;

pub use file::{KeyFileError, new_entry, read, watch};

use bucket::Bucket;

/// When a request may find a place that running ones of its key hold: nobody knows, they are asked to look soon.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// SHA-256 of a key.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key's text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether both are of one key; always looks at all bytes.
    fn matches(&self, other: &Self) -> bool {
        let differing = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        differing == 0
    }
}

/// Says nothing: logs are read by many.
impl fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyHash(..)")
    }
}

/// What one key may use at most; None is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests whose answers are not complete.
    pub max_concurrency: Option<usize>,
    /// Requests begun.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers together.
    pub tokens_per_minute: Option<u32>,
    /// Names of the models it may ask.
    pub models: Option<Vec<String>>,
}

/// One key as it is configured.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Who bears it, for the log.
    pub name: String,
    /// Its hash.
    pub hash: KeyHash,
    /// What it may use.
    pub limits: KeyLimits,
    /// Whether it opens the routes under /admin.
    pub admin: bool,
    /// Whether it opens all others.
    pub api: bool,
}

impl ApiKey {
    /// A key without limits for all routes but those under /admin.
    pub fn plain(name: impl Into<String>, key: &str) -> Self {
        Self {
            name: name.into(),
            hash: KeyHash::of(key),
            limits: KeyLimits::default(),
            admin: false,
            api: true,
        }
    }

    /// A key without limits for the routes under /admin and no others.
    pub fn admin(name: impl Into<String>, key: &str) -> Self {
        Self {
            admin: true,
            api: false,
            ..Self::plain(name, key)
        }
    }
}

/// All keys of a server.
pub struct KeyRing {
    /// From flags and environment: as long as the process.
    fixed: Vec<Arc<Holder>>,
    all: RwLock<Arc<Vec<Arc<Holder>>>>,
}

/// A key with what its name has used.
struct Holder {
    key: ApiKey,
    used: Arc<Mutex<Used>>,
}

#[derive(Default)]
struct Used {
    running: usize,
    requests: Bucket,
    tokens: Bucket,
}

impl KeyRing {
    /// These keys, and none of a file yet.
    pub fn new(fixed: Vec<ApiKey>) -> Self {
        let holder = |key| {
            let used = Arc::default();
            Arc::new(Holder { key, used })
        };
        let fixed: Vec<_> = fixed.into_iter().map(holder).collect();
        Self {
            all: RwLock::new(Arc::new(fixed.clone())),
            fixed,
        }
    }

    /// Puts the keys of a file in the place of those it held before. Requests that run go on.
    pub fn replace_file(&self, keys: Vec<ApiKey>) {
        let before = self.all();
        let used: HashMap<&str, &Arc<Mutex<Used>>> = before
            .iter()
            .map(|holder| (holder.key.name.as_str(), &holder.used))
            .collect();
        let holder = |key: ApiKey| {
            let used = used.get(key.name.as_str());
            let used = used.map_or_else(Arc::default, |used| Arc::clone(used));
            Arc::new(Holder { key, used })
        };
        let all = self.fixed.iter().map(Arc::clone);
        let all = Arc::new(all.chain(keys.into_iter().map(holder)).collect());
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn all(&self) -> Arc<Vec<Arc<Holder>>> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who bears one of these keys.
    pub fn caller<'a>(&self, presented: impl Iterator<Item = &'a str>) -> Option<Caller> {
        let all = self.all();
        let mut found = presented.filter_map(|key| {
            let hash = KeyHash::of(key);
            let same = |found, holder: &Arc<Holder>| match holder.key.hash.matches(&hash) {
                true => Some(Arc::clone(holder)),
                false => found,
            };
            all.iter().fold(None, same)
        });
        found.next().map(|holder| Caller(Some(holder)))
    }

    /// Whether the API is for those who bear a key.
    pub fn guards_api(&self) -> bool {
        self.all().iter().any(|holder| holder.key.api)
    }

    /// Whether anybody may use the routes under /admin.
    pub fn guards_admin(&self) -> bool {
        self.all().iter().any(|holder| holder.key.admin)
    }
}

/// Who sent a request; stands in its extensions. Cheap to clone.
#[derive(Clone)]
pub struct Caller(Option<Arc<Holder>>);

impl Caller {
    /// Somebody, where no keys are configured.
    pub fn anonymous() -> Self {
        Self(None)
    }

    /// The name of the key; None for somebody.
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|holder| holder.key.name.as_str())
    }

    /// What it may use; None is everything.
    pub fn limits(&self) -> Option<&KeyLimits> {
        self.0.as_ref().map(|holder| &holder.key.limits)
    }

    /// Whether the routes under /admin are open to it.
    pub fn is_admin(&self) -> bool {
        self.0.as_ref().is_some_and(|holder| holder.key.admin)
    }

    /// Whether all other routes are open to it.
    pub fn may_call(&self) -> bool {
        self.0.as_ref().is_none_or(|holder| holder.key.api)
    }

    /// Whether it may ask the model that has one of these names.
    pub fn may_use(&self, names: &[&str]) -> bool {
        let models = self.limits().and_then(|limits| limits.models.as_ref());
        models.is_none_or(|models| {
            names
                .iter()
                .any(|name| models.iter().any(|own| own == name))
        })
    }

    /// The same as an answer for the client: `asked` is the name in the request, `id` the model's own.
    ///
    /// # Errors
    /// 403.
    pub fn check_model(&self, asked: Option<&str>, id: &str) -> Result<(), ApiError> {
        if self.may_use(&[asked.unwrap_or(id), id]) {
            return Ok(());
        }
        let message = format!(
            "this API key may not use the model `{}`",
            asked.unwrap_or(id)
        );
        Err(ApiError::new(StatusCode::FORBIDDEN, message)
            .with_param("model")
            .with_code("model_not_allowed"))
    }

    /// Begins a request, which is counted as running until the answer is dropped.
    ///
    /// # Errors
    /// 429 when too many run, or too many began within a minute.
    pub fn begin(&self) -> Result<RunningRequest, ApiError> {
        let Some((key, mut used)) = self.locked() else {
            return Ok(RunningRequest(None));
        };
        if let Some(most) = key
            .limits
            .max_concurrency
            .filter(|most| used.running >= *most)
        {
            let message =
                format!("this API key may have {most} requests running at once, and has them");
            return Err(over("concurrency_limit_exceeded", message, LOOK_AGAIN));
        }
        if let Some(limit) = key.limits.requests_per_minute
            && let Err(wait) = used.requests.take(1, limit, Instant::now())
        {
            let message = format!("this API key may send {limit} requests a minute");
            return Err(over("rate_limit_exceeded", message, wait));
        }
        used.running += 1;
        drop(used);
        Ok(RunningRequest(self.0.clone()))
    }

    /// Takes the tokens of a prompt out of the minute's, before they are computed.
    ///
    /// # Errors
    /// 429 when there are not as many left; 400 for more than a whole minute has.
    pub fn charge_prompt(&self, tokens: usize) -> Result<(), ApiError> {
        let Some((key, mut used)) = self.locked() else {
            return Ok(());
        };
        let Some(limit) = key.limits.tokens_per_minute else {
            return Ok(());
        };
        if tokens > limit as usize {
            let message = format!(
                "the prompt has {tokens} tokens, more than this API key may use in a whole minute, {limit}"
            );
            return Err(ApiError::bad_request(message).with_code("token_limit_exceeded"));
        }
        used.tokens.take(tokens, limit, Instant::now()).map_err(|wait| {
            let message = format!(
                "this API key may use {limit} tokens a minute, and this prompt's {tokens} are more than are left"
            );
            over("rate_limit_exceeded", message, wait)
        })
    }

    /// Takes generated tokens out of the minute's. What runs is not cut short: the debt is the next request's.
    pub fn charge_generated(&self, tokens: usize) {
        let limit = self.limits().and_then(|limits| limits.tokens_per_minute);
        if let Some(limit) = limit
            && let Some((_, mut used)) = self.locked()
        {
            used.tokens.add(tokens, limit, Instant::now());
        }
    }

    fn locked(&self) -> Option<(&ApiKey, MutexGuard<'_, Used>)> {
        let holder = self.0.as_ref()?;
        Some((&holder.key, lock(&holder.used)))
    }
}

/// A panic elsewhere leaves no half-made count behind.
fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

fn over(code: &'static str, message: String, wait: Duration) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
        .with_code(code)
        .with_retry_after(wait)
}

/// A request of a key that counts as running until this is dropped.
pub struct RunningRequest(Option<Arc<Holder>>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        if let Some(holder) = &self.0 {
            lock(&holder.used).running -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
