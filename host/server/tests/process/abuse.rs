//! Clients that mean harm, or know no better: those who behave are served all the while, and nothing is left of the others.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::chat_body,
    weir::{DEADLINE, Files, Server},
};

/// Connections that never finish, in one test. The whole number of them is `cargo xtask hostile-clients`.
const CROWD: usize = 300;

fn server(files: &Files, more: &[&str]) -> Server {
    let model = files.replay(&json!({"text": "hello"}).to_string());
    Server::start(&[&["--model", &model], more].concat())
}

fn healthy(server: &Server) {
    let asked = Instant::now();
    assert_eq!(server.message("hi", json!({}))["content"], "hello");
    assert!(asked.elapsed() < DEADLINE / 2);
}

/// A connection that has sent these bytes.
fn connect(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(bytes).expect("sent");
    stream
}

/// All that comes until the server closes, which it must.
fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // A connection that is cut with bytes unread is reset.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A chat request as it goes over the wire, its body announced as `length` bytes.
fn head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    )
}

/// The answer to a body of these bytes.
fn answer_to(server: &Server, body: &[u8]) -> String {
    let mut bytes = head(body.len(), "connection: close\r\n").into_bytes();
    bytes.extend_from_slice(body);
    read_all(&mut connect(server, &bytes))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

/// The server ends at once when it is told to: nobody holds a request or a connection.
fn holds_nothing(mut server: Server) {
    server.terminate();
    let line = server.logged("draining");
    assert!(line.contains("running=0"), "{line}");
    let told = Instant::now();
    assert_eq!(server.ended().code(), Some(0));
    assert!(told.elapsed() < DEADLINE / 2);
}

#[test]
fn requests_that_never_end_are_cut_and_hold_up_nobody() {
    let files = Files::new();
    let timeouts = ["--header-timeout", "2", "--body-timeout", "2"];
    let server = server(&files, &timeouts);
    let half_body = head(100, "") + "{\"messages\":";
    let unfinished = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /health HTTP/1.1\r\nhost: w",
        &half_body,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"mes",
    ];
    let begun = Instant::now();
    let crowd = (0..CROWD).map(|number| {
        let bytes = unfinished[number % unfinished.len()];
        (number, connect(&server, bytes.as_bytes()))
    });
    let crowd: Vec<_> = crowd.collect();
    while begun.elapsed() < Duration::from_millis(500) {
        healthy(&server);
    }
    for (number, mut stream) in crowd {
        let answer = read_all(&mut stream);
        match number % unfinished.len() {
            0..4 => assert_eq!(answer, "", "half a head has no answer"),
            _ => assert_eq!(status(&answer), "408", "{answer}"),
        }
    }
    assert!(begun.elapsed() < DEADLINE);
    healthy(&server);
    holds_nothing(server);
}

#[test]
fn a_reader_that_takes_nothing_is_cut() {
    let files = Files::new();
    // More than the sockets on both sides take in.
    let chunks = vec!["x".repeat(64 << 10); 400];
    let long = json!({"match": "long", "chunks": chunks});
    let model = files.replay(&format!("{long}\n{}\n", json!({"text": "hello"})));
    let flags = ["--send-timeout", "1", "--log-level", "debug"];
    let server = Server::start(&[&["--model", &model][..], &flags].concat());
    let body = chat_body("long", json!({"stream": true})).to_string();
    let mut slow = connect(&server, (head(body.len(), "") + &body).as_bytes());
    server.logged("took nothing of its answer");
    let got = read_all(&mut slow);
    assert!(
        got.len() > 64 << 10 && !got.contains("[DONE]"),
        "{}",
        got.len()
    );
    healthy(&server);
    holds_nothing(server);
}

#[test]
fn bodies_that_are_too_large_are_not_read() {
    let files = Files::new();
    let server = server(&files, &[]);
    // The answer comes though nothing of the body was sent.
    let answer = read_all(&mut connect(&server, head(45_000_001, "").as_bytes()));
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("45000000 bytes"), "{answer}");

    // Without a length it is read as far as the limit.
    let chunked =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = connect(&server, chunked.as_bytes());
    let piece = vec![b' '; 1 << 20];
    let send_all = |stream: &mut TcpStream| -> io::Result<()> {
        for _ in 0..50 {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(&piece)?;
            stream.write_all(b"\r\n")?;
        }
        Ok(())
    };
    // It closes before all is sent.
    drop(send_all(&mut stream));
    let answer = read_all(&mut stream);
    assert!(answer.is_empty() || status(&answer) == "413", "{answer}");
    healthy(&server);
    holds_nothing(server);
}

