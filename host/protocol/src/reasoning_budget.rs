//! How many tokens may be spent on reasoning, in the spellings that clients have for it.

use crate::{fields::Fields, invalid::Invalid};

/// Qwen's and SGLang's name, vLLM's, llama.cpp's two, and ours.
const NAMES: &[&str] = &[
    "reasoning_budget",
    "thinking_budget",
    "thinking_token_budget",
    "thinking_budget_tokens",
    "max_thinking_tokens",
];

/// Takes the budget, from whichever field has it. Several must agree.
pub(crate) fn take(fields: &mut Fields) -> Result<Option<usize>, Invalid> {
    let mut found = take_each(fields)?;
    if let Some(mut reasoning) = fields.object("reasoning")? {
        let tokens = take_one(&mut reasoning, "max_tokens")?;
        merge(&mut found, reasoning.path("max_tokens"), tokens)?;
        fields.ignore(reasoning.unknown());
    }
    Ok(found.map(|(_, tokens)| tokens))
}

/// The same without the object `reasoning`.
pub(crate) fn take_named(fields: &mut Fields) -> Result<Option<usize>, Invalid> {
    Ok(take_each(fields)?.map(|(_, tokens)| tokens))
}

fn take_each(fields: &mut Fields) -> Result<Option<(String, usize)>, Invalid> {
    let mut found = None;
    for name in NAMES {
        let tokens = take_one(fields, name)?;
        merge(&mut found, fields.path(name), tokens)?;
    }
    Ok(found)
}

/// A count of tokens. -1 is no limit of the request's own, as vLLM and llama.cpp have it.
pub(crate) fn take_one(fields: &mut Fields, name: &str) -> Result<Option<usize>, Invalid> {
    match fields.integer(name)? {
        None => Ok(None),
        Some(-1) => Ok(Some(usize::MAX)),
        Some(tokens) => usize::try_from(tokens).map(Some).map_err(|_| {
            let expected = "-1 (no limit) or an integer of at least 0";
            Invalid::expected(fields.path(name), expected, &tokens.into())
        }),
    }
}

fn merge(
    found: &mut Option<(String, usize)>,
    param: String,
    tokens: Option<usize>,
) -> Result<(), Invalid> {
    match (&found, tokens) {
        (_, None) => {}
        (Some((first, earlier)), Some(tokens)) if *earlier != tokens => {
            let message =
                format!("`{first}` and `{param}` are the same limit: got {earlier} and {tokens}");
            return Err(Invalid::bad_value(param, message));
        }
        (_, Some(tokens)) => *found = Some((param, tokens)),
    }
    Ok(())
}
