//! What is kept, what is forgotten first, and that nothing is kept twice.

use serde_json::{Value, json};
use weir_protocol::ResponsesRequest;

use super::*;

const MINE: Tenant = Some([1; 32]);
const THEIRS: Tenant = Some([2; 32]);

fn items(ids: &[&str]) -> Vec<Arc<Item>> {
    let item = |id: &&str| json!({"id": id, "role": "user", "content": "x".repeat(100)});
    let input: Vec<Value> = ids.iter().map(item).collect();
    let body = json!({"input": input, "instructions": "there may be no item"});
    let request = ResponsesRequest::from_json(body).expect("reads");
    request.input.into_iter().map(Arc::new).collect()
}

fn response(id: &str, input: &[&str], previous: Option<Arc<StoredResponse>>) -> NewResponse {
    NewResponse {
        id: id.to_owned(),
        json: format!("{{\"id\":\"{id}\"}}"),
        input: items(input),
        output: Vec::new(),
        previous,
    }
}

fn store(max_responses: usize, max_bytes: usize) -> ResponseStore {
    ResponseStore::new(StoreLimits {
        max_responses,
        max_bytes,
        ttl: Duration::from_secs(60),
    })
}

fn kept(store: &ResponseStore, ids: &[&str]) -> Vec<bool> {
    let is_there = |id: &&str| {
        store
            .entries()
            .by_key
            .contains_key(&(MINE, (*id).to_owned()))
    };
    ids.iter().map(is_there).collect()
}

fn ids(items: &[Arc<Item>]) -> Vec<&str> {
    items.iter().filter_map(|item| item.id()).collect()
}

#[test]
fn the_least_recently_used_goes_first() {
    let store = store(2, usize::MAX);
    store.insert(MINE, response("a", &["1"], None));
    store.insert(MINE, response("b", &["2"], None));
    assert!(store.get(MINE, "a").is_some());
    store.insert(MINE, response("c", &["3"], None));
    assert_eq!(kept(&store, &["a", "b", "c"]), [true, false, true]);
}

#[test]
fn bytes_are_bounded_and_given_back() {
    let single = {
        let store = store(9, usize::MAX);
        store.insert(MINE, response("a", &["1"], None));
        store.bytes()
    };
    let store = store(9, 2 * single);
    for id in ["a", "b", "c"] {
        store.insert(MINE, response(id, &["1"], None));
    }
    assert_eq!(kept(&store, &["a", "b", "c"]), [false, true, true]);
    assert_eq!(store.bytes(), 2 * single);
    store.insert(MINE, response("huge", &["1", "2", "3"], None));
    assert_eq!(kept(&store, &["b", "c", "huge"]), [true, true, false]);
    assert_eq!(store.bytes(), 2 * single);
}

#[test]
fn a_chain_holds_each_item_once_and_outlives_its_beginning() {
    let store = store(2, usize::MAX);
    let mut previous = None;
    for (id, item) in [("a", "1"), ("b", "2"), ("c", "3")] {
        store.insert(MINE, response(id, &[item], previous));
        previous = store.get(MINE, id);
    }
    let last = previous.expect("stored");
    assert_eq!(kept(&store, &["a", "b", "c"]), [false, true, true]);
    assert_eq!(ids(&last.conversation()), ["1", "2", "3"]);
    assert_eq!(ids(&last.input()), ["1", "2", "3"]);
    let all = store.bytes();
    assert!(store.remove(MINE, "b") && !store.remove(MINE, "b"));
    assert_eq!(store.bytes(), all, "the chain is still needed");
    drop(last);
    assert!(store.remove(MINE, "c"));
    assert_eq!(store.bytes(), 0);
}

#[test]
fn a_long_chain_ends_without_recursion() {
    let store = store(1, usize::MAX);
    let mut previous = None;
    for _ in 0..100_000 {
        store.insert(MINE, response("a", &[], previous.take()));
        previous = store.get(MINE, "a");
    }
    assert_eq!(previous.expect("stored").conversation().len(), 0);
    assert!(store.remove(MINE, "a"));
    assert_eq!(store.bytes(), 0);
}

#[test]
fn nobody_sees_what_is_anothers() {
    let store = store(9, usize::MAX);
    store.insert(MINE, response("a", &["1"], None));
    assert!(store.get(THEIRS, "a").is_none() && store.get(None, "a").is_none());
    assert!(store.item(THEIRS, "1").is_none() && !store.remove(THEIRS, "a"));
    assert!(store.item(MINE, "1").is_some() && store.item(MINE, "2").is_none());
}

#[test]
fn what_is_old_or_too_much_is_not_found() {
    let old = ResponseStore::new(StoreLimits {
        ttl: Duration::ZERO,
        ..StoreLimits::default()
    });
    old.insert(MINE, response("a", &["1"], None));
    assert!(old.get(MINE, "a").is_none());
    assert_eq!(old.bytes(), 0);
    let off = store(0, usize::MAX);
    off.insert(MINE, response("a", &["1"], None));
    assert!(!off.is_on() && off.get(MINE, "a").is_none());
}
