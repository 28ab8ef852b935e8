//! The seam between this crate's [`Tokenizer`](super::Tokenizer) and whatever cuts a text: the `tokenizers` crate's own
//! models and [`PieceMerges`](super::pieces::PieceMerges) stand behind one trait.
//!
//! It puts nothing around a text that the tokenizer's own post-processor does not.

use std::fmt::Debug;

use tokenizers::{
    DecoderWrapper, Model, Normalizer, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use crate::error::PromptError;

/// Behind a longer run of white space (a million) the crate's regular expressions give up and leave the rest of a text
/// uncut, without a word: other ids than the model knows.
const MAX_SPACE: usize = 1 << 19;

fn longest_space(text: &str) -> usize {
    let runs = text.split(|character: char| !character.is_whitespace());
    runs.map(str::len).max().unwrap_or(0)
}

/// Text to ids.
pub(crate) trait TextEncoder: Debug + Send + Sync {
    /// The ids of `text`; `add_special` runs the file's own post-processor.
    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>, PromptError>;
    /// The id of a token as its file spells it.
    fn id_of(&self, token: &str) -> Option<u32>;
    /// The same encoder, to which the spelling of a special token is just text.
    fn blind(&self) -> Box<dyn TextEncoder>;
}

/// The crate's pipeline around model `M` and normaliser `N`.
pub(crate) type Pipeline<M, N> =
    TokenizerImpl<M, N, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

impl<M, N> TextEncoder for Pipeline<M, N>
where
    M: Model + Clone + Debug + Send + Sync + 'static,
    N: Normalizer + Clone + Debug + Send + Sync + 'static,
{
    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>, PromptError> {
        if longest_space(text) > MAX_SPACE {
            return Err(PromptError::Encode(format!(
                "it has more than {MAX_SPACE} bytes of white space in a row"
            )));
        }
        let encoding = self
            .encode_fast(text, add_special)
            .map_err(|error| PromptError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn id_of(&self, token: &str) -> Option<u32> {
        self.token_to_id(token)
    }

    fn blind(&self) -> Box<dyn TextEncoder> {
        let mut blind = self.clone();
        blind.set_encode_special_tokens(true);
        Box::new(blind)
    }
}
