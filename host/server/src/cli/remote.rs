//! The flags of engines that run elsewhere.

use clap::Args;
use serde::Serialize;

/// Engines that weir stands in front of.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Remote engines")]
pub struct RemoteFlags {
    /// API of an engine that generates in place of weir's own, such as http://host:8000/v1: vLLM, SGLang, llama.cpp's server
    /// or any with OpenAI's completions (repeatable: requests are spread over all) [default: weir's own engine]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engine: Vec<String>,
    /// Where tokenizer and chat template of the remote model come from, as --model takes it; weights are not fetched. Without it
    /// messages go to the engine's own chat route, and only parsers and post-processors work here: no token ids, no
    /// log-probabilities, no completions, no token counts
    #[arg(long, value_name = "SOURCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Key that the engines want
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_api_key: Option<String>,
    /// What the engines call the model [default: the first that each lists]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_model: Option<String>,
    /// What the engines understand [default: by what their lists of models say]
    #[arg(long, value_name = "vllm|sglang|llama|openai")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_dialect: Option<String>,
    /// Seconds between two health checks of an engine; two that fail in a row take it out of service [default: 2]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_health_interval: Option<f64>,
    /// Seconds an engine may take to its first token before another is asked [default: 300]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_first_token_timeout: Option<f64>,
    /// Seconds an engine may be silent in the middle of an answer [default: 60]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_stall_timeout: Option<f64>,
}
