//! `--model replay:FILE.jsonl`: a model that says given texts, for wire tests, client tests and plugin demos.
//!
//! Each line is one answer: `{"text": "..."}` or `{"chunks": ["...", {"text": "<tool_call>", "control": true}]}`. With
//! `"match": "..."` it answers the prompts that hold that text; the others answer in turn. `"tokens_per_second"` in any
//! line sets the rate of the whole file: each answer in the making gets a token at every multiple of that rate's period since
//! 1970, by the machine's clock. A chunk is one token; a text is cut into tokens of four characters.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;
use thiserror::Error;
use weir_engine::{FakeRunner, FakeScript, RunnerInfo};
use weir_prompt::{TokenKind, Tokenizer};

/// The replay tokenizer's ids below this are bytes.
const BYTE_TOKENS: u32 = 256;
/// Behind the bytes stands the end token.
const EOS: u32 = BYTE_TOKENS;
const CHARACTERS_PER_TOKEN: usize = 4;

/// A replay file that cannot be used.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A line is no answer.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(rename = "match")]
    matches: Option<String>,
    text: Option<String>,
    chunks: Option<Vec<Chunk>>,
    tokens_per_second: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Chunk {
    Text(String),
    Marked {
        text: String,
        #[serde(default)]
        control: bool,
    },
}

/// A replay file, read.
pub struct Replay {
    pieces: Vec<(String, TokenKind)>,
    ids: HashMap<(String, bool), u32>,
    scripts: Vec<FakeScript>,
    tokens_per_second: Option<f64>,
}

impl Replay {
    /// Reads a file.
    ///
    /// # Errors
    /// An unreadable file, or a line that is no answer, by its number.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ReplayError::File {
            path: name.clone(),
            reason: error.to_string(),
        })?;
        let mut replay = Self {
            pieces: Vec::new(),
            ids: HashMap::new(),
            scripts: Vec::new(),
            tokens_per_second: None,
        };
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let at = |reason: String| ReplayError::Line {
                path: name.clone(),
                line: index + 1,
                reason,
            };
            let answer: Answer =
                serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
            replay.add(answer).map_err(|reason| at(reason.to_owned()))?;
        }
        if replay.scripts.is_empty() {
            return Err(ReplayError::File {
                path: name,
                reason: "holds no answer".to_owned(),
            });
        }
        Ok(replay)
    }

    /// The tokenizer whose tokens are bytes and the file's pieces.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::from_pieces(self.pieces.clone())
    }

    /// The runner that says the texts.
    pub fn runner(self, max_model_len: usize, max_num_seqs: usize) -> FakeRunner {
        const BLOCK_SIZE: usize = 16;
        let info = RunnerInfo {
            vocab_size: BYTE_TOKENS as usize + 1 + self.pieces.len(),
            max_model_len,
            block_size: BLOCK_SIZE,
            num_blocks: max_model_len.div_ceil(BLOCK_SIZE) * max_num_seqs,
            eos_token_ids: vec![EOS],
        };
        FakeRunner::new(info, self.scripts, self.tokens_per_second)
    }

    fn add(&mut self, answer: Answer) -> Result<(), &'static str> {
        let chunks = match (answer.text, answer.chunks) {
            (Some(text), None) => cut(&text),
            (None, Some(chunks)) => chunks
                .into_iter()
                .map(|chunk| match chunk {
                    Chunk::Text(text) => (text, false),
                    Chunk::Marked { text, control } => (text, control),
                })
                .collect(),
            _ => return Err("an answer has either `text` or `chunks`"),
        };
        if let Some(rate) = answer.tokens_per_second {
            if !(rate > 0.0 && rate.is_finite()) {
                return Err("`tokens_per_second` must be above 0");
            }
            self.tokens_per_second = Some(rate);
        }
        let tokens = chunks
            .into_iter()
            .filter(|(text, _)| !text.is_empty())
            .map(|chunk| self.id_of(chunk))
            .collect();
        let matches = answer
            .matches
            .map(|text| text.bytes().map(u32::from).collect());
        self.scripts.push(FakeScript { matches, tokens });
        Ok(())
    }

    fn id_of(&mut self, chunk: (String, bool)) -> u32 {
        if let Some(id) = self.ids.get(&chunk) {
            return *id;
        }
        let id = EOS + 1 + u32::try_from(self.pieces.len()).unwrap_or(u32::MAX - EOS - 1);
        let kind = if chunk.1 {
            TokenKind::Added
        } else {
            TokenKind::Normal
        };
        self.pieces.push((chunk.0.clone(), kind));
        self.ids.insert(chunk, id);
        id
    }
}

fn cut(text: &str) -> Vec<(String, bool)> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(CHARACTERS_PER_TOKEN)
        .map(|chunk| (chunk.iter().collect(), false))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Replay, ReplayError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writes");
        Replay::read(file.path())
    }

    #[test]
    fn texts_and_chunks_become_tokens() {
        let replay = read("{\"text\": \"hello world\"}\n\n{\"match\": \"hi\", \"chunks\": [\"hell\", {\"text\": \"hell\", \"control\": true}]}\n").expect("reads");
        assert_eq!(replay.scripts[0].tokens, [257, 258, 259]);
        assert_eq!(replay.scripts[1].tokens, [257, 260]);
        assert_eq!(replay.scripts[1].matches, Some(vec![104, 105]));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read("{\"text\": \"a\"}\n{\"txt\": 1}\n")
            .err()
            .expect("fails")
            .to_string();
        assert!(error.contains(":2:"), "{error}");
        assert!(read("").is_err());
    }
}
