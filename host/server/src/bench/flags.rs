//! The options of `weir bench`. Where `vllm bench serve` has another name for one, that name is taken too.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

/// What to load, how much, and where the figures go.
#[derive(Debug, Clone, Args)]
pub struct BenchFlags {
    /// The server's API
    #[arg(
        long,
        alias = "base-url",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000/v1"
    )]
    pub url: String,
    /// Model to ask for [default: the first that the server lists]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Key that the server wants [default: none]
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Seconds that a request may take before it counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Write the figures as JSON into a file; `-` is standard output, and the table goes to standard error then
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// What is loaded, and with what.
    #[command(flatten)]
    pub load: LoadFlags,
    /// The other server.
    #[command(flatten)]
    pub against: AgainstFlags,
}

/// The load. The ranges are what a prompt's first words can count, see `prompts`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadFlags {
    /// Which API to ask
    #[arg(long, value_enum, default_value_t)]
    pub endpoint: Endpoint,
    /// Requests under way at once; several levels are separated by commas
    #[arg(long, alias = "max-concurrency", value_name = "N", value_delimiter = ',', default_value = "1,8,16",
          value_parser = value_parser!(u32).range(1..=100_000))]
    pub concurrency: Vec<u32>,
    /// Requests of each level and round [default: twice the level's concurrency, 4 at least]
    #[arg(long, alias = "num-prompts", value_name = "N", value_parser = value_parser!(u32).range(1..=200_000))]
    pub requests: Option<u32>,
    /// Tokens of each prompt, roughly: words that are one token each for most models; the chat template comes on
    /// top. The table shows what the server counted
    #[arg(long, alias = "input-len", value_name = "N", default_value = "200", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub input_tokens: u32,
    /// Tokens of each answer (max_tokens)
    #[arg(long, alias = "output-len", value_name = "N", default_value = "128", value_parser = value_parser!(u32).range(1..))]
    pub output_tokens: u32,
    /// Let answers end where the model ends them: sends no `ignore_eos`, which some servers refuse
    #[arg(long)]
    pub respect_eos: bool,
    /// Begin all prompts of a level and round with one long system prompt of so many tokens, roughly. One request
    /// goes ahead to compute it; its time to the first token is the cold one
    #[arg(long, alias = "prefix-len", value_name = "N", default_value = "0", value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub shared_prefix_tokens: u32,
    /// Sampling temperature, from 0 to 2
    #[arg(
        long,
        value_name = "T",
        default_value = "0",
        allow_negative_numbers = true
    )]
    pub temperature: f64,
    /// How often each level runs; figures are medians over the rounds
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=4000))]
    pub rounds: u32,
    /// Seed of the prompts; the same one asks the same again, which a prefix cache may know [default: another every time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// A second server beside the first.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Comparison")]
pub struct AgainstFlags {
    /// API of a second server: both answer the same prompts in turn, never at the same time
    #[arg(id = "against", long = "against", value_name = "URL")]
    pub url: Option<String>,
    /// Model to ask the second server for [default: the first that it lists]
    #[arg(
        id = "against_model",
        long = "against-model",
        value_name = "NAME",
        requires = "against"
    )]
    pub model: Option<String>,
    /// Key that the second server wants [default: none]
    #[arg(
        id = "against_api_key",
        long = "against-api-key",
        value_name = "KEY",
        requires = "against"
    )]
    pub api_key: Option<String>,
}

/// The two ways to generate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Endpoint {
    /// /chat/completions
    #[default]
    Chat,
    /// /completions
    Completions,
}

impl Endpoint {
    /// Its path below the API's.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
        }
    }
}

impl LoadFlags {
    /// Requests of a level and round: twice the concurrency, so that half of them wait for no one.
    pub(super) fn requests(&self, concurrency: u32) -> u32 {
        self.requests
            .unwrap_or_else(|| concurrency.saturating_mul(2).max(4))
    }
}
