//! Request bodies that are late, too large or too many at once.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use futures_util::{StreamExt, future::join_all, stream};
use serde_json::json;

use crate::server::{Setup, read, request, send};

const LIMIT: usize = 100;

/// A body that brings so many bytes and then never ends.
fn endless(bytes: usize) -> Request<Body> {
    let start = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; bytes]))]);
    let body = Body::from_stream(start.chain(stream::pending()));
    let request = request("POST", "/v1/chat/completions");
    request
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn setup() -> Setup {
    Setup::saying(&[&["a"]]).settings(|settings| {
        settings.body_limit = LIMIT;
        settings.body_timeout = Duration::from_millis(300);
    })
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let server = setup().start();
    let (status, body) = read(send(&server.router, endless(10)).await).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{body}");
    assert_eq!(body["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_body_without_a_length_is_read_as_far_as_the_limit() {
    let server = setup().start();
    let (status, body) = read(send(&server.router, endless(LIMIT + 1)).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
}

#[tokio::test]
async fn what_bodies_hold_together_has_an_end() {
    let server = setup().start();
    // 16 of the largest fit.
    let all = join_all((0..17).map(|_| send(&server.router, endless(LIMIT)))).await;
    let with = |status: StatusCode| {
        all.iter()
            .filter(|answer| answer.status() == status)
            .count()
    };
    assert_eq!(with(StatusCode::SERVICE_UNAVAILABLE), 1);
    assert_eq!(with(StatusCode::REQUEST_TIMEOUT), 16);
    // And all of it is given back.
    let small = json!({"messages": [{"role": "user", "content": "hi"}]});
    let answer = server.post("/v1/chat/completions", &small).await;
    assert_eq!(answer.status(), StatusCode::OK);
}
