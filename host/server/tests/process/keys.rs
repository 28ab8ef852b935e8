//! Keys in a file: made by a command, borne by a client, changed under a running server, and never in a log.

use serde_json::json;

use crate::{
    client::chat_body,
    weir::{Files, Server, run},
};

const CHAT: &str = "/v1/chat/completions";

/// A key of this name and its entry.
fn new_key(name: &str) -> (String, String) {
    let ended = run(["key", "new", name]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let key = ended.stderr.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(key.starts_with("sk-weir-") && !ended.stdout.contains(&key));
    (key, ended.stdout)
}

#[test]
fn a_key_is_made_borne_and_taken_away() {
    let files = Files::new();
    let (alice, entry) = new_key("alice");
    let (bob, other) = new_key("bob");
    let file = files.write("keys.toml", entry + "requests_per_minute = 1\n");
    let model = files.replay(&json!({"text": "hello"}).to_string());
    let server = Server::start(&["--model", &model, "--api-key-file", file.to_str().unwrap()]);
    let body = chat_body("hi", json!({}));

    assert_eq!(server.chat("hi", json!({})).0, 401);
    assert_eq!(server.post_bearing(CHAT, &alice, &body).0, 200);
    assert!(server.logged("status=200").contains("caller=\"alice\""));
    assert_eq!(server.post_bearing(CHAT, &alice, &body).0, 429);
    assert_eq!(server.post_bearing(CHAT, &bob, &body).0, 401);

    files.write("keys.toml", "[[keys]]\nname = 'bob'\n");
    let line = server.logged("API keys not reloaded");
    assert!(line.contains("`bob` needs either sha256 or key"), "{line}");
    assert_eq!(
        server.post_bearing(CHAT, &bob, &body).0,
        401,
        "those of before stay"
    );

    files.write("keys.toml", other);
    server.logged("API keys reloaded");
    assert_eq!(server.post_bearing(CHAT, &bob, &body).0, 200);
    assert_eq!(server.post_bearing(CHAT, &alice, &body).0, 401);
    assert!(server.silent_about(&alice) && server.silent_about(&bob));
}

#[test]
fn a_name_that_no_key_can_have_is_refused() {
    let ended = run(["key", "new", "a b"]);
    assert!(ended.complaint().contains("`a b` names no key"));
}
