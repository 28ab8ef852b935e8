//! GET /openapi.json and /docs: the routes of this server, described.
//!
//! Invariants: request schemas are what validation reads, answers are the types that are sent, so neither can drift from
//! what the server does; a test holds the list of operations against the router. The page fetches nothing but the document.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderName, header},
    response::Html,
};
use serde_json::{Map, Value, json};
use weir_protocol::{
    anthropic,
    chat_response::{ChatChunk, ChatCompletion},
    completions::Completion,
    embeddings::EmbeddingList,
    generate::Generation,
    health::{Health, Status, Version},
    models::{Model, ModelList},
    responses::{DeletedResponse, ItemList, ResponseObject, StreamEvent},
    schema::{
        CHAT, COMPLETION, COUNT_TOKENS, DETOKENIZE, EMBEDDING, GENERATE, MESSAGES, RESPONSES,
        TOKENIZE,
    },
    tokenize::{Text, Tokens},
};

mod operation;

use super::{
    admin::{PluginChanges, PluginList},
    parse::{ParsePlugin, ParsePlugins, ParseRequest, Parsed},
};
use operation::{Operation, delete, get, post};

/// What else the errors of generating can be: 403 a key without this model, 404 an unknown model, 408 a slow body, 413 and 415
/// the body, 429 a full queue or a key's limit, 504 too late.
const GENERATING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504];
const NAMES: &[u16] = &[400, 401, 403, 404, 503];
const STORED: &[u16] = &[400, 401, 403, 404, 501];
const ADMIN: &[u16] = &[401, 403, 404, 409];
const PARSING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 503];
const TRYING: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 503];
const PARSE_EXAMPLE: &str = r#"{"case": {"text": "Hi"}}"#;

/// Every operation of the router; a new route is one entry in one of these lists.
fn operations() -> impl Iterator<Item = Operation> {
    [
        generating(),
        responses(),
        messages(),
        tokens(),
        parse(),
        models(),
        admin(),
        about_the_server(),
    ]
    .into_iter()
    .flatten()
}

fn generating() -> Vec<Operation> {
    vec![
        post("/v1/chat/completions", "Answer a conversation")
            .reads(&CHAT)
            .gives::<ChatCompletion>()
            .streams::<ChatChunk>()
            .fails(GENERATING),
        post("/v1/completions", "Go on from a prompt")
            .reads(&COMPLETION)
            .gives::<Completion>()
            .streams::<Completion>()
            .fails(GENERATING),
        post(
            "/v1/embeddings",
            "Make vectors of texts; a generative model's are its pooled last hidden states",
        )
        .reads(&EMBEDDING)
        .gives::<EmbeddingList>()
        .fails(GENERATING),
        post("/generate", "KsanaLLM's own: go on from a prompt")
            .reads(&GENERATE)
            .gives::<Generation>()
            .streams_records::<Generation>()
            .fails(GENERATING),
    ]
}

fn responses() -> Vec<Operation> {
    vec![
        post("/v1/responses", "Answer a conversation by its items")
            .reads(&RESPONSES)
            .gives::<ResponseObject>()
            .streams::<StreamEvent>()
            .fails(GENERATING),
        get("/v1/responses/{id}", "A stored answer")
            .gives::<ResponseObject>()
            .fails(STORED),
        delete("/v1/responses/{id}", "Forget a stored answer")
            .gives::<DeletedResponse>()
            .fails(STORED),
        get(
            "/v1/responses/{id}/input_items",
            "What a stored answer answers",
        )
        .gives::<ItemList>()
        .fails(STORED),
        post(
            "/v1/responses/{id}/cancel",
            "Refused: no answer is made in the background",
        )
        .fails(STORED),
    ]
}

fn messages() -> Vec<Operation> {
    vec![
        post("/v1/messages", "Answer a conversation in Anthropic's way")
            .reads(&MESSAGES)
            .gives::<anthropic::Message>()
            .streams::<anthropic::StreamEvent>()
            .fails(GENERATING)
            .errs::<anthropic::ErrorEnvelope>(),
        post(
            "/v1/messages/count_tokens",
            "Count the tokens of such a conversation",
        )
        .reads(&COUNT_TOKENS)
        .gives::<anthropic::TokenCount>()
        .fails(GENERATING)
        .errs::<anthropic::ErrorEnvelope>(),
    ]
}

