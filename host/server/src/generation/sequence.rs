//! From a plan to what the engine is asked for: the request's fields, the model's defaults, and texts that become tokens.

use weir_engine::{SamplingParams, SequenceRequest, StopConditions};
use weir_prompt::Tokenizer;
use weir_protocol::SamplingFields;

use super::Plan;
use crate::{
    error::ApiError,
    state::{SamplingDefaults, ServedModel},
};

/// One of the answers to a plan.
///
/// # Errors
/// When a text cannot be encoded.
pub(super) fn sequence_request(
    model: &ServedModel,
    plan: &Plan,
    answer: usize,
) -> Result<SequenceRequest, ApiError> {
    let fields = &plan.sampling;
    if plan.constraint.is_some() {
        refuse_running_on(fields)?;
    }
    let mut stop_token_ids = fields.stop_token_ids.clone();
    if plan.parse {
        let plugins = &plan.plugins;
        let parsers = plugins.reasoning_parser.iter().chain(&plugins.tool_parser);
        let texts = parsers.flat_map(|parser| &parser.plugin.info().stop_tokens);
        stop_token_ids.extend(texts.filter_map(|text| model.tokenizer.token_id(text)));
    }
    // A default must not turn away a prompt that fits; what the request itself asks for is the engine's to check.
    let prompt = model.prompt_tokens(&plan.prompt);
    let left = model.max_model_len.saturating_sub(prompt).max(1);
    let max_tokens = fields
        .max_tokens
        .or(model.defaults.max_tokens.map(|default| default.min(left)));
    let mut sampling = sampling_params(fields, &model.defaults, answer);
    sampling.bad_words = bad_words(&model.tokenizer, &fields.bad_words)?;
    Ok(SequenceRequest {
        prompt: plan.prompt.clone(),
        sampling,
        stop: StopConditions {
            max_tokens,
            min_tokens: fields.min_tokens,
            stop_token_ids,
            strings: fields.stop.clone(),
            ignore_eos: fields.ignore_eos,
            reasoning: plan.reasoning_budget.clone(),
            closing_reserve: fields
                .structured_output_reserve
                .or(model.defaults.structured_output_reserve)
                .unwrap_or(0),
        },
        constraint: plan.constraint.clone(),
        embeddings: plan.embeddings.clone(),
        pooling: None,
        priority: fields.priority,
    })
}

/// An answer that is held to something ends when it is that: nothing is left to write.
fn refuse_running_on(fields: &SamplingFields) -> Result<(), ApiError> {
    if !fields.ignore_eos {
        return Ok(());
    }
    let message = "`ignore_eos` cannot be true beside a forced answer (a format, a schema or a tool choice), which ends when it is complete";
    Err(ApiError::bad_request(message).with_param("ignore_eos"))
}

/// The tokens of texts as they stand behind something else and at a beginning, as vLLM's `bad_words` are taken.
fn bad_words(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Vec<u32>>, ApiError> {
    let mut words = Vec::with_capacity(2 * texts.len());
    for text in texts {
        let text = text.trim_start();
        words.push(tokenizer.encode(text, false)?);
        words.push(tokenizer.encode(&format!(" {text}"), false)?);
    }
    words.retain(|word| !word.is_empty());
    Ok(words)
}

fn sampling_params(
    fields: &SamplingFields,
    defaults: &SamplingDefaults,
    answer: usize,
) -> SamplingParams {
    let plain = SamplingParams::default();
    let temperature = fields
        .temperature
        .or(defaults.temperature)
        .unwrap_or(plain.temperature);
    let top_p = fields.top_p.or(defaults.top_p).unwrap_or(plain.top_p);
    SamplingParams {
        temperature: if fields.is_greedy() { 0.0 } else { temperature },
        top_k: fields.top_k.or(defaults.top_k).unwrap_or(plain.top_k),
        // The wire's 0 keeps the likeliest token alone, as does the smallest mass above it.
        top_p: top_p.max(f32::MIN_POSITIVE),
        min_p: fields.min_p.or(defaults.min_p).unwrap_or(plain.min_p),
        typical_p: fields.typical_p.unwrap_or(plain.typical_p),
        repetition_penalty: fields
            .repetition_penalty
            .or(defaults.repetition_penalty)
            .unwrap_or(plain.repetition_penalty),
        presence_penalty: fields.presence_penalty.unwrap_or(plain.presence_penalty),
        frequency_penalty: fields.frequency_penalty.unwrap_or(plain.frequency_penalty),
        logit_bias: fields.logit_bias.clone(),
        allowed_tokens: fields.allowed_token_ids.clone(),
        // The tokenizer's to make.
        bad_words: Vec::new(),
        // The answers of one request differ, and each is the same in every run.
        seed: fields
            .seed
            .map(|seed| seed.cast_unsigned().wrapping_add(answer as u64)),
        logprobs: fields.logprobs,
        prompt_logprobs: fields.prompt_logprobs,
    }
}
