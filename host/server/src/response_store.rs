//! Stored responses, for `previous_response_id`, item references and retrieval: in memory, gone with the process.
//!
//! Invariants: at most so many responses and bytes, each for so long after its last use, the least recently used out first;
//! nobody finds what was stored under another key. A response shares the conversation before it with the response it
//! follows, so a chain holds each item once, and holds it for as long as anything follows on it: that memory counts too.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use weir_protocol::responses::Item;

/// Whose responses: the hash of the key a request bears; None bears none.
pub type Tenant = Option<[u8; 32]>;

/// How much is stored, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Responses; 0 stores nothing.
    pub max_responses: usize,
    /// Bytes of all responses together with their conversations.
    pub max_bytes: usize,
    /// How long after its last use a response is forgotten.
    pub ttl: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            max_responses: 1000,
            max_bytes: 256 << 20,
            ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A response with the conversation it ends.
#[derive(Debug)]
pub struct StoredResponse {
    /// The response object as it was sent.
    pub json: String,
    input: Vec<Arc<Item>>,
    output: Vec<Arc<Item>>,
    previous: Option<Arc<StoredResponse>>,
    /// Its own part of `total`, which all of a store's responses share.
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl StoredResponse {
    /// Everything said before it, oldest first.
    pub fn input(&self) -> Vec<Arc<Item>> {
        let mut items = self
            .previous
            .as_deref()
            .map(Self::conversation)
            .unwrap_or_default();
        items.extend(self.input.iter().cloned());
        items
    }

    /// Everything said up to its own last item.
    pub fn conversation(&self) -> Vec<Arc<Item>> {
        // Newest first, because the way leads back, and without recursion, because it may be long.
        let mut turns = vec![self];
        while let Some(previous) = turns.last().and_then(|turn| turn.previous.as_deref()) {
            turns.push(previous);
        }
        let items = turns
            .iter()
            .rev()
            .flat_map(|turn| turn.input.iter().chain(&turn.output));
        items.cloned().collect()
    }
}

impl Drop for StoredResponse {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
        // One after the other: a long chain that is dropped by recursion overflows the stack.
        let mut previous = self.previous.take();
        while let Some(mut response) = previous.and_then(Arc::into_inner) {
            previous = response.previous.take();
        }
    }
}

/// What is to be stored.
#[derive(Debug)]
pub struct NewResponse {
    /// Its id.
    pub id: String,
    /// The response object as it is sent.
    pub json: String,
    /// The items of its own request.
    pub input: Vec<Arc<Item>>,
    /// The items of its answer.
    pub output: Vec<Arc<Item>>,
    /// What it follows on.
    pub previous: Option<Arc<StoredResponse>>,
}

/// The store.
#[derive(Debug, Default)]
pub struct ResponseStore {
    limits: StoreLimits,
    total: Arc<AtomicUsize>,
    entries: Mutex<Entries>,
}

type Key = (Tenant, String);

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    /// Keys by the number of their last use.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    response: Arc<StoredResponse>,
    used: Instant,
    use_number: u64,
}

impl ResponseStore {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Whether anything is ever stored.
    pub fn is_on(&self) -> bool {
        self.limits.max_responses > 0
    }

    /// Bytes of everything stored and of what it follows on.
    pub fn bytes(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Stores a response and forgets others until the limits are kept; one that is too large by itself is not stored.
    pub fn insert(&self, tenant: Tenant, new: NewResponse) {
        let items = new.input.iter().chain(&new.output);
        let bytes = new.json.len() + items.map(|item| item.bytes()).sum::<usize>();
        if !self.is_on() || bytes > self.limits.max_bytes {
            return;
        }
        self.total.fetch_add(bytes, Ordering::Relaxed);
        let response = Arc::new(StoredResponse {
            json: new.json,
            input: new.input,
            output: new.output,
            previous: new.previous,
            bytes,
            total: Arc::clone(&self.total),
        });
        let mut entries = self.entries();
        entries.put((tenant, new.id), response);
        entries.forget_older_than(self.limits.ttl);
        while entries.by_key.len() > self.limits.max_responses
            || (self.bytes() > self.limits.max_bytes && !entries.by_key.is_empty())
        {
            entries.forget_first();
        }
    }

    /// The response of this id, now used again.
    pub fn get(&self, tenant: Tenant, id: &str) -> Option<Arc<StoredResponse>> {
        let mut entries = self.entries();
        entries.forget_older_than(self.limits.ttl);
        let key = (tenant, id.to_owned());
        let response = entries.remove(&key)?;
        entries.put(key, Arc::clone(&response));
        Some(response)
    }

    /// Forgets a response; says whether it was there. What follows on it keeps the conversation.
    pub fn remove(&self, tenant: Tenant, id: &str) -> bool {
        let mut entries = self.entries();
        entries.forget_older_than(self.limits.ttl);
        entries.remove(&(tenant, id.to_owned())).is_some()
    }

    /// The item of this id, from any of the tenant's responses.
    pub fn item(&self, tenant: Tenant, id: &str) -> Option<Arc<Item>> {
        let mut entries = self.entries();
        entries.forget_older_than(self.limits.ttl);
        let own = entries
            .by_key
            .iter()
            .filter(|((owner, _), _)| *owner == tenant);
        let mut items =
            own.flat_map(|(_, entry)| entry.response.input.iter().chain(&entry.response.output));
        items.find(|item| item.id() == Some(id)).cloned()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn put(&mut self, key: Key, response: Arc<StoredResponse>) {
        self.remove(&key);
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        let entry = Entry {
            response,
            used: Instant::now(),
            use_number: self.uses,
        };
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<StoredResponse>> {
        let entry = self.by_key.remove(key)?;
        self.by_use.remove(&entry.use_number);
        Some(entry.response)
    }

    /// Forgets what was used least recently.
    fn forget_first(&mut self) {
        if let Some((_, key)) = self.by_use.pop_first() {
            self.by_key.remove(&key);
        }
    }

    fn forget_older_than(&mut self, ttl: Duration) {
        while let Some((_, key)) = self.by_use.first_key_value()
            && self
                .by_key
                .get(key)
                .is_none_or(|entry| entry.used.elapsed() >= ttl)
        {
            self.forget_first();
        }
    }
}

#[cfg(test)]
mod tests;
