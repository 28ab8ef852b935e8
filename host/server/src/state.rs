//! What all requests share: the served models, the settings, and whether the server is loading, ready or draining.
//!
//! `wiring` fills it in; handlers only read it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use weir_engine::{EmbeddingInfo, EngineError, Generator};
use weir_output::ToolCallStreaming;
use weir_prompt::{ChatTemplate, Tokenizer};
use weir_protocol::Invalid;

use crate::{
    active_plugins::PluginSlot,
    behind_answers::BehindAnswers,
    constraints::ModelConstraints,
    document_store::DocumentStore,
    embedding_thread::EmbeddingHandle,
    error::ApiError,
    keys::{ApiKey, Caller, KeyRing, RunningRequest},
    metrics::{Metrics, ModelMetrics},
    model_set::ModelSet,
    pooled_embeddings::PooledEmbedder,
    preload::Preloaded,
    reload::Reloader,
    request_record::RequestRecord,
    response_store::{ResponseStore, StoreLimits},
    sse::Rounds,
};

/// What all requests share.
pub struct AppState {
    /// The models, loaded or not.
    pub models: ModelSet,
    /// How the server behaves.
    pub settings: ServerSettings,
    /// Loading, ready or draining.
    pub lifecycle: Lifecycle,
    /// What `previous_response_id` finds.
    pub responses: ResponseStore,
    /// What request processors keep of documents.
    pub documents: DocumentStore,
    /// Who may work behind answers.
    pub behind: BehindAnswers,
    /// Documents that requests name.
    pub preloaded: Preloaded,
    /// Bytes of request bodies that are being read.
    pub body_bytes: AtomicUsize,
    /// Who may call.
    pub keys: KeyRing,
    /// Makes plugins anew when an admin asks; None where there is nothing to reload.
    pub reloader: Option<Arc<Reloader>>,
    /// What it counts.
    pub metrics: Metrics,
    /// In which streamed answers are written.
    pub rounds: Rounds,
}

impl AppState {
    /// A server of these models.
    pub fn new(models: ModelSet, settings: ServerSettings) -> Self {
        Self {
            models,
            responses: ResponseStore::new(settings.response_store),
            documents: DocumentStore::default(),
            behind: BehindAnswers::default(),
            preloaded: Preloaded::default(),
            keys: KeyRing::new(settings.keys.clone()),
            settings,
            lifecycle: Lifecycle::default(),
            body_bytes: AtomicUsize::new(0),
            reloader: None,
            metrics: Metrics::default(),
            rounds: Rounds::default(),
        }
    }

    /// A server of one model that is loaded; its id is its only name.
    pub fn ready(model: ServedModel, settings: ServerSettings) -> Self {
        Self::new(model.into(), settings)
    }

    /// The model of this name; the first of all for no name.
    ///
    /// # Errors
    /// 503 while it loads or if it could not be loaded, 404 for a name that is nobody's.
    pub fn model_named(&self, name: Option<&str>) -> Result<&Arc<ServedModel>, ApiError> {
        let model = self.models.named(name)?;
        RequestRecord::current().note_model(model.id());
        Ok(model)
    }

    /// Admits a request of this caller; the guard is held until its answer is complete.
    ///
    /// # Errors
    /// 503 while the server drains, 429 when the caller has reached a limit.
    pub fn admit(self: &Arc<Self>, caller: &Caller) -> Result<RequestGuard, ApiError> {
        // Counted before the look, so that whoever begins to drain and then waits sees it.
        self.lifecycle.active.send_modify(|active| *active += 1);
        let mut guard = RequestGuard {
            state: Arc::clone(self),
            _running: None,
        };
        self.lifecycle.check_draining()?;
        guard._running = Some(caller.begin()?);
        Ok(guard)
    }

    /// Whether every model that can be served is, and requests are taken.
    ///
    /// # Errors
    /// 503 while a model loads, when none could be loaded or one's engine has failed, and while the server drains.
    pub fn check_ready(&self) -> Result<(), ApiError> {
        self.models.ready()?;
        self.models.healthy()?;
        self.lifecycle.check_draining()
    }
}

