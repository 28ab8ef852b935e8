//! What a caller asks of the engine for one sequence, and how a sequence ends.
//!
//! Stop *strings* are text, and text is matched in `weir-output`; an engine that knows text may stop by them earlier.

use std::{fmt, sync::Arc};

use crate::logits_processor::{LogitsProcessor, ReasoningBudget};

/// Names one sequence for the engine's life; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// One sequence to generate.
#[derive(Debug, Clone)]
pub struct SequenceRequest {
    /// Token ids of the rendered prompt; at least one.
    pub prompt: Vec<u32>,
    /// What is computed in place of the prompt's tokens, which then mean nothing: a row for each of them.
    pub embeddings: Option<PromptEmbeddings>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// When the sequence ends by itself.
    pub stop: StopConditions,
    /// What the output must look like; None leaves it to the model.
    pub constraint: Option<Arc<dyn Constraint>>,
    /// Makes a vector of the prompt in place of an answer to it; `sampling` and `stop` then say nothing.
    pub pooling: Option<Pooling>,
    /// Who starts first of those that wait: the lowest, then whoever came first. Nothing that runs gives way to it.
    pub priority: i64,
}

/// Rows that stand in for those of a model's embedding table: whatever the model does to these, it does to them. Cheap to
/// clone.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptEmbeddings {
    /// Row-major.
    data: Arc<[f32]>,
    width: usize,
}

impl PromptEmbeddings {
    /// Rows of `width` elements, one behind the other; None if that is no whole number of rows, at least one.
    pub fn new(data: impl Into<Arc<[f32]>>, width: usize) -> Option<Self> {
        let data = data.into();
        let whole = !data.is_empty() && width > 0 && data.len().is_multiple_of(width);
        whole.then_some(Self { data, width })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.data.len() / self.width
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One of the rows.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }

    /// Whether all of it are numbers that a model can compute with.
    pub fn is_finite(&self) -> bool {
        self.data.iter().all(|value| value.is_finite())
    }
}

/// How the hidden states of a text's tokens become its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's: the only one that has seen all the others.
    Last,
    /// Their mean.
    Mean,
}

/// What an output must look like; shared by all sequences that must look so.
pub trait Constraint: Send + Sync + fmt::Debug {
    /// The processor that keeps one sequence to it. `end_tokens` are those that end the sequence, at least one: it forbids
    /// them until the output is what it must be, and forces one when nothing else may follow, `min_tokens` or not.
    fn processor(&self, end_tokens: &[u32]) -> Box<dyn LogitsProcessor>;

    /// What it is in the words of engines that have masks of their own, where those have a word for all of it.
    fn form(&self) -> Option<Form> {
        None
    }

    /// The same as a grammar for such an engine.
    ///
    /// # Errors
    /// What of it cannot be said there, in a few words.
    fn gbnf(&self) -> Result<Gbnf, String> {
        Err("what has no grammar".to_owned())
    }
}

/// A constraint that engines have a word for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A JSON value that matches this JSON Schema, as text.
    Json(String),
    /// Text that matches this regular expression as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
}

/// A grammar in llama.cpp's syntax, from its rule `root` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gbnf {
    /// The rules.
    pub text: String,
    /// Whether texts of special tokens stand in it: not every engine takes the token for its text.
    pub special_tokens: bool,
}

/// How the next token is chosen from the logits. The defaults sample from the plain distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep the k likeliest; 0 keeps all.
    pub top_k: usize,
    /// Nucleus mass in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Locally typical mass in (0, 1]; 1 keeps all.
    pub typical_p: f32,
    /// Divides (multiplies, if negative) logits of tokens seen in prompt or output; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted once from logits of tokens in the output.
    pub presence_penalty: f32,
    /// Subtracted per occurrence in the output.
    pub frequency_penalty: f32,
    /// Added to logits, by token id.
    pub logit_bias: Vec<(u32, f32)>,
    /// The only tokens that may be chosen; None leaves all. An end token is one of them only if it stands there.
    pub allowed_tokens: Option<Vec<u32>>,
    /// Tokens in a row that the output must not hold; none is empty. The last of each is forbidden behind the others.
    pub bad_words: Vec<Vec<u32>>,
    /// Same seed, same prompt, same output, whatever else runs. None draws a fresh one.
    pub seed: Option<u64>,
    /// How many top log-probabilities to report beside the sampled token's; None reports nothing.
    pub logprobs: Option<usize>,
    /// How many to report beside each of the prompt's own tokens; None reports nothing. Such a prompt is computed a token a row
    /// from its first token on, whatever is cached: a step holds no more rows of logits for it than sequences may run.
    pub prompt_logprobs: Option<usize>,
}

impl SamplingParams {
    /// Whether the likeliest token is taken, and nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            allowed_tokens: None,
            bad_words: Vec::new(),
            seed: None,
            logprobs: None,
            prompt_logprobs: None,
        }
    }
}

/// When a sequence ends by itself, or a part of it.
#[derive(Debug, Clone, Default)]
pub struct StopConditions {
    /// Generated tokens at most; None means what is left of the context, 0 only computes the prompt.
    pub max_tokens: Option<usize>,
    /// No end-of-sequence or stop token before this many generated tokens.
    pub min_tokens: usize,
    /// Tokens that end the sequence beside the model's own end-of-sequence tokens.
    pub stop_token_ids: Vec<u32>,
    /// Texts behind which nothing is wanted: whoever reads ends the sequence there. An engine that gives text may stop by
    /// itself once one of them is said, itself included.
    pub strings: Vec<String>,
    /// Run on past the model's end-of-sequence tokens.
    pub ignore_eos: bool,
    /// Ends the reasoning; None leaves that to the model.
    pub reasoning: Option<ReasoningBudget>,
    /// When so few tokens are left of `max_tokens`, and no more than half, a constraint forces the shortest end it finds; 0
    /// lets it be cut.
    pub closing_reserve: usize,
}

/// Why the engine ended a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end-of-sequence or stop token.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
}
