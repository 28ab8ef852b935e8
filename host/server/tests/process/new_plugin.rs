//! `weir plugin new` and `weir plugin check`, with the example's component in place of one that is built here: builds in
//! every language are `cargo xtask guests`.

use std::{fs, path::Path, process::Stdio};

use crate::weir::{Ended, command, finish};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tool_parser");

fn weir(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = command(arguments);
    let child = command.current_dir(folder).stdin(Stdio::null()).spawn();
    finish(child.unwrap())
}

#[test]
fn the_example_is_what_a_new_rust_project_starts_with() {
    let folder = tempfile::tempdir().unwrap();
    let made = weir(folder.path(), &["plugin", "new", "hash_call"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let project = folder.path().join("hash_call");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let example = Path::new(EXAMPLE).join("src/lib.rs");
    assert_eq!(read(&project.join("src/lib.rs")), read(&example));
    let sdk = project.join("vendor/weir-plugin-sdk");
    assert!(sdk.join("src/component/guest.rs").exists());
    assert!(!read(&sdk.join("Cargo.toml")).contains("workspace"));
    let again = weir(folder.path(), &["plugin", "new", "hash_call"]);
    assert!(again.complaint().contains("hash_call"), "{}", again.stderr);
}

#[test]
fn its_corpus_is_kept_by_the_example_and_not_by_another() {
    let folder = tempfile::tempdir().unwrap();
    weir(folder.path(), &["plugin", "new", "hash_call"]);
    let check = |wasm: &str| {
        let corpus = ["--corpus", "hash_call/corpus"];
        let arguments = ["plugin", "check", wasm].into_iter().chain(corpus);
        weir(folder.path(), &arguments.collect::<Vec<_>>())
    };
    let good = check(&format!("{EXAMPLE}/hash_call.wasm"));
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    for label in [
        "contract",
        "imports",
        "functions",
        "corpus",
        "chunking",
        "markers",
        "cost",
    ] {
        let line = format!("ok     {label}");
        assert!(good.stdout.contains(&line), "{label}: {}", good.stdout);
    }
    let other = check(&format!("{EXAMPLE}/../../plugins/dist/qwen25.wasm"));
    assert_eq!(other.code, Some(1), "{}", other.stderr);
    assert!(other.stdout.contains("wrong  corpus"), "{}", other.stdout);
}
