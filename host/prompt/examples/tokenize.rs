//! Encodes and decodes what stands on standard input, for checks against the reference tokenizers.
//!
//! `tokenize SOURCE [--plain] [--special]`: SOURCE is a model folder, one tokenizer file (tokenizer.json, tokenizer.model,
//! tekken.json) or a .json that holds a GGUF file's `tokenizer.ggml.*` fields under [`GgufFields`]' names. Standard input
//! is JSON Lines: `{"text": "..."}` gives `{"ids": [...]}`, `{"ids": [...]}` gives `{"text": "...", "stream": [...]}`,
//! where `stream` is what a client would see token by token. `--plain` takes special tokens in a text as text,
//! `--special` puts the model's begin and end tokens around it. An error ends the program with one line.

use std::{
    error::Error,
    io::{BufRead, Write},
    path::Path,
};

use serde::Deserialize;
use serde_json::json;
use weir_prompt::{GgufVocabulary, Tokenizer, TokenizerConfig};

/// One line of standard input.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Text(String),
    Ids(Vec<u32>),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let source = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"))
        .ok_or("usage: tokenize SOURCE [--plain] [--special] < lines.jsonl")?;
    let tokenizer = load(Path::new(source)).inspect_err(|error| {
        eprintln!("{error}");
        std::process::exit(1);
    })?;
    let (plain, special) = (has("--plain"), has("--special"));
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Line::Text(text) if plain => json!({ "ids": tokenizer.encode_plain(&text)? }),
            Line::Text(text) => json!({ "ids": tokenizer.encode(&text, special)? }),
            Line::Ids(ids) => {
                json!({ "text": tokenizer.decode(&ids), "stream": stream(&tokenizer, &ids) })
            }
        };
        writeln!(output, "{answer}")?;
    }
    Ok(output.flush()?)
}

fn load(source: &Path) -> Result<Tokenizer, Box<dyn Error>> {
    if source.is_dir() {
        return Ok(Tokenizer::from_folder(
            source,
            &TokenizerConfig::read(source)?,
        )?);
    }
    let bytes = std::fs::read(source)?;
    if let Ok(fields) = serde_json::from_slice::<GgufFields>(&bytes) {
        return Ok(Tokenizer::from_gguf(fields.into())?);
    }
    Ok(Tokenizer::from_file(source, &TokenizerConfig::default())?)
}

/// The text that each id adds, whole characters only; what never becomes a character comes last.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut sent = 0;
    let mut pieces = Vec::with_capacity(ids.len());
    for end in 1..=ids.len() {
        let text = tokenizer.decode(&ids[..end]);
        let certain = if end == ids.len() {
            text.len()
        } else {
            text.trim_end_matches(char::REPLACEMENT_CHARACTER).len()
        };
        pieces.push(text.get(sent..certain).unwrap_or_default().to_owned());
        sent = sent.max(certain);
    }
    pieces
}

/// The fields of [`GgufVocabulary`], as JSON; all but the first and `tokens` may be missing.
#[derive(Deserialize)]
struct GgufFields {
    model: String,
    tokens: Vec<String>,
    #[serde(default)]
    pre: Option<String>,
    #[serde(default)]
    token_types: Vec<i32>,
    #[serde(default)]
    merges: Vec<String>,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
}

impl From<GgufFields> for GgufVocabulary {
    fn from(fields: GgufFields) -> Self {
        Self {
            model: fields.model,
            pre: fields.pre,
            tokens: fields.tokens,
            token_types: fields.token_types,
            merges: fields.merges,
            bos: fields.bos,
            eos: fields.eos,
            eot: fields.eot,
            unk: fields.unk,
            pad: fields.pad,
            add_bos: fields.add_bos,
            add_eos: fields.add_eos.unwrap_or(false),
        }
    }
}
