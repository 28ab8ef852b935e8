//! An answer, streamed or not, as the texts of its choices, and what must hold of it whatever the model says.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::load::Asked;

/// What one choice said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Content, reasoning and calls, one behind the other, each as it came.
    pub text: String,
    pub finish_reason: String,
}

/// Every choice, by its index.
pub type Choices = BTreeMap<u64, Choice>;

/// How a request ended that was answered.
pub enum Answer {
    Said(Choices),
    /// Turned away for load, at once or, with several choices, after the first token of one.
    QueueFull,
}

/// Reads the body of an answer and checks it against its request.
///
/// # Errors
/// What is wrong with it.
pub fn read(asked: &Asked, status: u16, body: &str) -> Result<Answer> {
    if status == 429 {
        ensure!(body.contains("queue_full"), "429 is not for load: {body}");
        return Ok(Answer::QueueFull);
    }
    ensure!(status == 200, "status {status}: {body}");
    let mut choices = Choices::new();
    let usage = if asked.stream {
        match stream(body, &mut choices)? {
            None => return Ok(Answer::QueueFull),
            Some(usage) => usage,
        }
    } else {
        let answer: Value = serde_json::from_str(body)?;
        add(&answer, "message", &mut choices);
        answer["usage"].clone()
    };
    check(asked, &choices, &usage)?;
    Ok(Answer::Said(choices))
}

/// The chunks of a stream into the choices; answers its usage, or None if it ended for load.
fn stream(body: &str, choices: &mut Choices) -> Result<Option<Value>> {
    let mut usage = None;
    let mut done = false;
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if line == "event: error" {
            let error = lines.next().unwrap_or_default();
            ensure!(error.contains("queue_full"), "the stream failed: {error}");
            return Ok(None);
        }
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        ensure!(!done, "something follows [DONE]: {data}");
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data)?;
        add(&chunk, "delta", choices);
        if chunk["usage"].is_object() {
            usage = Some(chunk["usage"].clone());
        }
    }
    ensure!(done, "the stream ends without [DONE]");
    Ok(Some(usage.context("the stream has no usage")?))
}

fn add(answer: &Value, message: &str, choices: &mut Choices) {
    for part in answer["choices"].as_array().into_iter().flatten() {
        let choice = choices
            .entry(part["index"].as_u64().unwrap_or_default())
            .or_default();
        let message = &part[message];
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let functions = calls.map(|call| &call["function"]);
        let words = [
            &part["text"],
            &message["content"],
            &message["reasoning_content"],
        ]
        .into_iter()
        .chain(functions.flat_map(|function| [&function["name"], &function["arguments"]]));
        words
            .filter_map(Value::as_str)
            .for_each(|words| choice.text.push_str(words));
        if let Some(reason) = part["finish_reason"].as_str() {
            reason.clone_into(&mut choice.finish_reason);
        }
    }
}

fn check(asked: &Asked, choices: &Choices, usage: &Value) -> Result<()> {
    ensure!(
        choices.len() == asked.answers,
        "{} choices, asked for {}",
        choices.len(),
        asked.answers
    );
    for (index, choice) in choices {
        let known = ["stop", "length", "tool_calls"].contains(&choice.finish_reason.as_str());
        ensure!(
            known,
            "choice {index} ended with `{}`",
            choice.finish_reason
        );
    }
    let count = |name: &str| usage[name].as_u64().context(name.to_owned());
    let (prompt, output) = (count("prompt_tokens")?, count("completion_tokens")?);
    if let Some(tokens) = asked.prompt_tokens {
        ensure!(
            prompt == tokens as u64,
            "{prompt} prompt tokens counted, {tokens} sent"
        );
    }
    let most = asked.body["max_tokens"].as_u64().unwrap_or_default() * asked.answers as u64;
    ensure!(
        (1..=most).contains(&output),
        "{output} tokens, asked for {most}"
    );
    if asked.output_tokens.is_some() {
        ensure!(output == most, "{output} tokens, none but {most} is right");
    }
    Ok(())
}
