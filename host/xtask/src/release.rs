//! Programs of this checkout, most of them in the release profile, built before they are started, and what they find around them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// cargo on some targets of a package.
pub fn cargo(root: &Path, verb: &str, package: &str, targets: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args([verb, "--quiet", "--release", "-p", package])
        .args(targets)
        .current_dir(root)
        .stderr(Stdio::inherit());
    command
}

/// Builds some targets of a package.
pub fn build(root: &Path, package: &str, targets: &[&str]) -> Result<()> {
    let status = cargo(root, "build", package, targets).status()?;
    ensure!(status.success(), "{} does not build", targets.join(" "));
    Ok(())
}

/// The weir of this checkout.
pub fn weir(root: &Path) -> Result<PathBuf> {
    build(root, "weir-server", &["--bin", "weir"])?;
    Ok(root.join("target/release/weir"))
}

/// The binary that was given, else the weir of this checkout.
pub fn weir_or(given: Option<&Path>, root: &Path) -> Result<PathBuf> {
    given.map_or_else(|| weir(root), |given| Ok(given.to_owned()))
}

/// The weir of this checkout in the dev profile, with its assertions.
pub fn weir_with_assertions(root: &Path) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "-p", "weir-server", "--bin", "weir"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "weir does not build");
    Ok(root.join("target/debug/weir"))
}

/// An example of a package.
pub fn example(root: &Path, package: &str, name: &str) -> Result<PathBuf> {
    build(root, package, &["--example", name])?;
    Ok(root.join("target/release/examples").join(name))
}

/// Where the default model lies, by a weir that is built; fetched if it is not there.
pub fn default_model(weir: &Path) -> Result<String> {
    let mut pull = Command::new(weir);
    clean_environment(&mut pull);
    let output = pull.arg("pull").stderr(Stdio::inherit()).output();
    let output = output.with_context(|| weir.display().to_string())?;
    ensure!(
        output.status.success(),
        "the default model could not be fetched"
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Configuration of the caller's is not what is measured; the cache is no configuration.
pub fn clean_environment(command: &mut Command) {
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("WEIR_") && name != "WEIR_CACHE" {
            command.env_remove(&key);
        }
    }
}

/// weir's cache, where a weir finds it that is started from here.
pub fn cache_folder() -> PathBuf {
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let user = || {
        let cache =
            folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
        cache.unwrap_or_else(env::temp_dir).join("weir")
    };
    folder("WEIR_CACHE").unwrap_or_else(user)
}
