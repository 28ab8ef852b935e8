//! A server without a socket whose model says given tokens, and the reading of its answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
};
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;
use weir_engine::{
    Engine, EngineConfig, FakeRunner, FakeScript, GeneratedStream, Generator, RunnerInfo,
};
use weir_prompt::{ChatTemplate, SpecialTokens, TokenKind, Tokenizer};
use weir_server::{
    AppState, EngineHandle, EngineThread, ModelNames, ModelSet, ServedModel, ServerSettings, router,
};

use crate::options::sequence;

/// The replay tokenizer's end token; pieces follow it.
const EOS: u32 = 256;
const FIRST_PIECE: u32 = EOS + 1;
/// A token that no vocabulary here has: the runner fails on it.
pub const FAILS: &str = "\u{0}fails";
pub const MAX_MODEL_LEN: usize = 2048;
/// Writes every message and the names of the tools; refuses a message that says `refuse me`.
pub const TEMPLATE: &str = "{% for message in messages %}{% if message.content == 'refuse me' %}{{ raise_exception('I refuse') }}{% endif %}\
    {{ message.role }}: {{ message.content }}\n{% endfor %}{% for tool in tools or [] %}{{ tool.function.name }}\n{% endfor %}";

pub struct Server {
    pub state: Arc<AppState>,
    pub engine: EngineHandle,
    pub router: Router,
}

/// How a test's server differs from the plain one.
pub struct Setup {
    pub names: Vec<String>,
    pub answers: Vec<Vec<String>>,
    pub tokens_per_second: Option<f64>,
    pub engine: EngineConfig,
    pub settings: ServerSettings,
    pub model: Box<dyn FnOnce(&mut ServedModel)>,
}

impl Setup {
    /// A model that gives these answers in turn; each string is one token, one that starts with `<` a control token.
    pub fn saying(answers: &[&[&str]]) -> Self {
        Self {
            names: vec!["fake".to_owned()],
            answers: answers
                .iter()
                .map(|answer| answer.iter().map(|&token| token.to_owned()).collect())
                .collect(),
            tokens_per_second: None,
            engine: EngineConfig::default(),
            settings: ServerSettings::default(),
            model: Box::new(|_| {}),
        }
    }

    /// The first is its id.
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    pub fn model(mut self, change: impl FnOnce(&mut ServedModel) + 'static) -> Self {
        self.model = Box::new(change);
        self
    }

