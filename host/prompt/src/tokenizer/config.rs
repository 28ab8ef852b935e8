//! What lies beside a `tokenizer.json`: the names of the special tokens and the model's own chat template.

use std::{io::ErrorKind, path::Path};

use serde::Deserialize;

use crate::error::PromptError;

/// The fields of `tokenizer_config.json` that weir reads; a model folder without that file has none of them.
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
    /// The model's own chat template.
    pub chat_template: Option<String>,
    /// The template for requests with tools, of models that ship two.
    pub tool_chat_template: Option<String>,
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    chat_template: Option<Templates>,
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
    /// Reads `tokenizer_config.json` and `chat_template.jinja` in `dir`; the latter wins. Neither need be there.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Self, PromptError> {
        let mut config = Self::default();
        let path = dir.join("tokenizer_config.json");
        if let Some(text) = read_if_there(&path)? {
            let file: ConfigFile =
                serde_json::from_str(&text).map_err(|error| PromptError::File {
                    path,
                    message: error.to_string(),
                })?;
            config = Self::from(file);
        }
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
        Self {
            bos_token: text(file.bos_token),
            eos_token: text(file.eos_token),
            unk_token: text(file.unk_token),
            pad_token: text(file.pad_token),
            chat_template,
            tool_chat_template,
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
}
