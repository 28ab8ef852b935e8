//! The header of one GGUF file (format: docs/gguf.md of github.com/ggml-org/ggml): versions 2 and 3, little endian.
//!
//! Read here and not by candle: its reader divides by an alignment of zero, takes the last of two values or tensors of
//! one name, and refuses a file for a tensor type that candle does not know, without naming the tensor.
//! Invariant: no count or length is believed before the file is seen to have the bytes for it, and tensors that come
//! out lie inside the file, apart from each other. Metadata is not interpreted, but for the alignment.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read},
};

use super::{
    ggml_type::GgmlType,
    value::{ARRAY, ElementType, Value, integer},
};
use crate::data_file::{DataFile, HEADER_LIMIT, check_name};

const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_DIMENSIONS: u32 = 4;

/// What a file says about itself.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    /// Ordered by their place in the file.
    pub(super) tensors: Vec<(String, StoredTensor)>,
}

/// A tensor and where it lies.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) dtype: &'static GgmlType,
    /// Outermost dimension first, one to four, none of them zero.
    pub(super) shape: Vec<usize>,
    /// Its first byte; counted from the beginning of the file once [`place`] has seen it.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Reads the header of a file, or says what is wrong with it.
pub(super) fn read(file: &DataFile) -> Result<Header, String> {
    let limit = file.len().min(HEADER_LIMIT);
    let mut input = Input {
        reader: file.reader(),
        left: limit,
    };
    let magic: [u8; 4] = input.array()?;
    if magic != *b"GGUF" {
        return Err(format!("it begins with \"{}\"", magic.escape_ascii()));
    }
    match input.u32()? {
        2 | 3 => {}
        big_endian if matches!(big_endian.swap_bytes(), 1..=3) => {
            return Err("big endian is not supported".to_owned());
        }
        version => return Err(format!("version {version} is not supported (2 and 3 are)")),
    }
    // The least that a tensor takes: length of name, number of dimensions, one of them, type, offset.
    let tensor_count = input.count("tensors", 8 + 4 + 8 + 4 + 8)?;
    let metadata = metadata(&mut input)?;
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(value) => value
            .one(integer::<u64>)
            .filter(|alignment| alignment.is_power_of_two())
            .ok_or("general.alignment is not a power of two")?,
    };
    let mut tensors: HashMap<String, StoredTensor> = HashMap::new();
    for _ in 0..tensor_count {
        let name = input.name()?;
        let tensor = tensor(&mut input).map_err(|reason| format!("tensor {name} {reason}"))?;
        if tensors.contains_key(&name) {
            return Err(format!("tensor {name} is there twice"));
        }
        tensors.insert(name, tensor);
    }
    let header_len = limit - input.left;
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    place(&mut tensors, header_len, alignment, file.len())?;
    Ok(Header { metadata, tensors })
}

