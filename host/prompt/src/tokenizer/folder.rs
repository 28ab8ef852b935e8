//! A model folder's tokenizer: which of the files that models ship is read, and what the others say about it.
//!
//! A file's kind is told from what stands in it, not from its name: mistral's folders call SentencePiece models
//! `tokenizer.model.v3`, llama 3's call a tiktoken file `tokenizer.model`.

use std::path::Path;

use super::{
    AddedTokenEntry, Parts, SpecialIds, Tokenizer, TokenizerConfig,
    ranks::{RankedTokens, is_tiktoken},
    sentencepiece::{Piece, PieceKind, Prefix, SentencePieces},
    sentencepiece_file::ModelFile,
};
use crate::error::PromptError;

/// In the order in which they are looked for.
const FILES: [&str; 4] = [
    "tokenizer.json",
    "tekken.json",
    "tokenizer.model",
    "tiktoken.model",
];

impl Tokenizer {
    /// Reads the tokenizer of a model folder; `config` is what [`TokenizerConfig::read`] found there.
    ///
    /// # Errors
    /// When the folder has no tokenizer, or [`Tokenizer::from_file`] refuses it.
    pub fn from_folder(dir: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        let mut paths = FILES.iter().map(|name| dir.join(name));
        match paths.find(|path| path.exists()) {
            Some(path) => Self::from_file(&path, config),
            None => Err(PromptError::File {
                path: dir.to_path_buf(),
                message: format!("no tokenizer here; looked for {}", FILES.join(", ")),
            }),
        }
    }

    /// Reads one tokenizer file: tokenizer.json, tekken.json, a SentencePiece model or a tiktoken file.
    ///
    /// # Errors
    /// When the file cannot be read, contradicts itself or is of a kind that is not built; the error names it.
    pub fn from_file(path: &Path, config: &TokenizerConfig) -> Result<Self, PromptError> {
        let in_file = |message: String| PromptError::File {
            path: path.to_path_buf(),
            message,
        };
        let bytes = std::fs::read(path).map_err(|error| in_file(error.to_string()))?;
        let parts = if bytes.trim_ascii_start().starts_with(b"{") {
            if is_tekken(&bytes) {
                tekken(&bytes, config)
            } else {
                Parts::from_json(&bytes, config)
            }
        } else if is_tiktoken(&bytes) {
            tiktoken(&bytes, config)
        } else {
            sentencepiece(&bytes, config)
        };
        let parts = parts.map_err(|error| match error {
            PromptError::Vocabulary(message) => in_file(message),
            PromptError::UnsupportedTokenizer(what) => {
                PromptError::UnsupportedTokenizer(format!("{}: {what}", path.display()))
            }
            other => other,
        })?;
        Ok(parts.into())
    }
}

/// Whether JSON is mistral's file: it has ranks and their pattern in place of a model.
fn is_tekken(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Marks {
        config: Option<serde::de::IgnoredAny>,
        vocab: Option<serde::de::IgnoredAny>,
        model: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Marks>(bytes)
        .is_ok_and(|file| file.config.is_some() && file.vocab.is_some() && file.model.is_none())
}

fn tekken(bytes: &[u8], config: &TokenizerConfig) -> Result<Parts, PromptError> {
    let ranked = RankedTokens::from_tekken(bytes)?;
    let named = |name: &str| ranked.special_id(name);
    let special = SpecialIds {
        bos: named("<s>"),
        eos: named("</s>"),
        unk: named("<unk>"),
        pad: named("<pad>"),
        ..SpecialIds::default()
    };
    ranked_parts(
        ranked,
        special,
        config.add_bos_token.unwrap_or(true),
        config,
    )
}

fn tiktoken(bytes: &[u8], config: &TokenizerConfig) -> Result<Parts, PromptError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| PromptError::Vocabulary("not a text file".to_owned()))?;
    let family = config.model_type.as_deref();
    let ranked = RankedTokens::from_tiktoken(text, family, config.added_tokens.clone())?;
    let named = |role: &Option<String>, names: &[&str]| {
        let names = role.as_deref().into_iter().chain(names.iter().copied());
        names.filter_map(|name| ranked.special_id(name)).next()
    };
    let special = SpecialIds {
        bos: named(&config.bos_token, &["<|begin_of_text|>", "[BOS]"]),
        eos: named(&config.eos_token, &["<|end_of_text|>", "[EOS]"]),
        eot: named(&None, &["<|eot_id|>", "<|im_end|>"]),
        eom: named(&None, &["<|eom_id|>"]),
        unk: named(&config.unk_token, &[]),
        pad: named(&config.pad_token, &[]),
    };
    let adds_bos = config
        .add_bos_token
        .unwrap_or(matches!(family, Some("llama" | "mllama")));
    ranked_parts(ranked, special, adds_bos, config)
}

