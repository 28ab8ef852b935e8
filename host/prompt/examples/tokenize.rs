//! Encodes and decodes what stands on standard input, for checks against the reference tokenizers.
//!
//! `tokenize SOURCE [--plain] [--special]`: SOURCE is a model folder, one tokenizer file (tokenizer.json, tokenizer.model,
//! tekken.json) or a .json that holds a GGUF file's `tokenizer.ggml.*` fields under [`GgufFields`]' names. Standard input
//! is JSON Lines: `{"text": "..."}` gives `{"ids": [...]}`, `{"ids": [...]}` gives `{"text": "...", "stream": [...]}`,
//! where `stream` is what a client would see token by token. `--plain` takes special tokens in a text as text,
//! `--special` puts the model's begin and end tokens around it. An error ends the program with one line.

use std::{
    collections::BTreeSet,
    error::Error,
    io::{BufRead, Write},
    path::Path,
    sync::Arc,
};

use serde::Deserialize;
use serde_json::json;
use weir_output::Detokenizer;
use weir_prompt::{GgufVocabulary, TokenKind, Tokenizer, TokenizerConfig};

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
    let config = TokenizerConfig::read(source.parent().unwrap_or(source))?;
    Ok(Tokenizer::from_file(source, &config)?)
}

/// What a client sees token by token. `decode` drops the space at the start of some texts; so does this.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let vocabulary = tokenizer.vocabulary();
    // Each once, as every token of the stream is looked for among them.
    let special: BTreeSet<String> = ids
        .iter()
        .filter(|id| vocabulary.kind(**id) == TokenKind::Special)
        .filter_map(|id| vocabulary.bytes(*id))
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    let special = special.into_iter().collect();
    let mut detokenizer = Detokenizer::new(Arc::clone(vocabulary), special);
    let mut fragments = Vec::new();
    for id in ids {
        detokenizer.push(*id, &mut fragments);
    }
    detokenizer.finish(&mut fragments);
    let mut texts: Vec<String> = fragments
        .into_iter()
        .map(|fragment| fragment.text)
        .collect();
    if tokenizer.drops_first_space()
        && let Some(first) = texts.first_mut()
        && first.starts_with(' ')
    {
        first.remove(0);
    }
    texts
}

/// The fields of [`GgufVocabulary`], as JSON; all but `model` and `tokens` may be missing.
#[derive(Deserialize)]
struct GgufFields {
    model: String,
    tokens: Vec<String>,
    #[serde(default)]
    token_types: Vec<i32>,
    #[serde(default)]
    scores: Vec<f32>,
    #[serde(default)]
    merges: Vec<String>,
    #[serde(default)]
    model_name: String,
    pre: Option<String>,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    eom: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
    sep: Option<u32>,
    cls: Option<u32>,
    mask: Option<u32>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    add_sep: Option<bool>,
    add_space_prefix: Option<bool>,
    remove_extra_whitespaces: Option<bool>,
    lowercase: Option<bool>,
    strip_accents: Option<bool>,
}

impl From<GgufFields> for GgufVocabulary {
    fn from(fields: GgufFields) -> Self {
        Self {
            model: fields.model,
            pre: fields.pre,
            model_name: fields.model_name,
            tokens: fields.tokens,
            token_types: fields.token_types,
            scores: fields.scores,
            merges: fields.merges,
            bos: fields.bos,
            eos: fields.eos,
            eot: fields.eot,
            eom: fields.eom,
            unk: fields.unk,
            pad: fields.pad,
            sep: fields.sep,
            cls: fields.cls,
            mask: fields.mask,
            add_bos: fields.add_bos,
            add_eos: fields.add_eos.unwrap_or(false),
            add_sep: fields.add_sep,
            add_space_prefix: fields.add_space_prefix,
            remove_extra_whitespaces: fields.remove_extra_whitespaces.unwrap_or(false),
            lowercase: fields.lowercase,
            strip_accents: fields.strip_accents,
        }
    }
}
