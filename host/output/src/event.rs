//! Fragments go into parsers, events come out. The same words as in `wit/v0.1`.

use serde::{Deserialize, Serialize};

/// What is known about a piece of model output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FragmentKind {
    /// Ordinary tokens.
    Text,
    /// Exactly one added or special token.
    Control,
    /// A remote engine's text: may hold markers anywhere.
    Unknown,
}

/// A piece of model output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Whole UTF-8 characters; never empty.
    pub text: String,
    /// What it is.
    pub kind: FragmentKind,
}

/// What a parser says. `index` counts the calls of one choice from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// Text for the user; the kind survives, so that the next parser in the chain sees what the model sent.
    Content(Fragment),
    /// A piece of the model's reasoning.
    Reasoning {
        /// The text.
        text: String,
    },
    /// A call starts.
    CallBegin {
        /// Which call.
        index: u32,
        /// The id the model wrote, for formats that have one.
        id: Option<String>,
        /// The tool's name as the model wrote it.
        name: String,
    },
    /// Raw argument bytes of the open call, as the model wrote them.
    CallArguments {
        /// Which call.
        index: u32,
        /// The bytes.
        delta: String,
    },
    /// The call closed and its arguments are a JSON object.
    CallEnd {
        /// Which call.
        index: u32,
    },
    /// The call never closed, or its arguments are no JSON object.
    CallAbandoned {
        /// Which call.
        index: u32,
        /// What the model wrote, without the family's markers.
        raw: String,
    },
}

/// How generation ended, as the engine said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// End token, stop token or stop string.
    Stop,
    /// Out of tokens.
    Length,
    /// A plugin ended it.
    ContentFilter,
}
