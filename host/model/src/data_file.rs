//! A file that is read in pieces at known offsets, and the checks that every header of ours needs.
//!
//! Invariant: only regular files are opened (a pipe would block, a device has no end), and nothing is allocated for
//! bytes that the file does not have. Plain reads, no memory map: a map needs unsafe code.

use std::{
    fs::File,
    io::{self, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::error::ModelError;

/// No header is longer: the largest real ones hold a vocabulary or some 100,000 tensors in about 20 MB.
pub(crate) const HEADER_LIMIT: u64 = 100_000_000;

/// An open file and its length at that time.
#[derive(Debug)]
pub(crate) struct DataFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl DataFile {
    /// Opens a regular file, through symbolic links (model caches are made of them).
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let io_error = |source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        };
        if !std::fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(ModelError::File {
                path: path.to_path_buf(),
                reason: "is not a file".to_owned(),
            });
        }
        let file = File::open(path).map_err(io_error)?;
        let len = file.metadata().map_err(io_error)?.len();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            len,
        })
    }

    /// [`DataFile::open`], with None for a file that is not there.
    pub(crate) fn open_if_there(path: &Path) -> Result<Option<Self>, ModelError> {
        match Self::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(ModelError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `offset` on; an error, before any memory is taken, when the file has fewer.
    pub(crate) fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        match usize::try_from(len) {
            Ok(len) if inside => {
                let mut bytes = vec![0; len];
                self.file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// `count` pieces of `len` bytes, the first at `offset`, each `stride` bytes behind the one before, joined.
    pub(crate) fn read_pieces(
        &self,
        offset: u64,
        len: u64,
        stride: u64,
        count: usize,
    ) -> io::Result<Vec<u8>> {
        if len == stride {
            let all = len.checked_mul(count as u64);
            return self.read(offset, all.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        let mut bytes = Vec::new();
        for piece in 0..count as u64 {
            let start = piece
                .checked_mul(stride)
                .and_then(|skipped| offset.checked_add(skipped));
            bytes.extend(self.read(start.ok_or(io::ErrorKind::UnexpectedEof)?, len)?);
        }
        Ok(bytes)
    }

    /// Reads on from where the last reader stopped; the first begins at the beginning.
    pub(crate) fn reader(&self) -> BufReader<&File> {
        BufReader::new(&self.file)
    }

    /// The whole file as text, if it is no longer than `limit` bytes.
    pub(crate) fn read_text(&self, limit: u64) -> Result<String, ModelError> {
        if self.len > limit {
            return Err(self.refuse(format!("holds {} bytes, the limit is {limit}", self.len)));
        }
        let bytes = self.read(0, self.len).map_err(|source| ModelError::Io {
            path: self.path.clone(),
            source,
        })?;
        String::from_utf8(bytes).map_err(|_| self.refuse("is not UTF-8"))
    }

    /// An error about this file.
    pub(crate) fn refuse(&self, reason: impl AsRef<str>) -> ModelError {
        ModelError::File {
            path: self.path.clone(),
            reason: one_line(reason.as_ref()),
        }
    }
}

/// Longest name of a key, tensor or file that is accepted, in bytes; real ones have about a hundred.
const NAME_LIMIT: usize = 1024;

/// Checks a name from a file: it is going to stand in messages of one line.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > NAME_LIMIT {
        return Err(format!("holds a name of {} bytes", name.len()));
    }
    if name.contains(char::is_control) {
        return Err(format!("holds a name with a control character, {name:?}"));
    }
    Ok(())
}

/// Makes one line of bounded length of a message that quotes a file.
pub(crate) fn one_line(message: &str) -> String {
    let line = message.chars().flat_map(|char| {
        let control = char.is_control();
        let escaped = control.then(|| char.escape_default());
        escaped
            .into_iter()
            .flatten()
            .chain((!control).then_some(char))
    });
    line.take(2 * NAME_LIMIT).collect()
}
