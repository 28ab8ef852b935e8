//! What is done for a request processor, but for generating.

use std::sync::Arc;

use weir_output::{PlannedMessage, ProcessorAction, ProcessorOutcome, RequestProcessor};
use weir_protocol::ChatRequest;

use super::{
    super::{
        background::{in_background, within},
        chat_generation::{self, Call},
    },
    count32, json,
};
use crate::{error::ApiError, state::ServedModel};

/// What came of an action, and how many tokens it embedded.
pub(super) type Done = (ProcessorOutcome, usize);

/// Does one thing for a plugin. `request` is what it plans; behind an answer there is none.
///
/// # Errors
/// A limit that the caller has reached, a deadline, a failure on this side.
pub(super) async fn perform(
    call: &Call,
    request: Option<&ChatRequest>,
    plugin: &dyn RequestProcessor,
    action: ProcessorAction,
) -> Result<Done, ApiError> {
    let name = plugin.name();
    let documents = &call.state.documents;
    let outcome = match action {
        ProcessorAction::Embed(texts) => return embed(call, texts).await,
        ProcessorAction::CountTokens(_) | ProcessorAction::CountPrompt(_)
            if call.model.passes_messages =>
        {
            let why = "the model's engine is elsewhere, and its tokenizer with it";
            ProcessorOutcome::Failed(why.to_owned())
        }
        ProcessorAction::CountTokens(texts) => count(&call.model, texts).await?,
        ProcessorAction::CountPrompt(messages) => match request {
            Some(request) => count_prompt(call, request, &messages).await?,
            None => ProcessorOutcome::Failed("there is no request any more".to_owned()),
        },
        ProcessorAction::StoreGet { document, keys } => {
            ProcessorOutcome::Found(documents.get(name, &document, &keys))
        }
        ProcessorAction::StorePut { document, entries } => {
            let limit = plugin.grants().stored_bytes;
            ProcessorOutcome::Kept(documents.put(name, &document, &entries, limit))
        }
        ProcessorAction::Generate(_) => {
            ProcessorOutcome::Failed("nothing is generated here".to_owned())
        }
    };
    Ok((outcome, 0))
}

async fn count(model: &Arc<ServedModel>, texts: Vec<String>) -> Result<ProcessorOutcome, ApiError> {
    let tokenizer = Arc::clone(&model.tokenizer);
    let counted = in_background(move || {
        let count = |text: &String| Ok(count32(tokenizer.encode_plain(text)?.len()));
        texts.iter().map(count).collect()
    });
    counted.await.map(ProcessorOutcome::Counted)
}

async fn count_prompt(
    call: &Call,
    request: &ChatRequest,
    messages: &[PlannedMessage],
) -> Result<ProcessorOutcome, ApiError> {
    let request = ChatRequest {
        messages: json(messages)?,
        ..request.clone()
    };
    let Call { state, model, .. } = call;
    Ok(
        match chat_generation::plan_in_background(state, model, request).await {
            Ok(plan) => ProcessorOutcome::Counted(vec![count32(plan.prompt.len())]),
            Err(error) => ProcessorOutcome::Failed(error.into_body().message),
        },
    )
}

/// Vectors of texts by the server's embedding model, cut where its window ends.
async fn embed(call: &Call, texts: Vec<String>) -> Result<Done, ApiError> {
    let failed = |why: &str| Ok((ProcessorOutcome::Failed(why.to_owned()), 0));
    let model = call.state.models.embedding().map(Arc::clone);
    let Some((model, Ok(embedder))) = model.as_ref().map(|model| (model, model.embedder())) else {
        return failed("the server has no embedding model");
    };
    let window = embedder.info().max_tokens;
    let tokenizer = Arc::clone(&model.tokenizer);
    let encoded = in_background(move || {
        let encode = |text: &String| {
            let mut tokens = tokenizer.encode(text, true)?;
            tokens.truncate(window);
            Ok(tokens)
        };
        texts.iter().map(encode).collect::<Result<Vec<_>, _>>()
    });
    let encoded = encoded.await?;
    let tokens = encoded.iter().map(Vec::len).sum();
    call.caller.charge_prompt(tokens)?;
    if let Some(empty) = encoded.iter().position(Vec::is_empty) {
        return failed(&format!("text {empty} has no tokens"));
    }
    match within(call.deadline, embedder.embed(encoded)).await? {
        Ok(vectors) => Ok((ProcessorOutcome::Embedded(vectors), tokens)),
        Err(error) => failed(&error.to_string()),
    }
}
