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

use crate::error::{PromptError, quoted};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const KIMI_K2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Cased letters as DeepSeek LLM (and V2) lists them: not quite Unicode's, and not all of them.
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-\u{212D}ℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_CJK: &str = "[一-龥ࠀ-一가-퟿]+";

/// One way to cut a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PreTokenizer {
    /// Each cuts the pieces that the one before left.
    pub(crate) patterns: &'static [&'static str],
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

/// By the names that GGUF files give them (`tokenizer.ggml.pre`).
const KNOWN: [(&[&str], PreTokenizer); 16] = [
    // What a file without a name means.
    (
        &["default"],
        PreTokenizer {
            patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
            ..PLAIN
        },
    ),
    (&["gpt-2"], PLAIN),
    // Granite 3 has starcoder's, which its files call refact.
    (
        &["smollm", "starcoder", "refact"],
        PreTokenizer {
            patterns: &[r"\p{N}", GPT2],
            ..PLAIN
        },
    ),
    (
        &["command-r"],
        PreTokenizer {
            patterns: &[r"\p{N}", GPT2],
            nfc: true,
            ..PLAIN
        },
    ),
    (
        &["llama-bpe", "llama3", "llama-v3"],
        PreTokenizer {
            patterns: &[LLAMA3],
            ignore_merges: true,
            adds_bos: true,
            ..PLAIN
        },
    ),
    // SmolLM3 has llama 3's words without its begin token.
    (
        &["smaug-bpe"],
        PreTokenizer {
            patterns: &[LLAMA3],
            ignore_merges: true,
            ..PLAIN
        },
    ),
    // Phi-4 and granite 4: OpenAI's cl100k.
    (
        &["dbrx"],
        PreTokenizer {
            patterns: &[LLAMA3],
            ..PLAIN
        },
    ),
    (
        &["tekken"],
        PreTokenizer {
            patterns: &[TEKKEN],
            ignore_merges: true,
            adds_bos: true,
            ..PLAIN
        },
    ),
    (
        &["qwen2"],
        PreTokenizer {
            patterns: &[QWEN2],
            nfc: true,
            ..PLAIN
        },
    ),
    (
        &["qwen35"],
        PreTokenizer {
            patterns: &[QWEN35],
            nfc: true,
            ..PLAIN
        },
    ),
    // Qwen's words under DeepSeek's tokenizer, which does not normalise.
    (
        &["deepseek-r1-qwen"],
        PreTokenizer {
            patterns: &[QWEN2],
            ..PLAIN
        },
    ),
    (
        &["gpt-4o", "llama4"],
        PreTokenizer {
            patterns: &[O200K],
            ignore_merges: true,
            ..PLAIN
        },
    ),
    (
        &["kimi-k2"],
        PreTokenizer {
            patterns: &[KIMI_K2],
            ignore_merges: true,
            ..PLAIN
        },
    ),
    // DeepSeek V2 has DeepSeek LLM's.
    (
        &["deepseek-llm"],
        PreTokenizer {
            patterns: &[
                r"[\r\n]",
                DEEPSEEK_LETTERS,
                r"\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
                r"\s+$",
                DEEPSEEK_CJK,
                r"\p{N}",
            ],
            ..PLAIN
        },
    ),
    (
        &["deepseek-coder"],
        PreTokenizer {
            patterns: &[
                r"[\r\n]",
                r"\s?\p{L}+",
                r"\s?\p{P}+",
                DEEPSEEK_CJK,
                r"\p{N}",
            ],
            ..PLAIN
        },
    ),
    (
        &["deepseek-v3"],
        PreTokenizer {
            patterns: &[r"\p{N}{1,3}", "[一-龥\u{3040}-ゟ゠-ヿ]+", DEEPSEEK_V3],
            ..PLAIN
        },
    ),
];

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().flat_map(|(names, _)| names).copied()
}

impl PreTokenizer {
    /// By GGUF name.
    ///
    /// # Errors
    /// When the name is not known; the error names those that are.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, PromptError> {
        let name = name.unwrap_or("default");
        let found = KNOWN.into_iter().find(|(names, _)| names.contains(&name));
        found.map(|(_, found)| found).ok_or_else(|| {
            let known: Vec<&str> = names().collect();
            PromptError::UnsupportedTokenizer(format!(
                "the GGUF file names the pre-tokenizer `{}`; known are {}",
                quoted(name),
                known.join(", ")
            ))
        })
    }

    /// What stands before the cut.
    pub(crate) fn normalizer(&self) -> Option<NormalizerWrapper> {
        self.nfc.then_some(NormalizerWrapper::NFC(NFC))
    }

    /// The cut, and the byte-level spelling of what it leaves.
    pub(crate) fn build(&self) -> Result<PreTokenizerWrapper, PromptError> {
        byte_level_cut(self.patterns)
    }
}

/// Cuts by each pattern in turn, then spells bytes as characters.
pub(crate) fn byte_level_cut(patterns: &[&str]) -> Result<PreTokenizerWrapper, PromptError> {
    let mut steps = Vec::with_capacity(patterns.len() + 1);
    for pattern in patterns {
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
