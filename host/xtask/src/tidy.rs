//! `cargo xtask tidy`: the house rules that neither rustfmt nor clippy knows.
//!
//! Function length is clippy's `too_many_lines` (workspace lints); it is not counted again here.

use std::{fs, path::Path};

use anyhow::{Result, bail};

const MAX_LINES: usize = 500;
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    ".dockerignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "chat_templates",
    "clippy.toml",
    "examples",
    "host",
    "plugins",
    "plugins.toml",
    "rust-toolchain.toml",
    "tests",
    "wit",
];
const VAGUE_MODULES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

/// Checks every file git knows.
pub fn run(root: &Path) -> Result<()> {
    let files = tracked_files(root)?;
    let mut broken = Vec::new();
    for file in &files {
        check_top_level(file, &mut broken);
        if file.ends_with(".rs") {
            let text = fs::read_to_string(root.join(file))?;
            check_rust_file(file, &text, &mut broken);
        }
    }
    check_dependencies_are_explained(root, &mut broken)?;
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    println!("tidy: {} files keep the house rules", files.len());
    Ok(())
}

fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let output = std::process::Command::new("git")
        .args(["ls-files"])
        .current_dir(root)
        .output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed
        .lines()
        .filter(|file| root.join(file).exists())
        .map(str::to_owned)
        .collect())
}

fn check_top_level(file: &str, broken: &mut Vec<String>) {
    let top = file.split('/').next().unwrap_or(file);
    if !TOP_LEVEL.contains(&top) {
        broken.push(format!("{file}: `{top}` does not belong to the top level"));
    }
}

fn check_rust_file(file: &str, text: &str, broken: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MAX_LINES {
        broken.push(format!("{file}: {lines} lines, {MAX_LINES} at most"));
    }
    if !text.starts_with("//!") {
        broken.push(format!(
            "{file}: does not open with `//!` saying what it is for"
        ));
    }
    let stem = Path::new(file)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    if VAGUE_MODULES.contains(&stem.as_ref()) {
        broken.push(format!(
            "{file}: a module is named for what it holds, not `{stem}`"
        ));
    }
    let anyhow_is_fine = file.ends_with("main.rs")
        || file.ends_with("build.rs")
        || file.contains("xtask/")
        || file.contains("tests/")
        || file.contains("examples/")
        || file.contains("benches/");
    for (number, line) in text.lines().enumerate() {
        let todo = ["TO", "DO"].concat();
        if line.contains(&todo) && !line.contains(&format!("{todo}(#")) && !file.contains("xtask/")
        {
            broken.push(format!(
                "{file}:{}: a {todo} without an issue number",
                number + 1
            ));
        }
        if line.contains("anyhow::") && !anyhow_is_fine {
            broken.push(format!(
                "{file}:{}: anyhow is for main, xtask, tests and benches",
                number + 1
            ));
        }
    }
}

/// Every library of the workspace has its line in ARCHITECTURE.md.
fn check_dependencies_are_explained(root: &Path, broken: &mut Vec<String>) -> Result<()> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let names = manifest
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(|d| d.as_table())
        .into_iter()
        .flatten();
    for (name, _) in names.filter(|(name, _)| !name.starts_with("weir-")) {
        if !architecture.contains(&format!("`{name}`")) {
            broken.push(format!(
                "ARCHITECTURE.md: no line says why `{name}` is a dependency"
            ));
        }
    }
    Ok(())
}