/// A model that is served, with all that turns requests into prompts and tokens into answers.
pub struct ServedModel {
    id: String,
    /// When it was loaded, seconds since 1970.
    pub created: u64,
    /// Tells clients which build and model answered.
    pub fingerprint: String,
    /// Where tokens are generated; None for an embedding model.
    pub generator: Option<Arc<dyn Generator>>,
    /// Where texts become vectors, or why nowhere.
    pub embedder: Result<Embedder, String>,
    /// The model's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The model's own chat template or the one given instead; without one there is no chat.
    pub chat_template: Option<Arc<ChatTemplate>>,
    /// The model's own for requests with tools, if it has two.
    pub tool_chat_template: Option<Arc<ChatTemplate>>,
    /// What reads its answers. Exchanged by a reload.
    pub plugins: Arc<PluginSlot>,
    /// Whether an engine elsewhere makes the prompts: they are chats' messages here, as text, and the tokenizer has bytes alone.
    pub passes_messages: bool,
    /// Longest context in tokens, prompt and answer together.
    pub max_model_len: usize,
    /// Elements of the embeddings that a request may have in place of tokens; None if the engine takes none.
    pub prompt_embedding_size: Option<usize>,
    /// What a request that says nothing gets.
    pub defaults: SamplingDefaults,
    /// What its answers can be held to.
    pub constraints: Arc<ModelConstraints>,
    /// What its requests add up to.
    pub metrics: Arc<ModelMetrics>,
}

impl ServedModel {
    /// A generative model without templates and plugins; the other fields are set after.
    pub fn new(
        id: String,
        generator: Arc<dyn Generator>,
        tokenizer: Arc<Tokenizer>,
        max_model_len: usize,
    ) -> Self {
        Self {
            generator: Some(generator),
            ..Self::without_engine(id, tokenizer, max_model_len)
        }
    }

    /// An embedding model.
    pub fn embedding(id: String, embedder: EmbeddingHandle, tokenizer: Arc<Tokenizer>) -> Self {
        let max_model_len = embedder.info().max_tokens;
        Self {
            embedder: Ok(Embedder::Encoder(embedder)),
            ..Self::without_engine(id, tokenizer, max_model_len)
        }
    }

    fn without_engine(id: String, tokenizer: Arc<Tokenizer>, max_model_len: usize) -> Self {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let metrics = Arc::<ModelMetrics>::default();
        Self {
            fingerprint: fingerprint(&id),
            constraints: ModelConstraints::new(Arc::clone(&tokenizer), Arc::clone(&metrics)),
            id,
            created,
            generator: None,
            embedder: Err("it was set up without".to_owned()),
            tokenizer,
            chat_template: None,
            tool_chat_template: None,
            plugins: Arc::default(),
            passes_messages: false,
            max_model_len,
            prompt_embedding_size: None,
            defaults: SamplingDefaults::default(),
            metrics,
        }
    }

    /// Where tokens are generated.
    ///
    /// # Errors
    /// 400 for an embedding model.
    pub fn generator(&self) -> Result<&Arc<dyn Generator>, ApiError> {
        let message = || format!("model {} makes embeddings, it does not generate", self.id());
        self.generator
            .as_ref()
            .ok_or_else(|| ApiError::bad_request(message()).with_param("model"))
    }

    /// Where texts become vectors.
    ///
    /// # Errors
    /// 501 for a generative model that makes none, with the reason.
    pub fn embedder(&self) -> Result<&Embedder, ApiError> {
        self.embedder.as_ref().map_err(|reason| {
            let what = format!("embeddings of the model {} ({reason})", self.id());
            Invalid::not_implemented("model", &what).into()
        })
    }

    /// How many tokens a prompt has; of messages about, until its engine says.
    pub fn prompt_tokens(&self, prompt: &[u32]) -> usize {
        /// Of a token of JSON and prose.
        const BYTES: usize = 4;
        match self.passes_messages {
            true => prompt.len().div_ceil(BYTES),
            false => prompt.len(),
        }
    }

    /// Whether tokens are known here.
    ///
    /// # Errors
    /// 501 where only its engine has the tokenizer, for what is named.
    pub fn check_tokenizer(&self, param: &str, what: &str) -> Result<(), ApiError> {
        if !self.passes_messages {
            return Ok(());
        }
        let what = format!(
            "{what} of the model {} (its engine is elsewhere, and the server was started without --tokenizer)",
            self.id()
        );
        Err(Invalid::not_implemented(param, &what).into())
    }

