//! What becomes of responses after they are sent: gone on from, retrieved, listed, deleted, and nobody else's.

use axum::{
    body::{Body, to_bytes},
    http::StatusCode,
};
use serde_json::{Value, json};

use crate::{
    responses::{body, events, respond},
    server::{Server, Setup, post_json, read, request, saying, send},
};

fn answering(answers: usize) -> Server {
    let answer: &[&str] = &["Hello"];
    Setup::saying(&vec![answer; answers]).start()
}

fn id(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

fn path(response: &Value) -> String {
    format!("/v1/responses/{}", id(response))
}

async fn delete(server: &Server, path: &str) -> (StatusCode, Value) {
    let request = request("DELETE", path).body(Body::empty()).unwrap();
    read(send(&server.router, request).await).await
}

#[tokio::test]
async fn a_conversation_goes_on() {
    let server = answering(3);
    let first = respond(&server, json!({"instructions": "Be brief."})).await;
    let second = respond(
        &server,
        json!({"input": "more", "previous_response_id": id(&first)}),
    )
    .await;
    // `user: hi`, `assistant: Hello` and `user: more`, a line each; the instructions are the first response's own.
    assert_eq!(second["usage"]["input_tokens"], 9 + 17 + 11);
    assert_eq!(second["previous_response_id"], first["id"]);
    // A streamed response can be gone on from as soon as its last event is there.
    let last = events(
        &server,
        json!({"input": "end", "previous_response_id": id(&second)}),
    )
    .await
    .pop()
    .unwrap();
    assert_eq!(
        last["response"]["usage"]["input_tokens"],
        9 + 17 + 11 + 17 + 10
    );
    assert!(
        server
            .state
            .responses
            .get(None, id(&last["response"]))
            .is_some()
    );
}

#[tokio::test]
async fn a_response_is_retrieved_as_it_was_sent() {
    let server = answering(1);
    let sent = server
        .post("/v1/responses", &body(json!({"temperature": 0.7})))
        .await;
    let sent = to_bytes(sent.into_body(), usize::MAX).await.unwrap();
    let response: Value = serde_json::from_slice(&sent).unwrap();
    let request = request("GET", &path(&response))
        .body(Body::empty())
        .unwrap();
    let retrieved = send(&server.router, request).await;
    assert_eq!(retrieved.headers()["content-type"], "application/json");
    assert_eq!(
        to_bytes(retrieved.into_body(), usize::MAX).await.unwrap(),
        sent
    );
    let streamed = server
        .get(&format!("{}?stream=true", path(&response)))
        .await;
    assert_eq!(streamed.0, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_deleted_response_is_gone() {
    let server = answering(1);
    let response = respond(&server, json!({})).await;
    let deleted = json!({"id": id(&response), "object": "response", "deleted": true});
    assert_eq!(
        delete(&server, &path(&response)).await,
        (StatusCode::OK, deleted)
    );
    for (status, error) in [
        delete(&server, &path(&response)).await,
        server.get(&path(&response)).await,
    ] {
        assert_eq!(
            (status, &error["error"]["type"]),
            (StatusCode::NOT_FOUND, &json!("not_found_error"))
        );
    }
}

#[tokio::test]
async fn only_what_runs_in_the_background_is_cancelled() {
    let server = answering(1);
    let response = respond(&server, json!({})).await;
    for (path, expected) in [
        (path(&response), StatusCode::BAD_REQUEST),
        ("/v1/responses/resp_no".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let (status, _) = read(server.post(&format!("{path}/cancel"), &json!({})).await).await;
        assert_eq!(status, expected);
    }
}

#[tokio::test]
async fn input_items_come_in_pages() {
    let server = answering(2);
    let first = respond(&server, json!({"input": [{"role": "user", "content": "a", "id": "msg_own"}, {"role": "user", "content": "b"}]})).await;
    let second = respond(
        &server,
        json!({"input": "c", "previous_response_id": id(&first)}),
    )
    .await;
    let list = |query: &str| {
        let path = format!("{}/input_items?{query}", path(&second));
        let server = &server;
        async move { server.get(&path).await }
    };
    let texts = |page: &Value| -> Vec<String> {
        let items = page["data"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, all) = list("").await;
    assert_eq!(
        (&all["object"], &all["has_more"]),
        (&json!("list"), &json!(false))
    );
    assert_eq!(texts(&all), ["c", "Hello", "b", "a"]);
    assert_eq!(
        (&all["first_id"], &all["last_id"]),
        (&all["data"][0]["id"], &json!("msg_own"))
    );
    let (_, page) = list("order=asc&limit=2").await;
    assert_eq!(
        (texts(&page), &page["has_more"]),
        (vec!["a".to_owned(), "b".to_owned()], &json!(true))
    );
    let (_, page) = list(&format!(
        "order=asc&limit=2&after={}",
        page["last_id"].as_str().unwrap()
    ))
    .await;
    assert_eq!(
        (texts(&page), &page["has_more"]),
        (vec!["Hello".to_owned(), "c".to_owned()], &json!(false))
    );
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("order=up", "order"),
        ("after=no", "after"),
    ] {
        let (status, error) = list(query).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param))
        );
    }
}

#[tokio::test]
async fn references_stand_for_stored_items() {
    let server = answering(2);
    let first = respond(&server, json!({})).await;
    let reference = json!({"type": "item_reference", "id": first["output"][0]["id"]});
    let second = respond(
        &server,
        json!({"input": [reference, {"role": "user", "content": "more"}]}),
    )
    .await;
    assert_eq!(second["usage"]["input_tokens"], 17 + 11);
    let unknown = body(json!({"input": [{"id": "msg_no"}]}));
    let (status, error) = read(server.post("/v1/responses", &unknown).await).await;
    assert_eq!(
        (status, &error["error"]["param"]),
        (StatusCode::NOT_FOUND, &json!("input[0].id"))
    );
}

#[tokio::test]
async fn what_is_not_stored_is_not_found_and_the_error_says_why() {
    let off =
        Setup::saying(&[&["a"]]).settings(|settings| settings.response_store.max_responses = 0);
    for (server, more, why) in [
        (saying(&["a"]), json!({"store": false}), "store: false"),
        (off.start(), json!({}), "--response-store-max"),
    ] {
        let response = respond(&server, more).await;
        assert_eq!(response["store"], false);
        let next = body(json!({"previous_response_id": id(&response)}));
        let (status, error) = read(server.post("/v1/responses", &next).await).await;
        let error = &error["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (
                StatusCode::BAD_REQUEST,
                &json!("previous_response_not_found"),
                &json!("previous_response_id")
            )
        );
        let message = error["message"].as_str().unwrap();
        let openais = format!("Previous response with id '{}' not found.", id(&response));
        assert!(
            message.starts_with(&openais) && message.contains(why),
            "{message}"
        );
        assert_eq!(server.state.responses.bytes(), 0);
    }
}