    pub fn settings(mut self, change: impl FnOnce(&mut ServerSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn rate(mut self, tokens_per_second: f64) -> Self {
        self.tokens_per_second = Some(tokens_per_second);
        self
    }

    pub fn start(self) -> Server {
        let names = ModelNames {
            names: self.names.clone(),
            accept_any: false,
        };
        let settings = self.settings.clone();
        let (model, engine) = self.load();
        let models = ModelSet::loading(vec![names]).unwrap();
        models.serve(0, model);
        let state = Arc::new(AppState::new(models, settings));
        Server {
            router: router(Arc::clone(&state)),
            state,
            engine,
        }
    }

    /// The model alone, with its engine running.
    pub fn load(self) -> (ServedModel, EngineHandle) {
        let mut pieces: Vec<(String, TokenKind)> = Vec::new();
        let mut scripts = Vec::new();
        for answer in self.answers {
            let tokens = answer
                .into_iter()
                .map(|text| token(&mut pieces, text))
                .collect();
            scripts.push(FakeScript {
                matches: None,
                tokens,
            });
        }
        let info = RunnerInfo {
            vocab_size: FIRST_PIECE as usize + pieces.len(),
            max_model_len: MAX_MODEL_LEN,
            block_size: 16,
            num_blocks: 4 * MAX_MODEL_LEN / 16,
            eos_token_ids: vec![EOS],
        };
        let runner = FakeRunner::new(info, scripts, self.tokens_per_second);
        let engine = EngineThread::spawn(Engine::new(Box::new(runner), self.engine)).unwrap();
        let tokenizer = Arc::new(Tokenizer::from_pieces(pieces));
        let mut model = ServedModel::new(
            self.names[0].clone(),
            Arc::new(engine.clone()),
            tokenizer,
            MAX_MODEL_LEN,
        );
        model.chat_template = Some(template(TEMPLATE));
        (self.model)(&mut model);
        (model, engine)
    }
}

fn token(pieces: &mut Vec<(String, TokenKind)>, text: String) -> u32 {
    if text == FAILS {
        return u32::MAX;
    }
    let position = pieces
        .iter()
        .position(|(known, _)| *known == text)
        .unwrap_or_else(|| {
            let kind = if text.starts_with('<') {
                TokenKind::Added
            } else {
                TokenKind::Normal
            };
            pieces.push((text, kind));
            pieces.len() - 1
        });
    FIRST_PIECE + u32::try_from(position).unwrap()
}

pub fn template(source: &str) -> Arc<ChatTemplate> {
    Arc::new(ChatTemplate::new(source, SpecialTokens::default()).unwrap())
}

/// A model that gives this one answer.
pub fn saying(answer: &[&str]) -> Server {
    Setup::saying(&[answer]).start()
}

/// A server around any generator.
pub fn generating(generator: Arc<dyn Generator>) -> Router {
    let tokenizer = Arc::new(Tokenizer::from_pieces(Vec::new()));
    let mut model = ServedModel::new("fake".to_owned(), generator, tokenizer, MAX_MODEL_LEN);
    model.chat_template = Some(template(TEMPLATE));
    router(Arc::new(AppState::ready(model, ServerSettings::default())))
}

pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

pub fn post_json(path: &str, body: &Value) -> Request<Body> {
    request("POST", path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

/// Status and JSON body of an answer.
pub async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

impl Server {
    pub async fn post(&self, path: &str, body: &Value) -> Response<Body> {
        send(&self.router, post_json(path, body)).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(
            send(
                &self.router,
                request("GET", path).body(Body::empty()).unwrap(),
            )
            .await,
        )
        .await
    }

    /// A chat answer that must succeed, for one user message and these fields.
    pub async fn chat(&self, more: Value) -> Value {
        let (status, body) = read(self.post("/v1/chat/completions", &chat_body(more)).await).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// The lines of a streamed chat answer, `data: ` and all, without empty ones.
    pub async fn stream(&self, more: Value) -> Vec<String> {
        self.stream_of("/v1/chat/completions", &chat_body(more))
            .await
    }

    pub async fn stream_of(&self, path: &str, body: &Value) -> Vec<String> {
        let mut body = body.clone();
        body["stream"] = Value::Bool(true);
        let response = self.post(path, &body).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        lines(std::str::from_utf8(&body).unwrap())
    }

    /// A sequence that runs and one that waits behind it, where the engine runs one at a time.
    pub async fn occupied(&self) -> [GeneratedStream; 2] {
        let mut running = self.engine.submit(sequence(0)).unwrap();
        assert!(running.next().await.is_some());
        let waiting = self.engine.submit(sequence(0)).unwrap();
        self.until(|counters| counters.waiting == 1).await;
        [running, waiting]
    }

    /// Waits until the engine's counters are as wanted.
    pub async fn until(&self, wanted: impl Fn(&weir_engine::EngineCounters) -> bool) {
        for _ in 0..1000 {
            if wanted(&self.engine.counters()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the engine never came there: {:?}", self.engine.counters());
    }
}

pub fn lines(body: &str) -> Vec<String> {
    body.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The chunks of a stream, which must end with `[DONE]`.
pub fn chunks(lines: &[String]) -> Vec<Value> {
    let (done, chunks) = lines.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    chunks
        .iter()
        .map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

/// A chat request with one user message and these fields.
pub fn chat_body(more: Value) -> Value {
    let mut body =
        serde_json::json!({"model": "fake", "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}
