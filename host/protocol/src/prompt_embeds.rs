//! `prompt_embeds` of a completion: embeddings in place of a prompt, as vLLM and Dynamo take them.
//!
//! Each is what `torch.save` writes of one tensor of the shape `[tokens, hidden size]`, or with a 1 before, in base64: a ZIP archive
//! of stored files, with a pickle that says how the numbers in another file are laid out. The pickle is not run: `pickle` knows the
//! few opcodes of a tensor and refuses all others.

use std::io::{Cursor, Read};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use half::{bf16, f16};
use serde_json::Value;
use zip::{CompressionMethod, ZipArchive, read::ZipFile};

use crate::invalid::Invalid;

mod pickle;

use pickle::{Dtype, Layout};

/// The field's name.
pub const NAME: &str = "prompt_embeds";

/// Bytes of the files in an archive that are no numbers.
const LARGEST_NOTE: u64 = 4096;
/// Files in an archive; torch writes seven for a tensor.
const MOST_FILES: usize = 64;
/// What each file's entry in an archive's directory begins with.
const ENTRY: &[u8] = b"PK\x01\x02";

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// One of them as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedTensor {
    /// Where it stands in the request.
    path: String,
    base64: String,
}

/// A tensor of two dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Row-major, all finite.
    pub data: Vec<f32>,
    /// At least 1.
    pub rows: usize,
    /// At least 1.
    pub columns: usize,
}

impl EncodedTensor {
    /// Reads the field: one of them or a list; None where it was not given.
    pub(crate) fn read_list(value: Option<Value>) -> Result<Vec<Self>, Invalid> {
        const EXPECTED: &str = "a tensor as base64 of what `torch.save` writes, or a list of those";
        let at = |path: String, value: Value| match value {
            Value::String(base64) => Ok(Self { path, base64 }),
            other => Err(Invalid::expected(path, EXPECTED, &other)),
        };
        match value {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if !items.is_empty() => {
                let items = items.into_iter().enumerate();
                items
                    .map(|(index, item)| at(format!("{NAME}[{index}]"), item))
                    .collect()
            }
            Some(value) => Ok(vec![at(NAME.to_owned(), value)?]),
        }
    }

    /// Where it stands in the request.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tensor, of rows of `columns` elements, at most `most` of them.
    ///
    /// # Errors
    /// What is wrong with it, by the field's name.
    pub fn decode(&self, columns: usize, most: usize) -> Result<Tensor, Invalid> {
        let wrong =
            |what: String| Invalid::bad_value(&self.path, format!("`{}`: {what}", self.path));
        let bytes = BASE64_STANDARD
            .decode(self.base64.as_bytes())
            .map_err(|error| wrong(format!("it is no base64: {error}")))?;
        read(&bytes, columns, most).map_err(wrong)
    }
}

fn read(bytes: &[u8], columns: usize, most: usize) -> Result<Tensor, String> {
    // The directory is read whole, and takes many times its size.
    let entries = bytes.windows(ENTRY.len()).filter(|part| *part == ENTRY);
    if entries.take(MOST_FILES + 1).count() > MOST_FILES {
        return Err(format!("its archive holds more than {MOST_FILES} files"));
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| format!("it is not what `torch.save` writes, a ZIP archive: {error}"))?;
    let folder = archive
        .file_names()
        .filter_map(Result::ok)
        .find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
    let folder = folder.ok_or("its archive holds no data.pkl")?;
    let notes = note(&mut archive, &format!("{folder}data.pkl"))?;
    let layout = pickle::read(&notes)?;
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() && note(&mut archive, &order)? != b"little" {
        return Err("its numbers are not little-endian".to_owned());
    }
    let (rows, strides) = shape(&layout, columns, most)?;
    let mut file = stored(&mut archive, &format!("{folder}data/{}", layout.key))?;
    let size = layout.dtype.bytes();
    // Stored: what a file says of its size cannot be more than what was sent.
    let expected = layout
        .elements
        .checked_mul(size)
        .filter(|size| *size <= bytes.len());
    let mut numbers = Vec::new();
    let read = file.read_to_end(&mut numbers);
    if read.ok() != expected {
        return Err(format!(
            "its numbers are not {} elements of {size} bytes",
            layout.elements
        ));
    }
    let mut data = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let place = layout.offset + row * strides.0 + column * strides.1;
            let number = layout.dtype.number(&numbers[place * size..][..size]);
            if !number.is_finite() {
                return Err(format!(
                    "the number in row {row}, column {column} is {number}"
                ));
            }
            data.push(number);
        }
    }
    Ok(Tensor {
        data,
        rows,
        columns,
    })
}

/// How many rows a layout has, and the strides of rows and columns, once every element is known to be there.
fn shape(layout: &Layout, columns: usize, most: usize) -> Result<(usize, (usize, usize)), String> {
    let (sizes, strides) = match (&layout.sizes[..], &layout.strides[..]) {
        // A batch of one text is that text.
        ([1, sizes @ ..], [_, strides @ ..]) if sizes.len() == 2 => (sizes, strides),
        (sizes, strides) => (sizes, strides),
    };
    let (&[rows, width], &[down, along]) = (sizes, strides) else {
        return Err(format!(
            "it has the shape {:?}, not [tokens, {columns}]",
            layout.sizes
        ));
    };
    if width != columns || rows == 0 {
        return Err(format!(
            "it has the shape {:?}, but this model's embeddings are [tokens, {columns}], with at least one token",
            layout.sizes
        ));
    }
    if rows > most {
        return Err(format!(
            "it has {rows} rows, and this model's context is {most} tokens"
        ));
    }
    // Else a few numbers that were sent could stand for millions.
    if rows.saturating_mul(width) > layout.elements {
        return Err(
            "its rows share their numbers; `tensor.contiguous()` gives each its own".to_owned(),
        );
    }
    let last = |count: usize, stride: usize| (count - 1).checked_mul(stride);
    let end = last(rows, down)
        .zip(last(width, along))
        .and_then(|(down, along)| layout.offset.checked_add(down)?.checked_add(along));
    match end {
        Some(end) if end < layout.elements => Ok((rows, (down, along))),
        _ => Err("it reaches behind the end of its numbers".to_owned()),
    }
}

/// A small file of the archive.
fn note(archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>, String> {
    let file = stored(archive, name)?;
    let mut bytes = Vec::new();
    match file.take(LARGEST_NOTE + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= LARGEST_NOTE => Ok(bytes),
        Ok(_) => Err(format!("its {name} is larger than {LARGEST_NOTE} bytes")),
        Err(error) => Err(format!("its {name} cannot be read: {error}")),
    }
}

/// A file of the archive; a packed one could be larger than what was sent.
fn stored<'a, 'b>(
    archive: &'a mut Archive<'b>,
    name: &str,
) -> Result<ZipFile<'a, Cursor<&'b [u8]>>, String> {
    let file = archive
        .by_name(name)
        .map_err(|error| format!("its archive has no {name}: {error}"))?;
    match file.compression() {
        CompressionMethod::Stored => Ok(file),
        other => Err(format!(
            "its {name} is packed ({other}), which `torch.save` does not do"
        )),
    }
}

impl Dtype {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The number in as many bytes.
    fn number(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Self::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            _ => f32::NAN,
        }
    }
}

#[cfg(test)]
mod tests;
