//! Compiled components on disk, so that a start does not compile (83 ms each, ten seconds for one that
//! brings a language's runtime) what it compiled before.
//!
//! Invariants: a file is machine code, so nothing of it is trusted before its digest matched; the digest covers the
//! component it was compiled from and the engine's settings, so a file moved or altered is refused and compiled anew; files
//! appear whole or not at all. The folder belongs to this user alone: whoever can write there could recompute a digest, so
//! a folder open to others is not used. Not done here: old files are not swept.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

/// Length of a SHA-256 digest; a file opens with one.
const DIGEST_BYTES: usize = 32;

/// Opens every digest: a change of the layout makes old files strangers.
const LAYOUT: &[u8] = b"weir compiled component 1";

/// A folder of compiled components.
#[derive(Debug)]
pub(crate) struct ComponentCache {
    dir: PathBuf,
    /// Wasmtime's version, the target and every setting that shapes code.
    engine_key: u64,
}

impl ComponentCache {
    /// Uses this folder, making it when it is not there.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        create_private(dir)?;
        check_private(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            dir: dir.to_owned(),
            engine_key: hasher.finish(),
        })
    }

    /// The compiled form of the component with this digest, if a sound one is here.
    pub(crate) fn load(&self, wasm: &[u8; DIGEST_BYTES]) -> Option<Vec<u8>> {
        let path = self.path(wasm);
        let mut file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a cached component");
                return None;
            }
        };
        if !self.is_sound(wasm, &file) {
            tracing::warn!(path = %path.display(), "a cached component was altered; it is refused and compiled anew");
            return None;
        }
        file.drain(..DIGEST_BYTES);
        Some(file)
    }

    /// Keeps a compiled component. A failure costs the next start some time and is only warned about.
    pub(crate) fn store(&self, wasm: &[u8; DIGEST_BYTES], code: &[u8]) {
        let path = self.path(wasm);
        if let Err(error) = self.write(&path, wasm, code) {
            tracing::warn!(path = %path.display(), %error, "cannot cache a compiled component");
        }
    }

    fn write(&self, path: &Path, wasm: &[u8; DIGEST_BYTES], code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&self.digest(wasm, code))?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, wasm: &[u8; DIGEST_BYTES]) -> PathBuf {
        self.dir
            .join(format!("{}-{:016x}.cwasm", hex(wasm), self.engine_key))
    }

    fn is_sound(&self, wasm: &[u8; DIGEST_BYTES], file: &[u8]) -> bool {
        file.split_first_chunk::<DIGEST_BYTES>()
            .is_some_and(|(digest, code)| *digest == self.digest(wasm, code))
    }

    fn digest(&self, wasm: &[u8; DIGEST_BYTES], code: &[u8]) -> [u8; DIGEST_BYTES] {
        Sha256::new()
            .chain_update(LAYOUT)
            .chain_update(wasm)
            .chain_update(self.engine_key.to_le_bytes())
            .chain_update(code)
            .finalize()
            .into()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(unsafe_code)] // the one call that turns bytes into machine code
pub(crate) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: these bytes, already in memory, were compiled by this process, or hash to the digest written beside them when
    // this program compiled them, in a folder that only this user can write; the digest covers the engine's settings, which
    // wasmtime checks again.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Refuses a folder that others own or can write. A file made in it has this user's id, which tells who we are.
#[cfg(unix)]
fn check_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let folder = fs::metadata(dir)?;
    let ours = tempfile::tempfile_in(dir)?.metadata()?;
    if folder.uid() != ours.uid() {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    if folder.mode() & 0o022 != 0 {
        return Err(io::Error::other("other users can write to the folder"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}
