//! The routes behind the playground: a case step by step, the smallest split that changes it, and a plugin that is only tried.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    documented::check,
    weir::{Files, Server, run},
};

const HOSTILE: &[u8] = include_bytes!("../../../../tests/hostile/dist/hostile.wasm");
const CALL: &str = "Hi <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>";
const KEY: &str = "somebodys";
const ADMIN: &str = "the-admins";

fn server(files: &Files) -> Server {
    let model = files.replay(&json!({"text": "hello"}).to_string());
    Server::start(&["--model", &model, "--api-key", KEY, "--admin-key", ADMIN])
}

fn document(server: &Server) -> Value {
    server.get_bearing("/openapi.json", KEY).1
}

fn parse(server: &Server, body: &Value) -> (u16, Value) {
    let (status, answer) = server.post_bearing("/parse", KEY, body);
    if status == 200 {
        check(&document(server), "Parsed", &answer);
    }
    (status, answer)
}

/// Uploads the hostile plugin; `config` is what it is to do.
fn upload(server: &Server, wasm: &[u8], config: &str, key: &str) -> (u16, Value) {
    let request = ureq::post(format!("http://{}/admin/plugins/try", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {key}"))
        .header("x-weir-plugin-config", config);
    let mut response = request.send(wasm).expect("an answer");
    let text = response.body_mut().read_to_string().expect("text");
    let json = serde_json::from_str(&text).expect("JSON");
    (response.status().as_u16(), json)
}

fn tried(server: &Server, text: &str, more: Value) -> Value {
    let mut body = json!({"case": {"text": text}, "tool_call_parser": "uploaded"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, answer) = server.post_bearing("/admin/parse", ADMIN, &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn a_case_is_taken_apart_as_weir_parse_does_it() {
    let files = Files::new();
    let server = server(&files);
    let case = json!({"id": 7, "text": CALL, "chunking": "chars:4"});
    let body = json!({"case": case, "tool_call_parser": "hermes", "steps": true, "splits": true, "shape": 1});
    let (status, parsed) = parse(&server, &body);
    assert_eq!(status, 200, "{parsed}");
    let answer = &parsed["answer"];
    assert_eq!(
        (&answer["id"], &answer["finish_reason"]),
        (&json!(7), &json!("tool_calls"))
    );
    assert_eq!(
        answer["message"]["tool_calls"][0]["function"]["arguments"],
        "{\"a\": 1}"
    );
    let steps = parsed["steps"].as_array().unwrap();
    assert_eq!(steps.len(), CALL.len().div_ceil(4) + 1);
    let events = steps
        .iter()
        .flat_map(|step| step["events"].as_array().unwrap().clone());
    assert_eq!(json!(events.collect::<Vec<_>>()), answer["events"]);
    // The start of what may be a marker is not shown yet.
    assert_eq!(
        (&steps[0]["fragment"]["text"], &steps[0]["withheld"]),
        (&json!("Hi <"), &json!("<"))
    );
    let splits = &parsed["splits"];
    assert_eq!(
        (&splits["smallest"], &splits["differing"]),
        (&json!(null), &json!([]))
    );
    assert!(
        splits["tried"].as_u64().unwrap() > CALL.len() as u64,
        "{splits}"
    );
}

#[test]
fn what_cannot_be_parsed_is_told_by_its_name() {
    let files = Files::new();
    let server = server(&files);
    let long = "x".repeat(70_000);
    let cases = [
        (
            json!({"case": {"text": "a"}, "tool_call_parser": "hermse"}),
            "no parser is called `hermse`",
        ),
        (
            json!({"case": {"text": "a"}, "tool_call_parser": "deepseek_r1"}),
            "does not parse tool calls",
        ),
        (json!({"case": {"text": long}}), "65536"),
        (
            json!({"case": {"text": "a", "chunking": "halves"}}),
            "`halves`",
        ),
        (json!({"case": {}}), "either `text` or `chunks`"),
        (json!({"text": "a"}), "missing field `case`"),
        (
            json!({"case": {"text": "a"}, "post_processor": vec!["redact"; 9]}),
            "post_processor",
        ),
    ];
    for (body, expected) in cases {
        let (status, answer) = parse(&server, &body);
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(status, 400, "{answer}");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(server.post_bearing("/parse", "nobodys", &json!({})).0, 401);
    let (status, list) = server.get_bearing("/parse", KEY);
    check(&document(&server), "ParsePlugins", &list);
    let found = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .find(|plugin| plugin["name"] == "gpt_oss");
    let roles = found.map(|plugin| (plugin["tools"] == true, plugin["reasoning"] == true));
    assert_eq!((status, roles), (200, Some((true, true))));
}

#[test]
fn the_smallest_split_of_a_bad_plugin_is_found() {
    let files = Files::new();
    let server = server(&files);
    let (status, plugin) = upload(
        &server,
        HOSTILE,
        r#"{"mode": "forgetful", "in": "push"}"#,
        ADMIN,
    );
    assert_eq!(
        (status, &plugin["name"]),
        (200, &json!("uploaded")),
        "{plugin}"
    );
    check(&document(&server), "ParsePlugin", &plugin);
    let answer = tried(&server, "one <hidden>two", json!({"splits": true}));
    let splits = &answer["splits"];
    assert_eq!(splits["whole"]["message"]["content"], "one two");
    // Each cut inside the marker.
    assert_eq!(splits["differing"], json!([5, 6, 7, 8, 9, 10, 11]));
    assert_eq!(splits["smallest"]["cuts"], json!([5]));
    let pieces = &splits["smallest"]["fragments"];
    assert_eq!(
        (&pieces[0]["text"], &pieces[1]["text"]),
        (&json!("one <"), &json!("hidden>two"))
    );
    assert_eq!(
        splits["smallest"]["answer"]["message"]["content"],
        "one <hidden>two"
    );
}

#[test]
fn a_plugin_that_fails_is_contained() {
    let files = Files::new();
    let server = server(&files);
    for (mode, expected) in [
        ("panic", "trapped"),
        ("loop", "ran longer"),
        ("long-text", "returned more"),
    ] {
        let config = json!({"mode": mode, "in": "push"}).to_string();
        assert_eq!(upload(&server, HOSTILE, &config, ADMIN).0, 200);
        let answer = tried(&server, "ab", json!({"steps": true}));
        let error = answer["answer"]["error"].as_str().unwrap();
        assert!(
            error.contains("`uploaded`") && error.contains(expected),
            "{error}"
        );
        assert_eq!(answer["steps"].as_array().unwrap().len(), 1, "{answer}");
    }
    // One that does not load leaves the one before, and nobody else may name it.
    let (status, refused) = upload(
        &server,
        HOSTILE,
        r#"{"mode": "panic", "in": "describe"}"#,
        ADMIN,
    );
    assert_eq!(status, 400);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`uploaded`"),
        "{refused}"
    );
    assert_eq!(upload(&server, b"no wasm", "{}", ADMIN).0, 400);
    assert_eq!(upload(&server, HOSTILE, "[]", ADMIN).0, 400);
    assert_eq!(upload(&server, HOSTILE, "{}", KEY).0, 403);
    let named = json!({"case": {"text": "a"}, "tool_call_parser": "uploaded"});
    assert_eq!(parse(&server, &named).0, 400);
    let bearing = BTreeMap::from([("authorization".to_owned(), format!("Bearer {KEY}"))]);
    assert_eq!(server.send("GET", "/v1/models", &bearing, None).status, 200);
}

#[test]
fn weir_parse_answers_corpus_files() {
    let files = Files::new();
    let case = "shows = 'x'\nsource = 'y'\nchunks = ['Hi <tool', '_call>{\"name\": \"f\"}</tool_call>']\n[expect]\n";
    let case = files.write("a_case.toml", case);
    let ended = run([
        "parse",
        "--tool-call-parser",
        "hermes",
        case.to_str().unwrap(),
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&answer["id"], &answer["finish_reason"]),
        (&json!("a_case"), &json!("tool_calls"))
    );
    let broken = files.write("broken.toml", "shows = 'x'\n");
    let ended = run(["parse", broken.to_str().unwrap()]);
    assert!(
        ended.complaint().contains("broken.toml"),
        "{}",
        ended.stderr
    );
}
