//! Embeds plugins.toml and the components it names, so that one binary is all a user needs.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

fn main() {
    // Asked for when it runs: a target folder may have been built somewhere else.
    let root = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| panic!("not run by cargo"));
    let root = Path::new(&root).join("../..");
    let manifest_path = root.join("plugins.toml");
    let manifest = fs::read_to_string(&manifest_path)
        .unwrap_or_else(|error| panic!("{}: {error}", manifest_path.display()));
    println!("cargo::rerun-if-changed={}", manifest_path.display());
    let table: toml::Table =
        toml::from_str(&manifest).unwrap_or_else(|error| panic!("plugins.toml: {error}"));
    let mut arms = String::new();
    // Several names may stand for one component.
    let components: BTreeSet<&str> = table
        .values()
        .filter_map(|plugin| plugin.get("wasm")?.as_str())
        .collect();
    for wasm in components {
        let file = root.join(wasm);
        println!("cargo::rerun-if-changed={}", file.display());
        let _ = writeln!(
            arms,
            "        {wasm:?} => Some(include_bytes!({:?})),",
            file.display().to_string()
        );
    }
    let code = format!(
        "pub const MANIFEST: &str = include_str!({:?});\n\npub fn component(path: &str) -> Option<&'static [u8]> {{\n    match path {{\n{arms}        _ => None,\n    }}\n}}\n",
        manifest_path.display().to_string()
    );
    let out = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("embedded.rs");
    fs::write(&out, code).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}
