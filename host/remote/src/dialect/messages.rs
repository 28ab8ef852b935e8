//! A chat whose messages the engine's own template makes a prompt of; what it streams must be as the model wrote it.

use serde_json::{Map, Value};
use weir_engine::EngineError;

use super::{Asked, Dialect, put, refuse_if, text};

const CONTINUE: &str = "continue_final_message";
const GENERATION_PROMPT: &str = "add_generation_prompt";

/// Adds the messages and what goes with them, and switches off what the engine would read out of its text.
///
/// # Errors
/// What the engine cannot be asked for in a chat.
pub(super) fn put_messages(
    dialect: Dialect,
    asked: &Asked,
    body: &mut Map<String, Value>,
) -> Result<(), EngineError> {
    let stop = &asked.request.stop;
    refuse_if(&[
        // They are told by their texts, which may be those of several tokens.
        ("logprobs", asked.request.sampling.logprobs.is_some()),
        (
            "stop_token_ids",
            dialect == Dialect::Llama && !stop.stop_token_ids.is_empty(),
        ),
    ])?;
    let conversation = text(&asked.request.prompt, asked.texts);
    let conversation: Map<String, Value> = serde_json::from_str(&conversation).map_err(|_| {
        EngineError::InvalidRequest(
            "the model's engine is elsewhere and without a tokenizer here: it takes chats only"
                .to_owned(),
        )
    })?;
    let continues = conversation.contains_key(CONTINUE);
    let unlike = conversation.contains_key(GENERATION_PROMPT);
    refuse_if(&match dialect {
        Dialect::Vllm => [(CONTINUE, false), (GENERATION_PROMPT, false)],
        Dialect::Sglang => [(CONTINUE, false), (GENERATION_PROMPT, unlike && !continues)],
        Dialect::Llama | Dialect::Openai => [(CONTINUE, continues), (GENERATION_PROMPT, unlike)],
    })?;
    body.extend(conversation);
    if dialect == Dialect::Sglang {
        // It goes without saying there.
        body.remove(GENERATION_PROMPT);
    }
    if body.contains_key("tools") {
        // vLLM and llama.cpp read calls out of the text themselves unless none may come; SGLang leaves tools out of the prompt then.
        let choice = if dialect == Dialect::Sglang {
            "auto"
        } else {
            "none"
        };
        put(body, "tool_choice", choice);
    }
    match dialect {
        Dialect::Sglang => put(body, "separate_reasoning", false),
        Dialect::Llama => put(body, "reasoning_format", "none"),
        Dialect::Vllm | Dialect::Openai => {}
    }
    Ok(())
}
