//! Byte-level BPE from ranks alone: tiktoken's `*.model` (llama 3 and 4, kimi) and mistral's `tekken.json`.
//!
//! Invariants: a word that is a token is that token; else bytes merge as tiktoken merges them, by the rank of what they
//! make. Files give no list of merges, and none is made up.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, decoders::byte_level::ByteLevel,
};

use super::{
    config::AddedTokenEntry,
    encoder::{Pipeline, TextEncoder},
    pieces::{PieceMerges, Role, Unknown},
    pre_tokenizer::{PreTokenizer, byte_level_cut},
    spelling::spell_bytes,
};
use crate::{
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};

/// How many ids stand behind the ranks of a tiktoken file, whether they have names or not (llama 3, kimi).
const RESERVED: u32 = 256;

/// Real tekken files keep a thousand ids for special tokens; each costs memory, named or not.
const MAX_SPECIAL: u32 = 1 << 16;

/// Tokens by rank, and special tokens around them.
#[derive(Debug)]
pub(crate) struct RankedTokens {
    /// Bytes by rank; the id is the rank plus `offset`.
    tokens: Vec<Vec<u8>>,
    offset: u32,
    special: Vec<AddedTokenEntry>,
    pattern: String,
}

impl RankedTokens {
    /// The id of a special token.
    pub(crate) fn special_id(&self, name: &str) -> Option<u32> {
        let found = self.special.iter().find(|token| token.content == name);
        found.map(|token| token.id)
    }

    /// Bytes and kinds by id.
    ///
    /// # Errors
    /// When a special token has the place of a ranked one, or stands far behind them all.
    pub(crate) fn vocabulary(&self) -> Result<Vocabulary, PromptError> {
        let first = self.offset as usize;
        let behind = first + self.tokens.len();
        let after = |token: &&AddedTokenEntry| token.id as usize >= behind;
        let len = behind + self.special.iter().filter(after).count();
        let mut all = vec![(Box::from([]), TokenKind::Normal); len];
        for (slot, token) in all[first..].iter_mut().zip(&self.tokens) {
            *slot = (token.as_slice().into(), TokenKind::Normal);
        }
        for token in &self.special {
            let id = token.id as usize;
            let slot = all
                .get_mut(id)
                .filter(|_| !(first..behind).contains(&id))
                .ok_or_else(|| {
                    PromptError::Vocabulary(format!(
                        "special token {id}, but ids {first} to {behind} are ranked and {} are special",
                        self.special.len()
                    ))
                })?;
            let bytes = token.content.as_bytes();
            *slot = (bytes.into(), token.kind());
        }
        Ok(Vocabulary::new(all))
    }

