//! How a tokenizer file spells bytes as text, undone: the vocabulary holds what a token *is*, not how a file writes it.

use std::sync::LazyLock;

use tokenizers::{DecoderWrapper, decoders::metaspace::PrependScheme};

use crate::error::PromptError;

/// A way to write a token's bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// GPT-2's: each byte is one printable character; a space is `Ġ`.
    ByteLevel,
    /// SentencePiece's: a space is `▁` (U+2581), a lone byte is `<0xHH>`.
    Metaspace,
    /// BERT's: `##` continues a word, all else begins one.
    WordPiece,
}

impl Spelling {
    /// The spelling that a tokenizer's decoder undoes.
    pub(crate) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Self, PromptError> {
        let decoder = tokenizer.get_decoder();
        decoder.and_then(spelling_of).ok_or_else(|| {
            let name = decoder.map_or("no decoder".to_owned(), |decoder| {
                format!("decoder {decoder:?}")
            });
            PromptError::UnsupportedTokenizer(format!("tokenizer.json with {name}"))
        })
    }

    /// The bytes of a token added to a vocabulary: written as they are, but for the mark of a space.
    pub(crate) fn undo_added(self, token: &str) -> Box<[u8]> {
        match self {
            Self::Metaspace => self.undo(token),
            Self::ByteLevel | Self::WordPiece => token.as_bytes().into(),
        }
    }

    /// The token's bytes.
    pub(crate) fn undo(self, token: &str) -> Box<[u8]> {
        match self {
            Self::ByteLevel => {
                // A token with a character outside the alphabet is not spelled at all, but written as it is.
                let bytes: Option<Vec<u8>> = token.chars().map(byte_level).collect();
                bytes.unwrap_or_else(|| token.as_bytes().to_vec()).into()
            }
            Self::Metaspace => match lone_byte(token) {
                Some(byte) => Box::from([byte]),
                None => token.replace('\u{2581}', " ").into_bytes().into(),
            },
            Self::WordPiece => match token.strip_prefix("##") {
                Some(rest) if !rest.is_empty() => rest.as_bytes().into(),
                _ => format!(" {token}").into_bytes().into(),
            },
        }
    }
}

/// Whether the decoder takes away a space at the start of a text.
pub(crate) fn strips_first_space(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::Metaspace(space) => space.prepend_scheme != PrependScheme::Never,
        DecoderWrapper::Strip(strip) => strip.content == ' ' && strip.start > 0,
        DecoderWrapper::WordPiece(_) => true,
        DecoderWrapper::Sequence(sequence) => {
            sequence.get_decoders().iter().any(strips_first_space)
        }
        _ => false,
    }
}

fn spelling_of(decoder: &DecoderWrapper) -> Option<Spelling> {
    match decoder {
        DecoderWrapper::ByteLevel(_) => Some(Spelling::ByteLevel),
        DecoderWrapper::Metaspace(_) | DecoderWrapper::ByteFallback(_) => Some(Spelling::Metaspace),
        DecoderWrapper::WordPiece(piece) if piece.prefix == "##" => Some(Spelling::WordPiece),
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().find_map(spelling_of),
        _ => None,
    }
}

/// The byte that a character stands for in GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes follow
/// in order from U+0100.
fn byte_level(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Bytes in GPT-2's alphabet.
pub(crate) fn spell_bytes(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| ALPHABET[usize::from(*byte)])
        .collect()
}

/// The inverse of [`byte_level`].
static ALPHABET: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut alphabet = ['\0'; 256];
    for character in (0..=0x143).filter_map(char::from_u32) {
        if let Some(byte) = byte_level(character) {
            alphabet[usize::from(byte)] = character;
        }
    }
    alphabet
});

/// The byte in `<0xHH>`.
pub(crate) fn lone_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_level_covers_every_byte_once() {
        let mut bytes: Vec<u8> = (0..0x200)
            .filter_map(char::from_u32)
            .filter_map(byte_level)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn undoes_both_spellings() {
        assert_eq!(&*Spelling::ByteLevel.undo("Ġhi"), b" hi");
        assert_eq!(&*Spelling::ByteLevel.undo("Ċ"), b"\n");
        assert_eq!(&*Spelling::ByteLevel.undo("âĤ¬"), "€".as_bytes());
        assert_eq!(&*Spelling::ByteLevel.undo("日"), "日".as_bytes());
        assert_eq!(&*Spelling::Metaspace.undo("▁hi"), b" hi");
        assert_eq!(&*Spelling::Metaspace.undo("<0x0A>"), b"\n");
        assert_eq!(&*Spelling::Metaspace.undo("<0x0>"), b"<0x0>");
    }
}
