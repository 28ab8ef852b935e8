//! Templates of real models against what transformers renders with them, by hash: tests/corpora/chat_renderings, written by
//! tests/reference/chat_templates.py.
//!
//! The templates are not ours and not in the repository. `cargo xtask chat-templates` brings them into the cache; a family
//! whose template is not there is passed over, and nothing is ever downloaded here.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use weir_prompt::{ChatTemplate, Conversation, PromptError, SpecialTokens};

#[derive(Deserialize)]
struct Family {
    /// The file in the cache: a template, or a tokenizer configuration that holds one.
    file: PathBuf,
    sha256: String,
    special: SpecialTokens,
    now: i64,
    /// By conversation; those that transformers cannot render are missing.
    renderings: BTreeMap<String, Rendering>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rendering {
    Text(String),
    Refused(String),
}

#[test]
fn real_templates_render_as_in_transformers() {
    let mut compared = 0;
    for path in json_files("chat_renderings") {
        let family: Family = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let Ok(file) = fs::read_to_string(cache().join(&family.file)) else {
            println!("not in the cache: {}", family.file.display());
            continue;
        };
        let source = if family.file.extension().is_some_and(|e| e == "json") {
            let config: serde_json::Value = serde_json::from_str(&file).unwrap();
            config["chat_template"].as_str().unwrap().to_owned()
        } else {
            file
        };
        assert_eq!(sha256(&source), family.sha256, "{}", path.display());
        let template = ChatTemplate::new(&source, family.special)
            .unwrap()
            .with_fixed_time(family.now);
        for (name, expected) in &family.renderings {
            let conversation = conversation(name);
            let rendered = match template.render(&conversation) {
                Ok(text) => Rendering::Text(sha256(&text)),
                Err(PromptError::Template(words)) => Rendering::Refused(sha256(&words)),
                Err(error) => panic!("{} {name}: {error}", path.display()),
            };
            assert_eq!(&rendered, expected, "{} {name}", path.display());
            compared += 1;
        }
    }
    println!("{compared} renderings compared");
}

fn conversation(name: &str) -> Conversation {
    let path = corpora().join(format!("chat_conversations/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpora")
}

fn json_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpora().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Where tests/reference/packages.py unpacks what it fetches.
fn cache() -> PathBuf {
    let folder =
        |variable, under: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(under));
    folder("WEIR_CACHE", "reference")
        .or_else(|| folder("XDG_CACHE_HOME", "weir/reference"))
        .or_else(|| folder("HOME", ".cache/weir/reference"))
        .unwrap_or_default()
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