    /// The first of its names.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Where texts become vectors.
pub enum Embedder {
    /// An embedding model on its own thread.
    Encoder(EmbeddingHandle),
    /// A generative model's engine.
    Decoder(PooledEmbedder),
}

impl Embedder {
    /// Sizes of vectors and texts.
    pub fn info(&self) -> EmbeddingInfo {
        match self {
            Self::Encoder(handle) => *handle.info(),
            Self::Decoder(pooled) => pooled.info,
        }
    }

    /// One vector a text, in order. The texts fit the model; dropping the future gives the work up.
    ///
    /// # Errors
    /// What the thread or the engine answers.
    pub async fn embed(&self, texts: Vec<Vec<u32>>) -> Result<Vec<Vec<f32>>, EngineError> {
        match self {
            Self::Encoder(handle) => handle.embed(texts).await,
            Self::Decoder(pooled) => pooled.embed(texts).await,
        }
    }
}

/// `fp_` and ten digits from weir's version and the model's name.
fn fingerprint(name: &str) -> String {
    let hash = Sha256::digest(format!("{}\n{name}", env!("CARGO_PKG_VERSION")));
    let digits: String = hash
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("fp_{digits}")
}

/// Sampling of requests that say nothing: the model's generation_config and the operator's options. None is OpenAI's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingDefaults {
    /// Else 1.
    pub temperature: Option<f32>,
    /// Else 1.
    pub top_p: Option<f32>,
    /// Else off.
    pub top_k: Option<usize>,
    /// Else off.
    pub min_p: Option<f32>,
    /// Else off.
    pub repetition_penalty: Option<f32>,
    /// Else what is left of the context.
    pub max_tokens: Option<usize>,
    /// Tokens that a forced answer may be closed with; else it is cut.
    pub structured_output_reserve: Option<usize>,
    /// Tokens of reasoning; else no limit.
    pub reasoning_budget: Option<usize>,
    /// Candidates of multi-path reasoning; else 1, which is none.
    pub mpr_candidates: Option<usize>,
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// When a streamed call's deltas are sent, unless the request says.
    pub tool_call_streaming: ToolCallStreaming,
    /// Keeps the name key, empty, in the later deltas of a call.
    pub tool_name_in_every_delta: bool,
    /// Time between keep-alive comments of a stream that has nothing to say.
    pub keep_alive: Duration,
    /// Longest time for one request; None is no limit.
    pub request_timeout: Option<Duration>,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// The keys that are accepted, beside those of a file; none accepts any and none.
    pub keys: Vec<ApiKey>,
    /// Longest time a body may take to arrive.
    pub body_timeout: Duration,
    /// Origins that browsers may call from; `*` is any; none is no CORS.
    pub cors_origins: Vec<String>,
    /// How much of past responses is kept.
    pub response_store: StoreLimits,
    /// Whether GET /metrics is there.
    pub metrics: bool,
    /// Whether the page is there, at `/`.
    pub ui: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            tool_call_streaming: ToolCallStreaming::default(),
            tool_name_in_every_delta: false,
            keep_alive: Duration::from_secs(15),
            request_timeout: None,
            body_limit: 45_000_000,
            keys: Vec::new(),
            body_timeout: Duration::from_secs(60),
            cors_origins: Vec::new(),
            response_store: StoreLimits::default(),
            metrics: true,
            ui: true,
        }
    }
}

/// Whether the server takes requests, and how many it is answering.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
    active: watch::Sender<usize>,
}

impl Lifecycle {
    /// Takes no more requests; those running go on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn check_draining(&self) -> Result<(), ApiError> {
        match self.is_draining() {
            true => Err(ApiError::unavailable("the server is shutting down")),
            false => Ok(()),
        }
    }

    /// Requests whose answers are not complete.
    pub fn active(&self) -> usize {
        *self.active.borrow()
    }

    /// Waits until no request is running.
    pub async fn idle(&self) {
        // The sender lives as long as self, so waiting ends only by the count.
        drop(
            self.active
                .subscribe()
                .wait_for(|active| *active == 0)
                .await,
        );
    }
}

/// Counts a request as running, for the server and for its caller, until it is dropped.
pub struct RequestGuard {
    state: Arc<AppState>,
    /// None until the caller may.
    _running: Option<RunningRequest>,
}

impl RequestGuard {
    /// The state it was admitted to.
    pub fn state(&self) -> &Arc<AppState> {
        &self.state
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.state
            .lifecycle
            .active
            .send_modify(|active| *active -= 1);
    }
}
