//! What an upstream is: asked when it answers for the first time, and whether it is well: asked again and again.

use std::time::Duration;

use hyper::{Method, StatusCode, body::Bytes};
use serde_json::Value;
use weir_engine::{SamplingParams, SequenceRequest, StopConditions, TokenTexts};

use crate::{
    chunk,
    connections::whole,
    dialect::{Asked, Dialect, PromptForm},
    upstream::{Check, Description, Upstream},
};

/// A model that is computed on a busy machine answers even one token late.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// What the operator said of it already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) model: Option<String>,
    pub(crate) dialect: Option<Dialect>,
    /// Whether it is asked by messages.
    pub(crate) messages: bool,
}

/// Asks an upstream what it is: its list of models, then one token behind the prompt `first`.
///
/// # Errors
/// One line: it does not answer, lists no model, or generates nothing however it is asked.
pub(crate) async fn describe(
    upstream: &Upstream,
    told: &Told,
    first: &[u32],
    texts: &dyn TokenTexts,
    within: Duration,
) -> Result<Description, String> {
    let url = format!("{}/models", upstream.base.api);
    let (status, body) = ask(upstream, Method::GET, &url, Vec::new(), within).await?;
    if status != StatusCode::OK {
        return Err(refusal(status, &body));
    }
    let list: Value = serde_json::from_slice(&body)
        .map_err(|error| format!("its list of models is no JSON: {error}"))?;
    let cards = list["data"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let card = match &told.model {
        None => cards.first(),
        Some(name) => cards.iter().find(|card| card["id"] == name.as_str()),
    };
    let own = card.and_then(|card| card["id"].as_str());
    let model = told.model.as_deref().or(own);
    let model = model.ok_or("it lists no model")?.to_owned();
    let card = card.unwrap_or(&Value::Null);
    let owner = card["owned_by"].as_str().unwrap_or_default();
    let size = card["max_model_len"].as_u64();
    let size = size.or_else(|| card["meta"]["n_ctx"].as_u64());
    let mut description = Description {
        dialect: told.dialect.unwrap_or_else(|| Dialect::of_owner(owner)),
        model,
        max_model_len: size.and_then(|size| usize::try_from(size).ok()),
        prompt: PromptForm::Ids,
        extras: true,
    };
    let ways: &[(PromptForm, bool)] = match description.dialect {
        Dialect::Openai if told.messages => {
            &[(PromptForm::Messages, true), (PromptForm::Messages, false)]
        }
        _ if told.messages => &[(PromptForm::Messages, true)],
        Dialect::Openai => &[
            (PromptForm::Ids, true),
            (PromptForm::Text, true),
            (PromptForm::Ids, false),
            (PromptForm::Text, false),
        ],
        _ => &[(PromptForm::Ids, true)],
    };
    let mut reason = String::new();
    for &(prompt, extras) in ways {
        (description.prompt, description.extras) = (prompt, extras);
        match one_token(upstream, &description, first, texts).await {
            Ok(()) => return Ok(description),
            Err(why) => reason = why,
        }
    }
    Err(format!("it generates nothing: {reason}"))
}

async fn one_token(
    upstream: &Upstream,
    description: &Description,
    first: &[u32],
    texts: &dyn TokenTexts,
) -> Result<(), String> {
    let request = SequenceRequest {
        prompt: first.to_vec(),
        embeddings: None,
        sampling: SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        },
        stop: StopConditions::default(),
        constraint: None,
        pooling: None,
        priority: 0,
    };
    let asked = Asked {
        request: &request,
        model: &description.model,
        prompt: description.prompt,
        max_tokens: Some(1),
        extras: description.extras,
        texts,
    };
    let body = description.dialect.body(&asked);
    let body = body.map_err(|error| error.to_string())?;
    let url = upstream.completions((description.dialect, description.prompt));
    let body = body.to_string().into_bytes();
    let (status, body) = ask(upstream, Method::POST, &url, body, FIRST_ANSWER).await?;
    match status {
        StatusCode::OK => Ok(()),
        status => Err(refusal(status, &body)),
    }
}

/// Asks whether it is well.
pub(crate) async fn check(
    upstream: &Upstream,
    description: &Description,
    within: Duration,
) -> Check {
    let url = match description.dialect {
        Dialect::Openai => format!("{}/models", upstream.base.api),
        _ => format!("{}/health", upstream.base.root),
    };
    match ask(upstream, Method::GET, &url, Vec::new(), within).await {
        Err(reason) => Check::Failed(reason),
        Ok((status, _)) if status.is_success() => Check::Healthy,
        Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => Check::Draining,
        Ok((status, body)) => Check::Failed(refusal(status, &body)),
    }
}

/// Sends a request and reads the whole answer, so that its connection can be used again.
async fn ask(
    upstream: &Upstream,
    method: Method,
    url: &str,
    body: Vec<u8>,
    within: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let asked = async {
        let answer = upstream.send(method, url, body).await?;
        let status = answer.status();
        Ok((status, whole(answer).await?))
    };
    let answered = tokio::time::timeout(within, asked).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {} s", within.as_secs_f32())))
}

/// An answer that is none, in one line.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).map(|value| chunk::message(&value));
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(body).trim().to_owned());
    let said: String = said.chars().take(300).collect();
    format!("HTTP {}: {said}", status.as_u16())
}
