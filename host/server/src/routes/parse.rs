//! GET and POST /parse, and the same under /admin with a plugin that is only tried: `weir parse` over HTTP, for one case.
//!
//! Invariants: a case goes through what `weir parse` runs; it runs on a blocking thread, a few at a time, and is bounded in
//! bytes and in time, so that neither a long case nor a plugin that means harm keeps the server from its work.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use weir_output::ToolCallStreaming;
use weir_plugin_host::{PluginKind, PluginState, PluginStatus, Registry};

use super::{
    background::in_background,
    body::{JsonBody, RawBody, list_ignored},
};
use crate::{
    error::ApiError,
    keys::Caller,
    parse::{Answer, Bounds, Case, Input, ParseOptions, Splits, Step, run_case, steps},
    state::AppState,
    wiring::{Chain, PluginWiring, Selection},
};

/// Cases that run at once; others wait for their turn.
static RUNNING: Semaphore = Semaphore::const_new(2);
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest text of a case.
const MOST_BYTES: usize = 64 << 10;
/// Text in the events of one run.
const MOST_SAID: usize = 4 << 20;
/// Time for the answer, and for its steps.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Time for trying other ways to cut.
const SPLITS_TIME: Duration = Duration::from_secs(4);
/// What a plugin that is tried is configured with, JSON; `{}` where it is missing.
const CONFIG: &str = "x-weir-plugin-config";
/// Post-processors of one case.
const MOST_POST: usize = 8;

/// The body of `POST /parse`.
#[derive(Deserialize, ToSchema)]
pub(super) struct ParseRequest {
    /// What the model wrote and what it was asked: a line of `weir parse`. Its text has 65,536 bytes at most.
    case: Case,
    /// Finds tool calls, by its name.
    tool_call_parser: Option<String>,
    /// Splits reasoning from content, by its name.
    reasoning_parser: Option<String>,
    /// Post-processors in order, by their names, eight at most.
    #[serde(default)]
    post_processor: Vec<String>,
    /// `incremental`, which is the default, or `complete`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tool_call_streaming: ToolCallStreaming,
    /// Whether each fragment's events are answered.
    #[serde(default)]
    steps: bool,
    /// Whether other ways to cut the text are tried.
    #[serde(default)]
    splits: bool,
}

/// The names above; others are listed as ignored.
const FIELDS: [&str; 7] = [
    "case",
    "tool_call_parser",
    "reasoning_parser",
    "post_processor",
    "tool_call_streaming",
    "steps",
    "splits",
];

/// The answer of `POST /parse`.
#[derive(Serialize, ToSchema)]
pub(super) struct Parsed {
    /// What `weir parse --events` prints of the case.
    answer: Answer,
    /// What each fragment brought; the last step is the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step>>,
    /// What other ways to cut the text give.
    #[serde(skip_serializing_if = "Option::is_none")]
    splits: Option<Splits>,
}

/// The answer of `GET /parse`.
#[derive(Serialize, ToSchema)]
pub(super) struct ParsePlugins {
    /// What a case may name.
    plugins: Vec<ParsePlugin>,
}

/// A plugin that a case may name.
#[derive(Serialize, ToSchema)]
pub(super) struct ParsePlugin {
    /// Its name.
    name: String,
    /// Its other names.
    aliases: Vec<String>,
    /// `parser` or `post-processor`.
    kind: String,
    /// It finds tool calls.
    tools: bool,
    /// It splits reasoning from content.
    reasoning: bool,
    /// What it calls its own version.
    version: String,
    /// Hexadecimal SHA-256 of its file.
    sha256: String,
}

