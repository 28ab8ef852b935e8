//! What was compiled before, in `target/cuda/objects`: a build that was cut off goes on where it stopped, and another choice of
//! kernels compiles only those that are new to it. cudaforge itself notes what it has only when all of it is there.
//!
//! A file is known by everything that decides what is in it: the compiler's version, the crate with its version, whose
//! sources never change, and the command line but for the places of what is written.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::plugins::sha256;

/// The folder, one for each version of the compiler; nothing is kept without it.
pub const FOLDER: &str = "XTASK_NVCC_OBJECTS";

/// Where a compiled file is kept.
pub struct Kept(PathBuf);

impl Kept {
    /// Of a command line that compiles `source`; None if nothing is kept.
    pub fn of(source: &str, arguments: &[OsString]) -> Option<Self> {
        let folder = env::var_os(FOLDER)?;
        let variable = |name| env::var(name).unwrap_or_default();
        let of = [variable("CARGO_PKG_NAME"), variable("CARGO_PKG_VERSION")];
        let name = format!("{source}-{}", &digest(&of, arguments)[..16]);
        Some(Self(Path::new(&folder).join(name)))
    }

    /// Puts the kept file in its place; false if there is none.
    pub fn bring(&self, to: &Path) -> Result<bool> {
        if !self.0.exists() {
            return Ok(false);
        }
        fs::copy(&self.0, to).with_context(|| to.display().to_string())?;
        Ok(true)
    }

    /// Keeps what was compiled: whole, or not at all.
    pub fn keep(&self, from: &Path) -> Result<()> {
        let folder = self.0.parent().context("a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let part = self
            .0
            .with_extension(format!("part-{}", std::process::id()));
        fs::copy(from, &part).with_context(|| from.display().to_string())?;
        fs::rename(&part, &self.0).with_context(|| self.0.display().to_string())
    }
}

fn digest(of: &[String], arguments: &[OsString]) -> String {
    let mut text = of.join("\n");
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "-o" || argument == "--output-directory" {
            arguments.next();
            continue;
        }
        text.push('\n');
        text.push_str(&argument.to_string_lossy());
    }
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        digest(&["kernels".to_owned()], &words)
    }

    #[test]
    fn only_places_of_what_is_written_make_no_difference() {
        let here = of("-O3 -c -o /here/a.o a.cu");
        assert_eq!(here, of("-O3 -c -o /there/b.o a.cu"));
        assert_eq!(
            of("--ptx --output-directory /here a.cu"),
            of("--ptx --output-directory /there a.cu")
        );
        assert_ne!(here, of("-O2 -c -o /here/a.o a.cu"));
        assert_ne!(here, of("-O3 -c -o /here/a.o b.cu"));
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = env::temp_dir().join(format!("xtask-objects-{}", std::process::id()));
        let kept = Kept(folder.join("kept/a.cu-0123"));
        let (made, wanted) = (folder.join("made.o"), folder.join("wanted.o"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&made, "object").unwrap();
        assert!(!kept.bring(&wanted).unwrap());
        kept.keep(&made).unwrap();
        assert!(kept.bring(&wanted).unwrap());
        assert_eq!(fs::read(&wanted).unwrap(), b"object");
        fs::remove_dir_all(folder).unwrap();
    }
}
