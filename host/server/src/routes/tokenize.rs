//! POST /tokenize and /detokenize: the model's tokenizer, and what its chat template makes of a conversation.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use weir_prompt::Tokenizer;
use weir_protocol::{
    DetokenizeRequest, Invalid, TokenizeRequest,
    tokenize::{Text, TokenizeInput, Tokens},
};

use super::{
    background::in_background,
    body::{JsonBody, list_ignored},
    chat_generation,
};
use crate::{error::ApiError, keys::Caller, state::AppState};

/// Text or conversation to token ids.
pub(super) async fn tokenize(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let request = TokenizeRequest::from_json(body)?;
    let _guard = state.admit(&caller)?;
    let model = Arc::clone(state.model_named(request.model.as_deref())?);
    caller.check_model(request.model.as_deref(), model.id())?;
    model.check_tokenizer("model", "tokens")?;
    let add_special = request.add_special_tokens;
    let tokenizer = Arc::clone(&model.tokenizer);
    let tokens = match request.input {
        TokenizeInput::Text(text) => {
            in_background(move || Ok(tokenizer.encode(&text, add_special)?)).await?
        }
        TokenizeInput::Chat(chat) => {
            let plan = chat_generation::plan_in_background(&state, &model, *chat).await?;
            match add_special {
                true => with_special(&tokenizer, &plan.prompt)?,
                false => plan.prompt,
            }
        }
    };
    let strings = request.return_token_strs.then(|| {
        let text = |id: &u32| {
            let bytes = model.tokenizer.vocabulary().bytes(*id);
            String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
        };
        tokens.iter().map(text).collect()
    });
    let mut response = Json(Tokens {
        count: tokens.len(),
        max_model_len: model.max_model_len,
        tokens,
        token_strs: strings,
    })
    .into_response();
    list_ignored(&mut response, &request.ignored_fields);
    Ok(response)
}

/// The ids between those that the tokenizer puts around any text.
fn with_special(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Vec<u32>, ApiError> {
    let text = tokenizer.encode("a", false)?;
    let around = tokenizer.encode("a", true)?;
    let start = (0..around.len()).find(|start| around[*start..].starts_with(&text));
    Ok(match start {
        Some(start) => [&around[..start], ids, &around[start + text.len()..]].concat(),
        None => ids.to_vec(),
    })
}

/// Token ids to text.
pub(super) async fn detokenize(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let request = DetokenizeRequest::from_json(body)?;
    let _guard = state.admit(&caller)?;
    let model = state.model_named(request.model.as_deref())?;
    caller.check_model(request.model.as_deref(), model.id())?;
    model.check_tokenizer("model", "tokens")?;
    let size = model.tokenizer.vocabulary().len();
    if let Some(id) = request.tokens.iter().find(|id| **id as usize >= size) {
        let message = format!(
            "`tokens` has the id {id}, this model's ids are 0 to {}",
            size.saturating_sub(1)
        );
        return Err(Invalid::bad_value("tokens", message).into());
    }
    let tokenizer = Arc::clone(&model.tokenizer);
    let prompt = in_background(move || Ok(tokenizer.decode(&request.tokens))).await?;
    let mut response = Json(Text { prompt }).into_response();
    list_ignored(&mut response, &request.ignored_fields);
    Ok(response)
}
