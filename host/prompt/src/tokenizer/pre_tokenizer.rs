//! How a text is cut into words before byte pairs are merged, by the name that GGUF files give the way.
//!
//! The patterns are facts of the models' own tokenizers. A name that is not listed is an error: a text cut in another way
//! gives ids that the model never saw, and nobody would notice.

use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    normalizers::NFC,
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use crate::error::PromptError;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

/// One way to cut a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PreTokenizer {
    /// Each cuts the pieces that the one before left.
    patterns: &'static [&'static str],
    /// Whole words of the vocabulary are taken as they are, without merging.
    pub(crate) ignore_merges: bool,
    /// The text is put into normal form C first.
    nfc: bool,
    /// Whether a begin token belongs before a text when the file does not say.
    pub(crate) adds_bos: bool,
}

const PLAIN: PreTokenizer = PreTokenizer {
    patterns: &[GPT2],
    ignore_merges: false,
    nfc: false,
    adds_bos: false,
};

/// The names as GGUF files spell them (`tokenizer.ggml.pre`), for the error message.
const KNOWN: &str = "smollm, gpt-2, default, llama-bpe, qwen2, deepseek-r1-qwen, deepseek-v3";

impl PreTokenizer {
    /// By GGUF name; a file without one means `default`.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, PromptError> {
        match name.unwrap_or("default") {
            "smollm" => Ok(Self {
                patterns: &[r"\p{N}", GPT2],
                ..PLAIN
            }),
            "gpt-2" => Ok(PLAIN),
            "default" => Ok(Self {
                patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
                ..PLAIN
            }),
            "llama-bpe" => Ok(Self {
                patterns: &[LLAMA3],
                ignore_merges: true,
                adds_bos: true,
                ..PLAIN
            }),
            "qwen2" => Ok(Self {
                patterns: &[QWEN2],
                nfc: true,
                ..PLAIN
            }),
            // Qwen's words under DeepSeek's tokenizer, which does not normalise.
            "deepseek-r1-qwen" => Ok(Self {
                patterns: &[QWEN2],
                ..PLAIN
            }),
            "deepseek-v3" => Ok(Self {
                patterns: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_V3],
                ..PLAIN
            }),
            other => Err(PromptError::UnsupportedTokenizer(format!(
                "the GGUF file names the pre-tokenizer `{other}`; known are {KNOWN}"
            ))),
        }
    }

    /// What stands before the cut.
    pub(crate) fn normalizer(&self) -> Option<NormalizerWrapper> {
        self.nfc.then_some(NormalizerWrapper::NFC(NFC))
    }

    /// The cut, and the byte-level spelling of what it leaves.
    pub(crate) fn build(&self) -> Result<PreTokenizerWrapper, PromptError> {
        let mut steps = Vec::with_capacity(self.patterns.len() + 1);
        for pattern in self.patterns {
            let split = Split::new(
                SplitPattern::Regex((*pattern).to_owned()),
                SplitDelimiterBehavior::Isolated,
                false,
            )
            .map_err(|error| PromptError::UnsupportedTokenizer(error.to_string()))?;
            steps.push(PreTokenizerWrapper::Split(split));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(
            false, false, false,
        )));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}
