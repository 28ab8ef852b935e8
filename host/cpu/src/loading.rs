//! From a GGUF file to packed weights, by several threads at a time.
//!
//! Each thread takes the next of the model's pieces (the embedding, the head, a layer), reads its tensors and packs
//! them. What is never packed is never read; what nobody takes is an error, by [`TensorAccount`].

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
};

use weir_model::{
    GgufFile, LoadProgress, ModelDescription, ModelError, TensorAccount,
    names::{self, Part, Place},
};

use crate::{
    decoder::{Decoder, Layer, Linear, Stack},
    matrix::{PackError, PackedMatrix, WeightFormat},
    rope::Rope,
    step::QUANTIZED,
};

/// Bytes of a matrix that are read at a time, in whole tiles: few enough to stay in the cache until they are packed.
const PIECE_BYTES: usize = 1 << 18;

/// Reads tensors by part and place. Each thread has its own.
pub(crate) struct Loader<'a> {
    file: &'a GgufFile,
    account: &'a TensorAccount<'a>,
    loaded: Sender<u64>,
}

/// A tensor as it is stored.
struct Stored {
    name: String,
    format: WeightFormat,
    rows: usize,
    bytes: Vec<u8>,
}

/// A matrix as it is stored, and its bias; an empty bias for none.
pub(crate) struct StoredLinear {
    stored: Stored,
    columns: usize,
    bias: Vec<f32>,
}

/// What is loaded so far.
#[derive(Default)]
struct Parts {
    embedding: Option<Linear>,
    output: Option<Linear>,
    output_norm: Option<Vec<f32>>,
    layers: BTreeMap<usize, Layer>,
}

/// What a thread loads at a time.
#[derive(Clone, Copy)]
enum Piece {
    Embedding,
    Output,
    OutputNorm,
    Layer(usize),
}

