//! Log-probabilities as answers tell them, in the two shapes of OpenAI's APIs.
//!
//! All are natural logarithms under the model's own distribution, before penalties, biases, temperature and truncation. What
//! is as good as impossible is -9999, for JSON has no infinity.

use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::ToSchema;

/// Log-probabilities of a chat answer or of a chunk of one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// Of each token of the content, in order.
    pub content: Vec<ContentLogprob>,
    /// Always null, as refusals are.
    pub refusal: Option<()>,
}

/// A token of the content, and what else could have stood there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ContentLogprob {
    /// The token.
    #[serde(flatten)]
    pub token: TokenLogprob,
    /// The likeliest tokens there, best first; the token itself only if it is one of them.
    pub top_logprobs: Vec<TokenLogprob>,
}

/// A token and its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text; what is no UTF-8 by itself is U+FFFD.
    pub token: String,
    /// Its log-probability.
    #[serde(serialize_with = "told")]
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Log-probabilities of a completion or of a chunk of one: four lists of the same length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts; what is no UTF-8 by itself is U+FFFD.
    pub tokens: Vec<String>,
    /// Their log-probabilities; null for a prompt's first token.
    #[serde(serialize_with = "all_told")]
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens, best first, and the token itself if it is none of them; null for a prompt's first token.
    #[schema(value_type = Vec<Option<BTreeMap<String, f32>>>)]
    pub top_logprobs: Vec<Option<TopLogprobs>>,
    /// Characters of the choice's text before each token.
    pub text_offset: Vec<usize>,
}

/// An object from a token's text to its log-probability, in this order. Of tokens with the same text the likelier is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopLogprobs(Vec<(String, f32)>);

impl TopLogprobs {
    /// Adds a token, unless its text is there.
    pub fn push(&mut self, token: String, logprob: f32) {
        if self.0.iter().all(|(known, _)| *known != token) {
            self.0.push((token, logprob));
        }
    }
}

impl Serialize for TopLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, logprob) in &self.0 {
            map.serialize_entry(token, &finite(*logprob))?;
        }
        map.end()
    }
}

/// A token that stands in a prompt or could have stood there, as vLLM tells it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PromptLogprob {
    /// Its log-probability.
    #[serde(serialize_with = "told")]
    pub logprob: f32,
    /// Its place among all tokens, 1 for the likeliest.
    pub rank: usize,
    /// Its text; what is no UTF-8 by itself is U+FFFD.
    pub decoded_token: String,
}

/// Of each token of a prompt, the first of which stands behind nothing and has none.
pub type PromptLogprobs = Vec<Option<PromptTokens>>;

/// An object from token id to what is told of it: the token that stands there, then the likeliest, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PromptTokens(Vec<(u32, PromptLogprob)>);

impl PromptTokens {
    /// Adds a token, unless it is there.
    pub fn push(&mut self, id: u32, told: PromptLogprob) {
        if self.0.iter().all(|(known, _)| *known != id) {
            self.0.push((id, told));
        }
    }
}

impl Serialize for PromptTokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, told)| (id, told)))
    }
}

/// What stands for a log-probability in JSON.
fn finite(logprob: f32) -> f32 {
    const IMPOSSIBLE: f32 = -9999.0;
    // NaN is impossible too: `max` takes the number.
    logprob.max(IMPOSSIBLE)
}

fn told<S: Serializer>(logprob: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    finite(*logprob).serialize(serializer)
}

fn all_told<S: Serializer>(logprobs: &[Option<f32>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(logprobs.iter().map(|logprob| logprob.map(finite)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_json_cannot_say_is_as_good_as_impossible() {
        let mut top = TopLogprobs::default();
        top.push("b".into(), -0.5);
        top.push("a".into(), f32::NEG_INFINITY);
        top.push("b".into(), -7.0);
        let logprobs = CompletionLogprobs {
            tokens: vec!["x".into(), "b".into()],
            token_logprobs: vec![None, Some(f32::NAN)],
            top_logprobs: vec![None, Some(top)],
            text_offset: vec![0, 1],
        };
        let text = serde_json::to_string(&logprobs).unwrap();
        let expected = r#"{"tokens":["x","b"],"token_logprobs":[null,-9999.0],"top_logprobs":[null,{"b":-0.5,"a":-9999.0}],"text_offset":[0,1]}"#;
        assert_eq!(text, expected);
        let token = TokenLogprob {
            token: "é".into(),
            logprob: f32::NEG_INFINITY,
            bytes: "é".into(),
        };
        let entry = ContentLogprob {
            token: token.clone(),
            top_logprobs: vec![token],
        };
        let value = serde_json::to_value(entry).unwrap();
        let bare = json!({"token": "é", "logprob": -9999.0, "bytes": [195, 169]});
        let mut expected = bare.clone();
        expected["top_logprobs"] = json!([bare]);
        assert_eq!(value, expected);
    }
}
