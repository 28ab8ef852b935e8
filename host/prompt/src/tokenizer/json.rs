//! Hugging Face's `tokenizer.json`, through the `tokenizers` crate.
//!
//! The file says how to encode; which tokens have a role, tokenizer_config.json says. Ids are checked before anything is sized
//! by them.

use std::{collections::HashMap, path::Path};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Parts, SpecialIds, Tokenizer, TokenizerConfig,
    config::added_kind,
    encoder::TextEncoder,
    spelling::{Spelling, strips_first_space},
};
use crate::{
    error::PromptError,
    vocabulary::{TokenKind, Vocabulary},
};

/// No vocabulary comes near this many ids; a file with a higher one is broken.
const MAX_ID: u32 = 1 << 22;

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`; `config` names the special tokens, which that file does not.
    ///
    /// # Errors
    /// When the file cannot be read, or spells its tokens in a way that cannot be undone.
    pub fn from_json_file(path: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        Self::from_file(path, config)
    }
}

impl Parts {
    /// From the file's bytes.
    pub(super) fn from_json(bytes: &[u8], config: &TokenizerConfig) -> Result<Self, PromptError> {
        check_trusted(bytes)?;
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(PromptError::unusable)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(PromptError::unusable)?;
        let spelling = Spelling::of(&tokenizer)?;
        let vocabulary = vocabulary(&tokenizer, spelling)?;
        let id = |token: &Option<String>| {
            let token = token.as_deref()?;
            tokenizer.token_to_id(token)
        };
        let special = SpecialIds {
            bos: id(&config.bos_token),
            eos: id(&config.eos_token),
            unk: id(&config.unk_token),
            pad: id(&config.pad_token),
            ..SpecialIds::default()
        };
        let leading_space = tokenizer.get_decoder().is_some_and(strips_first_space);
        let encoder = tokenizer.into_inner();
        // Some files leave the begin token to tokenizer_config.json (DeepSeek's), most to their own post-processor.
        let alone = encoder.ids("", true)?;
        let missing = |id: Option<u32>, wanted: Option<bool>| {
            id.filter(|id| wanted == Some(true) && !alone.contains(id))
        };
        Ok(Self {
            prefix: missing(special.bos, config.add_bos_token),
            suffix: missing(special.eos, config.add_eos_token),
            encoder: Box::new(encoder),
            vocabulary,
            special,
            end_ids: config.end_ids.clone(),
            leading_space,
        })
    }
}

/// Refuses what the crate takes on trust: added tokens with ids that no vocabulary has, merges that make no token.
fn check_trusted(bytes: &[u8]) -> Result<(), PromptError> {
    let file: File = serde_json::from_slice(bytes).map_err(PromptError::unusable)?;
    for token in &file.added_tokens {
        check_id(token.id)?;
    }
    let Vocab::ByToken(tokens) = &file.model.vocab else {
        return Ok(());
    };
    let longest = tokens.keys().map(String::len).max().unwrap_or(0);
    for (place, merge) in file.model.merges.iter().enumerate() {
        let made = match merge {
            Merge::Pair(left, right) => left.len() + right.len(),
            Merge::Line(line) => line.len().saturating_sub(1),
        };
        if made > longest {
            return Err(PromptError::Vocabulary(format!(
                "merge {place} makes no token"
            )));
        }
    }
    Ok(())
}

/// The parts of the file that are looked at before the crate reads it.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
}

#[derive(Deserialize)]
struct Model {
    vocab: Vocab,
    #[serde(default)]
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vocab {
    ByToken(HashMap<String, IgnoredAny>),
    /// A unigram model's list.
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

fn check_id(id: u32) -> Result<(), PromptError> {
    if id < MAX_ID {
        return Ok(());
    }
    Err(PromptError::Vocabulary(format!(
        "a token has the id {id}; the highest that can be is {}",
        MAX_ID - 1
    )))
}

fn vocabulary(
    tokenizer: &tokenizers::Tokenizer,
    spelling: Spelling,
) -> Result<Vocabulary, PromptError> {
    let added = tokenizer.get_added_tokens_decoder();
    let spelled = tokenizer.get_vocab(true);
    let last = spelled.values().max().copied().unwrap_or(0);
    check_id(last)?;
    let mut tokens = vec![(Box::from([]), TokenKind::Normal); last as usize + 1];
    for (text, id) in spelled {
        tokens[id as usize] = match added.get(&id) {
            Some(token) => {
                let bytes = spelling.undo_added(&token.content);
                let kind = if token.special {
                    TokenKind::Special
                } else {
                    added_kind(&bytes)
                };
                (bytes, kind)
            }
            None => (spelling.undo(&text), TokenKind::Normal),
        };
    }
    Ok(Vocabulary::new(tokens))
}