fn metadata(input: &mut Input<'_>) -> Result<HashMap<String, Value>, String> {
    // The least that a value takes: length of key, type, one byte.
    let count = input.count("metadata values", 8 + 4 + 1)?;
    let mut metadata = HashMap::new();
    for _ in 0..count {
        let key = input.name()?;
        let value = value(input).map_err(|reason| format!("metadata {key} {reason}"))?;
        if metadata.contains_key(&key) {
            return Err(format!("metadata {key} is there twice"));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

/// Arrays of arrays are refused, as ggml does: no key has one.
fn value(input: &mut Input<'_>) -> Result<Value, String> {
    let number = input.u32()?;
    let is_array = number == ARRAY;
    let number = if is_array { input.u32()? } else { number };
    if is_array && number == ARRAY {
        return Err("is an array of arrays, which is not supported".to_owned());
    }
    let element = ElementType::from_number(number)
        .ok_or_else(|| format!("is of the unknown type {number}"))?;
    let count = match is_array {
        true => input.count("elements", element.size().unwrap_or(8))?,
        false => 1,
    };
    let mut bytes = Vec::new();
    match element.size() {
        Some(size) => input.append(count * size, &mut bytes)?,
        None => {
            for _ in 0..count {
                let len: [u8; 8] = input.array()?;
                bytes.extend_from_slice(&len);
                input.append(u64::from_le_bytes(len), &mut bytes)?;
            }
        }
    }
    Ok(Value {
        element,
        is_array,
        bytes,
    })
}

/// Reads what stands behind a tensor's name.
fn tensor(input: &mut Input<'_>) -> Result<StoredTensor, String> {
    let dimensions = input.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(format!("has {dimensions} dimensions"));
    }
    // In the file the innermost dimension comes first.
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.insert(0, input.u64()?);
    }
    let number = input.u32()?;
    let dtype = GgmlType::from_number(number)
        .ok_or_else(|| format!("is of type number {number}, which is not known"))?;
    let offset = input.u64()?;
    let row = *shape.last().unwrap_or(&0);
    if !row.is_multiple_of(dtype.block_size) {
        return Err(format!(
            "of type {} has rows of {row} elements, not a multiple of {}",
            dtype.name, dtype.block_size
        ));
    }
    let bytes = shape
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size))
        .filter(|&elements| elements > 0)
        .and_then(|elements| (elements / dtype.block_size).checked_mul(dtype.block_bytes))
        .ok_or_else(|| format!("cannot have the shape {shape:?}"))?;
    let shape = shape.into_iter().map(usize::try_from);
    Ok(StoredTensor {
        dtype,
        shape: shape
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?,
        offset,
        bytes,
    })
}

/// Counts offsets from the beginning of the file and checks where that puts the tensors.
fn place(
    tensors: &mut [(String, StoredTensor)],
    header_len: u64,
    alignment: u64,
    file_len: u64,
) -> Result<(), String> {
    tensors.sort_by(|(name, tensor), (other_name, other)| {
        (tensor.offset, name).cmp(&(other.offset, other_name))
    });
    let mut free = 0;
    for (name, tensor) in tensors {
        let start = header_len
            .checked_next_multiple_of(alignment)
            .and_then(|data| data.checked_add(tensor.offset));
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        let (Some(start), Some(end)) = (start, end.filter(|&end| end <= file_len)) else {
            return Err(format!(
                "tensor {name} of {} bytes at offset {} runs past the end of the file",
                tensor.bytes, tensor.offset
            ));
        };
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(format!(
                "tensor {name} is at offset {}, not a multiple of {alignment}",
                tensor.offset
            ));
        }
        if start < free {
            return Err(format!(
                "tensor {name} at offset {} overlaps the one before it",
                tensor.offset
            ));
        }
        tensor.offset = start;
        free = end;
    }
    Ok(())
}

/// A header that is being read, and the bytes that can still belong to it.
struct Input<'a> {
    reader: BufReader<&'a File>,
    left: u64,
}

impl Input<'_> {
    /// Appends the next bytes, once they are known to be there.
    fn append(&mut self, len: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
        let start = bytes.len();
        bytes.resize(start + self.take(len)?, 0);
        self.reader
            .read_exact(&mut bytes[start..])
            .map_err(|error| error.to_string())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.take(N as u64)?;
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Takes bytes off those that are left.
    fn take(&mut self, len: u64) -> Result<usize, String> {
        self.left = self
            .left
            .checked_sub(len)
            .ok_or_else(|| format!("needs {len} bytes more, {} are left", self.left))?;
        usize::try_from(len).map_err(|error| error.to_string())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `size` bytes each.
    fn count(&mut self, things: &str, size: u64) -> Result<u64, String> {
        let count = self.u64()?;
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.left => Ok(count),
            _ => Err(format!(
                "counts {count} {things}, {} bytes are left",
                self.left
            )),
        }
    }

    /// A key or the name of a tensor.
    fn name(&mut self) -> Result<String, String> {
        let len = self.u64()?;
        let mut bytes = Vec::new();
        self.append(len, &mut bytes)?;
        let name = String::from_utf8(bytes).map_err(|_| "a name is not UTF-8")?;
        check_name(&name)?;
        Ok(name)
    }
}