    /// The encoder.
    ///
    /// # Errors
    /// When a byte is no token, a token stands twice, or the pattern is no regular expression.
    pub(crate) fn encoder(self) -> Result<Box<dyn TextEncoder>, PromptError> {
        let mut pieces = HashMap::with_capacity(self.tokens.len() + self.special.len());
        for (rank, token) in (0..).zip(&self.tokens) {
            let piece = (self.offset + rank, Role::Piece { rank });
            if pieces.insert(spell_bytes(token), piece).is_some() {
                return Err(PromptError::Vocabulary(format!(
                    "the token of rank {rank} stands there twice"
                )));
            }
        }
        for byte in 0..=u8::MAX {
            if !pieces.contains_key(&spell_bytes(&[byte])) {
                return Err(PromptError::Vocabulary(format!(
                    "the byte {byte} is no token"
                )));
            }
        }
        let mut added = Vec::with_capacity(self.special.len());
        for token in self.special {
            added.push(token.as_added_token());
            pieces
                .entry(token.content)
                .or_insert((token.id, Role::Apart));
        }
        // Every byte is a piece, so nothing is unknown.
        let model = PieceMerges::new(pieces, Unknown::Token(self.offset), true, &[])?;
        let mut pipeline: Pipeline<PieceMerges, NormalizerWrapper> = Pipeline::new(model);
        pipeline.with_pre_tokenizer(Some(byte_level_cut(&[&self.pattern])?));
        pipeline.with_post_processor(None::<PostProcessorWrapper>);
        pipeline.with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())));
        pipeline.add_tokens(added).map_err(PromptError::unusable)?;
        Ok(Box::new(pipeline))
    }

    /// A tiktoken file: a line a token, its bytes in base64 and its rank. `family` is the folder's `model_type`, which says how
    /// a text is cut; `special` are the folder's own special tokens.
    ///
    /// # Errors
    /// When a line is not one, ranks have gaps, or the family is not known.
    pub(crate) fn from_tiktoken(
        text: &str,
        family: Option<&str>,
        mut special: Vec<AddedTokenEntry>,
    ) -> Result<Self, PromptError> {
        let (pre, name_reserved): (_, fn(u32, u32) -> String) = match family {
            Some("llama" | "mllama") => ("llama-bpe", llama3_special),
            Some("kimi_k2" | "kimi_k25" | "kimi_linear" | "kimi_vl") => {
                ("kimi-k2", |_, id| format!("<|reserved_token_{id}|>"))
            }
            other => {
                let family = other.map_or("no model_type".to_owned(), |name| {
                    format!("the model_type `{name}`")
                });
                return Err(PromptError::UnsupportedTokenizer(format!(
                    "a tiktoken file beside a config.json with {family}: how it cuts a text is not known"
                )));
            }
        };
        let tokens = tiktoken_lines(text)?;
        let first = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let named: HashSet<u32> = special.iter().map(|token| token.id).collect();
        let unnamed = (0..RESERVED).filter(|index| !named.contains(&(first + index)));
        special.extend(unnamed.map(|index| {
            AddedTokenEntry::special(first + index, name_reserved(index, first + index))
        }));
        Ok(Self {
            tokens,
            offset: 0,
            special,
            pattern: PreTokenizer::named(Some(pre))?.patterns[0].to_owned(),
        })
    }

    /// Mistral's `tekken.json`: special tokens take the first ids, the ranks follow.
    ///
    /// # Errors
    /// When the file is not one, or its numbers contradict each other.
    pub(crate) fn from_tekken(bytes: &[u8]) -> Result<Self, PromptError> {
        let file: TekkenFile = serde_json::from_slice(bytes).map_err(PromptError::unusable)?;
        let TekkenConfig {
            pattern,
            default_vocab_size: size,
            default_num_special_tokens: offset,
        } = file.config;
        if offset > MAX_SPECIAL {
            return Err(PromptError::Vocabulary(format!(
                "{offset} special tokens; the most that can be are {MAX_SPECIAL}"
            )));
        }
        let wanted = size.checked_sub(offset).map(|count| count as usize);
        let count = wanted
            .filter(|count| *count <= file.vocab.len())
            .ok_or_else(|| {
                PromptError::Vocabulary(format!(
                    "{size} tokens, {offset} of them special, but {} in the list",
                    file.vocab.len()
                ))
            })?;
        let mut tokens = Vec::with_capacity(count);
        for (rank, token) in file.vocab.iter().take(count).enumerate() {
            if token.rank as usize != rank {
                return Err(PromptError::Vocabulary(format!(
                    "the token at place {rank} has rank {}",
                    token.rank
                )));
            }
            tokens.push(base64(&token.token_bytes).ok_or_else(|| {
                PromptError::Vocabulary(format!("the token of rank {rank} is not base64"))
            })?);
        }
        let special = tekken_special(file.special_tokens, offset)?;
        Ok(Self {
            tokens,
            offset,
            special,
            pattern,
        })
    }
}

