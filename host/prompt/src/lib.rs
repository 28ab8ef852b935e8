//! The prompt side: messages and tools become text through a chat template, text becomes token ids.

pub mod vocabulary;

pub use vocabulary::{TokenKind, Vocabulary};
