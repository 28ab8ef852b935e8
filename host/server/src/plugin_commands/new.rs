//! `weir plugin new`: a project for a plugin of one's own, which builds with what its README says and nothing of weir's but
//! the binary.
//!
//! The files stand under `templates/plugin`; in them `{{name}}` and a few more words are filled in. A Rust project brings
//! the SDK along, which no registry has; a C project brings the bindings that wit-bindgen makes of the contract.

use std::{fs, path::Path};

use wit_bindgen_core::{Files, wit_parser::Resolve};

use super::PluginCommandError;
use crate::cli::{NewKind, NewLanguage};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/project.rs"));
}

/// Names that would be taken for something else: words of Rust, and crates every Rust program has.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "weir_plugin_request_sdk",
    "weir_plugin_sdk",
    "where",
    "while",
    "yield",
];

const LONGEST_NAME: usize = 40;

/// The contracts, where the SDKs look for them too.
const WIT: &str = "wit/v0.1/plugin.wit";
const REQUEST_WIT: &str = "wit/request-v0.1/request.wit";

/// Writes a project into `folder`/`name`, which is not there yet, and says how to go on.
///
/// # Errors
/// [`PluginCommandError::Name`], [`PluginCommandError::Language`], or a file that cannot be written.
pub(super) fn new(
    folder: &Path,
    name: &str,
    kind: NewKind,
    language: NewLanguage,
) -> Result<String, PluginCommandError> {
    if !is_name(name) {
        return Err(PluginCommandError::Name(name.to_owned()));
    }
    if kind == NewKind::RequestProcessor && language != NewLanguage::Rust {
        return Err(PluginCommandError::Language);
    }
    let project = folder.join(name);
    // Fails when something of this name is there: nothing of the user's is ever overwritten.
    fs::create_dir(&project).map_err(|error| PluginCommandError::file(&project, error))?;
    for (path, content) in files(name, kind, language) {
        let path = project.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| PluginCommandError::file(folder, error))?;
        }
        fs::write(&path, content).map_err(|error| PluginCommandError::file(&path, error))?;
    }
    let project = project.display();
    Ok(format!(
        "{project}: a plugin that works; {project}/README.md says how to build, check and use it\n"
    ))
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !TAKEN.contains(&name)
}

/// The project's files: paths and contents.
fn files(name: &str, kind: NewKind, language: NewLanguage) -> Vec<(String, Vec<u8>)> {
    let (stem, folder) = match (language, kind) {
        (NewLanguage::Rust, NewKind::RequestProcessor) => ("src/lib", "rust_request"),
        (NewLanguage::Rust, _) => ("src/lib", "rust"),
        (NewLanguage::Python, _) => ("plugin", "python"),
        (NewLanguage::Javascript, _) => ("plugin", "javascript"),
        (NewLanguage::C, _) => ("plugin", "c"),
    };
    const KINDS: [&str; 3] = ["parser", "post_processor", "request_processor"];
    let own = match kind {
        NewKind::Parser => KINDS[0],
        NewKind::PostProcessor => KINDS[1],
        NewKind::RequestProcessor => KINDS[2],
    };
    let mut files = vec![(WIT.to_owned(), embedded::WIT.as_bytes().to_vec())];
    for (path, text) in embedded::TEMPLATES {
        let path = match path.split_once('/') {
            Some(("corpus", file)) => format!("corpus/{file}"),
            Some((of, file)) if of == folder => file.to_owned(),
            _ => continue,
        };
        // One file a kind: `parser.py` is the parser's `plugin.py`. A post-processor has nothing to do with JSON.
        let is_of = |kind: &str| {
            let file = path.rsplit('/').next().unwrap_or_default();
            file.starts_with(&format!("{kind}."))
        };
        let of_other = KINDS.iter().any(|kind| *kind != own && is_of(kind));
        if of_other || (kind == NewKind::PostProcessor && path.starts_with("json.")) {
            continue;
        }
        let path = match path.strip_prefix(&format!("{own}.")) {
            Some(extension) => format!("{stem}.{extension}"),
            None => path.replace(&format!("{own}."), "first."),
        };
        files.push((path, filled_in(text, name, kind).into_bytes()));
    }
    match language {
        NewLanguage::Rust => {
            files.extend(vendored("weir-plugin-sdk", embedded::SDK));
            if kind == NewKind::RequestProcessor {
                files.push((REQUEST_WIT.to_owned(), embedded::REQUEST_WIT.into()));
                files.extend(vendored("weir-plugin-request-sdk", embedded::REQUEST_SDK));
            }
        }
        NewLanguage::C => files.extend(c_bindings(kind)),
        NewLanguage::Python | NewLanguage::Javascript => {}
    }
    files
}

