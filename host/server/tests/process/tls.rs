//! HTTPS with a certificate made for the test: both versions of HTTP, and files that are not right.

use std::{path::PathBuf, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use crate::{
    client::chat_body,
    weir::{Files, Server, run},
};

/// A certificate for localhost that ends with this year, and its key, in files.
struct Identity {
    certificate: CertificateDer<'static>,
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn new(files: &Files, name: &str, year: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            cert: files.write(&format!("{name}.pem"), certificate.pem()),
            key: files.write(&format!("{name}.key"), key.serialize_pem()),
            certificate: certificate.der().clone(),
        }
    }

    fn flags(&self) -> [&str; 4] {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        ["--tls-cert", cert, "--tls-key", key]
    }
}

async fn connect(server: &Server, identity: &Identity, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

fn server(files: &Files, identity: &Identity) -> Server {
    let model = files.replay(&json!({"text": "hello"}).to_string());
    let server = Server::start(&[&["--model", &model][..], &identity.flags()].concat());
    assert!(server.logged("weir serves").contains("https://127.0.0.1:"));
    server
}

#[tokio::test]
async fn http_1_over_tls() {
    let files = Files::new();
    let identity = Identity::new(&files, "own", 2199);
    let server = server(&files, &identity);
    let mut stream = connect(&server, &identity, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

async fn http_2(server: &Server, identity: &Identity) -> http2::SendRequest<Full<Bytes>> {
    let stream = connect(server, identity, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let executor = TokioExecutor::new();
    let (sender, connection) = http2::handshake(executor, TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn health(sender: &mut http2::SendRequest<Full<Bytes>>) -> u16 {
    let request = Request::get("https://localhost/health");
    let request = request.body(Full::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"status\":\"ok\""), "{body:?}");
    status
}

#[tokio::test]
async fn http_2_where_the_client_asks_for_it() {
    let files = Files::new();
    let identity = Identity::new(&files, "own", 2199);
    let server = server(&files, &identity);
    let mut sender = http_2(&server, &identity).await;
    assert_eq!(health(&mut sender).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_after_a_hangup() {
    let files = Files::new();
    let old = Identity::new(&files, "own", 2199);
    let server = server(&files, &old);
    let mut before = http_2(&server, &old).await;
    let renewed = Identity::new(&files, "own", 2198);
    server.hang_up();
    tokio::task::block_in_place(|| server.logged("the certificate was read again"));
    assert_eq!(health(&mut http_2(&server, &renewed).await).await, 200);
    assert_eq!(health(&mut before).await, 200, "what was connected stays");
    // One that cannot be used changes nothing.
    files.write("own.key", "no key");
    server.hang_up();
    let line = tokio::task::block_in_place(|| server.logged("the one of before stays"));
    assert!(line.contains("own.key: holds no private key"), "{line}");
    assert_eq!(health(&mut http_2(&server, &renewed).await).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_http_2_that_nobody_takes_is_given_up_alone() {
    let files = Files::new();
    let identity = Identity::new(&files, "own", 2199);
    // More than the window of a stream.
    let chunks = vec!["x".repeat(64 << 10); 400];
    let model = files.replay(&json!({"chunks": chunks}).to_string());
    let flags = [
        "--model",
        &model,
        "--send-timeout",
        "1",
        "--log-level",
        "debug",
    ];
    let mut server = Server::start(&[&flags[..], &identity.flags()].concat());
    let mut sender = http_2(&server, &identity).await;
    let body = chat_body("hi", json!({"stream": true})).to_string();
    let request = Request::post("https://localhost/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap();
    let untaken = sender.send_request(request).await.unwrap();
    assert_eq!(untaken.status(), 200);
    tokio::task::block_in_place(|| server.logged("took nothing of its answer"));
    assert_eq!(health(&mut sender).await, 200, "the connection lives");
    server.terminate();
    assert!(server.logged("draining").contains("running=0"));
    drop((untaken, sender));
    assert_eq!(server.ended().code(), Some(0));
}

#[tokio::test]
async fn a_client_that_speaks_plain_http_harms_nobody() {
    let files = Files::new();
    let identity = Identity::new(&files, "own", 2199);
    let server = server(&files, &identity);
    let mut plain = TcpStream::connect(&server.address).await.unwrap();
    plain
        .write_all(b"GET /health HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert of TLS or a reset: no HTTP either way.
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"));
    connect(&server, &identity, &[]).await;
}

#[test]
fn files_that_are_not_right_are_named() {
    let files = Files::new();
    let own = Identity::new(&files, "own", 2199);
    let other = Identity::new(&files, "other", 2199);
    let old = Identity::new(&files, "old", 2020);
    let junk = files.write("junk.pem", "no certificate");
    let missing = files.path().join("missing.pem");
    let cases = [
        (
            &own.cert,
            &other.key,
            vec!["other.key", "is not the key of", "own.pem"],
        ),
        (
            &old.cert,
            &old.key,
            vec!["old.pem", "expired on 2020-12-31"],
        ),
        (&junk, &own.key, vec!["junk.pem", "holds no certificate"]),
        (&own.cert, &junk, vec!["junk.pem", "holds no private key"]),
        (&own.key, &own.key, vec!["own.key", "holds no certificate"]),
        (&missing, &own.key, vec!["missing.pem", "No such file"]),
        (&own.cert, &missing, vec!["missing.pem", "No such file"]),
    ];
    for (cert, key, words) in cases {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let model = files.replay(&json!({"text": "hi"}).to_string());
        let ended = run([
            "--model",
            &model,
            "--port",
            "0",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ]);
        for word in words {
            let complaint = ended.complaint();
            assert!(complaint.contains(word), "no `{word}` in {complaint}");
        }
    }
    let ended = run(["--tls-cert", own.cert.to_str().unwrap()]);
    assert!(
        ended
            .complaint()
            .contains("tls_cert and tls_key go together")
    );
}
