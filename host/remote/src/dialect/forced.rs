//! What an answer is held to, in each engine's own fields: the word that it has for all of it, else a grammar.

use serde_json::{Map, Value, json};
use weir_engine::{Constraint, EngineError, Form};

use super::{Dialect, PromptForm, put};

/// Adds what this constraint is to this engine.
///
/// # Errors
/// What it cannot be told.
pub(super) fn put_forced(
    dialect: Dialect,
    prompt: PromptForm,
    constraint: &dyn Constraint,
    body: &mut Map<String, Value>,
) -> Result<(), EngineError> {
    match dialect {
        Dialect::Vllm => {
            let told = match constraint.form() {
                Some(Form::Json(schema)) => json!({"json": read(&schema)?}),
                Some(Form::Regex(pattern)) => json!({"regex": pattern}),
                Some(Form::Choice(texts)) => json!({"choice": texts}),
                None => json!({"grammar": grammar(constraint, false)?}),
            };
            put(body, "structured_outputs", told);
        }
        Dialect::Sglang => match constraint.form() {
            // A text here and an object in `response_format`, which a chat has only.
            Some(Form::Json(schema)) if prompt == PromptForm::Messages => {
                put(body, "response_format", response_format(&schema)?);
            }
            Some(Form::Json(schema)) => put(body, "json_schema", schema),
            Some(Form::Regex(pattern)) => put(body, "regex", pattern),
            Some(Form::Choice(_)) | None => put(body, "ebnf", grammar(constraint, false)?),
        },
        // Its own reader of schemas passes over what it does not know; a grammar says all or is refused.
        Dialect::Llama => put(body, "grammar", grammar(constraint, true)?),
        Dialect::Openai => match constraint.form() {
            Some(Form::Json(schema)) if prompt == PromptForm::Messages => {
                put(body, "response_format", response_format(&schema)?);
            }
            _ => return Err(refused("it takes no grammar")),
        },
    }
    Ok(())
}

fn grammar(constraint: &dyn Constraint, takes_special_tokens: bool) -> Result<String, EngineError> {
    let gbnf = constraint.gbnf();
    let gbnf = gbnf.map_err(|what| refused(&format!("it cannot be told {what}")))?;
    match gbnf.special_tokens && !takes_special_tokens {
        true => Err(refused("special tokens stand in the format")),
        false => Ok(gbnf.text),
    }
}

fn response_format(schema: &str) -> Result<Value, EngineError> {
    let schema = read(schema)?;
    Ok(
        json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}}),
    )
}

fn read(schema: &str) -> Result<Value, EngineError> {
    serde_json::from_str(schema).map_err(|_| refused("its schema is no JSON"))
}

fn refused(why: &str) -> EngineError {
    EngineError::InvalidRequest(format!(
        "the engine behind this server cannot hold an answer to what is asked for: {why}"
    ))
}
