//! `weir bench` against running servers: the figures as JSON and as a table, two servers in turn, and whatever a server
//! can do wrong.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use crate::weir::{Ended, Files, Server, run};

const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n";
const END: &str =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";

/// A server that says 16 tokens, fast.
fn fake(files: &Files, more: &[&str]) -> Server {
    let model = files
        .replay(r#"{"text": "sixty-four characters of text, which are cut into sixteen tokens."}"#);
    let arguments = ["--model", &model, "--served-model-name", "fake"];
    Server::start(&[&arguments, more].concat())
}

fn api(server: &Server) -> String {
    format!("http://{}/v1", server.address)
}

fn bench(arguments: &[&str]) -> Ended {
    run([&["bench"], arguments].concat())
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn one_server_as_json() {
    let files = Files::new();
    let server = fake(&files, &["--api-key", "secret"]);
    let url = api(&server);
    let arguments = ["--url", &url, "--api-key", "secret", "--concurrency", "1,3"];
    let load = ["--requests", "5", "--rounds", "2", "--input-tokens", "20"];
    let rest = ["--output-tokens", "8", "--json", "-"];
    let ended = bench(&[&arguments[..], &load, &rest].concat());
    let report = json(&ended);
    assert_eq!(report["server"]["model"], "fake");
    assert_eq!(report["server"]["url"], *url);
    assert!(report.get("against").is_none());
    let levels = report["levels"].as_array().unwrap();
    let clients: Vec<_> = levels.iter().map(|level| &level["concurrency"]).collect();
    assert_eq!(clients, [1, 3]);
    for level in levels {
        let side = &level["server"];
        assert_eq!((&side["sent"], &side["failed"]), (&10.into(), &0.into()));
        assert_eq!(side["tokens_counted_by"], "usage");
        assert_eq!(side["rounds"].as_array().unwrap().len(), 2);
        for figures in side["rounds"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&side["median"]])
        {
            assert_eq!(figures["completion_tokens"], 8.0);
            assert!(figures["prompt_tokens"].as_f64().unwrap() > 20.0);
            for throughput in [
                "request_throughput",
                "output_throughput",
                "total_token_throughput",
            ] {
                assert!(figures[throughput].as_f64().unwrap() > 0.0, "{figures:#}");
            }
            for time in ["ttft_ms", "itl_ms", "tpot_ms", "e2el_ms"] {
                let [p50, p90, p99] =
                    ["p50", "p90", "p99"].map(|p| figures[time][p].as_f64().unwrap());
                assert!(0.0 <= p50 && p50 <= p90 && p90 <= p99, "{figures:#}");
            }
            assert_eq!(figures["cold_ttft_ms"], Value::Null);
        }
    }
    // The table goes to where JSON does not.
    assert!(ended.stderr.contains("output tok/s"), "{}", ended.stderr);
    assert!(ended.stderr.contains("round 2 of 2"), "{}", ended.stderr);
}

#[test]
fn two_servers_with_a_shared_prefix() {
    let files = Files::new();
    let (ours, theirs) = (fake(&files, &[]), fake(&files, &[]));
    let path = files.path().join("figures.json");
    let (url, against) = (api(&ours), api(&theirs));
    let servers = [
        "--url",
        &url,
        "--against",
        &against,
        "--endpoint",
        "completions",
    ];
    let load = [
        "--concurrency",
        "2",
        "--input-tokens",
        "20",
        "--output-tokens",
        "4",
    ];
    let shared = ["--shared-prefix-tokens", "40", "--seed", "3", "--json"];
    let ended = bench(&[&servers[..], &load, &shared, &[path.to_str().unwrap()]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let level = &report["levels"][0];
    for side in ["server", "against"] {
        // Four, and one ahead.
        assert_eq!(
            (&level[side]["sent"], &level[side]["failed"]),
            (&5.into(), &0.into())
        );
        assert!(level[side]["median"]["cold_ttft_ms"].as_f64().unwrap() > 0.0);
    }
    // They were asked the same.
    assert_eq!(level["ratios"]["prompt_tokens"], 1.0);
    assert_eq!(level["ratios"]["completion_tokens"], 1.0);
    let ratio = level["ratios"]["output_throughput"].as_f64().unwrap();
    let of = |side: &str| level[side]["median"]["output_throughput"].as_f64().unwrap();
    assert!((ratio - of("server") / of("against")).abs() < 1e-9);
    let first_words: Vec<_> = ended
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let rows = [ours.address.as_str(), &theirs.address, "ratio"];
    assert_eq!(
        first_words[..7],
        [
            "server", rows[0], rows[1], rows[2], rows[0], rows[1], rows[2]
        ]
    );
    assert!(
        ended.stdout.contains("1, cold") && ended.stdout.contains("2, warm"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("seed 3"), "{}", ended.stdout);
}

/// A server that gives each connection the next of these answers, the last one for ever, as they are.
fn says(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        let forever = std::iter::repeat(answers.last().unwrap());
        for (answer, connection) in answers.iter().chain(forever).zip(listener.incoming()) {
            let Ok(mut connection) = connection else {
                return;
            };
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let head: Vec<String> = reader
                .by_ref()
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let length = head.iter().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            drop(reader.read_exact(&mut vec![0; length.unwrap_or(0)]));
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            let head = if answer.starts_with("HTTP/") {
                ""
            } else {
                head
            };
            // The client may have seen enough.
            drop(connection.write_all(format!("{head}{answer}").as_bytes()));
        }
    });
    url
}

fn load(url: &str) -> Ended {
    bench(&[
        "--url",
        url,
        "--model",
        "m",
        "--concurrency",
        "2",
        "--requests",
        "4",
        "--json",
        "-",
    ])
}

/// No request succeeds, and the table says so with these words.
fn fails(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for word in ["4 of 4"].iter().chain(words) {
        assert!(
            ended.stderr.contains(word),
            "no `{word}` in {}",
            ended.stderr
        );
    }
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["levels"][0]["server"]["failed"], 4);
    assert_eq!(report["levels"][0]["server"]["errors"][0]["count"], 4);
}

#[test]
fn a_server_that_counts_no_tokens() {
    let answer: &str = [CHUNK, CHUNK, ": comment\n\n", CHUNK, END].concat().leak();
    let report = json(&load(&says(vec![answer].leak())));
    let side = &report["levels"][0]["server"];
    assert_eq!(side["tokens_counted_by"], "chunks");
    assert_eq!(side["median"]["completion_tokens"], 3.0);
    assert_eq!(side["median"]["prompt_tokens"], Value::Null);
}

#[test]
fn some_requests_fail() {
    let good: &str = [CHUNK, END].concat().leak();
    // The first is for the warm-up.
    let answers = vec![
        good,
        good,
        CHUNK,
        "data: {\"error\": {\"message\": \"oh no\"}}\n\n",
        good,
    ];
    let report = json(&load(&says(answers.leak())));
    let side = &report["levels"][0]["server"];
    assert_eq!(side["failed"], 2);
    let messages: Vec<_> = side["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["message"])
        .collect();
    assert_eq!(messages, ["oh no", "the stream was cut off before its end"]);
}

#[test]
fn all_requests_fail() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    fails(
        &load(&format!("http://{free}/v1")),
        &["cannot connect: ", "refused"],
    );
    fails(
        &load(&says(&[CHUNK])),
        &["4 x the stream was cut off before its end"],
    );
    fails(&load(&says(&[END])), &["4 x the answer held no text"]);
    fails(
        &load(&says(&["data: {]\n\n"])),
        &["4 x a chunk that is none"],
    );
    fails(
        &load(&says(&[
            "HTTP/1.1 429 Too Many\r\nConnection: close\r\n\r\n{\"error\": {\"message\": \"later\"}}",
        ])),
        &["4 x HTTP 429: later"],
    );
    fails(
        &load(&says(&[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: ",
        ])),
        &["4 x the stream was cut off: "],
    );
    fails(&load(&says(&["nonsense"])), &["4 x the "]);
}

#[test]
fn the_servers_refusal_is_shown() {
    let files = Files::new();
    let server = fake(&files, &["--api-key", "secret"]);
    fails(&load(&api(&server)), &["4 x HTTP 401: ", "key"]);
}

#[test]
fn what_cannot_begin_says_why() {
    let complains = |arguments: &[&str], words: &[&str]| {
        let ended = bench(arguments);
        let complaint = ended.complaint();
        for word in words {
            assert!(complaint.contains(word), "no `{word}` in {complaint}");
        }
    };
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}/v1");
    complains(
        &["--url", &url],
        &[&url, "/models", "cannot connect", "--model"],
    );
    complains(
        &[
            "--url",
            &says(&["HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnope"]),
        ],
        &["HTTP 404: nope"],
    );
    complains(
        &["--url", "localhost:8000"],
        &["`localhost:8000`", "http://"],
    );
    complains(
        &["--model", "m", "--temperature", "9"],
        &["--temperature is 9"],
    );
    complains(&["--model", "m", "--against", "nowhere"], &["`nowhere`"]);
    let zero = bench(&["--concurrency", "0"]);
    assert_eq!(zero.code, Some(2));
    assert!(zero.stderr.contains("--concurrency"), "{}", zero.stderr);
    let alone = bench(&["--against-model", "m"]);
    assert!(alone.stderr.contains("--against"), "{}", alone.stderr);
}
