//! SentencePiece's own file, `tokenizer.model`: a protobuf message of which a dozen fields matter.
//!
//! The field numbers are those of sentencepiece_model.proto. Lengths are checked against the bytes that are there; what
//! would change the ids and is not built (unigram, normalisation tables, other ways to mark spaces) is refused by name.

use super::sentencepiece::{Piece, PieceKind};
use crate::error::PromptError;

/// `TrainerSpec.model_type` of BPE.
const BPE: u64 = 2;

/// What the file says.
#[derive(Debug)]
pub(crate) struct ModelFile {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) dummy_prefix: bool,
    pub(crate) remove_extra_spaces: bool,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) unk: Option<u32>,
    pub(crate) pad: Option<u32>,
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            _ => 0,
        }
    }

    /// An id; minus one stands for none.
    fn id(&self) -> Option<u32> {
        u32::try_from(self.number()).ok().filter(|id| *id < 1 << 31)
    }
}

impl ModelFile {
    /// Reads the message.
    ///
    /// # Errors
    /// When it ends early, or asks for what is not built.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PromptError> {
        let mut file = Self {
            pieces: Vec::new(),
            dummy_prefix: true,
            remove_extra_spaces: true,
            bos: Some(1),
            eos: Some(2),
            unk: Some(0),
            pad: None,
        };
        // A file that does not name its kind is a unigram one, the proto's default.
        let mut kind = 1;
        for_each_field(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(piece)) => file.pieces.push(parse_piece(piece)?),
                (2, Value::Bytes(trainer)) => kind = file.trainer(trainer)?,
                (3, Value::Bytes(normaliser)) => file.normaliser(normaliser)?,
                _ => {}
            }
            Ok(())
        })?;
        if file.pieces.is_empty() {
            return Err(PromptError::Vocabulary(
                "not a SentencePiece model: it has no pieces".to_owned(),
            ));
        }
        if kind != BPE {
            let name = match kind {
                1 => "unigram",
                3 => "word",
                4 => "char",
                _ => "unknown",
            };
            return Err(unsupported(&format!("of type {name}; known is bpe")));
        }
        Ok(file)
    }

    fn trainer(&mut self, bytes: &[u8]) -> Result<u64, PromptError> {
        let mut kind = 1;
        for_each_field(bytes, |field, value| {
            match field {
                3 => kind = value.number(),
                24 if value.number() != 0 => {
                    return Err(unsupported("that treats white space as a suffix"));
                }
                40 => self.unk = value.id(),
                41 => self.bos = value.id(),
                42 => self.eos = value.id(),
                43 => self.pad = value.id(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(kind)
    }

    fn normaliser(&mut self, bytes: &[u8]) -> Result<(), PromptError> {
        for_each_field(bytes, |field, value| {
            match (field, value) {
                (2, Value::Bytes(table)) if !table.is_empty() => {
                    return Err(unsupported("with a normalisation table"));
                }
                (3, value) => self.dummy_prefix = value.number() != 0,
                (4, value) => self.remove_extra_spaces = value.number() != 0,
                (5, value) if value.number() == 0 => {
                    return Err(unsupported("that does not mark spaces"));
                }
                _ => {}
            }
            Ok(())
        })
    }
}

fn unsupported(what: &str) -> PromptError {
    PromptError::UnsupportedTokenizer(format!("a SentencePiece model {what}"))
}

fn parse_piece(bytes: &[u8]) -> Result<Piece, PromptError> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Normal,
    };
    for_each_field(bytes, |field, value| {
        match (field, value) {
            (1, Value::Bytes(text)) => {
                piece.text = String::from_utf8(text.to_vec())
                    .map_err(|_| PromptError::Vocabulary("a piece is not UTF-8".to_owned()))?;
            }
            (2, Value::Float(score)) => piece.score = score,
            (3, value) => {
                piece.kind = PieceKind::numbered(i64::try_from(value.number()).unwrap_or(i64::MAX));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(piece)
}

/// Calls `take` with the number and value of each field, in order.
fn for_each_field<'a>(
    mut bytes: &'a [u8],
    mut take: impl FnMut(u64, Value<'a>) -> Result<(), PromptError>,
) -> Result<(), PromptError> {
    while !bytes.is_empty() {
        let (field, value) = next_field(&mut bytes).ok_or_else(|| {
            PromptError::Vocabulary(
                "not a SentencePiece model, or one that ends too early".to_owned(),
            )
        })?;
        take(field, value)?;
    }
    Ok(())
}

/// One field of protobuf's wire format.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => {
            bytes.split_off(..8)?;
            Value::Number(0)
        }
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(bytes.split_off(..len)?)
        }
        5 => Value::Float(f32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
