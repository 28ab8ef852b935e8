//! What must hold of every input, and how it did not. Which of these a check looks at is its own choice.

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// No parser panics.
    NoPanic,
    /// No plugin fails, by its own word, by breaking the contract, by a trap.
    NoPluginError,
    /// The fold is the same under every chunking.
    OneFold,
    /// A component does what its source does.
    SameAsWasm,
    /// Complete mode has the reasoning of incremental mode, and those of its calls that closed.
    SameCallsInBothModes,
    /// The arguments of a call that closed are a JSON object.
    ArgumentsAreAnObject,
    /// They stand in the input as they are, unless they were missing or a string that held them.
    ArgumentsKeepTheirBytes,
    /// Content and reasoning are parts of the input, in its order.
    TextIsOfTheInput,
    /// No more comes out than went in.
    NothingTwice,
    /// A format that stands between markers leaves a text without markers alone.
    PlainTextIsContent,
    /// Of a format that stands between markers, no marker becomes content.
    NoMarkerLeaks,
}

/// A rule that was broken, and how.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What came instead.
    pub how: String,
}
