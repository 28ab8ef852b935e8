//! `cargo xtask plugins`: builds every first-party plugin into a component and pins it; `--check` proves that what is
//! checked in is what the source makes.
//!
//! The same compiler makes the same bytes from any folder, so the check compares bytes; with another compiler it compares
//! behaviour over the corpora, and says so. The example, a third party's plugin, is built as its README says;
//! its bytes are not compared.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml_edit::{DocumentMut, value};

mod component;
pub mod toolchain;

use toolchain::Toolchain;

const MANIFEST: &str = "plugins.toml";
const DIST: &str = "plugins/dist";
const RECORD: &str = "plugins/dist/toolchain.json";

/// Plugins that no user gets: crate, component, and the workspace and profile that build it.
const OTHER_PLUGINS: &[(&str, &str, Workspace)] = &[
    (
        "weir-plugin-hostile",
        "tests/hostile/dist/hostile.wasm",
        OURS,
    ),
    (
        "weir-plugin-hostile-request",
        "tests/hostile_request/dist/hostile_request.wasm",
        OURS,
    ),
    (
        "hash-call-parser",
        "examples/tool_parser/hash_call.wasm",
        Workspace {
            folder: "examples/tool_parser",
            profile: "release",
        },
    ),
];

const OURS: Workspace = Workspace {
    folder: ".",
    profile: "plugin",
};

/// What `cargo xtask plugins` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Change nothing; fail unless the checked-in components are what the source makes
    #[arg(long)]
    check: bool,
}

/// What made the components of the dist folder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    rustc: String,
    route: String,
}

/// Where a crate is built from.
#[derive(Debug, Clone, Copy)]
pub struct Workspace {
    folder: &'static str,
    profile: &'static str,
}

/// A plugin to build.
struct Plugin {
    crate_name: String,
    workspace: Workspace,
    /// The component's path in the checkout.
    wasm: PathBuf,
    /// Its tables in `plugins.toml`: the names that stand for it.
    entries: Vec<String>,
}

/// Builds and pins, or checks.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let manifest = fs::read_to_string(root.join(MANIFEST)).context(MANIFEST)?;
    let mut manifest: DocumentMut = manifest.parse().context(MANIFEST)?;
    let plugins = list(&manifest);
    if arguments.check {
        check_pins(root, &manifest, &plugins)?;
    }
    let toolchain = Toolchain::find(root)?;
    let record = Record {
        rustc: toolchain.version()?,
        route: toolchain.name().to_owned(),
    };
    println!("{} by {}", record.rustc, record.route);
    let components = build(root, &toolchain, &plugins)?;
    if arguments.check {
        let text = fs::read_to_string(root.join(RECORD)).context(RECORD)?;
        return check(root, &record, &serde_json::from_str(&text)?, &components);
    }
    for (plugin, component) in &components {
        write(&root.join(&plugin.wasm), component)?;
        for entry in &plugin.entries {
            manifest[entry]["sha256"] = value(sha256(component));
        }
    }
    fs::write(root.join(MANIFEST), manifest.to_string())?;
    let record = serde_json::to_string_pretty(&record)? + "\n";
    write(&root.join(RECORD), record.as_bytes())
}

/// Builds workspace by workspace, which have a target folder in common.
fn build<'a>(
    root: &Path,
    toolchain: &Toolchain,
    plugins: &'a [Plugin],
) -> Result<Vec<(&'a Plugin, Vec<u8>)>> {
    let mut components = Vec::new();
    for group in plugins.chunk_by(|a, b| a.workspace.folder == b.workspace.folder) {
        let crates = group.iter().map(|plugin| plugin.crate_name.as_str());
        let modules = toolchain.build(root, group[0].workspace, crates)?;
        for plugin in group {
            let module = modules.join(format!("{}.wasm", plugin.crate_name.replace('-', "_")));
            let module = fs::read(&module).with_context(|| module.display().to_string())?;
            let component = component::encode(&module).context(plugin.crate_name.clone())?;
            println!("{:>8} bytes  {}", component.len(), plugin.wasm.display());
            components.push((plugin, component));
        }
    }
    Ok(components)
}

