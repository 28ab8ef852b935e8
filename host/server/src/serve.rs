//! `weir serve`: from the configuration to a listening server, and its orderly end.
//!
//! What the user got wrong is said before a model is fetched or loaded. The server listens while models load: it is alive,
//! serves those that are there, and is not ready.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

use crate::{
    cli::ServeFlags,
    config::{self, Config, ConfigError, LogFormat},
    connections::{self, ConnectionLimits},
    keys::{self, ApiKey, KeyFileError},
    loading::{self, NoModel},
    model_set::{ModelSet, NamesError},
    preload::{PreloadError, Preloaded},
    reload::{self, Reloader},
    response_store::StoreLimits,
    router, routes,
    state::{AppState, ServerSettings},
    tls::{self, Certificate, TlsError},
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
    /// A document.
    #[error(transparent)]
    Preload(#[from] PreloadError),
    /// The address.
    #[error("cannot listen on {address}: {reason}; choose another with --host and --port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// The file of keys.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    if !loaded.unknown.is_empty() {
        let keys = loaded.unknown.join(", ");
        tracing::warn!("the configuration holds keys that weir does not know: {keys}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(request_threads())
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(loaded.config));
    // A model that still loads does not keep the process.
    runtime.shutdown_background();
    served
}

/// Threads for all that is not the engine: half of the cores, because the engine has work for every one of them, and because a
/// stream that goes from core to core finds nothing of its own in the caches.
fn request_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.div_ceil(2)
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
    let settings = server_settings(&config);
    let preloaded = Preloaded::read(&config.preload)?;
    let key_file = config.api_key_file.as_deref();
    let file_keys = key_file.map(keys::read).transpose()?.unwrap_or_default();
    let certificate = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(Certificate::read(cert, key)?),
        _ => None,
    };
    let acceptor = certificate
        .as_ref()
        .map(Certificate::acceptor)
        .transpose()?;
    let planned = loading::plan(&config)?;
    let names = planned.iter().map(|model| model.names.clone());
    let models = ModelSet::loading(names.collect())?;
    let plugins = Arc::new(PluginWiring::new(&config)?);
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|reason| ServeError::Listen { address, reason })?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let base = format!("{scheme}://{}", listener.local_addr()?);
    let mut signals = StopSignals::new()?;

    let reloader = Arc::new(Reloader::new(Arc::clone(&plugins)));
    let mut state = AppState::new(models, settings);
    state.reloader = Some(Arc::clone(&reloader));
    state.preloaded = preloaded;
    state.keys.replace_file(file_keys);
    let wiring = Arc::clone(&plugins);
    state.metrics.show_plugins(wiring, Arc::clone(&reloader));
    let state = Arc::new(state);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (app, limits) = (router(Arc::clone(&state)), connection_limits(&config));
    let server = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        connections::serve(listener, acceptor, app, limits.fitting(), until).await;
    });
    let watching = watch_files(&config, &state, reloader, certificate)?;

    let mut engines = Vec::new();
    let told_to_stop = tokio::select! {
        loaded = loading::load_all(planned, &plugins, &state, &base, &mut engines) => {
            loaded?;
            tokio::spawn(routes::read_preloaded(Arc::clone(&state)));
            false
        }
        () = signals.next() => true,
    };
    if !told_to_stop {
        signals.next().await;
    }
    drain(&state, &mut signals, config.drain_timeout).await;
    for task in watching {
        task.abort();
    }
    for engine in engines {
        engine.shutdown();
    }
    drop(stop);
    // Connections that linger after their answers do not keep the process.
    drop(tokio::time::timeout(Duration::from_secs(1), server).await);
    Ok(())
}

/// Takes no more requests, and waits for those that run until they end, their time is over or a signal says not to.
async fn drain(state: &AppState, signals: &mut StopSignals, seconds: f64) {
    // In this order: whoever reads the line finds it true.
    state.lifecycle.begin_drain();
    tracing::info!(
        running = state.lifecycle.active(),
        "draining: no new requests are taken"
    );
    tokio::select! {
        () = state.lifecycle.idle() => {}
        () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => tracing::warn!("cutting off the requests that still run"),
        () = signals.next() => tracing::warn!("told to stop twice: cutting off the requests that still run"),
    }
}

/// Starts what reads files again when they change or SIGHUP says so.
fn watch_files(
    config: &Config,
    state: &Arc<AppState>,
    reloader: Arc<Reloader>,
    certificate: Option<Arc<Certificate>>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let hangup = || signal(SignalKind::hangup());
    let mut watching = vec![tokio::spawn(reload::run(
        reloader,
        hangup()?,
        config.reload,
    ))];
    if let Some(path) = config.api_key_file.clone() {
        let keys = keys::watch(Arc::clone(state), path, hangup()?);
        watching.push(tokio::spawn(keys));
    }
    if let Some(certificate) = certificate {
        watching.push(tokio::spawn(tls::watch(certificate, hangup()?)));
    }
    Ok(watching)
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        max_connections: config.max_connections,
        header_timeout: Duration::from_secs_f64(config.header_timeout),
        send_timeout: Duration::from_secs_f64(config.send_timeout),
    }
}

fn server_settings(config: &Config) -> ServerSettings {
    let named = |kind: &str, number: usize| format!("{kind}-{}", number + 1);
    let api = config.api_key.iter().enumerate();
    let api = api.map(|(number, key)| ApiKey::plain(named("api-key", number), key));
    let admin = config.admin_key.iter().enumerate();
    let admin = admin.map(|(number, key)| ApiKey {
        // One text may be both.
        api: config.api_key.contains(key),
        ..ApiKey::admin(named("admin-key", number), key)
    });
    ServerSettings {
        tool_call_streaming: config.tool_call_streaming,
        tool_name_in_every_delta: config.tool_name_in_every_delta,
        keep_alive: Duration::from_secs_f64(config.keep_alive),
        request_timeout: config.request_timeout.map(Duration::from_secs_f64),
        body_limit: usize::try_from(config.body_limit.0).unwrap_or(usize::MAX),
        body_timeout: Duration::from_secs_f64(config.body_timeout),
        keys: api.chain(admin).collect(),
        cors_origins: config.cors_origin.clone(),
        response_store: StoreLimits {
            max_responses: config.response_store_max,
            max_bytes: usize::try_from(config.response_store_memory.0).unwrap_or(usize::MAX),
            ttl: Duration::from_secs_f64(config.response_store_ttl),
        },
        metrics: config.metrics.0,
        ui: config.ui.0,
    }
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
