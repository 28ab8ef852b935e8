//! What lies beside a tokenizer's own file: the roles of its special tokens, tokens added to it, and the chat template.
//!
//! Files that are not there mean nothing; one that is there and cannot be read is an error that names it.

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{error::PromptError, vocabulary::TokenKind};

/// What weir reads of `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `generation_config.json`
/// and `config.json`; a model folder without those files has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Begin of sequence.
    pub bos_token: Option<String>,
    /// End of sequence.
    pub eos_token: Option<String>,
    /// Unknown token.
    pub unk_token: Option<String>,
    /// Padding.
    pub pad_token: Option<String>,
    /// All ids that end a generation (`eos_token_id` of generation_config.json, else of config.json).
    pub end_ids: Vec<u32>,
    /// Whether a begin token belongs before a text that is no rendered template.
    pub add_bos_token: Option<bool>,
    /// Whether an end token belongs after it.
    pub add_eos_token: Option<bool>,
    /// False: only the start of a text gets SentencePiece's leading space, not what follows a special token.
    pub legacy: Option<bool>,
    /// Whether SentencePiece's leading space is there at all.
    pub add_prefix_space: Option<bool>,
    /// Tokens beside those of `tokenizer.model` or a tiktoken file.
    pub added_tokens: Vec<AddedTokenEntry>,
    /// `model_type` of config.json.
    pub model_type: Option<String>,
    /// The model's own chat template.
    pub chat_template: Option<String>,
    /// The template for requests with tools, of models that ship two.
    pub tool_chat_template: Option<String>,
}

/// A token that a folder adds to its vocabulary (`added_tokens_decoder`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddedTokenEntry {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it is a control token, not shown.
    pub special: bool,
    /// White space before it in a text belongs to it.
    pub lstrip: bool,
    /// White space after it in a text belongs to it.
    pub rstrip: bool,
    /// It is looked for in the normalised text.
    pub normalized: bool,
    /// It is found only where no letters touch it.
    pub single_word: bool,
}

impl AddedTokenEntry {
    /// A control token.
    pub(crate) fn special(id: u32, content: String) -> Self {
        Self {
            id,
            content,
            special: true,
            ..Self::default()
        }
    }

    /// What it is in the vocabulary.
    pub(crate) fn kind(&self) -> TokenKind {
        if self.special {
            TokenKind::Special
        } else {
            added_kind(self.content.as_bytes())
        }
    }

    /// The crate's own form, which finds it in a text.
    pub(crate) fn as_added_token(&self) -> tokenizers::AddedToken {
        tokenizers::AddedToken::from(self.content.clone(), self.special)
            .normalized(self.normalized)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .single_word(self.single_word)
    }
}

/// The kind of an added token that is not special: white space is text, whatever the file calls it.
pub(crate) fn added_kind(bytes: &[u8]) -> TokenKind {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        TokenKind::Normal
    } else {
        TokenKind::Added
    }
}

/// `tokenizer_config.json` as it is written; `special_tokens_map.json` has its first fields.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    legacy: Option<bool>,
    add_prefix_space: Option<bool>,
    added_tokens_decoder: BTreeMap<u32, AddedToken>,
    chat_template: Option<Templates>,
}

/// An entry of `added_tokens_decoder`; its key is the id.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AddedToken {
    content: String,
    special: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    single_word: bool,
}

/// The fields of `generation_config.json` and `config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelFile {
    model_type: Option<String>,
    eos_token_id: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

/// Newer files write just the text, older ones an added-token object.
#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Object { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl TokenizerConfig {
    /// Reads the files in `dir`; `chat_template.jinja` wins over a template in another file. None need be there.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Self, PromptError> {
        let mut file: ConfigFile = json_if_there(&dir.join("tokenizer_config.json"))?;
        let roles: ConfigFile = json_if_there(&dir.join("special_tokens_map.json"))?;
        file.bos_token = file.bos_token.or(roles.bos_token);
        file.eos_token = file.eos_token.or(roles.eos_token);
        file.unk_token = file.unk_token.or(roles.unk_token);
        file.pad_token = file.pad_token.or(roles.pad_token);
        let mut config = Self::from(file);

        let added: BTreeMap<String, u32> = json_if_there(&dir.join("added_tokens.json"))?;
        for (content, id) in added {
            if config.added_tokens.iter().all(|token| token.id != id) {
                config.added_tokens.push(AddedTokenEntry {
                    id,
                    content,
                    ..AddedTokenEntry::default()
                });
            }
        }
        let generation: ModelFile = json_if_there(&dir.join("generation_config.json"))?;
        let model: ModelFile = json_if_there(&dir.join("config.json"))?;
        config.model_type = model.model_type;
        config.end_ids = match generation.eos_token_id.or(model.eos_token_id) {
            Some(Ids::One(id)) => vec![id],
            Some(Ids::Several(ids)) => ids,
            None => Vec::new(),
        };
        if let Some(template) = read_if_there(&dir.join("chat_template.jinja"))? {
            config.chat_template = Some(template);
        }
        Ok(config)
    }
}

