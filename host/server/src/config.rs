//! Configuration: built-in defaults < file < `WEIR_*` environment < flags, merged by figment.
//!
//! A key nobody knows is named in a warning, not swallowed: a typo in a file must not go unseen. A single model is a
//! list of one: see [`Config::of_each_model`].

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Env, Serialized},
    value::{Dict, Map},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use weir_output::ToolCallStreaming;
use weir_remote::{Dialect, UpstreamConfig};

use crate::cli::ServeFlags;

mod byte_size;
mod device;
mod file;
mod foreign;
mod log_format;
mod models;
mod one_or_many;
mod remote;
mod switch;

pub use byte_size::ByteSize;
pub use device::{Device, Dtype};
pub(crate) use file::FileLayer;
pub use log_format::LogFormat;
pub use models::ModelEntry;
pub use switch::Switch;

use foreign::Translated;
use one_or_many::one_or_many;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is missing or of no known kind.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value of the wrong type or range; figment's message names key and source.
    #[error("{0}")]
    Value(String),
}

/// Keys of a plugin's configuration.
pub type PluginConfig = serde_json::Map<String, serde_json::Value>;

/// The merged configuration of `weir serve`; one field a flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "each field is documented once, as the flag of its name in cli.rs"
)]
pub struct Config {
    /// Several models; none is the single one that the other fields tell of.
    pub models: Vec<ModelEntry>,
    pub model: String,
    #[serde(deserialize_with = "one_or_many")]
    pub served_model_name: Vec<String>,
    pub accept_any_model: bool,
    pub chat_template: Option<PathBuf>,
    pub enable_auto_tool_choice: bool,
    pub default_temperature: Option<f32>,
    pub default_top_p: Option<f32>,
    pub default_max_tokens: Option<usize>,
    pub reasoning_budget: Option<usize>,
    pub structured_output_reserve: Option<usize>,
    pub tool_call_parser: Option<String>,
    pub reasoning_parser: Option<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub post_processor: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub request_processor: Vec<String>,
    pub mpr_candidates: Option<usize>,
    #[serde(deserialize_with = "one_or_many")]
    pub preload: Vec<String>,
    /// Over a plugin's configuration in plugins.toml, by the plugin's name.
    pub plugin_config: BTreeMap<String, PluginConfig>,
    pub tool_call_streaming: ToolCallStreaming,
    pub plugins: Option<PathBuf>,
    #[serde(deserialize_with = "one_or_many")]
    pub plugin: Vec<String>,
    pub reload: bool,
    pub device: Device,
    pub dtype: Dtype,
    pub threads: Option<usize>,
    pub tp: usize,
    pub max_model_len: Option<usize>,
    pub max_num_seqs: usize,
    pub max_num_batched_tokens: usize,
    pub kv_cache_memory: Option<ByteSize>,
    pub max_queue: usize,
    pub prefix_cache: Switch,
    #[serde(deserialize_with = "one_or_many")]
    pub engine: Vec<String>,
    pub engines: Vec<UpstreamConfig>,
    pub tokenizer: Option<String>,
    pub engine_api_key: Option<String>,
    pub engine_model: Option<String>,
    pub engine_dialect: Option<Dialect>,
    pub engine_health_interval: f64,
    pub engine_first_token_timeout: f64,
    pub engine_stall_timeout: f64,
    pub host: IpAddr,
    pub port: u16,
    #[serde(deserialize_with = "one_or_many")]
    pub api_key: Vec<String>,
    pub api_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "one_or_many")]
    pub admin_key: Vec<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub max_connections: usize,
    pub header_timeout: f64,
    pub body_timeout: f64,
    pub send_timeout: f64,
    pub request_timeout: Option<f64>,
    pub body_limit: ByteSize,
    #[serde(deserialize_with = "one_or_many")]
    pub cors_origin: Vec<String>,
    pub keep_alive: f64,
    pub drain_timeout: f64,
    pub tool_name_in_every_delta: bool,
    pub response_store_max: usize,
    pub response_store_memory: ByteSize,
    pub response_store_ttl: f64,
    pub log_level: String,
    pub log_format: LogFormat,
    pub metrics: Switch,
    pub ui: Switch,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            model: crate::pull::DEFAULT_MODEL.to_owned(),
            served_model_name: Vec::new(),
            accept_any_model: false,
            chat_template: None,
            enable_auto_tool_choice: false,
            default_temperature: None,
            default_top_p: None,
            default_max_tokens: None,
            reasoning_budget: None,
            structured_output_reserve: None,
            tool_call_parser: None,
            reasoning_parser: None,
            post_processor: Vec::new(),
            request_processor: Vec::new(),
            mpr_candidates: None,
            preload: Vec::new(),
            plugin_config: BTreeMap::new(),
            tool_call_streaming: ToolCallStreaming::Incremental,
            plugins: None,
            plugin: Vec::new(),
            reload: false,
            device: Device::Auto,
            dtype: Dtype::Auto,
            threads: None,
            tp: 1,
            max_model_len: None,
            max_num_seqs: 64,
            max_num_batched_tokens: 512,
            kv_cache_memory: None,
            max_queue: 256,
            prefix_cache: Switch(true),
            engine: Vec::new(),
            engines: Vec::new(),
            tokenizer: None,
            engine_api_key: None,
            engine_model: None,
            engine_dialect: None,
            engine_health_interval: 2.0,
            engine_first_token_timeout: 300.0,
            engine_stall_timeout: 60.0,
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8000,
            api_key: Vec::new(),
            api_key_file: None,
            admin_key: Vec::new(),
            tls_cert: None,
            tls_key: None,
            max_connections: 4096,
            header_timeout: 30.0,
            body_timeout: 60.0,
            send_timeout: 60.0,
            request_timeout: None,
            body_limit: ByteSize(45_000_000),
            cors_origin: Vec::new(),
            keep_alive: 15.0,
            drain_timeout: 30.0,
            tool_name_in_every_delta: false,
            response_store_max: 1000,
            response_store_memory: ByteSize(256 << 20),
            response_store_ttl: 86_400.0,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            metrics: Switch(true),
            ui: Switch(true),
        }
    }
}

