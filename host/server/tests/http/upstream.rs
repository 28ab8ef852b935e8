//! An engine somewhere else, played in process: it speaks its dialect over a real socket, says given tokens, and fails in every
//! way that it is told to. Each has a runtime of its own, so that killing one closes its connections as a dead process does.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

/// Ends a sequence; tokens below it are bytes.
pub const EOS: u32 = 256;

/// How it behaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    Well,
    /// It takes connections and says nothing more, in the middle of a stream too.
    Hung,
    /// It answers its health check with 503, and completions too.
    Draining,
    /// It answers completions so.
    Refusing(u16, Value),
    /// It closes a stream after so many tokens.
    Breaking(usize),
    /// It says so many tokens, then an error in the stream.
    Erring(usize),
    /// Its chats tell what it takes for reasoning by itself.
    Splitting,
}

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Vllm,
    Sglang,
    Llama,
    /// OpenAI's completions as strictly as OpenAI: no token ids, no other fields.
    Openai,
}

pub struct Fake {
    speaks: Speaks,
    /// Each token is sent by itself.
    pub tokens: Mutex<Vec<u32>>,
    pub pace: Mutex<Duration>,
    pub mode: watch::Sender<Mode>,
    /// The bodies of all requests for more than one token.
    pub asked: Mutex<Vec<Value>>,
    pub running: AtomicUsize,
    /// Streams that nobody read to their end.
    pub cancelled: AtomicUsize,
}

