//! What request processors keep of documents from one request to the next, in memory, bounded for each plugin.
//!
//! Invariants: a plugin sees its own entries alone; a document's entries come and go together; what one plugin keeps is never
//! more than it is granted, and what was not used for longest makes room.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The documents of all plugins.
#[derive(Debug, Default)]
pub struct DocumentStore(Mutex<HashMap<String, PluginDocuments>>);

/// Those of one plugin, by digest.
#[derive(Debug, Default)]
struct PluginDocuments {
    documents: HashMap<String, Document>,
    bytes: u64,
    /// Counts uses, so that they have an order.
    uses: u64,
}

#[derive(Debug, Default)]
struct Document {
    entries: BTreeMap<String, Vec<u8>>,
    last_used: u64,
}

impl Document {
    fn bytes(&self) -> u64 {
        let entry = |(key, value): (&String, &Vec<u8>)| bytes_of(key, value);
        self.entries.iter().map(entry).sum()
    }
}

fn bytes_of(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl DocumentStore {
    /// The entries of a document; None for each that is not there.
    pub fn get(&self, plugin: &str, document: &str, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let mut all = self.lock();
        let Some(own) = all.get_mut(plugin) else {
            return vec![None; keys.len()];
        };
        own.uses += 1;
        let Some(found) = own.documents.get_mut(document) else {
            return vec![None; keys.len()];
        };
        found.last_used = own.uses;
        keys.iter()
            .map(|key| found.entries.get(key).cloned())
            .collect()
    }

    /// Stores entries, over those of the same names, where a plugin may keep so many bytes; answers whether they fit.
    pub fn put(
        &self,
        plugin: &str,
        document: &str,
        entries: &[(String, Vec<u8>)],
        limit: u64,
    ) -> bool {
        let mut all = self.lock();
        let own = all.entry(plugin.to_owned()).or_default();
        own.uses += 1;
        let mut changed = own.documents.remove(document).unwrap_or_default();
        own.bytes -= changed.bytes();
        changed.last_used = own.uses;
        changed.entries.extend(entries.iter().cloned());
        let bytes = changed.bytes();
        if bytes > limit {
            return false;
        }
        own.make_room(limit - bytes);
        own.bytes += bytes;
        own.documents.insert(document.to_owned(), changed);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, PluginDocuments>> {
        // Nothing panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PluginDocuments {
    /// Forgets what was not used for longest until no more than this is left.
    fn make_room(&mut self, limit: u64) {
        while self.bytes > limit {
            let oldest = self.documents.iter().min_by_key(|(_, kept)| kept.last_used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            if let Some(gone) = self.documents.remove(&name) {
                self.bytes -= gone.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, bytes: usize) -> (String, Vec<u8>) {
        (key.to_owned(), vec![7; bytes])
    }

    fn has(store: &DocumentStore, plugin: &str, document: &str) -> bool {
        store.get(plugin, document, &["k".to_owned()])[0].is_some()
    }

    #[test]
    fn entries_of_a_document_are_found_by_their_plugin_alone() {
        let store = DocumentStore::default();
        assert!(store.put("p", "d", &[entry("k", 2)], 10));
        assert!(store.put("p", "d", &[entry("l", 1)], 10), "beside it");
        let keys = ["k".to_owned(), "x".to_owned(), "l".to_owned()];
        let found = store.get("p", "d", &keys);
        assert_eq!(found, [Some(vec![7, 7]), None, Some(vec![7])]);
        assert!(!has(&store, "q", "d") && !has(&store, "p", "e"));
    }

    #[test]
    fn the_least_used_make_room() {
        let store = DocumentStore::default();
        for document in ["a", "b", "c"] {
            assert!(store.put("p", document, &[entry("k", 3)], 12));
        }
        assert!(has(&store, "p", "a"));
        assert!(store.put("p", "d", &[entry("k", 3)], 12));
        assert!(!has(&store, "p", "b") && has(&store, "p", "a") && has(&store, "p", "c"));
        assert!(!store.put("p", "e", &[entry("k", 12)], 12), "too large");
        assert!(has(&store, "p", "d"), "and nothing made room for it");
        assert!(
            store.put("p", "a", &[entry("k", 11)], 12),
            "in place of its own"
        );
        assert!(has(&store, "p", "a") && !has(&store, "p", "d"));
    }
}