/// The entries of the manifest whose component is in the dist folder, the tests' and the example's.
fn list(manifest: &DocumentMut) -> Vec<Plugin> {
    let mut ours: Vec<Plugin> = Vec::new();
    for (name, entry) in manifest.iter() {
        let wasm = entry.get("wasm").and_then(|wasm| wasm.as_str());
        let wasm = Path::new(wasm.unwrap_or_default());
        let Some(stem) = wasm.file_stem().filter(|_| wasm.starts_with(DIST)) else {
            continue;
        };
        match ours.iter_mut().find(|plugin| plugin.wasm == wasm) {
            Some(plugin) => plugin.entries.push(name.to_owned()),
            None => ours.push(Plugin {
                crate_name: format!("weir-plugin-{}", stem.to_string_lossy().replace('_', "-")),
                workspace: OURS,
                wasm: wasm.to_owned(),
                entries: vec![name.to_owned()],
            }),
        }
    }
    let others = OTHER_PLUGINS
        .iter()
        .map(|(crate_name, wasm, workspace)| Plugin {
            crate_name: (*crate_name).to_owned(),
            workspace: *workspace,
            wasm: PathBuf::from(wasm),
            entries: Vec::new(),
        });
    ours.into_iter().chain(others).collect()
}

/// Fails unless every component is the one its pin names.
fn check_pins(root: &Path, manifest: &DocumentMut, plugins: &[Plugin]) -> Result<()> {
    for plugin in plugins {
        let component =
            fs::read(root.join(&plugin.wasm)).with_context(|| plugin.wasm.display().to_string())?;
        let sha256 = sha256(&component);
        for entry in &plugin.entries {
            let pin = manifest[entry].get("sha256").and_then(|pin| pin.as_str());
            ensure!(
                pin == Some(&sha256),
                "[{entry}]: its pin in {MANIFEST} is not of {}; run `cargo xtask plugins`",
                plugin.wasm.display()
            );
        }
    }
    Ok(())
}

/// Compares what was built with what is checked in: bytes with the recorded compiler, behaviour with another.
fn check(
    root: &Path,
    record: &Record,
    recorded: &Record,
    components: &[(&Plugin, Vec<u8>)],
) -> Result<()> {
    if record != recorded {
        println!(
            "dist was made with {} by {}: comparing behaviour over the corpora, not bytes",
            recorded.rustc, recorded.route
        );
        return check_behaviour(root, components);
    }
    let mut differing = Vec::new();
    // A third party's crate depends on the SDK from outside its workspace, and there cargo hashes the folder's absolute
    // path into every name: only that it builds can be checked here, what it does is host/server/tests' to check.
    let ours = components
        .iter()
        .filter(|(plugin, _)| plugin.workspace.folder == OURS.folder);
    for (plugin, component) in ours {
        if fs::read(root.join(&plugin.wasm))? != *component {
            differing.push(plugin.wasm.display().to_string());
        }
    }
    ensure!(
        differing.is_empty(),
        "not what the source makes; run `cargo xtask plugins`: {}",
        differing.join(", ")
    );
    println!("dist is what the source makes, byte for byte");
    Ok(())
}

/// Runs the corpora with the components just built, as the tests do with those checked in.
fn check_behaviour(root: &Path, components: &[(&Plugin, Vec<u8>)]) -> Result<()> {
    let folder = root.join("target/plugins/dist");
    for (plugin, component) in components {
        let file = plugin.wasm.file_name().context("a component has a name")?;
        write(&folder.join(file), component)?;
    }
    let status = Command::new("cargo")
        .args(["test", "--quiet", "-p", "weir-tests"])
        .env("WEIR_DIST", &folder)
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("the components just built do not pass the corpora");
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// In hexadecimal, as pins are written.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