/// The configuration with what `weir config` and the log tell about it.
pub struct Loaded {
    /// The merged values.
    pub config: Config,
    /// Where each value comes from; all of a list of models is from one source.
    pub sources: BTreeMap<String, String>,
    /// Keys nobody knows, with their source.
    pub unknown: Vec<String>,
}

/// Merges the layers.
///
/// # Errors
/// A missing or unreadable file, a value of the wrong type or range: one line naming key and source.
pub fn load(flags: &ServeFlags) -> Result<Loaded, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = &flags.config {
        figment = figment.merge(Translated(FileLayer::new(path)?));
    }
    let figment = figment
        .merge(Env::prefixed("WEIR_").ignore(&["cache"]))
        .merge(FlagLayer(flags));
    let config: Config = figment
        .extract()
        .map_err(|error| ConfigError::Value(first_line(&error)))?;
    check_ranges(&config)?;
    let loaded = describe_sources(config, &figment);
    models::check(&loaded)?;
    remote::check(&loaded)?;
    Ok(loaded)
}

fn first_line(error: &figment::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or("unusable configuration")
        .to_owned()
}

/// No machine has more processors, and a typing error must not start a thread for each of its digits.
const MAX_THREADS: usize = 4096;

fn check_ranges(config: &Config) -> Result<(), ConfigError> {
    let bad = |message: String| Err(ConfigError::Value(message));
    let positive = [
        ("max_num_seqs", config.max_num_seqs),
        ("max_num_batched_tokens", config.max_num_batched_tokens),
        ("max_queue", config.max_queue),
        ("max_model_len", config.max_model_len.unwrap_or(1)),
        ("tp", config.tp),
        ("threads", config.threads.unwrap_or(1)),
        ("mpr_candidates", config.mpr_candidates.unwrap_or(1)),
        ("max_connections", config.max_connections),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return bad(format!("{key} must be at least 1"));
    }
    if let Some(threads) = config.threads.filter(|threads| *threads > MAX_THREADS) {
        return bad(format!(
            "threads is {threads}, it must be at most {MAX_THREADS}"
        ));
    }
    let most = weir_protocol::chat::MOST_MPR_CANDIDATES;
    if let Some(wanted) = config.mpr_candidates.filter(|wanted| *wanted > most) {
        return bad(format!(
            "mpr_candidates is {wanted}, it must be at most {most}"
        ));
    }
    config.device.check(config.tp).map_err(ConfigError::Value)?;
    if config
        .default_temperature
        .is_some_and(|t| !(0.0..=2.0).contains(&t))
    {
        return bad("default_temperature must lie between 0 and 2".to_owned());
    }
    if config.default_top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return bad("default_top_p must lie above 0 and at most at 1".to_owned());
    }
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        return bad("tls_cert and tls_key go together: give both or neither".to_owned());
    }
    check_seconds(config)
}