#[test]
fn what_is_no_request_is_refused() {
    let files = Files::new();
    let server = server(&files, &[]);
    let deep = |open: &str, depth: usize| format!("{{\"messages\": {}", open.repeat(depth));
    let bodies: [(Vec<u8>, &str); 6] = [
        (deep("[", 1_000_000).into_bytes(), "400"),
        (deep("{\"a\":", 1_000_000).into_bytes(), "400"),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}".to_vec(),
            "400",
        ),
        (b"\xff\xfe\x00".to_vec(), "400"),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"\\ud800\"}]}".to_vec(),
            "400",
        ),
        (b"".to_vec(), "400"),
    ];
    for (body, expected) in bodies {
        let answer = answer_to(&server, &body);
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(status(&answer), expected, "{start}: {answer}");
        assert!(
            answer.contains("\"invalid_request_error\""),
            "{start}: {answer}"
        );
    }
    let many: String = (0..10_000)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let wide = "x".repeat(1 << 20);
    let heads = [
        format!("GET /health HTTP/1.1\r\nhost: weir\r\n{many}\r\n"),
        format!("GET /health HTTP/1.1\r\nhost: weir\r\nx-wide: {wide}\r\n\r\n"),
        format!("GET /{wide} HTTP/1.1\r\nhost: weir\r\n\r\n"),
        "GET /health HTTP/9.9\r\nhost: weir\r\n\r\n".to_owned(),
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "GET /\u{e9} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n".to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-length: -1\r\n\r\n".to_owned(),
    ];
    for head in heads {
        let mut stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        // It may be refused before it is all sent.
        drop(stream.write_all(head.as_bytes()));
        let answer = read_all(&mut stream);
        let start: String = head.chars().take(60).collect();
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{start}: {answer}");
    }
    healthy(&server);
    holds_nothing(server);
}

#[test]
fn requests_in_one_go_are_answered_in_their_order() {
    let files = Files::new();
    let server = server(&files, &[]);
    let body = chat_body("hi", json!({})).to_string();
    let chat = head(body.len(), "") + &body;
    let version = "GET /version HTTP/1.1\r\nhost: weir\r\n\r\n";
    let last = "GET /live HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
    let all = [version, &chat, version, &chat, last].concat();
    let answer = read_all(&mut connect(&server, all.as_bytes()));
    let places =
        |part: &str| -> Vec<usize> { answer.match_indices(part).map(|(at, _)| at).collect() };
    assert_eq!(places("HTTP/1.1 200 OK").len(), 5, "{answer}");
    let (versions, chats) = (places("{\"version\""), places("\"hello\""));
    assert!(
        versions[0] < chats[0] && chats[0] < versions[1] && versions[1] < chats[1],
        "{answer}"
    );
    holds_nothing(server);
}

#[test]
fn a_stream_given_up_at_any_chunk_leaves_nothing() {
    let files = Files::new();
    let chunks: Vec<String> = (0..12).map(|number| format!("{number} ")).collect();
    let model = files.replay(&json!({"chunks": chunks, "tokens_per_second": 200.0}).to_string());
    // One place in the engine and one in the queue: what is not given back is missed by the next.
    let flags = ["--model", &model, "--max-num-seqs", "1", "--max-queue", "1"];
    let server = Server::start(&flags);
    for taken in 0..=chunks.len() {
        let mut stream = server.stream("count", json!({}));
        for _ in 0..taken {
            assert!(stream.next_line().is_some());
        }
        drop(stream);
        let whole = server.stream("count", json!({})).rest();
        assert_eq!(whole.last().unwrap(), "data: [DONE]");
        assert_eq!(crate::client::content(&whole), chunks.concat());
    }
    // Given up before the first chunk, and while the request is sent.
    let body = chat_body("count", json!({"stream": true})).to_string();
    let whole = head(body.len(), "") + &body;
    for cut in [
        1,
        30,
        whole.len() - body.len(),
        whole.len() - 1,
        whole.len(),
    ] {
        let stream = connect(&server, &whole.as_bytes()[..cut]);
        drop(stream.shutdown(Shutdown::Both));
    }
    let whole = server.stream("count", json!({})).rest();
    assert_eq!(whole.last().unwrap(), "data: [DONE]");
    holds_nothing(server);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let files = Files::new();
    let server = server(&files, &["--max-connections", "2"]);
    let first = connect(&server, b"G");
    let second = connect(&server, b"G");
    let third = read_all(&mut connect(
        &server,
        b"GET /health HTTP/1.1\r\nhost: weir\r\n\r\n",
    ));
    assert_eq!(status(&third), "503", "{third}");
    assert!(
        third.contains("too_many_connections") && third.contains("retry-after: 1"),
        "{third}"
    );
    drop((first, second));
    // The server sees a little later that they have gone.
    let free = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        server
            .try_post("/v1/completions", &json!({"prompt": "hi"}))
            .is_ok_and(|(status, _)| status == 200)
    });
    assert!(free);
    holds_nothing(server);
}
