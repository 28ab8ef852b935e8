//! Request processors as users have them: components with grants, several candidates by flag and by field, and one that asks for
//! more than it may.

use serde_json::{Value, json};

use crate::{
    client::content,
    weir::{Files, Server, command, finish, run},
};

const HOSTILE: &[u8] =
    include_bytes!("../../../../tests/hostile_request/dist/hostile_request.wasm");
const ANSWER: &str = "The model's own words.";
const GRANTS: &str = "grants = { steps = 3, generations = 2, generated_tokens = 8, embeddings = 1, stored_bytes = 1000 }";

fn manifest(files: &Files, mode: &str, more: &str) -> String {
    files.write("hostile.wasm", HOSTILE);
    let entry = format!(
        "[bad]\nkind = \"request-processor\"\nwasm = \"hostile.wasm\"\nlimits.call_ms = 500\n\
         config = {{ mode = \"{mode}\", in = \"resume\" }}\n{GRANTS}\n{more}\n"
    );
    let path = files.write("plugins.toml", entry);
    path.to_str().unwrap().to_owned()
}

fn server(files: &Files, mode: &str, more: &str) -> Server {
    let manifest = manifest(files, mode, more);
    let model = files.replay(&json!({"text": ANSWER}).to_string());
    Server::start(&[
        "--model",
        &model,
        "--plugins",
        &manifest,
        "--request-processor",
        "bad",
    ])
}

/// The error has the plugin's name and what it did; the server goes on.
fn contained(mode: &str, what: &str) {
    let files = Files::new();
    let server = server(&files, mode, "");
    let (status, body) = server.chat("hi", json!({}));
    let error = &body["error"];
    assert_eq!(
        (status, &error["code"], &error["type"]),
        (500, &json!("plugin_error"), &json!("server_error")),
        "{body}"
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`bad`") && message.contains(what),
        "{message}"
    );
    let (status, answer) = server
        .try_post("/v1/completions", &json!({"prompt": "hi"}))
        .unwrap();
    assert_eq!(
        (status, &answer["choices"][0]["text"]),
        (200, &json!(ANSWER))
    );
    assert!(
        server
            .logged("a request processor failed")
            .contains("`bad`")
    );
}

#[test]
fn one_that_misbehaves_is_named_and_harms_nobody() {
    contained("loop", "ran longer than 500 ms");
    contained("panic", "trapped");
    contained("again", "steps 4 of 3");
    contained("generations", "generations 1002 of 2");
    contained("tokens", "generations 3 of 2");
    contained("storage", "stored_bytes 1048577 of 1000");
}