fn check_seconds(config: &Config) -> Result<(), ConfigError> {
    // What has to wait for a client cannot wait for no time.
    const SOME: f64 = 0.001;
    let seconds = [
        (
            "request_timeout",
            config.request_timeout.unwrap_or(1.0),
            0.0,
        ),
        ("keep_alive", config.keep_alive, SOME),
        ("drain_timeout", config.drain_timeout, 0.0),
        ("header_timeout", config.header_timeout, SOME),
        ("body_timeout", config.body_timeout, SOME),
        ("send_timeout", config.send_timeout, SOME),
        ("response_store_ttl", config.response_store_ttl, SOME),
        (
            "engine_health_interval",
            config.engine_health_interval,
            SOME,
        ),
        (
            "engine_first_token_timeout",
            config.engine_first_token_timeout,
            SOME,
        ),
        ("engine_stall_timeout", config.engine_stall_timeout, SOME),
    ];
    let wrong = seconds
        .iter()
        .find(|(_, value, least)| !(*least..=1e9).contains(value));
    match wrong {
        Some((key, value, least)) => Err(ConfigError::Value(format!(
            "{key} is {value}, it must be a number of seconds from {least} to 1e9"
        ))),
        None => Ok(()),
    }
}

fn describe_sources(config: Config, figment: &Figment) -> Loaded {
    let known = Serialized::defaults(Config::default())
        .data()
        .unwrap_or_default();
    let known: Dict = known.into_values().next().unwrap_or_default();
    let merged: Dict = figment
        .data()
        .unwrap_or_default()
        .into_values()
        .next()
        .unwrap_or_default();
    let mut loaded = Loaded {
        config,
        sources: BTreeMap::new(),
        unknown: Vec::new(),
    };
    for key in merged.keys() {
        let source = figment
            .find_metadata(key)
            .map_or_else(|| DEFAULT.to_owned(), describe_source);
        let unknown = match key.as_str() {
            "models" => models::unknown_keys(&merged),
            key if known.contains_key(key) => Vec::new(),
            key => foreign::leaves(key, merged.get(key)),
        };
        let named = unknown.iter().map(|key| format!("{key} ({source})"));
        loaded.unknown.extend(named);
        loaded.sources.insert(key.clone(), source);
    }
    loaded
}

fn describe_source(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ if metadata.name == FLAGS => FLAGS.to_owned(),
        _ => DEFAULT.to_owned(),
    }
}

const FLAGS: &str = "command line";
const DEFAULT: &str = "default";

/// The flags that were given, as figment's topmost layer.
struct FlagLayer<'a>(&'a ServeFlags);

impl Provider for FlagLayer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(FLAGS)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::defaults(self.0).data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{HttpFlags, ModelFlags};

    fn with_port(port: Option<u16>, config: Option<PathBuf>) -> ServeFlags {
        ServeFlags {
            http: HttpFlags {
                port,
                ..HttpFlags::default()
            },
            config,
            ..ServeFlags::default()
        }
    }

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        (folder, path)
    }

    #[test]
    fn flags_win_over_the_file_which_wins_over_defaults() {
        let (_folder, path) = file("weir.yaml", "port: 9000\nmax_queue: 7\napi_key: secret\n");
        let loaded = load(&with_port(Some(9001), Some(path.clone()))).expect("loads");
        assert_eq!(
            (
                loaded.config.port,
                loaded.config.max_queue,
                loaded.config.max_num_seqs
            ),
            (9001, 7, 64)
        );
        assert_eq!(loaded.config.api_key, ["secret"]);
        assert_eq!(loaded.sources["port"], FLAGS);
        assert!(loaded.sources["max_queue"].ends_with("weir.yaml"));
        assert_eq!(loaded.sources["host"], "default");
    }

    #[test]
    fn sizes_are_written_as_people_write_them() {
        let (_folder, path) = file(
            "weir.toml",
            "kv_cache_memory = '2GiB'\nbody_limit = '10 kb'\n",
        );
        let config = load(&with_port(None, Some(path))).expect("loads").config;
        assert_eq!(
            (config.kv_cache_memory, config.body_limit),
            (Some(ByteSize(2 << 30)), ByteSize(10_000))
        );
    }

    #[test]
    fn unknown_keys_are_named() {
        let (_folder, path) = file("weir.json", r#"{"prot": 1}"#);
        let loaded = load(&with_port(None, Some(path))).expect("loads");
        assert!(
            loaded.unknown[0].starts_with("prot ("),
            "{:?}",
            loaded.unknown
        );
    }

    #[test]
    fn bad_values_name_key_and_file() {
        let (_folder, path) = file("weir.toml", "port = 'many'\n");
        let error = load(&with_port(None, Some(path)))
            .err()
            .expect("fails")
            .to_string();
        assert!(
            error.contains("port") && error.contains("weir.toml"),
            "{error}"
        );
        let flags = ServeFlags {
            model: ModelFlags {
                default_temperature: Some(9.0),
                ..ModelFlags::default()
            },
            ..ServeFlags::default()
        };
        assert!(
            load(&flags)
                .err()
                .expect("fails")
                .to_string()
                .contains("default_temperature")
        );
        assert!(load(&with_port(None, Some("nowhere.toml".into()))).is_err());
    }
}