/// The named special tokens, and fillers for the other ids below `count`.
fn tekken_special(
    named: Option<Vec<TekkenSpecial>>,
    count: u32,
) -> Result<Vec<AddedTokenEntry>, PromptError> {
    let mut special: Vec<AddedTokenEntry> = match named {
        Some(named) => named
            .into_iter()
            .map(|token| AddedTokenEntry {
                special: token.is_control,
                ..AddedTokenEntry::special(token.rank, token.token_str)
            })
            .collect(),
        None => (0..)
            .zip(TEKKEN_SPECIAL)
            .map(|(id, name)| AddedTokenEntry::special(id, name.to_owned()))
            .collect(),
    };
    if let Some(token) = special.iter().find(|token| token.id >= count) {
        return Err(PromptError::Vocabulary(format!(
            "special token {} of {count}",
            token.id
        )));
    }
    let ids: HashSet<u32> = special.iter().map(|token| token.id).collect();
    let fillers = (0..count).filter(|id| !ids.contains(id));
    special.extend(fillers.map(|id| AddedTokenEntry::special(id, format!("<SPECIAL_{id}>"))));
    Ok(special)
}

/// What files without a list mean (mistral-common's tekken tokenizer, before version 11).
const TEKKEN_SPECIAL: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// The special tokens of llama 3.1 and later, in order (llama-models' tokenizer); the rest is numbered.
const LLAMA3_SPECIAL: [&str; 12] = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
];

fn llama3_special(index: u32, _: u32) -> String {
    match LLAMA3_SPECIAL.get(index as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("<|reserved_special_token_{}|>", index - 10),
    }
}

#[derive(Deserialize)]
struct TekkenFile {
    config: TekkenConfig,
    vocab: Vec<TekkenToken>,
    special_tokens: Option<Vec<TekkenSpecial>>,
}

#[derive(Deserialize)]
struct TekkenConfig {
    pattern: String,
    default_vocab_size: u32,
    default_num_special_tokens: u32,
}

#[derive(Deserialize)]
struct TekkenToken {
    rank: u32,
    token_bytes: String,
}

#[derive(Deserialize)]
struct TekkenSpecial {
    rank: u32,
    token_str: String,
    is_control: bool,
}

/// Whether a file's first line is a token of a tiktoken file.
pub(crate) fn is_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next();
    line.and_then(|line| std::str::from_utf8(line).ok())
        .is_some_and(|line| tiktoken_line(line).is_some())
}

fn tiktoken_line(line: &str) -> Option<(Vec<u8>, usize)> {
    let (token, rank) = line.trim_end().split_once(' ')?;
    Some((base64(token)?, rank.parse().ok()?))
}

fn tiktoken_lines(text: &str) -> Result<Vec<Vec<u8>>, PromptError> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match tiktoken_line(line) {
            Some((token, rank)) if rank == tokens.len() => tokens.push(token),
            Some((_, rank)) => {
                return Err(PromptError::Vocabulary(format!(
                    "line {}: rank {rank} in place of {}",
                    number + 1,
                    tokens.len()
                )));
            }
            None if line.trim().is_empty() => {}
            None => {
                return Err(PromptError::Vocabulary(format!(
                    "line {}: not a token in base64 and its rank",
                    number + 1
                )));
            }
        }
    }
    Ok(tokens)
}

/// The bytes of base64 with padding (RFC 4648).
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.is_empty() || !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_base64() {
        assert_eq!(base64("AA=="), Some(vec![0]));
        assert_eq!(base64("/+8="), Some(vec![255, 239]));
        assert_eq!(base64("aGVsbG8h"), Some(b"hello!".to_vec()));
        for bad in ["", "=", "a", "AA", "A===", "A A=", "AA==AA=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_the_reserved_tokens_of_llama_3() {
        assert_eq!(llama3_special(9, 0), "<|eot_id|>");
        assert_eq!(llama3_special(12, 0), "<|reserved_special_token_2|>");
        assert_eq!(llama3_special(255, 0), "<|reserved_special_token_245|>");
    }
}
