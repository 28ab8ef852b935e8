//! Folders of safetensors written by hand, well-formed or not.

use std::path::Path;

use weir_model::{ModelError, SafetensorsFolder};

/// A tensor to be written: name, type, shape and data.
pub type Stored<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// A folder with a config.json, removed when dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config.json", config);
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// Writes a well-formed shard, its tensors in the order given.
    pub fn shard(&self, name: &str, tensors: &[Stored<'_>]) {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(
                (*name).to_owned(),
                serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
            );
            data.extend_from_slice(bytes);
        }
        let header = serde_json::Value::Object(header).to_string();
        self.write(name, file(&header, &data));
    }

    pub fn index(&self, places: &[(&str, &str)]) {
        let map: serde_json::Map<_, _> = places
            .iter()
            .map(|&(name, shard)| (name.to_owned(), shard.into()))
            .collect();
        let index = serde_json::json!({"metadata": {"total_size": 8}, "weight_map": map});
        self.write("model.safetensors.index.json", index.to_string());
    }

    pub fn open(&self) -> Result<SafetensorsFolder, ModelError> {
        SafetensorsFolder::open(self.path())
    }
}

/// A file of a header and data.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