/// Loads the whole decoder on `threads` threads; `progress` hears of every tensor, on the calling thread.
pub(crate) fn load(
    file: &GgufFile,
    account: TensorAccount<'_>,
    description: ModelDescription,
    (threads, max_model_len): (usize, usize),
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Decoder, ModelError> {
    let parts = load_parts(file, &account, &description, threads, progress)?;
    account.finish(&description)?;
    let ropes = description.ropes.iter();
    let ropes = ropes.map(|rope| Rope::new(rope, max_model_len)).collect();
    match parts {
        Parts {
            embedding: Some(embedding),
            output,
            output_norm: Some(output_norm),
            layers,
        } => Ok(Decoder {
            description,
            ropes,
            embedding,
            layers: layers.into_values().collect(),
            output_norm,
            output,
        }),
        _ => Err(ModelError::InvalidOptions(
            "a part of the model was not loaded".to_owned(),
        )),
    }
}

fn load_parts(
    file: &GgufFile,
    account: &TensorAccount<'_>,
    description: &ModelDescription,
    threads: usize,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Parts, ModelError> {
    let mut at = account.nothing_loaded();
    progress(at);
    // The largest pieces first, so that no thread begins one when the others are done.
    let mut pieces = vec![Piece::Embedding];
    if !description.tied_embeddings {
        pieces.push(Piece::Output);
    }
    pieces.extend((0..description.layers.len()).map(Piece::Layer));
    pieces.push(Piece::OutputNorm);
    let next = AtomicUsize::new(0);
    let parts: Mutex<Parts> = Mutex::default();
    let (sender, loaded) = channel();
    let work = |loader: Loader<'_>| {
        while let Some(&piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = loader.piece(description, piece, &parts);
            if outcome.is_err() {
                // The others need not go on.
                next.store(pieces.len(), Ordering::Relaxed);
                return outcome;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for _ in 0..threads.max(1) {
            let loader = Loader {
                file,
                account,
                loaded: sender.clone(),
            };
            running.push(scope.spawn(|| work(loader)));
        }
        drop(sender);
        for bytes in loaded {
            at.loaded_bytes += bytes;
            progress(at);
        }
        running.into_iter().try_for_each(|thread| {
            let panicked = "a thread that packs weights has panicked";
            thread
                .join()
                .unwrap_or_else(|_| Err(ModelError::InvalidOptions(panicked.to_owned())))
        })
    })?;
    Ok(parts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Loader<'_> {
    fn piece(
        &self,
        model: &ModelDescription,
        piece: Piece,
        parts: &Mutex<Parts>,
    ) -> Result<(), ModelError> {
        let matrix = |part| self.linear(Place::Model, part, model.vocab, model.hidden, false);
        let lock = || parts.lock().unwrap_or_else(PoisonError::into_inner);
        match piece {
            Piece::Embedding => {
                let loaded = matrix(names::EMBEDDING)?;
                lock().embedding = Some(loaded);
            }
            Piece::Output => {
                let loaded = matrix(names::OUTPUT)?;
                lock().output = Some(loaded);
            }
            Piece::OutputNorm => {
                let (hidden, offset) = (model.hidden, model.norm_offset);
                let loaded = self.norm(Place::Model, names::OUTPUT_NORM, hidden, offset)?;
                lock().output_norm = Some(loaded);
            }
            Piece::Layer(index) => {
                let loaded = Layer::load(self, model, index)?;
                lock().layers.insert(index, loaded);
            }
        }
        Ok(())
    }

    /// A matrix of `rows` outputs by `columns` inputs, with a bias or without.
    pub(crate) fn linear(
        &self,
        place: Place,
        part: Part,
        rows: usize,
        columns: usize,
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let name = names::in_gguf(place, part, "weight");
        let bytes = self.account.take(&name, &[rows, columns])?;
        let bias = match bias {
            true => self.vector(names::in_gguf(place, part, "bias"), rows)?,
            false => Vec::new(),
        };
        let dtype = self.file.tensor_type(&name).unwrap_or_default();
        let Some(format) = format(dtype) else {
            return Err(ModelError::UnsupportedTensorType { name, dtype });
        };
        let mut matrix = PackedMatrix::zeros(format, rows, whole_columns(format, columns))
            .map_err(|error| unreadable(&name, &error))?;
        let row_bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / rows;
        let tiles = (PIECE_BYTES / row_bytes / PackedMatrix::TILE).max(1);
        for start in (0..rows).step_by(tiles * PackedMatrix::TILE) {
            let end = rows.min(start + tiles * PackedMatrix::TILE);
            let (_, raw) = self.file.read_rows(&name, start..end)?;
            matrix.put_rows(start, &padded(format, &raw, row_bytes, columns));
            // Who has gone does not want to know.
            let _ = self.loaded.send(raw.len() as u64);
        }
        Ok(Linear {
            matrix,
            floats: format.is_float(),
            bias,
        })
    }

    /// A matrix that is taken apart, with a bias or without.
    pub(crate) fn stored_linear(
        &self,
        place: Place,
        part: Part,
        (rows, columns): (usize, usize),
        bias: bool,
    ) -> Result<StoredLinear, ModelError> {
        let stored = self.read(names::in_gguf(place, part, "weight"), &[rows, columns])?;
        let bias = match bias {
            true => self.vector(names::in_gguf(place, part, "bias"), rows)?,
            false => Vec::new(),
        };
        Ok(StoredLinear {
            stored,
            columns,
            bias,
        })
    }

    /// The matrices that a tensor stacks, each of `rows` outputs by `columns` inputs: read and packed one by one, for
    /// the whole of all experts would not fit beside what is packed of them.
    pub(crate) fn stack(
        &self,
        place: Place,
        part: Part,
        count: usize,
        (rows, columns): (usize, usize),
    ) -> Result<Stack, ModelError> {
        let name = names::in_gguf(place, part, "weight");
        self.account.take(&name, &[count, rows, columns])?;
        let mut floats = false;
        let matrices = (0..count).map(|index| {
            let raw = self.file.read_rows(&name, index..index + 1)?;
            let stored = self.stored(&name, rows, raw)?;
            floats = stored.format.is_float();
            let _ = self.loaded.send(stored.bytes.len() as u64);
            stored.pack(0..rows, columns)
        });
        Ok(Stack {
            matrices: matrices.collect::<Result<_, _>>()?,
            floats,
        })
    }

    /// Whether the file holds a part's weights.
    pub(crate) fn has(&self, place: Place, part: Part) -> bool {
        let name = names::in_gguf(place, part, "weight");
        self.file.tensor_shape(&name).is_some()
    }

    /// A router's correction bias.
    pub(crate) fn router_correction(
        &self,
        layer: usize,
        experts: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let name = format!("blk.{layer}.{}", names::ROUTER_CORRECTION_GGUF);
        self.vector(name, experts)
    }

    /// The weights of an RMSNorm over `len` elements.
    pub(crate) fn norm(
        &self,
        place: Place,
        part: Part,
        len: usize,
        offset: f32,
    ) -> Result<Vec<f32>, ModelError> {
        let mut weights = self.vector(names::in_gguf(place, part, "weight"), len)?;
        weights.iter_mut().for_each(|weight| *weight += offset);
        Ok(weights)
    }

    fn vector(&self, name: String, len: usize) -> Result<Vec<f32>, ModelError> {
        let matrix = self.read(name, &[len])?.pack(0..1, len)?;
        let mut values = vec![0.0; matrix.columns()];
        matrix.dequantize_row(0, &mut values);
        values.truncate(len);
        Ok(values)
    }

    fn read(&self, name: String, shape: &[usize]) -> Result<Stored, ModelError> {
        let taken = self.account.take(&name, shape)?;
        let rows = if shape.len() > 1 { shape[0] } else { 1 };
        let stored = self.stored(&name, rows, self.file.read_bytes(&name)?)?;
        // Who has gone does not want to know.
        let _ = self.loaded.send(taken);
        Ok(stored)
    }

    fn stored(
        &self,
        name: &str,
        rows: usize,
        (dtype, bytes): (&'static str, Vec<u8>),
    ) -> Result<Stored, ModelError> {
        let name = name.to_owned();
        match format(dtype) {
            None => Err(ModelError::UnsupportedTensorType { name, dtype }),
            Some(format) => Ok(Stored {
                name,
                format,
                rows,
                bytes,
            }),
        }
    }
}

impl StoredLinear {
    /// Some of its rows, packed.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Result<Linear, ModelError> {
        Ok(Linear {
            matrix: self.stored.pack(rows.clone(), self.columns)?,
            floats: self.stored.format.is_float(),
            bias: self.bias.get(rows).unwrap_or_default().to_vec(),
        })
    }

    /// Some of its rows as the columns of a matrix of floats.
    pub(crate) fn turned(&self, rows: Range<usize>) -> Result<Linear, ModelError> {
        let matrix = self.stored.pack(rows.clone(), self.columns)?;
        let mut row = vec![0.0; matrix.columns()];
        let mut bytes = vec![0; self.columns * rows.len() * size_of::<f32>()];
        for from in 0..rows.len() {
            matrix.dequantize_row(from, &mut row);
            for (to, number) in row[..self.columns].iter().enumerate() {
                let start = (to * rows.len() + from) * size_of::<f32>();
                bytes[start..start + size_of::<f32>()].copy_from_slice(&number.to_le_bytes());
            }
        }
        let turned = Stored {
            name: self.stored.name.clone(),
            format: WeightFormat::F32,
            rows: self.columns,
            bytes,
        };
        Ok(Linear {
            matrix: turned.pack(0..self.columns, rows.len())?,
            floats: true,
            bias: Vec::new(),
        })
    }
}

impl Stored {
    /// Some of its rows of `columns`, packed.
    fn pack(&self, rows: Range<usize>, columns: usize) -> Result<PackedMatrix, ModelError> {
        // A row is whole blocks, so whole bytes.
        let row_bytes = self.bytes.len() / self.rows;
        let bytes = &self.bytes[rows.start * row_bytes..rows.end * row_bytes];
        let padded = padded(self.format, bytes, row_bytes, columns);
        let whole = whole_columns(self.format, columns);
        PackedMatrix::pack(self.format, &padded, rows.len(), whole)
            .map_err(|error| unreadable(&self.name, &error))
    }
}

/// The columns that a matrix is packed with. Only made-up models have matrices of floats that are not whole blocks.
fn whole_columns(format: WeightFormat, columns: usize) -> usize {
    match format.is_float() {
        true => columns.next_multiple_of(QUANTIZED),
        false => columns,
    }
}

/// Rows of so many bytes with zeros behind them; zeros in any of the float formats are zero bytes.
fn padded(format: WeightFormat, raw: &[u8], row_bytes: usize, columns: usize) -> Cow<'_, [u8]> {
    let more = whole_columns(format, columns) - columns;
    if more == 0 {
        return Cow::Borrowed(raw);
    }
    let zeros = vec![0; row_bytes / columns * more];
    let rows = raw.chunks_exact(row_bytes);
    Cow::Owned(rows.flat_map(|row| [row, &zeros].concat()).collect())
}

fn unreadable(name: &str, error: &PackError) -> ModelError {
    ModelError::UnreadableTensor {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

/// The format of a type's name in GGUF; None for one that is not computed here.
pub(crate) fn format(dtype: &str) -> Option<WeightFormat> {
    Some(match dtype {
        "F32" => WeightFormat::F32,
        "F16" => WeightFormat::F16,
        "BF16" => WeightFormat::Bf16,
        "Q4_0" => WeightFormat::Q4_0,
        "Q4_1" => WeightFormat::Q4_1,
        "Q5_0" => WeightFormat::Q5_0,
        "Q5_1" => WeightFormat::Q5_1,
        "Q8_0" => WeightFormat::Q8_0,
        "Q4_K" => WeightFormat::Q4K,
        "Q5_K" => WeightFormat::Q5K,
        "Q6_K" => WeightFormat::Q6K,
        _ => return None,
    })
}
