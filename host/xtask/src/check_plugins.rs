//! `cargo xtask check-plugins`: `weir plugin check` on every name of plugins.toml, with its corpus and its configuration, as
//! the author of any plugin would run it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::release;

/// Checks them all; fails if one is not right.
pub fn run(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join("plugins.toml"))?;
    let manifest: toml::Table = toml::from_str(&text)?;
    let weir = release::weir(root)?;
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for (name, entry) in &manifest {
        let key = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        checked += 1;
        let mut check = Command::new(&weir);
        check
            .args(["plugin", "check", key("wasm").context("no component")?])
            .current_dir(root);
        match key("kind").context("no kind")? {
            // It reads no answers, so there are no cases: a played host answers what it asks for.
            "request-processor" => {}
            kind => {
                let folder = format!("{}s", kind.replace('-', "_"));
                check.args(["--corpus", &format!("tests/corpora/{folder}/{name}")]);
            }
        }
        if let Some(config) = entry.get("config") {
            check.args(["--config", &serde_json::to_string(config)?]);
        }
        let output = check.output()?;
        let right = output.status.success();
        println!("{} {name}", if right { "ok   " } else { "wrong" });
        if !right {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            wrong.push(name.as_str());
        }
    }
    ensure!(wrong.is_empty(), "not right: {}", wrong.join(", "));
    println!("{checked} plugins are right");
    Ok(())
}
