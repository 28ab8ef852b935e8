//! A file of configuration or of keys: TOML, YAML or JSON by its name.

use std::path::{Path, PathBuf};

use figment::{
    Error, Metadata, Profile, Provider,
    providers::{Format as _, Json, Toml, Yaml},
    value::{Dict, Map},
};

use super::ConfigError;

/// A file that is there and of a known kind, as a layer of figment's. Read whenever its data are asked for.
pub(crate) struct FileLayer {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy)]
enum Format {
    Toml,
    Yaml,
    Json,
}

impl FileLayer {
    /// The file of this path.
    ///
    /// # Errors
    /// No file, or one whose name ends in none of the kinds.
    pub(crate) fn new(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |reason: &str| ConfigError::File {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if !path.is_file() {
            return Err(wrong("no such file"));
        }
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Format::Toml,
            Some("yaml" | "yml") => Format::Yaml,
            Some("json") => Format::Json,
            _ => {
                let reason = "a configuration file ends in .toml, .yaml, .yml or .json";
                return Err(wrong(reason));
            }
        };
        let path = path.to_owned();
        Ok(Self { path, format })
    }
}

impl Provider for FileLayer {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", self.path.as_path())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let data = match self.format {
            Format::Toml => Toml::file_exact(&self.path).data(),
            Format::Yaml => Yaml::file_exact(&self.path).data(),
            Format::Json => Json::file_exact(&self.path).data(),
        };
        // The rest of a message is the line at fault, and figment puts the path behind it.
        data.map_err(|error| Error::from(super::first_line(&error)))
    }
}
