//! weir as a library: its router beside routes of one's own, as OpenKimi's guide adds one.

use axum::{
    Json,
    body::Body,
    http::{StatusCode, header},
    routing::get,
};
use serde_json::json;

use crate::server::{chat_body, post_json, read, request, saying, send};

#[tokio::test]
async fn a_route_of_ones_own_stands_beside_weirs() {
    let own = get(|| async { Json(json!({"message": "mine"})) });
    let router = saying(&["hi"]).router.route("/custom-endpoint", own);
    let asked = request("GET", "/custom-endpoint");
    let (status, body) = read(send(&router, asked.body(Body::empty()).unwrap()).await).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"message": "mine"})));
    let (status, _) = read(
        send(
            &router,
            post_json("/v1/chat/completions", &chat_body(json!({}))),
        )
        .await,
    )
    .await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_of_any_letters_is_as_good_as_none_where_none_is_wanted() {
    let server = saying(&["hi"]);
    let asked =
        request("GET", "/v1/models").header(header::AUTHORIZATION, "Bearer 随便填写".as_bytes());
    let (status, _) = read(send(&server.router, asked.body(Body::empty()).unwrap()).await).await;
    assert_eq!(status, StatusCode::OK);
}
