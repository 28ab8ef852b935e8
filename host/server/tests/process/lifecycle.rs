//! A server's end, and clients that take their time.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::{ChatStream, chat_body, content},
    weir::{DEADLINE, Files, Server, command},
};

/// An answer of this many tokens, one every `1 / rate` seconds.
fn counting(files: &Files, tokens: usize, rate: f64) -> (Server, String) {
    let chunks: Vec<String> = (0..tokens).map(|number| format!("{number} ")).collect();
    let model = files.replay(&json!({"chunks": chunks, "tokens_per_second": rate}).to_string());
    (Server::start(&["--model", &model]), chunks.concat())
}

#[test]
fn sigterm_lets_streams_finish_and_takes_no_more() {
    let files = Files::new();
    let (mut server, said) = counting(&files, 30, 30.0);
    let mut stream = server.stream("count", json!({}));
    let mut lines = vec![stream.next_line().expect("a first chunk")];
    server.terminate();
    server.logged("draining");
    // Refused by status or by connection, both are honest.
    if let Ok((status, body)) =
        server.try_post("/v1/chat/completions", &chat_body("more", json!({})))
    {
        assert_eq!(status, 503, "{body}");
    }
    lines.extend(stream.rest());
    assert_eq!(content(&lines), said);
    assert_eq!(lines.last().unwrap(), "data: [DONE]");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn sigterm_without_requests_ends_at_once() {
    let files = Files::new();
    let (mut server, _) = counting(&files, 1, 1000.0);
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_second_sigterm_cuts_off() {
    let files = Files::new();
    // Longer than any deadline here: only the cut can end it.
    let (mut server, said) = counting(&files, 1000, 10.0);
    let mut stream = server.stream("count", json!({}));
    let mut lines = vec![stream.next_line().expect("a first chunk")];
    server.terminate();
    server.logged("draining");
    server.terminate();
    lines.extend(stream.rest());
    assert!(said.starts_with(&content(&lines)));
    assert_ne!(
        lines.last().unwrap(),
        "data: [DONE]",
        "a cut stream does not look complete"
    );
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn the_drain_has_its_time() {
    let files = Files::new();
    let chunks = vec!["again "; 1000];
    let model = files.replay(&json!({"chunks": chunks, "tokens_per_second": 10.0}).to_string());
    let mut server = Server::start(&["--model", &model, "--drain-timeout", "0.2"]);
    let mut stream = server.stream("count", json!({}));
    assert!(stream.next_line().is_some());
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
}

/// Bytes of text in the long answer, more than the sockets on both sides take in.
const LONG: usize = 24 << 20;

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let files = Files::new();
    let piece = "x".repeat(64 << 10);
    let long = json!({"match": "long", "chunks": vec![piece.as_str(); LONG / piece.len()]});
    let model = files.replay(&format!("{long}\n{}\n", json!({"text": "hello"})));
    let server = Server::start(&["--model", &model]);

    let mut slow = TcpStream::connect(&server.address).expect("a connection");
    slow.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let body = chat_body("long", json!({"stream": true})).to_string();
    let mut request = String::new();
    write!(
        request,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n"
    )
    .unwrap();
    write!(
        request,
        "connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    slow.write_all(request.as_bytes()).expect("sent");

    // Some come while the long answer fills the sockets, some after its sequence stands still.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        assert_eq!(server.message("short", json!({}))["content"], "hello");
        assert!(asked.elapsed() < DEADLINE / 2);
    }

    // Nothing of the long answer is lost.
    let mut text = 0;
    let mut done = false;
    for line in BufReader::new(slow).lines().map_while(Result::ok) {
        text += line.matches("xxxxxxxx").count() * 8;
        done |= line == "data: [DONE]";
    }
    assert_eq!((text, done), (LONG / piece.len() * piece.len(), true));
}

/// A server with this many slow streams under way.
fn under_load(files: &Files, more: &[&str], streams: usize) -> (Server, Vec<ChatStream>) {
    let chunks = vec!["again "; 1000];
    let model = files.replay(&json!({"chunks": chunks, "tokens_per_second": 20.0}).to_string());
    let server = Server::start(&[&["--model", &model], more].concat());
    let begin = |_| {
        let mut stream = server.stream("count", json!({}));
        assert!(stream.next_line().is_some());
        stream
    };
    let streams = (0..streams).map(begin).collect();
    (server, streams)
}

#[test]
fn under_load_the_drain_ends_streams_in_good_order_and_refuses_new_ones() {
    let files = Files::new();
    let (mut server, streams) = under_load(&files, &["--drain-timeout", "1"], 16);
    server.terminate();
    assert!(server.logged("draining").contains("running=16"));
    let (status, body) = server.chat("more", json!({}));
    assert_eq!(
        (status, &body["error"]["type"]),
        (503, &json!("service_unavailable"))
    );
    for stream in streams {
        let lines = stream.rest();
        let [.., event, data] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert_eq!(event, "event: error");
        assert!(data.contains("shutting down"), "{data}");
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_killed_server_starts_again_at_once_on_its_port() {
    let files = Files::new();
    let (server, mut streams) = under_load(&files, &[], 4);
    let (_, port) = server.address.rsplit_once(':').expect("a port");
    let port = port.to_owned();
    // Killed, as SIGKILL kills: nothing can be put in order.
    drop(server);
    assert!(
        streams
            .remove(0)
            .rest()
            .iter()
            .all(|line| !line.contains("[DONE]"))
    );
    let model = files.replay(&json!({"text": "hello"}).to_string());
    let begun = Instant::now();
    let server = Server::spawn(&mut command(["--port", &port, "--model", &model]));
    assert_eq!(server.message("hi", json!({}))["content"], "hello");
    assert!(begun.elapsed() < DEADLINE / 2);
}
