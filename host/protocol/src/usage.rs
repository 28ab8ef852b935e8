//! The usage block.

use serde::Serialize;
use utoipa::ToSchema;

/// Token counts of one request, over all its choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompts, each counted once.
    pub prompt_tokens: usize,
    /// Generated tokens of all choices.
    pub completion_tokens: usize,
    /// The sum of both.
    pub total_tokens: usize,
    /// Where the prompt tokens came from.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What the generated tokens were.
    pub completion_tokens_details: CompletionTokensDetails,
    /// What request processors took, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_details: Option<ProcessingDetails>,
}

/// Where prompt tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct PromptTokensDetails {
    /// Prompt tokens that were not computed again.
    pub cached_tokens: usize,
}

/// What generated tokens were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Generated tokens that were reasoning.
    pub reasoning_tokens: usize,
}

/// What request processors took; the tokens of prompts and answers stand in the sums too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct ProcessingDetails {
    /// Answers that were generated for them.
    pub generations: usize,
    /// Tokens of those answers' prompts.
    pub prompt_tokens: usize,
    /// Tokens of those answers.
    pub completion_tokens: usize,
    /// Tokens of texts that became vectors.
    pub embedding_tokens: usize,
}

impl ProcessingDetails {
    /// The sum of both.
    #[must_use]
    pub fn with(self, more: &Self) -> Self {
        Self {
            generations: self.generations + more.generations,
            prompt_tokens: self.prompt_tokens + more.prompt_tokens,
            completion_tokens: self.completion_tokens + more.completion_tokens,
            embedding_tokens: self.embedding_tokens + more.embedding_tokens,
        }
    }
}