fn ranked_parts(
    ranked: RankedTokens,
    special: SpecialIds,
    adds_bos: bool,
    config: &TokenizerConfig,
) -> Result<Parts, PromptError> {
    Ok(Parts {
        vocabulary: ranked.vocabulary()?,
        encoder: ranked.encoder()?,
        prefix: special.bos.filter(|_| adds_bos),
        suffix: special.eos.filter(|_| config.add_eos_token == Some(true)),
        special,
        end_ids: config.end_ids.clone(),
        leading_space: false,
    })
}

fn sentencepiece(bytes: &[u8], config: &TokenizerConfig) -> Result<Parts, PromptError> {
    let mut file = ModelFile::parse(bytes)?;
    let added = append_added(&mut file.pieces, &config.added_tokens)?;
    let len = file.pieces.len();
    let known = |id: &u32| (*id as usize) < len;
    let named = |role: &Option<String>, id: Option<u32>| {
        let by_name = role.as_ref().and_then(|name| {
            let place = file.pieces.iter().position(|piece| piece.text == *name);
            place.and_then(|place| u32::try_from(place).ok())
        });
        by_name.or(id.filter(known))
    };
    let special = SpecialIds {
        bos: named(&config.bos_token, file.bos),
        eos: named(&config.eos_token, file.eos),
        unk: named(&config.unk_token, file.unk),
        pad: named(&config.pad_token, file.pad),
        ..SpecialIds::default()
    };
    let prefix = match (
        config.add_prefix_space.unwrap_or(file.dummy_prefix),
        config.legacy,
    ) {
        (false, _) => Prefix::None,
        (true, Some(false)) => Prefix::First,
        (true, _) => Prefix::Each,
    };
    let pieces = SentencePieces {
        pieces: file.pieces,
        prefix,
        remove_extra_spaces: file.remove_extra_spaces,
        split_user_defined: false,
        rstrip: false,
    };
    Ok(Parts {
        vocabulary: pieces.vocabulary(),
        encoder: pieces.encoder(added)?,
        prefix: special.bos.filter(|_| config.add_bos_token.unwrap_or(true)),
        suffix: special.eos.filter(|_| config.add_eos_token == Some(true)),
        special,
        end_ids: config.end_ids.clone(),
        leading_space: prefix != Prefix::None,
    })
}

/// Puts the tokens that a folder adds behind the pieces; those returned are looked for in a text.
fn append_added(
    pieces: &mut Vec<Piece>,
    added: &[AddedTokenEntry],
) -> Result<Vec<tokenizers::AddedToken>, PromptError> {
    let mut sorted: Vec<&AddedTokenEntry> = added.iter().collect();
    sorted.sort_by_key(|token| token.id);
    let mut tokens = Vec::with_capacity(sorted.len());
    for token in sorted {
        let kind = if token.special {
            PieceKind::Control
        } else {
            PieceKind::UserDefined
        };
        match pieces.get(token.id as usize) {
            Some(piece) if piece.text == token.content => {}
            None if token.id as usize == pieces.len() => pieces.push(Piece {
                text: token.content.clone(),
                score: 0.0,
                kind,
            }),
            _ => {
                return Err(PromptError::Vocabulary(format!(
                    "the added token {} has another token's place, or leaves one empty: {} tokens are there",
                    token.id,
                    pieces.len()
                )));
            }
        }
        tokens.push(token.as_added_token());
    }
    Ok(tokens)
}
