//! A server as `weir serve` puts it together, in this process, so that its counters can be read.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpSocket;
use weir_prompt::Tokenizer;
use weir_server::{
    AppState, EngineHandle, ServerSettings,
    config::{ByteSize, Config},
    pull::Source,
    router,
    wiring::{self, LoadedModel, PluginWiring},
};

/// Of the server's sockets: small, so that it feels a reader that is slow.
const SEND_BUFFER: u32 = 4_096;
/// What a block's size is found with; none of it is touched.
const PROBE_BYTES: u64 = 1 << 30;

/// A server that listens.
pub struct Server {
    pub engine: EngineHandle,
    pub state: Arc<AppState>,
    pub plugins: PluginWiring,
    pub tokenizer: Arc<Tokenizer>,
    pub address: SocketAddr,
    pub max_model_len: usize,
}

impl Server {
    /// Loads a model and serves it on a port of its own.
    ///
    /// # Errors
    /// Whatever keeps it from being served.
    pub async fn start(config: &Config) -> Result<Self> {
        let source = Source::parse(&config.model)?;
        let plugins = PluginWiring::new(config)?;
        let LoadedModel { model, engine } = wiring::load_model(config, &source, &plugins)?;
        let engine = engine.context("an embedding model generates nothing")?;
        let (tokenizer, max_model_len) = (Arc::clone(&model.tokenizer), model.max_model_len);
        let state = Arc::new(AppState::ready(model, ServerSettings::default()));
        let socket = TcpSocket::new_v4()?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        let app = router(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self {
            engine,
            state,
            plugins,
            tokenizer,
            address,
            max_model_len,
        })
    }
}

/// Bytes of a KV block of a model.
///
/// # Errors
/// A model that does not load.
pub fn block_bytes(config: &Config) -> Result<u64> {
    let config = Config {
        kv_cache_memory: Some(ByteSize(PROBE_BYTES)),
        ..config.clone()
    };
    let plugins = PluginWiring::new(&config)?;
    let loaded = wiring::load_model(&config, &Source::parse(&config.model)?, &plugins)?;
    let engine = loaded
        .engine
        .context("an embedding model generates nothing")?;
    let blocks = engine.counters().blocks_total as u64;
    engine.shutdown();
    ensure!(blocks > 0, "no KV block fits {PROBE_BYTES} bytes");
    Ok(PROBE_BYTES / blocks)
}
