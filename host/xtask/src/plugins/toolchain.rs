//! The compilers that make wasm modules: rustup's with the wasm32 target, or Debian's.
//!
//! Debian's has no library for the bare target, so `core` and `alloc` are built along; that and leaving source locations
//! out are unstable options, which `RUSTC_BOOTSTRAP` allows. Both build into a target folder of their own, so that neither disturbs the host's.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::Workspace;

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "wasm-ld-19";
/// Locations of panics would put folders of the building machine into the module; a panic is a trap, nobody reads them.
const NO_LOCATIONS: &str = "-Zlocation-detail=none";
/// What the cargo that runs us, or its user, sets for a build with another compiler.
const FOREIGN_VARIABLES: &[&str] = &[
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A way to a wasm module.
pub enum Toolchain {
    /// The project's rustup toolchain has the target.
    Rustup,
    /// Debian's packages are installed.
    Debian,
}

impl Toolchain {
    /// The first one that is installed.
    ///
    /// # Errors
    /// When none is; the message names both ways to get one.
    pub fn find(root: &Path) -> Result<Self> {
        let targets = Command::new("rustup")
            .args(["target", "list", "--installed"])
            .current_dir(root)
            .output();
        if targets.is_ok_and(|o| {
            String::from_utf8_lossy(&o.stdout)
                .lines()
                .any(|t| t == TARGET)
        }) {
            return Ok(Self::Rustup);
        }
        let linker = Path::new("/usr/bin").join(DEBIAN_LINKER);
        if [Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_CARGO), &linker]
            .iter()
            .all(|tool| tool.exists())
        {
            return Ok(Self::Debian);
        }
        bail!(
            "no compiler for {TARGET}: `rustup target add {TARGET}`, or on Debian `apt-get install rustc-web cargo-web \
             rust-web-src libstd-rust-web-dev lld-19`"
        )
    }

    /// The route's name, for the record.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }

    /// What its compiler says it is.
    pub fn version(&self) -> Result<String> {
        let rustc = match self {
            Self::Rustup => "rustc",
            Self::Debian => DEBIAN_RUSTC,
        };
        let output = clean(rustc).arg("--version").output().context(rustc)?;
        ensure!(output.status.success(), "{rustc} --version failed");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Builds these crates of a workspace and returns the folder their modules are in.
    pub fn build<'a>(
        &self,
        root: &Path,
        workspace: Workspace,
        crates: impl Iterator<Item = &'a str>,
    ) -> Result<PathBuf> {
        let folder = root.join("target/plugins");
        let mut cargo = match self {
            Self::Rustup => clean("cargo"),
            Self::Debian => clean(DEBIAN_CARGO),
        };
        cargo
            .args(["build", "--locked", "--target", TARGET])
            .args(["--profile", workspace.profile])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", NO_LOCATIONS)
            .env("CARGO_TARGET_DIR", &folder)
            .current_dir(root.join(workspace.folder));
        if let Self::Debian = self {
            cargo
                .arg("-Zbuild-std=core,alloc")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
        }
        for name in crates {
            cargo.args(["-p", name]);
        }
        let status = cargo.status().context("cargo")?;
        ensure!(status.success(), "the plugins do not build");
        Ok(folder.join(TARGET).join(workspace.profile))
    }
}

/// A command without what is meant for another compiler.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in FOREIGN_VARIABLES {
        command.env_remove(variable);
    }
    command
}
