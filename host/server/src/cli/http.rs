//! The flags of how the server listens, whom it serves and how long it has patience.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// How the server listens and whom it serves.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "HTTP")]
pub struct HttpFlags {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port to listen on [default: 8000]
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Certificate chain in PEM, the server's own first; with --tls-key, weir speaks HTTPS [default: plain HTTP]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Key that requests must bear (repeatable) [default: none needed]
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_key: Vec<String>,
    /// File of keys with names and limits: TOML, YAML or JSON, read again when it changes; `weir key new` makes entries
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Key that opens the routes under /admin and no others (repeatable) [default: none, and no such routes]
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admin_key: Vec<String>,
    /// Connections at once; one more is answered 503 and closed [default: 4096, or fewer if the system gives fewer files]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    /// Seconds a connection may take to bring a request's headers, or to be idle between requests [default: 30]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_timeout: Option<f64>,
    /// Seconds a request's body may take to arrive [default: 60]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_timeout: Option<f64>,
    /// Seconds after which a client that takes nothing of its answer is cut off [default: 60]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_timeout: Option<f64>,
    /// Seconds a request may take [default: no limit]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<f64>,
    /// Largest request body, such as 45MB [default: 45MB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<String>,
    /// Origin that browsers may call from, or * (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cors_origin: Vec<String>,
    /// Seconds of silence in a stream until a keep-alive comment, and until a stream begins without a token [default: 15]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<f64>,
    /// Seconds to finish running requests after SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<f64>,
    /// Repeat an empty function name in every tool-call delta, for clients that read it there
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tool_name_in_every_delta: bool,
    /// Responses of /v1/responses kept for previous_response_id; 0 keeps none [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_store_max: Option<usize>,
    /// Memory for kept responses, such as 256MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_store_memory: Option<String>,
    /// Seconds a response is kept after its last use [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_store_ttl: Option<f64>,
    /// error, warn, info, debug, trace, or a tracing filter [default: info]
    #[arg(long, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Log lines for people, or one JSON object each [default: text]
    #[arg(long, value_name = "text|json")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// Serve Prometheus metrics at /metrics, to whoever reaches the port, with or without a key [default: on]
    #[arg(long, value_name = "on|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Serve no page at / (the key is ui: on or off) [default: the page is there, for whoever reaches the port; what it asks needs keys]
    #[arg(long)]
    #[serde(
        rename = "ui",
        skip_serializing_if = "std::ops::Not::not",
        serialize_with = "off"
    )]
    pub no_ui: bool,
}

/// A flag that takes something away, as the value of the key that stands for it.
fn off<S: serde::Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("off")
}
