//! The router: which path is whose, and what every request passes on its way in and out.
//!
//! A library's door: `router(state)` can be merged with routes of one's own.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, Any as AnyOf, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use crate::{error::ApiError, state::AppState};

mod admin;
mod annotations;
mod anthropic;
mod anthropic_errors;
mod anthropic_events;
mod background;
mod body;
mod chat;
mod chat_answer;
mod chat_generation;
mod chat_planning;
mod completions;
mod embeddings;
mod gate;
mod generate;
mod health;
mod logprobs;
mod metrics;
mod models;
mod observe;
mod openapi;
mod parse;
mod responses;
mod responses_events;
mod responses_outbox;
mod responses_stored;
mod tokenize;
mod ui;

pub(crate) use chat_generation::read_preloaded;

/// All routes over this state.
pub fn router(state: Arc<AppState>) -> Router {
    let api = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/responses", post(responses::create))
        .route(
            "/v1/responses/{id}",
            get(responses_stored::retrieve).delete(responses_stored::delete),
        )
        .route(
            "/v1/responses/{id}/input_items",
            get(responses_stored::input_items),
        )
        .route("/v1/responses/{id}/cancel", post(responses_stored::cancel))
        .route("/v1/messages", post(anthropic::create))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/v1/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/v1/detokenize", post(tokenize::detokenize))
        .route("/generate", post(generate::create))
        .route("/parse", get(parse::plugins).post(parse::parse))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        .route("/models", get(models::list))
        .route("/models/{*id}", get(models::retrieve))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            gate::check_key,
        ));
    let mut public = Router::new();
    if state.settings.metrics {
        public = public.route("/metrics", get(metrics::show));
    }
    if state.settings.ui {
        public = public
            .route("/", get(ui::page))
            .route("/ui/{file}", get(ui::file));
    }
    let mut router = public
        .merge(api)
        .merge(admin_routes(&state))
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .route("/version", get(health::version))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(Arc::clone(&state));
    if let Some(cors) = cors(&state.settings.cors_origins) {
        router = router.layer(cors);
    }
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(anthropic_errors::translate))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            observe::observe,
        ))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

/// What an admin may ask.
fn admin_routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/admin/plugins", get(admin::plugins))
        .route("/admin/plugins/reload", post(admin::reload))
        .route("/admin/plugins/try", post(parse::try_plugin))
        .route("/admin/parse", post(parse::try_case))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(state),
            gate::check_admin,
        ))
}

/// Routes that clients make of a base URL, which may lack its `/v1`, or have it twice.
const CLIENT_ROUTES: &[&str] = &[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
];

async fn no_route(uri: Uri) -> ApiError {
    let path = uri.path();
    let bare = path.trim_end_matches('/').trim_start_matches("/v1");
    let meant = |route: &&&str| route.strip_prefix("/v1") == Some(bare);
    let hint = match CLIENT_ROUTES.iter().find(meant) {
        Some(route) => format!("`{route}` is, which the client's base URL does not lead to"),
        None => "`/docs` lists what is".to_owned(),
    };
    let message = format!("there is no `{path}` here; {hint}");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

async fn no_method(method: axum::http::Method, uri: Uri) -> ApiError {
    let message = format!("`{}` does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// A handler's panic: the client learns an id, the log the rest.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    ApiError::internal(&format!(
        "a handler panicked: {}",
        words.unwrap_or("without words")
    ))
    .into_response()
}

/// Browsers of these origins may call; None for no origins.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        )
    };
    let exposed = [
        HeaderName::from_static("x-request-id"),
        body::IGNORED_FIELDS,
    ];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(AnyOf)
            .allow_headers(AnyOf)
            .expose_headers(exposed),
    )
}
