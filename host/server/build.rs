//! Embeds plugins.toml and the components it names, and what `weir plugin new` writes, so that one binary is all a user
//! needs.

use std::{
    collections::BTreeSet,
    env,
    fmt::{Display, Write as _},
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

fn main() {
    // Asked for when it runs: a target folder may have been built somewhere else.
    let root = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| panic!("not run by cargo"));
    let root = Path::new(&root).join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    write(&out.join("embedded.rs"), &plugins(&root));
    write(&out.join("project.rs"), &project(&root, &out));
}

/// The manifest, and its components by path.
fn plugins(root: &Path) -> String {
    let manifest_path = root.join("plugins.toml");
    let table = table(&manifest_path);
    let mut arms = String::new();
    // Several names may stand for one component.
    let components: BTreeSet<&str> = table
        .values()
        .filter_map(|plugin| plugin.get("wasm")?.as_str())
        .collect();
    for wasm in components {
        let file = watched(&root.join(wasm));
        let _ = writeln!(arms, "        {wasm:?} => Some(include_bytes!({file:?})),");
    }
    let manifest = watched(&manifest_path);
    format!(
        "pub const MANIFEST: &str = include_str!({manifest:?});\n\npub fn component(path: &str) -> Option<&'static [u8]> {{\n    match path {{\n{arms}        _ => None,\n    }}\n}}\n"
    )
}

/// The templates, the contracts and the SDKs.
fn project(root: &Path, out: &Path) -> String {
    let templates = root.join("host/server/templates/plugin");
    let sdk = |name: &str| {
        let folder = root.join("plugins").join(name);
        let manifest = out.join(format!("{name}.toml"));
        write(&manifest, &standalone(root, &folder.join("Cargo.toml")));
        let mut sources = files(&folder.join("src"), "src/");
        sources.push(("Cargo.toml".to_owned(), manifest));
        list(&sources)
    };
    let wit = watched(&root.join("wit/v0.1/plugin.wit"));
    let request_wit = watched(&root.join("wit/request-v0.1/request.wit"));
    format!(
        "pub const WIT: &str = include_str!({wit:?});\npub const REQUEST_WIT: &str = include_str!({request_wit:?});\n\
         pub const TEMPLATES: &[(&str, &str)] = &[{}];\npub const SDK: &[(&str, &str)] = &[{}];\n\
         pub const REQUEST_SDK: &[(&str, &str)] = &[{}];\n",
        list(&files(&templates, "")),
        sdk("sdk"),
        sdk("request_sdk")
    )
}

/// All files below a folder, with their paths in it behind this prefix, sorted.
fn files(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| fail(folder, error)) {
        let path = entry.unwrap_or_else(|error| fail(folder, error)).path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            found.extend(files(&path, &format!("{prefix}{name}/")));
        } else {
            found.push((format!("{prefix}{name}"), path));
        }
    }
    found.sort();
    found
}

fn list(files: &[(String, PathBuf)]) -> String {
    let mut text = String::new();
    for (name, path) in files {
        let _ = write!(text, "({name:?}, include_str!({:?})),", watched(path));
    }
    text
}

/// An SDK's manifest without the workspace: what it inherits from there is written out.
fn standalone(root: &Path, path: &Path) -> String {
    let workspace = table(&root.join("Cargo.toml"));
    let mut manifest = table(path);
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    inherit(&mut manifest, "package", &workspace["workspace"]["package"]);
    let libraries = &workspace["workspace"]["dependencies"];
    inherit(&mut manifest, "dependencies", libraries);
    if let Some(targets) = manifest.get_mut("target").and_then(Value::as_table_mut) {
        for (_, target) in targets {
            if let Some(target) = target.as_table_mut() {
                inherit(target, "dependencies", libraries);
            }
        }
    }
    manifest.to_string()
}

/// Replaces every `KEY.workspace = true` of this section.
fn inherit(table: &mut Table, section: &str, from: &Value) {
    let Some(section) = table.get_mut(section).and_then(Value::as_table_mut) else {
        return;
    };
    for (key, value) in section.iter_mut() {
        if value.get("workspace").is_some() {
            *value = from[key.as_str()].clone();
            // Of ours there is only the SDK, which stands beside it there.
            if let Some(path) = value.get_mut("path") {
                *path = Value::String(format!("../{key}"));
            }
        }
    }
}

fn table(path: &Path) -> Table {
    let text = fs::read_to_string(watched(path)).unwrap_or_else(|error| fail(path, error));
    toml::from_str(&text).unwrap_or_else(|error| fail(path, error))
}

/// The path, of which cargo is told.
fn watched(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    path.display().to_string()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| fail(path, error));
}

fn fail<T>(path: &Path, error: impl Display) -> T {
    panic!("{}: {error}", path.display())
}