/// What may be named; loads every plugin, as only it knows what it is for. Those that do not load are left out.
pub(super) async fn plugins(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<ParsePlugins>, ApiError> {
    let _guard = state.admit(&caller)?;
    let registry = wiring(&state)?.registry();
    in_turn(move || {
        for plugin in registry.status() {
            // What fails is missing in the list.
            drop(registry.load(&plugin.name));
        }
        let plugins = registry.status().into_iter().filter_map(ParsePlugin::of);
        Ok(Json(ParsePlugins {
            plugins: plugins.collect(),
        }))
    })
    .await
}

/// A case through the plugins of the server.
pub(super) async fn parse(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let _guard = state.admit(&caller)?;
    answer(wiring(&state)?.registry(), body).await
}

/// A case through them and the one that is tried, which is called `uploaded`.
pub(super) async fn try_case(
    State(state): State<Arc<AppState>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let none = "no plugin is being tried: `POST /admin/plugins/try` takes one";
    let registry = wiring(&state)?.trial();
    answer(registry.ok_or_else(|| ApiError::bad_request(none))?, body).await
}

/// A component to be tried, kept in memory in place of the one before.
pub(super) async fn try_plugin(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    RawBody(wasm): RawBody,
) -> Result<Json<ParsePlugin>, ApiError> {
    let config = headers.get(CONFIG).map(|value| value.to_str());
    let config = config.unwrap_or(Ok("{}")).unwrap_or("not ASCII");
    // Written anew, for plugins that look for words in it.
    let config = serde_json::from_str::<Map<String, Value>>(config).map_err(|error| {
        let message = format!("the header `{CONFIG}` is no JSON object: {error}");
        ApiError::bad_request(message).with_param(CONFIG)
    })?;
    let config = Value::Object(config).to_string();
    let wiring = Arc::clone(wiring(&state)?);
    in_turn(move || {
        let tried = wiring.try_plugin(wasm, &config);
        // What keeps it from loading is what its author asks for.
        let tried = tried.map_err(|error| ApiError::bad_request(error.to_string()))?;
        let unused = "a request processor takes no answers apart, so there is nothing to try";
        let plugin = ParsePlugin::of(tried).ok_or_else(|| ApiError::bad_request(unused))?;
        Ok(Json(plugin))
    })
    .await
}

fn wiring(state: &AppState) -> Result<&Arc<PluginWiring>, ApiError> {
    let reloader = state.reloader.as_ref();
    let none = || ApiError::not_found("this server has no plugins of its own");
    reloader.map(|reloader| reloader.wiring()).ok_or_else(none)
}

async fn answer(registry: Arc<Registry>, body: Value) -> Result<Response, ApiError> {
    let ignored = unknown_fields(&body);
    let request: ParseRequest = serde_json::from_value(body)
        .map_err(|error| ApiError::bad_request(format!("the body is no case: {error}")))?;
    let parsed = in_turn(move || run(&registry, request)).await?;
    let mut response = Json(parsed).into_response();
    list_ignored(&mut response, &ignored);
    Ok(response)
}

fn unknown_fields(body: &Value) -> Vec<String> {
    let names = body.as_object().into_iter().flat_map(|body| body.keys());
    let unknown = names.filter(|name| !FIELDS.contains(&name.as_str()));
    unknown.cloned().collect()
}

fn run(registry: &Registry, request: ParseRequest) -> Result<Parsed, ApiError> {
    let wrong =
        |param: &str, message: String| ApiError::bad_request(message).with_param(param.to_owned());
    if request.post_processor.len() > MOST_POST {
        let message = format!("`post_processor` names more than {MOST_POST}");
        return Err(wrong("post_processor", message));
    }
    let input =
        Input::of(request.case).map_err(|error| wrong("case", format!("`case`: {error}")))?;
    let bytes: usize = input.fragments.iter().map(|piece| piece.text.len()).sum();
    if bytes > MOST_BYTES {
        let message = format!("`case` has {bytes} bytes of text, at most {MOST_BYTES} are taken");
        return Err(wrong("case", message));
    }
    let selection = Selection {
        tools: request.tool_call_parser,
        reasoning: request.reasoning_parser,
        post: request.post_processor,
        request: Vec::new(),
    };
    let chain = Chain::named(registry, &selection)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let options = ParseOptions {
        tools: chain.tools,
        reasoning: chain.reasoning,
        post: chain.post,
        tool_call_streaming: request.tool_call_streaming,
        events: true,
    };
    let Input {
        context,
        fragments,
        ended,
        ..
    } = &input;
    let bounds = Bounds::new(ANSWER_TIME, MOST_SAID);
    let whole = run_case(context, fragments, *ended, &options, bounds);
    let steps = request
        .steps
        .then(|| steps(context, fragments, &whole, &options, bounds));
    let splits = request
        .splits
        .then(|| Splits::of(&input, &options, Bounds::new(SPLITS_TIME, MOST_SAID)));
    Ok(Parsed {
        answer: Answer::of(input.id, &input.context, whole, true),
        steps,
        splits,
    })
}

/// Does it on a blocking thread when its turn comes.
async fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = tokio::time::timeout(PATIENCE, RUNNING.acquire()).await;
    let busy = "as many cases are being parsed as this server parses at once";
    let turn = turn
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| ApiError::unavailable(busy))?;
    in_background(move || {
        // Held by the work, not by the request: it goes on when the client leaves.
        let _turn = turn;
        work()
    })
    .await
}

impl ParsePlugin {
    /// None of a plugin that takes no answers apart or does not load.
    fn of(plugin: PluginStatus) -> Option<Self> {
        let PluginState::Loaded(facts) = plugin.state else {
            return None;
        };
        if plugin.kind == PluginKind::RequestProcessor {
            return None;
        }
        Some(Self {
            name: plugin.name,
            aliases: plugin.aliases,
            kind: plugin.kind.to_string(),
            tools: facts.roles.tools,
            reasoning: facts.roles.reasoning,
            version: facts.version,
            sha256: facts.sha256,
        })
    }
}
