//! Stored responses: retrieved, deleted, their input listed. What was stored under another key is not found.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use weir_protocol::{
    Invalid,
    responses::{DeletedResponse, Item, ItemList},
};

use super::gate;
use crate::{error::ApiError, response_store::StoredResponse, state::AppState};

/// Items of a page that says nothing of its length, and the most it may say.
const PAGE: usize = 20;
const LONGEST_PAGE: usize = 100;

/// The id in the path.
pub(super) struct ResponseId(String);

impl FromRequestParts<Arc<AppState>> for ResponseId {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let id = Path::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(|_| ApiError::bad_request("the id in the path is not UTF-8"))?;
        Ok(Self(id))
    }
}

/// GET /v1/responses/{id}: the response as it was sent.
pub(super) async fn retrieve(
    State(state): State<Arc<AppState>>,
    ResponseId(id): ResponseId,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if parameter(query.as_deref(), "stream") == Some("true") {
        let what = "streaming a response that has ended";
        return Err(Invalid::not_implemented("stream", what).into());
    }
    let response = find(&state, &headers, &id)?;
    let mut answer = response.json.clone().into_response();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(answer)
}

/// DELETE /v1/responses/{id}.
pub(super) async fn delete(
    State(state): State<Arc<AppState>>,
    ResponseId(id): ResponseId,
    headers: HeaderMap,
) -> Result<Json<DeletedResponse>, ApiError> {
    if !state.responses.remove(gate::tenant(&headers), &id) {
        return Err(not_found(&id));
    }
    Ok(Json(DeletedResponse {
        id,
        object: "response",
        deleted: true,
    }))
}

/// POST /v1/responses/{id}/cancel: a stored response has always ended, as none runs in the background.
pub(super) async fn cancel(
    State(state): State<Arc<AppState>>,
    ResponseId(id): ResponseId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    find(&state, &headers, &id)?;
    Err(ApiError::bad_request(
        "only a response that runs in the background can be cancelled, and this server runs none there: to stop a response, close its connection",
    ))
}

/// GET /v1/responses/{id}/input_items: a page of what the response was generated from, the newest first unless asked otherwise.
pub(super) async fn input_items(
    State(state): State<Arc<AppState>>,
    ResponseId(id): ResponseId,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = query.as_deref();
    let limit = match parameter(query, "limit") {
        None => PAGE,
        Some(text) => match text.parse() {
            Ok(limit) if (1..=LONGEST_PAGE).contains(&limit) => limit,
            _ => {
                let expected = format!("an integer between 1 and {LONGEST_PAGE}");
                return Err(Invalid::expected("limit", &expected, &text.into()).into());
            }
        },
    };
    let mut items = find(&state, &headers, &id)?.input();
    match parameter(query, "order") {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(other) => {
            return Err(Invalid::expected("order", "\"asc\" or \"desc\"", &other.into()).into());
        }
    }
    let start = match parameter(query, "after") {
        None => 0,
        Some(after) => items
            .iter()
            .position(|item| item.id() == Some(after))
            .map(|position| position + 1)
            .ok_or_else(|| Invalid::expected("after", "the id of an input item", &after.into()))?,
    };
    let rest = &items[start..];
    let page = &rest[..limit.min(rest.len())];
    Ok(Json(ItemList {
        object: "list",
        data: page.iter().map(|item| item.json()).collect(),
        first_id: page.first().and_then(|item: &Arc<Item>| item.id()),
        last_id: page.last().and_then(|item| item.id()),
        has_more: rest.len() > page.len(),
    })
    .into_response())
}

fn find(state: &AppState, headers: &HeaderMap, id: &str) -> Result<Arc<StoredResponse>, ApiError> {
    let response = state.responses.get(gate::tenant(headers), id);
    response.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    let message = format!("Response with id '{id}' not found.");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

/// A query parameter as it stands: ids, words and numbers need no decoding.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
