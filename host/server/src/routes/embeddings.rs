//! POST /v1/embeddings: texts to token ids, cut where the request says so, and their vectors to OpenAI's list.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use weir_engine::EmbeddingInfo;
use weir_prompt::Tokenizer;
use weir_protocol::{
    EmbeddingRequest, Invalid, Prompt, Truncation,
    embeddings::{EmbeddingList, input_path},
};

use super::{
    background::{in_background, within},
    body::{JsonBody, list_ignored},
};
use crate::{
    error::ApiError, generation, keys::Caller, pooled_embeddings::to_unit_length,
    request_record::RequestRecord, state::AppState,
};

/// Answers an embeddings request.
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let _guard = state.admit(&caller)?;
    let deadline = generation::deadline(state.settings.request_timeout);
    let EmbeddingRequest {
        model: asked,
        inputs,
        encoding,
        dimensions,
        truncation,
        ignored_fields,
        ..
    } = EmbeddingRequest::from_json(body)?;
    let model = state.model_named(asked.as_deref())?;
    caller.check_model(asked.as_deref(), model.id())?;
    let embedder = model.embedder()?;
    let info = embedder.info();
    check_dimensions(dimensions, info.dimensions)?;
    let encoder = Encoder {
        tokenizer: Arc::clone(&model.tokenizer),
        info,
        limit: limit(truncation, info.max_tokens)?,
    };
    let texts = in_background(move || encoder.encode_all(inputs)).await?;
    let tokens = texts.iter().map(Vec::len).sum();
    caller.charge_prompt(tokens)?;
    let vectors = within(deadline, embedder.embed(texts)).await??;
    model.metrics.count_prompt(tokens, 0);
    RequestRecord::current().add_prompt(tokens, 0);
    let id = model.id().to_owned();
    // Millions of numbers to write are no work for an async worker.
    let mut response = in_background(move || {
        let vectors = vectors
            .into_iter()
            .map(|vector| shorten(vector, dimensions))
            .collect();
        Ok(Json(EmbeddingList::new(id, vectors, encoding, tokens)).into_response())
    })
    .await?;
    list_ignored(&mut response, &ignored_fields);
    Ok(response)
}

fn check_dimensions(asked: Option<usize>, most: usize) -> Result<(), ApiError> {
    match asked {
        Some(asked) if asked > most => Err(Invalid::expected(
            "dimensions",
            &format!("an integer between 1 and {most}, the size of this model's vectors"),
            &asked.into(),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Tokens at which texts are cut; None for nowhere.
fn limit(truncation: Truncation, window: usize) -> Result<Option<usize>, ApiError> {
    match truncation {
        Truncation::None => Ok(None),
        Truncation::Window => Ok(Some(window)),
        Truncation::Tokens(tokens) if tokens <= window => Ok(Some(tokens)),
        Truncation::Tokens(tokens) => Err(Invalid::expected(
            "truncate_prompt_tokens",
            &format!("-1 or an integer between 1 and {window}, this model's window"),
            &tokens.into(),
        )
        .into()),
    }
}

/// The first elements, scaled to length 1 again: what OpenAI documents for models trained so that the first elements
/// say the most.
fn shorten(mut vector: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
    if let Some(dimensions) = dimensions
        && dimensions < vector.len()
    {
        vector.truncate(dimensions);
        to_unit_length(&mut vector);
    }
    vector
}

/// Texts to token ids that the model takes.
struct Encoder {
    tokenizer: Arc<Tokenizer>,
    info: EmbeddingInfo,
    limit: Option<usize>,
}

impl Encoder {
    fn encode_all(&self, inputs: Vec<Prompt>) -> Result<Vec<Vec<u32>>, ApiError> {
        let count = inputs.len();
        let encode = |(index, input)| self.encode(input, &input_path(index, count));
        inputs.into_iter().enumerate().map(encode).collect()
    }

    fn encode(&self, input: Prompt, path: &str) -> Result<Vec<u32>, ApiError> {
        let wrong = |message: String| ApiError::bad_request(message).with_param(path);
        let tokens = match input {
            Prompt::Tokens(mut tokens) => {
                tokens.truncate(self.limit.unwrap_or(usize::MAX));
                tokens
            }
            Prompt::Text(text) => self
                .encode_text(&text)
                .map_err(|error| error.with_param(path))?,
        };
        let EmbeddingInfo {
            max_tokens,
            vocab_size,
            ..
        } = self.info;
        if tokens.is_empty() {
            return Err(wrong(format!("`{path}` has no tokens")));
        }
        if tokens.len() > max_tokens {
            let message = format!(
                "`{path}` has {} tokens, this model's window is {max_tokens}; `truncate_prompt_tokens`: -1 cuts it there",
                tokens.len()
            );
            return Err(wrong(message).with_code("context_length_exceeded"));
        }
        match tokens.iter().find(|id| **id as usize >= vocab_size) {
            Some(id) => Err(wrong(format!(
                "`{path}` has the token id {id}, this model's ids are 0 to {}",
                vocab_size - 1
            ))),
            None => Ok(tokens),
        }
    }

    /// A text that is too long loses its end, not the special tokens around it.
    fn encode_text(&self, text: &str) -> Result<Vec<u32>, ApiError> {
        let whole = self.tokenizer.encode(text, true)?;
        let Some(limit) = self.limit.filter(|limit| whole.len() > *limit) else {
            return Ok(whole);
        };
        let content = self.tokenizer.encode(text, false)?;
        let around = whole.len().saturating_sub(content.len());
        let before = (0..=around).find(|start| whole[*start..].starts_with(&content));
        match before {
            Some(before) if around < limit => {
                let (start, end) = (&whole[..before], &whole[before + content.len()..]);
                Ok([start, &content[..limit - around], end].concat())
            }
            _ => {
                let message = format!(
                    "`truncate_prompt_tokens` is {limit}, which leaves no room for text beside {around} special tokens"
                );
                Err(ApiError::bad_request(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn shorter_vectors_have_length_one_again() {
        let vector = vec![3.0, 4.0, 12.0];
        assert_eq!(shorten(vector.clone(), Some(2)), [0.6, 0.8]);
        assert_eq!(shorten(vector.clone(), Some(3)), vector);
        assert_eq!(shorten(vector.clone(), None), vector);
        assert_eq!(shorten(vec![0.0, 1.0], Some(1)), [0.0]);
    }
}