pub struct Upstream {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Upstream {
    /// One that says these bytes and then ends.
    pub fn saying(speaks: Speaks, text: &str) -> Self {
        let fake = Arc::new(Fake {
            speaks,
            tokens: Mutex::new(text.bytes().map(u32::from).chain([EOS]).collect()),
            pace: Mutex::default(),
            mode: watch::Sender::new(Mode::Well),
            asked: Mutex::default(),
            running: AtomicUsize::default(),
            cancelled: AtomicUsize::default(),
        });
        let mut upstream = Self {
            fake,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime: None,
        };
        upstream.listen();
        upstream
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listens, at the address where it was before if it was somewhere.
    pub fn listen(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let app = Router::new()
            .route("/v1/models", get(models))
            .route("/health", get(health))
            .route("/v1/completions", post(completions))
            .route("/v1/chat/completions", post(completions))
            .route("/completion", post(completions))
            .with_state(Arc::clone(&self.fake));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// It is gone, with all its connections.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn becomes(&self, mode: Mode) {
        self.fake.mode.send_replace(mode);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Fake {
    /// Returns once it is not hung.
    async fn awake(&self) {
        let mut mode = self.mode.subscribe();
        drop(mode.wait_for(|mode| *mode != Mode::Hung).await);
    }

    fn mode(&self) -> Mode {
        self.mode.borrow().clone()
    }

    /// What is wrong with a request of this dialect.
    fn wrong(&self, body: &Value) -> Option<&'static str> {
        let vendor = ["return_token_ids", "skip_special_tokens", "top_k"];
        let strange = vendor.iter().any(|field| body.get(*field).is_some());
        match self.speaks {
            Speaks::Openai if strange => Some("Unrecognized request argument supplied"),
            Speaks::Openai if body.get("messages").is_none() && !body["prompt"].is_string() => {
                Some("prompt must be a string")
            }
            _ => None,
        }
    }

    fn event(&self, token: u32, number: usize, chat: bool) -> Value {
        let bytes = u8::try_from(token).ok().map(|byte| vec![byte]);
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        match self.speaks {
            _ if chat => {
                let splits = self.mode() == Mode::Splitting;
                let field = if splits {
                    "reasoning_content"
                } else {
                    "content"
                };
                json!({"choices": [{"index": 0, "delta": {field: text}, "finish_reason": null}]})
            }
            Speaks::Llama => {
                json!({"content": text, "tokens": [token], "stop": false, "tokens_predicted": number, "tokens_evaluated": 3})
            }
            Speaks::Openai => json!({"choices": [{"index": 0, "text": text}]}),
            _ => {
                json!({"choices": [{"index": 0, "text": text, "token_ids": [token], "finish_reason": null}]})
            }
        }
    }

    /// The last events.
    fn end(&self, reason: &str, number: usize, chat: bool) -> Vec<String> {
        let usage = json!({"prompt_tokens": 9, "completion_tokens": number, "prompt_tokens_details": {"cached_tokens": 2}});
        match self.speaks {
            Speaks::Llama if !chat => {
                let reason = if reason == "stop" { "eos" } else { "limit" };
                vec![json!({"content": "", "tokens": [], "stop": true, "stop_type": reason, "tokens_predicted": number, "tokens_evaluated": 9, "timings": {"cache_n": 2}}).to_string()]
            }
            _ => vec![
                json!({"choices": [{"index": 0, "text": "", "delta": {}, "finish_reason": reason}]})
                    .to_string(),
                json!({"choices": [], "usage": usage}).to_string(),
                "[DONE]".to_owned(),
            ],
        }
    }
}

async fn models(State(fake): State<Arc<Fake>>) -> Response {
    fake.awake().await;
    let card = match fake.speaks {
        Speaks::Vllm => json!({"id": "there", "owned_by": "vllm", "max_model_len": 2048}),
        Speaks::Sglang => json!({"id": "there", "owned_by": "sglang", "max_model_len": 2048}),
        Speaks::Llama => json!({"id": "there", "owned_by": "llamacpp", "meta": {"n_ctx": 2048}}),
        Speaks::Openai => json!({"id": "there", "owned_by": "somebody"}),
    };
    Json(json!({"object": "list", "data": [card]})).into_response()
}

async fn health(State(fake): State<Arc<Fake>>) -> StatusCode {
    fake.awake().await;
    match fake.mode() {
        Mode::Draining => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

/// Counts a stream until it is dropped.
struct Stream {
    fake: Arc<Fake>,
    chat: bool,
    at: usize,
    limit: usize,
    ending: Option<Vec<String>>,
    done: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.fake.running.fetch_sub(1, Ordering::SeqCst);
        if !self.done {
            self.fake.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn completions(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Response {
    let limit = body["max_tokens"].as_u64().or(body["n_predict"].as_u64());
    let limit = usize::try_from(limit.unwrap_or(16)).unwrap();
    fake.awake().await;
    let error = |status: u16, body: Value| {
        (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
    };
    if let Some(wrong) = fake.wrong(&body) {
        return error(400, json!({"error": {"message": wrong, "code": 400}}));
    }
    let chat = body.get("messages").is_some();
    // A probe asks for one token.
    if limit > 1 {
        fake.asked.lock().unwrap().push(body);
        match fake.mode() {
            Mode::Refusing(status, body) => return error(status, body),
            Mode::Draining => return error(503, json!({"error": "draining"})),
            _ => {}
        }
    }
    fake.running.fetch_add(1, Ordering::SeqCst);
    let stream = Stream {
        fake,
        chat,
        at: 0,
        limit,
        ending: None,
        done: false,
    };
    let pieces = stream::unfold(stream, next);
    let body = Body::from_stream(pieces);
    ([("content-type", "text/event-stream")], body).into_response()
}

/// The next piece of a stream.
async fn next(mut stream: Stream) -> Option<(Result<String, std::io::Error>, Stream)> {
    let pace = *stream.fake.pace.lock().unwrap();
    if !pace.is_zero() {
        tokio::time::sleep(pace).await;
    }
    stream.fake.awake().await;
    if let Some(ending) = stream.ending.as_mut() {
        if ending.is_empty() {
            stream.done = true;
            return None;
        }
        let event = ending.remove(0);
        stream.done = ending.is_empty();
        return Some((Ok(format!("data: {event}\n\n")), stream));
    }
    match stream.fake.mode() {
        Mode::Breaking(tokens) if stream.at == tokens => {
            stream.done = true;
            return Some((Err(std::io::Error::other("broken")), stream));
        }
        Mode::Erring(tokens) if stream.at == tokens => {
            stream.ending = Some(vec![
                json!({"error": {"message": "out of memory at 10.0.0.7", "code": 500}}).to_string(),
            ]);
            return Some((Ok(": an error follows\n\n".to_owned()), stream));
        }
        _ => {}
    }
    let token = stream.fake.tokens.lock().unwrap().get(stream.at).copied();
    let token = token.filter(|_| stream.at < stream.limit);
    let Some(token) = token else {
        let whole = stream.fake.tokens.lock().unwrap().len() <= stream.at;
        let reason = if whole { "stop" } else { "length" };
        stream.ending = Some(stream.fake.end(reason, stream.at, stream.chat));
        return Some((Ok(": the end follows\n\n".to_owned()), stream));
    };
    stream.at += 1;
    let event = stream.fake.event(token, stream.at, stream.chat);
    Some((Ok(format!("data: {event}\n\n")), stream))
}
