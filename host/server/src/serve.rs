//! `weir serve`: from the configuration to a listening server, and its orderly end.
//!
//! What the user got wrong is said before a model is fetched or loaded. The server listens while models load: it is alive,
//! serves those that are there, and is not ready.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

use crate::{
    cli::ServeFlags,
    config::{self, Config, ConfigError, LogFormat},
    loading::{self, NoModel},
    model_set::{ModelSet, NamesError},
    reload::{self, Reloader},
    router,
    state::{AppState, ServerSettings},
    wiring::{PluginWiring, WiringError},
};

/// Why the server did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The models' names.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The models.
    #[error(transparent)]
    NoModel(#[from] NoModel),
    /// Plugins.
    #[error(transparent)]
    Plugins(#[from] WiringError),
    /// The log filter.
    #[error("log_level: {0}; use error, warn, info, debug or trace")]
    LogLevel(#[from] ParseError),
    /// The address.
    #[error("cannot listen on {address}: {reason}; choose another with --host and --port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// The file of keys.
    #[error("{path}: {reason}", path = path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The runtime or its signals.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps the server from starting, in one line.
pub fn run(flags: &ServeFlags) -> Result<(), ServeError> {
    let loaded = config::load(flags)?;
    start_log(&loaded.config.log_level, loaded.config.log_format)?;
    for key in &loaded.unknown {
        tracing::warn!("the configuration holds a key that weir does not know: {key}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(loaded.config));
    // A model that still loads does not keep the process.
    runtime.shutdown_background();
    served
}

/// Logs go to stderr; `level` is a level for weir, others' crates only warn then, or a whole tracing filter.
///
/// # Errors
/// A filter that tracing does not understand.
pub fn start_log(level: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = match level.parse::<LevelFilter>() {
        Ok(level) => format!("{},weir={level}", level.min(LevelFilter::WARN)),
        Err(_) => level.to_owned(),
    };
    let filter = EnvFilter::builder().parse(filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            let log = log.json().flatten_event(true);
            log.with_span_list(false).init();
        }
    }
    Ok(())
}

async fn serve(config: Config) -> Result<(), ServeError> {
    let settings = server_settings(&config)?;
    let planned = loading::plan(&config)?;
    let names = planned.iter().map(|model| model.names.clone());
    let models = ModelSet::loading(names.collect())?;
    let plugins = Arc::new(PluginWiring::new(&config)?);
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|reason| ServeError::Listen { address, reason })?;
    let address = listener.local_addr()?;
    let mut signals = StopSignals::new()?;
    let hangup = signal(SignalKind::hangup())?;

    let state = Arc::new(AppState::new(models, settings));
    let app = router(Arc::clone(&state));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        axum::serve(listener, app)
            .with_graceful_shutdown(until)
            .await
    });

    let reloader = Arc::new(Reloader::new(Arc::clone(&plugins)));
    let wiring = Arc::clone(&plugins);
    state.metrics.show_plugins(wiring, Arc::clone(&reloader));
    let reloading = tokio::spawn(reload::run(reloader, hangup, config.reload));
    let mut engines = Vec::new();
    let address = address.to_string();
    let told_to_stop = tokio::select! {
        loaded = loading::load_all(planned, &plugins, &state, &address, &mut engines) => {
            loaded?;
            false
        }
        () = signals.next() => true,
    };
    if !told_to_stop {
        signals.next().await;
    }
    // In this order: whoever reads the line finds it true.
    state.lifecycle.begin_drain();
    tracing::info!(
        running = state.lifecycle.active(),
        "draining: no new requests are taken"
    );
    tokio::select! {
        () = state.lifecycle.idle() => {}
        () = tokio::time::sleep(Duration::from_secs_f64(config.drain_timeout)) => tracing::warn!("cutting off the requests that still run"),
        () = signals.next() => tracing::warn!("told to stop twice: cutting off the requests that still run"),
    }
    reloading.abort();
    for engine in engines {
        engine.shutdown();
    }
    drop(stop);
    // Connections that linger after their answers do not keep the process.
    drop(tokio::time::timeout(Duration::from_secs(1), server).await);
    Ok(())
}

fn server_settings(config: &Config) -> Result<ServerSettings, ServeError> {
    let mut api_keys = config.api_key.clone();
    if let Some(path) = &config.api_key_file {
        let wrong = |reason: String| ServeError::KeyFile {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let before = api_keys.len();
        let lines = text.lines().map(str::trim);
        api_keys.extend(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned),
        );
        if api_keys.len() == before {
            return Err(wrong("holds no key".to_owned()));
        }
    }
    Ok(ServerSettings {
        tool_call_streaming: config.tool_call_streaming,
        tool_name_in_every_delta: config.tool_name_in_every_delta,
        keep_alive: Duration::from_secs_f64(config.keep_alive),
        request_timeout: config.request_timeout.map(Duration::from_secs_f64),
        body_limit: usize::try_from(config.body_limit.0).unwrap_or(usize::MAX),
        api_keys,
        cors_origins: config.cors_origin.clone(),
        metrics: config.metrics.0,
    })
}

/// SIGTERM and Ctrl-C.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
