//! GGUF files written by hand, byte for byte, well-formed or not.

use std::path::PathBuf;

use weir_model::{GgufFile, ModelError};

/// Numbers of value types.
pub const U8: u32 = 0;
pub const U32: u32 = 4;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A metadata value: its key, the number of its type, its bytes.
pub fn value(key: &str, number: u32, bytes: &[u8]) -> Vec<u8> {
    [&string(key), &number.to_le_bytes()[..], bytes].concat()
}

/// An array with a count that may lie.
pub fn array(key: &str, element: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    let head = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
    value(key, ARRAY, &[&head, bytes].concat())
}

/// A tensor, its dimensions in the order of the file, innermost first.
pub fn tensor(name: &str, dimensions: &[u64], number: u32, offset: u64) -> Vec<u8> {
    let mut bytes = string(name);
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(number.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// A file of version 3: its values, its tensors, then `data` bytes from the next multiple of 32 on.
pub fn file(values: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((values.len() as u64).to_le_bytes());
    bytes.extend([values.concat(), tensors.concat()].concat());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend((0..data).map(|at| at as u8));
    bytes
}

/// A file with a value of every kind and tensors of 32 F32 and, as one block, 32 Q8_0.
pub fn well_formed() -> Vec<u8> {
    let strings = [string("a"), string("")].concat();
    file(
        &[
            value("general.architecture", STRING, &string("llama")),
            value("general.alignment", U32, &32u32.to_le_bytes()),
            value("flag", BOOL, &[1]),
            array("tokens", STRING, 2, &strings),
            array("pattern", BOOL, 2, &[0, 1]),
            array("counts", U8, 3, &[1, 2, 255]),
        ],
        &[tensor("a", &[8, 2, 2], 0, 0), tensor("b", &[32], 8, 128)],
        128 + 34,
    )
}

/// A file in a folder of its own, removed when dropped.
pub struct Written {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

pub fn write(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    Written {
        _folder: folder,
        path,
    }
}

pub fn open(bytes: &[u8]) -> Result<GgufFile, ModelError> {
    GgufFile::open(&write(bytes).path)
}
