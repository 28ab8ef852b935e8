//! The page at `/`: who gets it, what the browser is told, and that nothing of it comes from elsewhere.

use std::{collections::BTreeSet, fs, path::Path};

use axum::{
    body::{Body, to_bytes},
    http::{Response, StatusCode},
};
use serde_json::Value;
use weir_server::ApiKey;

use crate::server::{Server, Setup, request, saying, send};

async fn get(server: &Server, path: &str) -> Response<Body> {
    let request = request("GET", path).body(Body::empty()).unwrap();
    send(&server.router, request).await
}

async fn text(server: &Server, path: &str) -> String {
    let response = get(server, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names of the page's files.
fn files() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

#[tokio::test]
async fn every_file_is_served_under_a_policy_that_lets_it_run_itself_alone() {
    let server = saying(&["a"]);
    for path in files().into_iter().map(|name| format!("/ui/{name}")) {
        let response = get(&server, &path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; "),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        for rule in [
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
    assert_eq!(
        get(&server, "/").await.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    assert_eq!(
        get(&server, "/ui/nothing.js").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let server = saying(&["a"]);
    let tag = get(&server, "/").await.headers()["etag"].clone();
    for sent in [
        tag.to_str().unwrap().to_owned(),
        format!("\"other\", W/{}", tag.to_str().unwrap()),
    ] {
        let again = request("GET", "/").header("if-none-match", sent);
        let response = send(&server.router, again.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers()["etag"], tag);
        assert!(to_bytes(response.into_body(), 1).await.unwrap().is_empty());
    }
    let other = request("GET", "/").header("if-none-match", "\"other\"");
    let response = send(&server.router, other.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// What stands between `mark` and the next quote, wherever it does.
fn quoted<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(mark).skip(1);
    parts.map(|part| part.split(['"', '\'']).next().unwrap_or_default())
}

#[tokio::test]
async fn the_page_names_its_own_files_and_no_others() {
    let server = saying(&["a"]);
    let page = text(&server, "/").await;
    let mut named: BTreeSet<String> = BTreeSet::new();
    for mark in ["src=\"", "href=\""] {
        named.extend(quoted(&page, mark).map(str::to_owned));
    }
    for target in named {
        let own = target
            .strip_prefix("ui/")
            .is_some_and(|file| files().contains(file));
        assert!(
            own || target.starts_with('#') || target == "docs",
            "{target}"
        );
    }
    assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"));
    for name in files().iter().filter(|name| name.ends_with(".js")) {
        let script = text(&server, &format!("/ui/{name}")).await;
        for imported in quoted(&script, "from './") {
            assert!(files().contains(imported), "{name} imports {imported}");
        }
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(!script.contains(forbidden), "{name}: {forbidden}");
        }
    }
}

#[tokio::test]
async fn the_corpus_cases_are_lines_of_weir_parse() {
    let cases: Vec<Value> =
        serde_json::from_str(&text(&saying(&["a"]), "/ui/cases.json").await).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        assert!(
            case["case"]["text"].is_string() && case["plugin"].is_string(),
            "{case}"
        );
    }
}

#[tokio::test]
async fn it_needs_no_key_and_can_be_switched_off() {
    let keyed = Setup::saying(&[&["a"]]);
    let keyed = keyed.settings(|settings| settings.keys = vec![ApiKey::plain("alice", "secret")]);
    let keyed = keyed.start();
    assert_eq!(get(&keyed, "/").await.status(), StatusCode::OK);
    for path in ["/parse", "/v1/models"] {
        assert_eq!(
            get(&keyed, path).await.status(),
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    let without = Setup::saying(&[&["a"]])
        .settings(|settings| settings.ui = false)
        .start();
    for path in ["/", "/ui/app.js"] {
        assert_eq!(
            get(&without, path).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}
