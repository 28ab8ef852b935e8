//! The prompt side: messages and tools become text through a chat template, text becomes token ids.
//!
//! Invariants: ids are those the model was trained on, or a named error, never a guess; a template sees messages as its
//! family's own server would hand them over. It does not know HTTP, the engine or which model runs: the server hands it
//! files or plain data.

pub mod chat_template;
pub mod tokenizer;
pub mod vocabulary;

mod error;
mod messages;

pub use chat_template::{ChatTemplate, Conversation, SpecialTokens};
pub use error::PromptError;
pub use tokenizer::{AddedTokenEntry, GgufVocabulary, Tokenizer, TokenizerConfig};
pub use vocabulary::{TokenKind, Vocabulary};
