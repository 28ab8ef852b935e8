//! Everything that can go wrong between messages and token ids, told apart by who can do something about it.

use std::path::PathBuf;

use thiserror::Error;

/// A prompt error. [`PromptError::is_request`] tells the caller's mistakes from the operator's.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromptError {
    /// A tokenizer file is missing or cannot be read.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A tokenizer of a kind that is not built; encoding with something close to it would give wrong ids.
    #[error("this kind of tokenizer is not supported: {0}")]
    UnsupportedTokenizer(String),
    /// A vocabulary that contradicts itself.
    #[error("the tokenizer's vocabulary is unusable: {0}")]
    Vocabulary(String),
    /// The tokenizer could not encode a text.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// The template's source is not Jinja.
    #[error("the chat template cannot be read: {0}")]
    TemplateSyntax(String),
    /// The template refused this conversation, in its own words (`raise_exception`).
    #[error("{0}")]
    Template(String),
    /// The template broke while rendering this conversation, or ran past its bounds.
    #[error("the chat template cannot render these messages: {0}")]
    Render(String),
    /// The messages are not a conversation that any template could render.
    #[error("{0}")]
    Conversation(String),
}

impl PromptError {
    /// A vocabulary that something else refused; what came from the file stays on one line and is not quoted at length.
    pub(crate) fn unusable(reason: impl std::fmt::Display) -> Self {
        Self::Vocabulary(quoted(reason))
    }

    /// Whether the request is at fault, rather than the model's files or the configuration.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Template(_) | Self::Render(_) | Self::Conversation(_) | Self::Encode(_)
        )
    }
}

/// Text from a file as part of a message: on one line, and not at length.
pub(crate) fn quoted(text: impl std::fmt::Display) -> String {
    let visible = |character: char| match character.is_control() {
        true => ' ',
        false => character,
    };
    text.to_string().chars().map(visible).take(300).collect()
}
