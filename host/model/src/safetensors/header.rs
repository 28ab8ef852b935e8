//! The header of one safetensors file: eight bytes of length (little endian), then a JSON object from tensor names to
//! type, shape and place in the data behind it (format: the README of github.com/huggingface/safetensors).
//!
//! Parsed here and not by the `safetensors` crate: its check wants the whole file in one buffer, it takes the last of
//! two tensors of one name, and its errors do not say which tensor is at fault.
//! Invariant: tensors that come out lie inside the file side by side, as long as shape and type say, all of the data
//! and nothing twice. Data is not looked at.

use std::{collections::HashSet, fmt};

use candle_core::DType;
use serde::{
    Deserialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use crate::{
    data_file::{DataFile, HEADER_LIMIT, check_name},
    error::ModelError,
};

/// An element type of the format.
#[derive(Debug, PartialEq)]
pub(super) struct ElementType {
    pub(super) name: &'static str,
    pub(super) bits: u64,
    /// What candle calls it, for the types we widen to f32.
    pub(super) candle: Option<DType>,
}

const fn element_type(name: &'static str, bits: u64, candle: Option<DType>) -> ElementType {
    ElementType { name, bits, candle }
}

const ELEMENT_TYPES: &[ElementType] = &[
    element_type("F32", 32, Some(DType::F32)),
    element_type("F16", 16, Some(DType::F16)),
    element_type("BF16", 16, Some(DType::BF16)),
    element_type("F8_E4M3", 8, Some(DType::F8E4M3)),
    element_type("BOOL", 8, None),
    element_type("F4", 4, None),
    element_type("F6_E2M3", 6, None),
    element_type("F6_E3M2", 6, None),
    element_type("U8", 8, None),
    element_type("I8", 8, None),
    element_type("F8_E5M2", 8, None),
    element_type("F8_E8M0", 8, None),
    element_type("F8_E4M3FNUZ", 8, None),
    element_type("F8_E5M2FNUZ", 8, None),
    element_type("I16", 16, None),
    element_type("U16", 16, None),
    element_type("I32", 32, None),
    element_type("U32", 32, None),
    element_type("C64", 64, None),
    element_type("F64", 64, None),
    element_type("I64", 64, None),
    element_type("U64", 64, None),
];

/// A tensor and where it lies.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) dtype: &'static ElementType,
    /// Outermost dimension first; empty for a scalar.
    pub(super) shape: Vec<usize>,
    /// Its first byte, counted from the beginning of the file.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Reads the header of a file.
pub(super) fn read(file: &DataFile) -> Result<Vec<(String, StoredTensor)>, ModelError> {
    let unreadable = |source| ModelError::Io {
        path: file.path().to_path_buf(),
        source,
    };
    if file.len() < 8 {
        return Err(file.refuse("is shorter than the length of a header"));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&file.read(0, 8).map_err(unreadable)?);
    let length = u64::from_le_bytes(length);
    if length > HEADER_LIMIT || length > file.len() - 8 {
        return Err(file.refuse(format!(
            "is no safetensors file: a header of {length} bytes in a file of {}",
            file.len()
        )));
    }
    let header = file.read(8, length).map_err(unreadable)?;
    let header =
        std::str::from_utf8(&header).map_err(|_| file.refuse("the header is not UTF-8"))?;
    let header: Header = serde_json::from_str(header)
        .map_err(|error| file.refuse(format!("the header: {error}")))?;
    place(header, 8 + length, file.len()).map_err(|reason| file.refuse(reason))
}

/// Checks that the tensors tile the bytes from `start` to `end`.
fn place(header: Header, start: u64, end: u64) -> Result<Vec<(String, StoredTensor)>, String> {
    let mut entries = header.0;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut offset = start;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let tensor =
            check(entry, start, offset, end).map_err(|reason| format!("tensor {name} {reason}"))?;
        offset += tensor.bytes;
        tensors.push((name, tensor));
    }
    if offset != end {
        return Err(format!("{} bytes behind the last tensor", end - offset));
    }
    Ok(tensors)
}

/// Checks one tensor that must begin at `offset`, in data from `start` to `end`.
fn check(entry: Entry, start: u64, offset: u64, end: u64) -> Result<StoredTensor, String> {
    let dtype = ELEMENT_TYPES
        .iter()
        .find(|known| known.name == entry.dtype)
        .ok_or_else(|| format!("is of the unknown type {:?}", entry.dtype))?;
    let shape = &entry.shape;
    let bits = shape
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size as u64))
        .and_then(|elements| elements.checked_mul(dtype.bits))
        .ok_or_else(|| format!("has shape {shape:?}, more elements than can be counted"))?;
    let (first, last) = entry.data_offsets;
    if last
        .checked_sub(first)
        .and_then(|bytes| bytes.checked_mul(8))
        != Some(bits)
    {
        return Err(format!(
            "of type {} and shape {shape:?} cannot lie at bytes {first} to {last}",
            dtype.name
        ));
    }
    if first != offset - start {
        return Err(format!(
            "begins at byte {first}, the tensor before it ends at {}",
            offset - start
        ));
    }
    if last > end - start {
        return Err(format!("ends at byte {last} of {}", end - start));
    }
    Ok(StoredTensor {
        dtype,
        shape: entry.shape,
        offset,
        bytes: last - first,
    })
}

/// All tensors of a header in its order; the free text under `__metadata__` is left out.
struct Header(Vec<(String, Entry)>);

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            check_name(&name).map_err(A::Error::custom)?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor {name} is there twice")));
            }
            let entry = map
                .next_value()
                .map_err(|error| A::Error::custom(format!("tensor {name}: {error}")))?;
            entries.push((name, entry));
        }
        Ok(Header(entries))
    }
}