/// The sources of one of our crates, where the project's manifest looks for it.
fn vendored(
    name: &'static str,
    sources: &'static [(&str, &str)],
) -> impl Iterator<Item = (String, Vec<u8>)> {
    let file = move |(path, text): &(&str, &str)| {
        let path = format!("vendor/{name}/{path}");
        (path, text.as_bytes().to_vec())
    };
    sources.iter().map(file)
}

fn filled_in(text: &str, name: &str, kind: NewKind) -> String {
    let words = match kind {
        NewKind::Parser => [
            ("{{kind}}", "parser"),
            ("{{world}}", "parser-plugin"),
            ("{{bindings}}", "parser_plugin"),
            ("{{flag}}", "--tool-call-parser"),
            ("{{sources}}", "plugin.c json.c libc/libc.c"),
            ("{{text}}", r"Looking.\n#call now {}\n"),
            (
                "{{what}}",
                "takes a line `#call NAME {arguments}` for a tool call and every other line for content",
            ),
        ],
        NewKind::PostProcessor => [
            ("{{kind}}", "post-processor"),
            ("{{world}}", "post-processor-plugin"),
            ("{{bindings}}", "post_processor_plugin"),
            ("{{flag}}", "--post-processor"),
            ("{{sources}}", "plugin.c libc/libc.c"),
            ("{{text}}", r"Done.  \n\n"),
            (
                "{{what}}",
                "leaves out the white space at the end of an answer",
            ),
        ],
        NewKind::RequestProcessor => [
            ("{{kind}}", "request-processor"),
            ("{{world}}", "request-processor-plugin"),
            ("{{bindings}}", "request_processor_plugin"),
            ("{{flag}}", "--request-processor"),
            ("{{sources}}", ""),
            ("{{text}}", ""),
            (
                "{{what}}",
                "leaves out the oldest messages of a conversation that is longer than the context",
            ),
        ],
    };
    let named = text.replace("{{name}}", name);
    words
        .into_iter()
        .fold(named, |text, (word, with)| text.replace(word, with))
}

/// What wit-bindgen makes of the contract for C. The contract is our own and part of the binary: this cannot fail.
fn c_bindings(kind: NewKind) -> Vec<(String, Vec<u8>)> {
    let mut files = Files::default();
    let mut resolve = Resolve::default();
    let world = filled_in("{{world}}", "", kind);
    let made = resolve
        .push_str("plugin.wit", embedded::WIT)
        .and_then(|package| resolve.select_world(&[package], Some(&world)))
        .and_then(|world| {
            wit_bindgen_c::Opts::default()
                .build()
                .generate(&mut resolve, world, &mut files)
        });
    debug_assert!(made.is_ok(), "{made:?}");
    files
        .iter()
        .map(|(path, bytes)| (format!("bindings/{path}"), bytes.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_language_takes() {
        for name in ["a", "hash_call", "acme2"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for name in [
            "", "2a", "_a", "A", "a-b", "a/b", "..", "fn", "core", "a b", "é", &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for kind in [NewKind::Parser, NewKind::PostProcessor] {
            for language in [
                NewLanguage::Rust,
                NewLanguage::Python,
                NewLanguage::Javascript,
                NewLanguage::C,
            ] {
                let files = files("mine", kind, language);
                let named = |wanted: &str| files.iter().any(|(path, _)| path == wanted);
                assert!(named("README.md") && named("corpus/first.toml") && named(WIT));
                let own = files.iter().filter(|(path, _)| !path.starts_with("vendor"));
                for (path, content) in own {
                    let text = String::from_utf8_lossy(content);
                    assert!(!text.contains("{{") || path.ends_with(".rs"), "{path}");
                }
            }
        }
    }

    #[test]
    fn a_request_processors_project_has_both_sdks_and_no_corpus() {
        let files = files("mine", NewKind::RequestProcessor, NewLanguage::Rust);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        for path in [
            "README.md",
            "Cargo.toml",
            "src/lib.rs",
            WIT,
            REQUEST_WIT,
            "vendor/weir-plugin-sdk/Cargo.toml",
            "vendor/weir-plugin-request-sdk/src/lib.rs",
        ] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("corpus")));
        for (path, content) in &files {
            let text = String::from_utf8_lossy(content);
            assert!(path.starts_with("vendor") || !text.contains("{{"), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let python = new(
            folder.path(),
            "mine",
            NewKind::RequestProcessor,
            NewLanguage::Python,
        );
        assert!(matches!(python, Err(PluginCommandError::Language)));
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = || new(folder.path(), "mine", NewKind::Parser, NewLanguage::Python);
        made().unwrap();
        fs::write(folder.path().join("mine/plugin.py"), "mine").unwrap();
        assert!(matches!(made(), Err(PluginCommandError::File { .. })));
        let kept = fs::read_to_string(folder.path().join("mine/plugin.py")).unwrap();
        assert_eq!(kept, "mine");
    }
}
