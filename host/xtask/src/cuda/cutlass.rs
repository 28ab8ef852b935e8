//! CUTLASS where candle-flash-attn's build script looks for it, so that it fetches nothing from GitHub.
//!
//! cudaforge keeps checkouts as `git/checkouts/NAME-COMMIT` below `CUDAFORGE_HOME` and takes one as it is when its `include`
//! is there and `git rev-parse HEAD` says the commit. The headers of that commit are CUTLASS 3.5.0, which is on PyPI too.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::toolkit;

/// What candle-flash-attn 0.11 asks for (its build.rs).
const COMMIT: &str = "7d49e6c7e2f8896c47f586706e67e1fb215529dc";
const PACKAGES: &str = include_str!("cutlass.txt");
const VERSION: &str = "3.5.0";

/// A `CUDAFORGE_HOME` with the headers, in weir's cache folder; fetched the first time.
pub fn fetched() -> Result<PathBuf> {
    let folder = toolkit::cache_folder().join(format!("cutlass-{VERSION}"));
    toolkit::install(&folder, PACKAGES, "CUTLASS's headers, 4 MB")?;
    let home = folder.join("cudaforge");
    let source = folder.join("cutlass_library/source");
    checkout(&home, Some(&source))?;
    Ok(home)
}

/// One without any header, for a compiler that reads none.
pub fn empty(home: &Path) -> Result<()> {
    checkout(home, None)
}

fn checkout(home: &Path, source: Option<&Path>) -> Result<()> {
    let folder = home.join(format!("git/checkouts/cutlass-{}", &COMMIT[..16]));
    // What git needs to say the commit, and no more.
    for part in [".git/objects", ".git/refs", "tools/util"] {
        fs::create_dir_all(folder.join(part)).with_context(|| folder.display().to_string())?;
    }
    fs::write(folder.join(".git/HEAD"), format!("{COMMIT}\n"))?;
    for part in ["include", "tools/util/include"] {
        let place = folder.join(part);
        match source {
            _ if place.exists() => {}
            Some(source) => symlink(source.join(part), &place)?,
            None => fs::create_dir(&place)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn git_says_the_commit_of_an_empty_checkout() {
        let home = std::env::temp_dir().join(format!("xtask-cutlass-{}", std::process::id()));
        empty(&home).unwrap();
        empty(&home).unwrap();
        let folder = home.join("git/checkouts/cutlass-7d49e6c7e2f8896c");
        assert!(folder.join("include").is_dir());
        let said = Command::new("git")
            .args(["rev-parse", "HEAD"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), COMMIT);
        fs::remove_dir_all(home).unwrap();
    }
}