#[tokio::test]
async fn nobody_finds_what_another_key_stored() {
    let server = answering(2);
    let with_key = |mut request: axum::http::Request<Body>, key: &str| {
        let value = format!("Bearer {key}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let create = post_json("/v1/responses", &body(json!({})));
    let (_, response) = read(send(&server.router, with_key(create, "mine")).await).await;
    for (key, expected) in [("mine", StatusCode::OK), ("theirs", StatusCode::NOT_FOUND)] {
        let get = request("GET", &path(&response))
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            send(&server.router, with_key(get, key)).await.status(),
            expected
        );
    }
    assert_eq!(server.get(&path(&response)).await.0, StatusCode::NOT_FOUND);
    let go_on = body(json!({"previous_response_id": id(&response)}));
    assert_eq!(
        server.post("/v1/responses", &go_on).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn an_id_that_is_no_text_is_refused_in_the_usual_shape() {
    let server = saying(&["a"]);
    for (method, path) in [
        ("GET", "/v1/responses/%ff"),
        ("DELETE", "/v1/responses/%ff"),
        ("GET", "/v1/responses/%ff/input_items"),
        ("POST", "/v1/responses/%ff/cancel"),
    ] {
        let request = request(method, path).body(Body::empty()).unwrap();
        let (status, body) = read(send(&server.router, request).await).await;
        let kind = &body["error"]["type"];
        assert_eq!(
            (status, kind),
            (StatusCode::BAD_REQUEST, &json!("invalid_request_error")),
            "{method} {path}"
        );
    }
}