#[test]
fn what_is_granted_is_shown() {
    let files = Files::new();
    let manifest = manifest(&files, "nothing", "");
    let ended = run(["plugin", "inspect", "bad", "--plugins", &manifest]);
    assert_eq!(
        ended.stdout,
        "name: hostile_request 0.1.0\nplans requests, chooses among answers\n\
         granted in a request: 3 steps, 2 generations of 8 tokens together, 1 embeddings\n\
         granted in all: 1000 stored bytes\n"
    );
    let ended = run(["plugin", "inspect", "mpr"]);
    assert!(
        ended
            .stdout
            .contains("17 generations of 65536 tokens together"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_played_host_checks_them() {
    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let check = |file: &str, config: &str| {
        let file = format!("{ROOT}/{file}");
        let ended = run(["plugin", "check", &file, "--config", config]);
        let lines = ended.stdout.lines().map(|line| {
            let mut words = line.split_whitespace();
            (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            )
        });
        let verdict = |wanted: &str| {
            let wrong = lines.clone().filter(|(verdict, _)| *verdict == wanted);
            wrong.map(|(_, label)| label.to_owned()).collect::<Vec<_>>()
        };
        (
            ended.code,
            verdict("wrong"),
            verdict("ok").len(),
            ended.stdout.clone(),
        )
    };
    for (name, right) in [("mpr", 8), ("long_document", 7)] {
        let (code, wrong, ok, text) = check(&format!("plugins/dist/{name}.wasm"), "{}");
        assert_eq!((code, wrong, ok), (Some(0), Vec::new(), right), "{text}");
        assert!(text.contains("300 made-up requests"), "{text}");
    }
    let hostile = "tests/hostile_request/dist/hostile_request.wasm";
    let (code, wrong, _, text) = check(hostile, r#"{"mode": "storage", "in": "resume"}"#);
    assert_eq!(code, Some(1), "{text}");
    // It is granted enough for that, but not where nothing is granted.
    assert!(wrong.contains(&"grants".to_owned()), "{text}");
    assert!(text.contains("stored_bytes 3 of 0"), "{text}");
    let (code, wrong, _, text) = check(hostile, r#"{"mode": "panic", "in": "describe"}"#);
    assert_eq!((code, wrong.len()), (Some(1), 1), "{text}");
}

#[test]
fn a_project_for_one_is_written() {
    let files = Files::new();
    let folder = files.path();
    let made = |language: &[&str]| {
        let mut words = vec!["plugin", "new", "mine", "--kind", "request-processor"];
        words.extend(language);
        let mut command = command(words);
        finish(command.current_dir(folder).spawn().unwrap())
    };
    let refused = made(&["--lang", "python"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("Rust"),
        "{}",
        refused.stderr
    );
    let made = made(&[]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let manifest =
        std::fs::read_to_string(folder.join("mine/vendor/weir-plugin-request-sdk/Cargo.toml"));
    let manifest = manifest.unwrap();
    assert!(
        manifest.contains("../weir-plugin-sdk") && !manifest.contains("workspace"),
        "{manifest}"
    );
}

#[test]
fn one_that_fails_may_be_passed_over_and_one_of_another_kind_is_refused() {
    let files = Files::new();
    let server = server(&files, "panic", "on_error = \"passthrough\"");
    assert_eq!(server.message("hi", json!({}))["content"], ANSWER);
    assert!(server.logged("passed over").contains("`bad`"));
    let model = files.replay(&json!({"text": ANSWER}).to_string());
    let ended = run(["serve", "--model", &model, "--request-processor", "redact"]);
    let complaint = ended.complaint();
    assert!(
        complaint.contains("`redact`") && complaint.contains("request-processor"),
        "{complaint}"
    );
}

/// A value of /metrics.
fn metric(server: &Server, name: &str) -> f64 {
    let answer = server.send("GET", "/metrics", &std::collections::BTreeMap::new(), None);
    let line = answer.text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} in {}", answer.text));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn candidates_share_their_prompt_and_become_one_answer() {
    let files = Files::new();
    let answers = [
        json!({"match": "Do not answer yet", "text": "First the oak."}),
        json!({"match": "Write the final answer", "text": "In the oak."}),
        json!({"match": "Now answer.", "text": "A draft."}),
    ];
    let answers: Vec<String> = answers.iter().map(Value::to_string).collect();
    let model = files.replay(&answers.join("\n"));
    let server = Server::start(&["--model", &model, "--mpr-candidates", "5"]);
    let document = "The owl lives in the oak behind the mill. ".repeat(50);
    let messages = json!({"messages": [
        {"role": "system", "content": document},
        {"role": "user", "content": "Where is the owl?"},
    ]});
    let (status, answer) = server.chat("", messages.clone());
    assert_eq!(status, 200, "{answer}");
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], "In the oak.");
    let shown = message["reasoning_content"].as_str().unwrap();
    assert!(
        shown.starts_with("Outline:\nFirst the oak.\n\nCandidate 1:\nA draft."),
        "{shown}"
    );
    assert!(shown.ends_with("Candidate 5:\nA draft."), "{shown}");
    let usage = &answer["usage"];
    let details = &usage["processing_details"];
    assert_eq!(details["generations"], 6);
    let count = |value: &Value| value.as_u64().unwrap();
    let drafts = count(&details["completion_tokens"]);
    assert_eq!(
        usage["completion_tokens_details"]["reasoning_tokens"],
        drafts
    );
    assert!(
        drafts >= 6 && count(&usage["completion_tokens"]) > drafts,
        "{usage}"
    );
    assert_eq!(
        count(&usage["total_tokens"]),
        count(&usage["prompt_tokens"]) + count(&usage["completion_tokens"])
    );
    let cached = count(&usage["prompt_tokens_details"]["cached_tokens"]);
    let shared = document.len() as u64;
    assert!(
        cached > 5 * shared,
        "{usage}: of seven prompts one computed the document"
    );
    assert!(metric(&server, "weir_prefix_cache_hit_tokens_total") as u64 >= cached);
    let mut once = messages;
    once["mpr_candidates"] = 1.into();
    let (_, plain) = server.chat("", once.clone());
    assert!(
        plain["usage"].get("processing_details").is_none(),
        "{plain}"
    );
    once["mpr_candidates"] = 3.into();
    once["stream_options"] = json!({"include_usage": true});
    let lines = server.stream("", once).rest();
    assert_eq!(content(&lines), "In the oak.");
    assert!(
        lines.iter().any(|line| line.contains("\"generations\":4")),
        "{lines:?}"
    );
}

#[test]
fn a_long_document_is_cut_to_what_is_asked() {
    let files = Files::new();
    let day =
        |number: usize| format!("On day {number} the sea was calm and nobody wrote a letter. ");
    let mut document: String = (0..900).map(day).collect();
    let middle = document.find("On day 611").unwrap();
    document.insert_str(middle, "The lighthouse's password is cormorant. ");
    let path = files.write("logbook.txt", &document);
    let model = files.replay(&json!({"text": ANSWER}).to_string());
    let server = Server::start(&[
        "--model",
        &model,
        "--max-model-len",
        "8192",
        "--preload",
        path.to_str().unwrap(),
    ]);
    assert!(server.logged("preloaded").contains("logbook"));
    let told = json!({"annotations": ["formatted_prompt"]});
    let ask = |more: Value| {
        let (status, answer) = server.chat("What is the password of the lighthouse?", more);
        assert_eq!(status, 200, "{answer}");
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        // A token a byte here, and no more than the share of the context that a prompt may have.
        assert!((3000..=6554).contains(&tokens), "{tokens}");
        let prompt = answer["nvext"]["formatted_prompt"].as_str().unwrap();
        assert!(
            prompt.contains("The lighthouse's password is cormorant."),
            "{prompt}"
        );
        assert!(prompt.contains("[...]"), "{prompt}");
    };
    ask(json!({"document": "logbook", "nvext": told}));
    ask(json!({"nvext": told, "messages": [
        {"role": "system", "content": document},
        {"role": "user", "content": "What is the password of the lighthouse?"},
    ]}));
    let (status, answer) = server.chat("hi", json!({"document": "diary"}));
    assert_eq!(
        (status, &answer["error"]["param"]),
        (400, &json!("document"))
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`logbook`")
    );
    assert_eq!(server.message("hi", json!({}))["content"], ANSWER);
    let ended = run(["serve", "--model", &model, "--preload", "/nowhere.txt"]);
    assert!(ended.complaint().contains("/nowhere.txt"));
}