impl From<ConfigFile> for TokenizerConfig {
    fn from(file: ConfigFile) -> Self {
        let (chat_template, tool_chat_template) = match file.chat_template {
            Some(Templates::One(template)) => (Some(template), None),
            Some(Templates::Named(named)) => {
                let find = |name: &str| {
                    named
                        .iter()
                        .find(|entry| entry.name == name)
                        .map(|e| e.template.clone())
                };
                (find("default"), find("tool_use"))
            }
            None => (None, None),
        };
        let added = file.added_tokens_decoder.into_iter();
        Self {
            bos_token: text(file.bos_token),
            eos_token: text(file.eos_token),
            unk_token: text(file.unk_token),
            pad_token: text(file.pad_token),
            add_bos_token: file.add_bos_token,
            add_eos_token: file.add_eos_token,
            legacy: file.legacy,
            add_prefix_space: file.add_prefix_space,
            added_tokens: added
                .map(|(id, token)| AddedTokenEntry {
                    id,
                    content: token.content,
                    special: token.special,
                    lstrip: token.lstrip,
                    rstrip: token.rstrip,
                    normalized: token.normalized,
                    single_word: token.single_word,
                })
                .collect(),
            chat_template,
            tool_chat_template,
            ..Self::default()
        }
    }
}

fn text(token: Option<SpecialToken>) -> Option<String> {
    token.map(|token| match token {
        SpecialToken::Text(content) | SpecialToken::Object { content } => content,
    })
}

fn read_if_there(path: &Path) -> Result<Option<String>, PromptError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PromptError::File {
            path: path.to_path_buf(),
            message: error.to_string(),
        }),
    }
}

/// The JSON file's value, or the default where there is none.
fn json_if_there<T: Default + DeserializeOwned>(path: &Path) -> Result<T, PromptError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(T::default());
    };
    serde_json::from_str(&text).map_err(|error| PromptError::File {
        path: path.to_path_buf(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<TokenizerConfig, PromptError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        TokenizerConfig::read(dir.path())
    }

    #[test]
    fn a_folder_without_files_has_nothing() {
        assert_eq!(read(&[]).unwrap(), TokenizerConfig::default());
    }

    #[test]
    fn reads_both_spellings_of_a_special_token() {
        let text = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null, "x": 1}"#;
        let config = read(&[("tokenizer_config.json", text)]).unwrap();
        assert_eq!(config.bos_token.as_deref(), Some("<s>"));
        assert_eq!(config.eos_token.as_deref(), Some("</s>"));
        assert_eq!(config.pad_token, None);
    }

    #[test]
    fn finds_named_templates() {
        let text = r#"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#;
        let config = read(&[("tokenizer_config.json", text)]).unwrap();
        assert_eq!(config.chat_template.as_deref(), Some("D"));
        assert_eq!(config.tool_chat_template.as_deref(), Some("T"));
    }

    #[test]
    fn the_template_file_wins() {
        let text = r#"{"chat_template": "inside"}"#;
        let config = read(&[
            ("tokenizer_config.json", text),
            ("chat_template.jinja", "beside"),
        ])
        .unwrap();
        assert_eq!(config.chat_template.as_deref(), Some("beside"));
    }

    #[test]
    fn a_broken_file_is_named() {
        let error = read(&[("tokenizer_config.json", "{")]).unwrap_err();
        assert!(
            matches!(error, PromptError::File { ref path, .. } if path.ends_with("tokenizer_config.json"))
        );
    }

    #[test]
    fn gathers_roles_ids_and_added_tokens_from_all_files() {
        let config = read(&[
            (
                "tokenizer_config.json",
                r#"{"eos_token": "</s>", "legacy": false, "added_tokens_decoder":
                    {"7": {"content": "<t>", "rstrip": true, "special": true}}}"#,
            ),
            (
                "special_tokens_map.json",
                r#"{"bos_token": "<s>", "eos_token": "no"}"#,
            ),
            ("added_tokens.json", r#"{"<t>": 7, "<u>": 8}"#),
            ("generation_config.json", r#"{"eos_token_id": [2, 7]}"#),
            (
                "config.json",
                r#"{"model_type": "llama", "eos_token_id": 1}"#,
            ),
        ])
        .unwrap();
        assert_eq!(config.bos_token.as_deref(), Some("<s>"));
        assert_eq!(config.eos_token.as_deref(), Some("</s>"));
        assert_eq!(config.legacy, Some(false));
        assert_eq!(config.end_ids, [2, 7]);
        assert_eq!(config.model_type.as_deref(), Some("llama"));
        let added: Vec<_> = config
            .added_tokens
            .iter()
            .map(|t| (t.id, t.rstrip, t.special))
            .collect();
        assert_eq!(added, [(7, true, true), (8, false, false)]);
    }
}
