//! Documents that are read when the server starts: a request names one in place of sending it, and request processors that keep
//! something of a document have seen it by then.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use weir_protocol::Invalid;

/// A document that cannot be preloaded.
#[derive(Debug, Error)]
pub enum PreloadError {
    /// No text file.
    #[error("preload: {path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Two of one name.
    #[error("preload: two documents are called `{0}`, the name of their files without its ending")]
    Twice(String),
}

/// The documents by their names.
#[derive(Debug, Default)]
pub struct Preloaded(BTreeMap<String, Arc<str>>);

impl Preloaded {
    /// Reads text files; each is called as its file is, without the ending.
    ///
    /// # Errors
    /// The first that is no text, or has the name of another.
    pub fn read(paths: &[String]) -> Result<Self, PreloadError> {
        let mut documents = BTreeMap::new();
        for path in paths.iter().map(Path::new) {
            let failed = |reason: &str| PreloadError::File {
                path: path.to_owned(),
                reason: reason.to_owned(),
            };
            let text = fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
            if text.trim().is_empty() {
                return Err(failed("there is no text in it"));
            }
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name
                .ok_or_else(|| failed("its name is no text"))?
                .to_owned();
            if documents.insert(name.clone(), text.into()).is_some() {
                return Err(PreloadError::Twice(name));
            }
        }
        Ok(Self(documents))
    }

    /// The texts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text))
    }

    /// The document of this name.
    ///
    /// # Errors
    /// When there is none; the message names those that there are.
    pub fn named(&self, name: &str) -> Result<&Arc<str>, Invalid> {
        self.0.get(name).ok_or_else(|| {
            let mut known = self
                .0
                .keys()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>();
            if known.is_empty() {
                known.push("none; start the server with --preload FILE".to_owned());
            }
            let message = format!(
                "`document` names no preloaded document, got `{name}`; known: {}",
                known.join(", ")
            );
            Invalid::bad_value("document", message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &[u8]) -> String {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(&path, text).expect("it is written");
        path.display().to_string()
    }

    #[test]
    fn documents_are_called_as_their_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = file(folder.path(), "handbook.txt", "Hände weg.".as_bytes());
        let other = file(folder.path(), "b.md", b"text");
        let preloaded = Preloaded::read(&[one.clone(), other]).expect("they are read");
        assert_eq!(
            preloaded.named("handbook").map(|text| &**text),
            Ok("Hände weg.")
        );
        let error = preloaded.named("c").expect_err("nobody");
        assert!(
            error.message.ends_with("got `c`; known: `b`, `handbook`"),
            "{}",
            error.message
        );
        let twice = file(folder.path(), "more/handbook.md", b"x");
        let error = Preloaded::read(&[one, twice]).expect_err("two of them");
        assert!(error.to_string().contains("`handbook`"), "{error}");
        for (name, content) in [("empty", b" ".as_slice()), ("binary", b"\xff\x00")] {
            let path = file(folder.path(), name, content);
            let error = Preloaded::read(&[path]).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(Preloaded::read(&["/nowhere/x.txt".to_owned()]).is_err());
    }
}
