//! `weir serve`: from the configuration to a listening server, and its orderly end.
//!
//! What the user got wrong is said before the model is fetched or loaded. The server listens while the model loads:
//! it is alive and not ready.

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
    config::{self, Config, ConfigError},
    pull::{PullError, Source},
    reload::{self, Reloader},
    router,
    state::{AppState, ServerSettings},
    wiring::{self, LoadedModel, PluginWiring, WiringError},
};

/// Why the server did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model's source.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// Plugins or model.
    #[error(transparent)]
    Wiring(#[from] WiringError),
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
    start_log(&loaded.config.log_level)?;
    for key in &loaded.unknown {
        tracing::warn!("the configuration holds a key that weir does not know: {key}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(loaded.config));
    // A model that is still being fetched or loaded does not keep a process that was told to stop.
    runtime.shutdown_background();
    served
}

/// Logs go to stderr; `level` is a level for weir, others' crates only warn then, or a whole tracing filter.
///
/// # Errors
/// A filter that tracing does not understand.
pub fn start_log(level: &str) -> Result<(), ParseError> {
    let filter = match level.parse::<LevelFilter>() {
        Ok(level) => format!("{},weir={level}", level.min(LevelFilter::WARN)),
        Err(_) => level.to_owned(),
    };
    let filter = EnvFilter::builder().parse(filter)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

async fn serve(config: Config) -> Result<(), ServeError> {
    let settings = server_settings(&config)?;
    let source = Source::parse(&config.model)?;
    let plugins = PluginWiring::new(&config)?;
    let registry = plugins.read()?;
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|reason| ServeError::Listen { address, reason })?;
    let address = listener.local_addr()?;
    let mut signals = StopSignals::new()?;
    let hangup = signal(SignalKind::hangup())?;

    let state = Arc::new(AppState::loading(settings));
    let app = router(Arc::clone(&state));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        axum::serve(listener, app)
            .with_graceful_shutdown(until)
            .await
    });

    let drain_timeout = Duration::from_secs_f64(config.drain_timeout);
    tracing::info!(model = config.model, "loading the model");
    let watch = config.reload;
    let wired = plugins.clone();
    let loading =
        tokio::task::spawn_blocking(move || wiring::load_model(&config, &source, &wired, registry));
    let loaded = tokio::select! {
        loaded = loading => loaded.map_err(io::Error::other)??,
        () = signals.next() => return Ok(()),
    };
    let LoadedModel {
        model,
        engine,
        facts,
    } = loaded;
    let id = model.id().to_owned();
    // Whoever waits for this line may send a request at once.
    state.set_model(model);
    state.set_reloader(Reloader::new(plugins, facts));
    let reloading = tokio::spawn(reload::run(Arc::clone(&state), hangup, watch));
    tracing::info!("weir serves {id} on http://{address}/v1");

    signals.next().await;
    tracing::info!(
        running = state.lifecycle.active(),
        "draining: no new requests are taken"
    );
    state.lifecycle.begin_drain();
    tokio::select! {
        () = state.lifecycle.idle() => {}
        () = tokio::time::sleep(drain_timeout) => tracing::warn!("cutting off the requests that still run"),
        () = signals.next() => tracing::warn!("told to stop twice: cutting off the requests that still run"),
    }
    reloading.abort();
    engine.shutdown();
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
