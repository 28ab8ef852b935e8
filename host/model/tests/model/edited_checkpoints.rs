//! The tiny checkpoints of tests/tiny_models with something changed: a folder's config.json or the names of its tensors,
//! a GGUF file's metadata or tensors.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use candle_core::{
    Device,
    quantized::{
        QTensor,
        gguf_file::{Content, Value as Metadata, write},
    },
};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// The folder that all are in.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models")
}

/// What is in a folder, ordered by name.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

pub fn config(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A folder's files with another config.json.
pub fn with_config(folder: &Path, config: &Value) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in entries(folder).into_iter().filter(|file| file.is_file()) {
        let name = file.file_name().unwrap();
        if name != "config.json" {
            std::fs::copy(&file, copy.path().join(name)).unwrap();
        }
    }
    std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    copy
}

/// A tiny model's folder with keys of its config.json set, or taken out where the change holds the string `ABSENT`.
pub fn changed(model: &str, changes: &Value) -> TempDir {
    let folder = root().join(model);
    let mut config = config(&folder);
    let keys = config.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("ABSENT") => drop(keys.remove(key)),
            _ => drop(keys.insert(key.clone(), value.clone())),
        }
    }
    with_config(&folder, &config)
}

/// Rewrites the header of a folder's model.safetensors, and puts four bytes more behind its data.
pub fn with_header(folder: &TempDir, edit: impl FnOnce(&mut Map<String, Value>, usize)) {
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    edit(header.as_object_mut().unwrap(), data.len());
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(&path, [&length, header.as_bytes(), data, &[0; 4]].concat()).unwrap();
}

/// A GGUF file in memory.
pub struct Gguf {
    pub metadata: Vec<(String, Metadata)>,
    pub tensors: Vec<(String, QTensor)>,
}

impl Gguf {
    pub fn read(path: &Path) -> Self {
        let mut file = File::open(path).unwrap();
        let content = Content::read(&mut file).unwrap();
        let mut names: Vec<_> = content.tensor_infos.keys().cloned().collect();
        names.sort();
        let mut tensor = |name: &String| content.tensor(&mut file, name, &Device::Cpu).unwrap();
        let tensors = names
            .iter()
            .map(|name| (name.clone(), tensor(name)))
            .collect();
        let mut metadata: Vec<_> = content.metadata.into_iter().collect();
        metadata.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { metadata, tensors }
    }

    pub fn set(&mut self, key: &str, value: Metadata) {
        self.metadata.retain(|(existing, _)| existing != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub fn write(&self, path: &Path) {
        let names: Vec<&str> = self.tensors.iter().map(|(name, _)| name.as_str()).collect();
        self.write_as(path, &self.metadata, &names);
    }

    /// Writes other metadata, and the tensors under other names.
    pub fn write_as(&self, path: &Path, metadata: &[(String, Metadata)], names: &[&str]) {
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        let tensors = self.tensors.iter().map(|(_, tensor)| tensor);
        let tensors: Vec<_> = names.iter().copied().zip(tensors).collect();
        write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
    }
}