fn tokens() -> Vec<Operation> {
    let tokenize = |path| {
        post(path, "Text or a conversation to token ids")
            .reads(&TOKENIZE)
            .gives::<Tokens>()
            .fails(GENERATING)
    };
    let detokenize = |path| {
        post(path, "Token ids to text")
            .reads(&DETOKENIZE)
            .gives::<Text>()
            .fails(GENERATING)
    };
    vec![
        tokenize("/tokenize"),
        tokenize("/v1/tokenize"),
        detokenize("/detokenize"),
        detokenize("/v1/detokenize"),
    ]
}

fn parse() -> Vec<Operation> {
    vec![
        get(
            "/parse",
            "The parsers and post-processors that a case may name",
        )
        .gives::<ParsePlugins>()
        .fails(PARSING),
        post(
            "/parse",
            "Take a model's output apart, as `weir parse` does, step by step",
        )
        .takes::<ParseRequest>(PARSE_EXAMPLE)
        .gives::<Parsed>()
        .fails(PARSING),
        post(
            "/admin/plugins/try",
            "A component to try, in memory; the header `x-weir-plugin-config` is its configuration, JSON",
        )
        .takes_bytes("application/wasm")
        .gives::<ParsePlugin>()
        .fails(TRYING),
        post(
            "/admin/parse",
            "The same as /parse with the component that is tried, by the name `uploaded`",
        )
        .takes::<ParseRequest>(PARSE_EXAMPLE)
        .gives::<Parsed>()
        .fails(TRYING),
    ]
}

fn models() -> Vec<Operation> {
    vec![
        get("/v1/models", "List the models that are served")
            .gives::<ModelList>()
            .fails(&[401, 403, 503]),
        get(
            "/v1/models/{id}",
            "One model by its name, which may hold slashes",
        )
        .gives::<Model>()
        .fails(NAMES),
        get("/models", "The same without /v1")
            .gives::<ModelList>()
            .fails(&[401, 403, 503]),
        get("/models/{id}", "The same without /v1")
            .gives::<Model>()
            .fails(NAMES),
    ]
}

fn admin() -> Vec<Operation> {
    vec![
        get(
            "/admin/plugins",
            "Every plugin, and what it did; absent without an admin key",
        )
        .gives::<PluginList>()
        .fails(ADMIN),
        post(
            "/admin/plugins/reload",
            "All plugins anew; answers which of them are others now",
        )
        .gives::<PluginChanges>()
        .fails(ADMIN),
    ]
}

fn about_the_server() -> Vec<Operation> {
    vec![
        get(
            "/health",
            "Whether the process answers and no engine has failed",
        )
        .gives::<Health>()
        .fails(&[503]),
        get("/live", "Whether the process answers").gives::<Status>(),
        get(
            "/ready",
            "Whether requests are taken: models are loaded, the server does not drain",
        )
        .gives::<Status>()
        .fails(&[503]),
        get("/version", "weir's version").gives::<Version>(),
        get(
            "/metrics",
            "Counters and histograms in Prometheus' text format; absent with `--metrics off`",
        )
        .gives_text("text/plain"),
        get("/openapi.json", "This document").gives_text("application/json"),
        get("/docs", "This document for people").gives_text("text/html"),
        get(
            "/",
            "The page: chat, a playground of parsers, and what the server does; absent with `--no-ui`",
        )
        .gives_text("text/html"),
        get("/ui/{file}", "What the page is made of")
            .gives_text("text/javascript")
            .fails(&[404]),
    ]
}

/// The document, made once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(make_document().to_string()));

const ABOUT: &str = "weir speaks OpenAI's API, and Anthropic's under /v1/messages. Beside what the schemas of requests say: a number or boolean may come as a \
    string (`\"0.7\"`, `\"True\"`), a field that is null counts as absent, and a field that is not listed is ignored and named in the \
    header `x-weir-ignored-fields`. An answer in pieces is a stream of server-sent events; an error behind the first piece comes as an \
    event named `error`, and the stream ends without `[DONE]`, which Anthropic's never have. Every answer has the header `x-request-id`.";

fn make_document() -> Value {
    let mut schemas = Map::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let (method, path) = (operation.method, operation.path);
        let described = operation.describe(&mut schemas);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "weir", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Needed when the server has keys."},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same as Anthropic's clients send it."},
            },
        },
    })
}

/// The document.
pub(super) async fn document() -> ([(HeaderName, &'static str); 1], Bytes) {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.clone(),
    )
}

/// The page that shows it.
pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("openapi/docs.html"))
}
