//! What a server logs of its requests and shows in its metrics, as an operator sees it.

use serde_json::{Value, json};

use crate::{
    client::{chat_body, tools},
    weir::{DEADLINE, Files, Server},
};

const PROMPT: &str = "the prompt that nobody may read";
const ANSWER: &str = "an answer for one reader alone";
const KEY: &str = "sk-very-secret";

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(DEADLINE))
        .proxy(None);
    config.build().into()
}

/// Sends a chat request with the key; answers the body's text.
fn ask(server: &Server, key: &str, more: Value) -> String {
    let mut response = agent()
        .post(format!(
            "http://{}/v1/chat/completions?token={KEY}",
            server.address
        ))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .header("x-request-id", "from-a-client")
        .send(chat_body(PROMPT, more).to_string())
        .expect("an answer");
    response.body_mut().read_to_string().expect("text")
}

fn metrics(server: &Server) -> String {
    let url = format!("http://{}/metrics", server.address);
    let mut response = agent().get(url).call().expect("metrics");
    response.body_mut().read_to_string().expect("text")
}

#[test]
fn a_debug_log_tells_of_requests_without_prompts_answers_or_keys() {
    let files = Files::new();
    let model = files.replay(&json!({"text": ANSWER}).to_string());
    let arguments = ["--model", &model, "--served-model-name", "secretive"];
    let more = [
        "--api-key",
        KEY,
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ];
    let mut server = Server::start(&[arguments.as_slice(), &more].concat());
    assert!(ask(&server, KEY, json!({})).contains(ANSWER));
    assert!(ask(&server, KEY, json!({"stream": true})).contains("[DONE]"));
    assert!(ask(&server, "sk-wrong-but-secret", json!({})).contains("invalid_api_key"));
    assert!(ask(&server, KEY, json!({"temperature": 3})).contains("temperature"));
    server.terminate();
    server.ended();
    let lines: Vec<Value> = server
        .log_lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let all = json!(lines).to_string();
    for secret in [PROMPT, ANSWER, "secret-", "sk-", "nobody", "one reader"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let answered: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "answered")
        .collect();
    assert_eq!(answered.len(), 4, "{lines:#?}");
    for line in &answered {
        assert_eq!(line["span"]["id"], "from-a-client");
        assert_eq!(line["span"]["path"], "/v1/chat/completions");
        assert!(line["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    }
    for line in &answered[..2] {
        assert_eq!(
            (&line["status"], &line["model"]),
            (&json!(200), &json!("secretive"))
        );
        assert_eq!(line["finish_reason"], "stop");
        assert!(line["prompt_tokens"].as_u64() > Some(0), "{line}");
        assert!(line["completion_tokens"].as_u64() > Some(0), "{line}");
        assert!(
            line["first_token_ms"].as_f64() <= line["ms"].as_f64(),
            "{line}"
        );
    }
    assert_eq!(
        (&answered[2]["status"], &answered[2]["error"]),
        (&json!(401), &json!("invalid_api_key"))
    );
    assert_eq!(
        (&answered[3]["status"], &answered[3]["error"]),
        (&json!(400), &json!("invalid_request_error"))
    );
}

#[test]
fn plugins_show_their_counters_and_the_model_how_long_it_loaded() {
    let files = Files::new();
    let call = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n</tool_call>";
    let model = files.replay(&json!({"text": call}).to_string());
    let server = Server::start(&["--model", &model, "--tool-call-parser", "hermes"]);
    let message = server.message("weather?", tools());
    assert_eq!(message["tool_calls"][0]["function"]["name"], "get_weather");
    let text = metrics(&server);
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("weir_plugin_calls_total{plugin=\"qwen25\"}") > 0.0);
    assert!(value("weir_plugin_events_total{plugin=\"qwen25\"}") > 0.0);
    assert!(value("weir_plugin_call_seconds_total{plugin=\"qwen25\"}") > 0.0);
    assert_eq!(value("weir_plugin_sessions_total{plugin=\"qwen25\"}"), 1.0);
    assert_eq!(value("weir_plugin_instances{plugin=\"qwen25\"}"), 0.0);
    assert_eq!(value("weir_plugin_failures_total{plugin=\"qwen25\"}"), 0.0);
    assert_eq!(
        value("weir_plugin_reloads_total{result=\"succeeded\"}"),
        0.0
    );
    assert!(value("weir_model_load_seconds{") > 0.0);
    assert!(text.contains("finish_reason=\"tool_calls\"} 1"), "{text}");
}
