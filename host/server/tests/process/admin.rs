//! The routes under /admin: what plugins there are, and a reload that says what it changed.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    client::tools,
    documented::check,
    weir::{Files, Server},
};

const QWEN25: &[u8] = include_bytes!("../../../../plugins/dist/qwen25.wasm");
const DEEPSEEK_V3: &[u8] = include_bytes!("../../../../plugins/dist/deepseek_v3.wasm");
const KEY: &str = "the-admins";

fn server(files: &Files) -> Server {
    let file = files.write("mine.wasm", QWEN25);
    let model = files.replay(&json!({"text": "hello"}).to_string());
    let plugin = format!("mine={}", file.display());
    let arguments = ["--model", &model, "--plugin", &plugin, "--admin-key", KEY];
    Server::start(&[&arguments[..], &["--tool-call-parser", "mine"]].concat())
}

fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("a file");
    fs::rename(new, path).expect("its place");
}

fn document(server: &Server) -> Value {
    server.get_bearing("/openapi.json", KEY).1
}

/// What the list says of a plugin.
fn listed(server: &Server, name: &str) -> Value {
    let (status, mut list) = server.get_bearing("/admin/plugins", KEY);
    assert_eq!(status, 200, "{list}");
    check(&document(server), "PluginList", &list);
    let plugins = list["plugins"].as_array_mut().unwrap();
    let found = plugins.iter_mut().find(|plugin| plugin["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).take()
}

#[test]
fn plugins_are_listed_with_what_they_did() {
    let files = Files::new();
    let server = server(&files);
    // The API itself asks for no key: none is configured for it.
    server.message("hi", tools());
    let mine = listed(&server, "mine");
    assert_eq!(
        (&mine["state"], &mine["kind"]),
        (&json!("loaded"), &json!("parser"))
    );
    assert_eq!(mine["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(mine["counters"]["sessions"], 1);
    assert_eq!(mine["counters"]["failures"], 0);
    let other = listed(&server, "deepseek_v3");
    assert_eq!(
        (&other["state"], &other["source"]),
        (&json!("not loaded"), &json!("built in"))
    );
    assert_eq!(server.get_bearing("/admin/plugins", "another").0, 401);
    assert!(server.silent_about(KEY));
}

#[test]
fn a_reload_says_what_changed_or_why_nothing_did() {
    let files = Files::new();
    let server = server(&files);
    let reload = || server.post_bearing("/admin/plugins/reload", KEY, &json!({}));
    assert_eq!(reload(), (200, json!({"changed": []})));

    let path = files.path().join("mine.wasm");
    replace(&path, DEEPSEEK_V3);
    let (status, answer) = reload();
    check(&document(&server), "PluginChanges", &answer);
    let change = &answer["changed"][0];
    assert_eq!((status, &change["name"]), (200, &json!("mine")), "{answer}");
    assert_ne!(change["before"]["sha256"], change["after"]["sha256"]);
    assert_eq!(listed(&server, "mine")["sha256"], change["after"]["sha256"]);

    replace(&path, b"no component");
    let (status, answer) = reload();
    let error = &answer["error"];
    assert_eq!(
        (status, &error["code"]),
        (409, &json!("plugins_not_reloaded"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`mine`") && message.contains("not WebAssembly"),
        "{message}"
    );
    let (_, list) = server.get_bearing("/admin/plugins", KEY);
    assert_eq!(list["reloads"], json!({"succeeded": 2, "failed": 1}));
}
