//! The commands people bring from elsewhere start a server: both spellings, files of three kinds, the environment.

use serde_json::json;

use crate::{
    client::tools,
    weir::{Files, Server, command},
};

/// What a model of the hermes family says.
const HERMES: &str = r#"{"text": "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>"}"#;
const DEEPSEEK: &str = r#"{"text": "<think>\nWhere?\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Paris\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"}"#;

/// The server calls the tool.
fn calls(server: &Server) -> serde_json::Value {
    let message = server.message("weather?", tools());
    let function = &message["tool_calls"][0]["function"];
    assert_eq!(function["name"], "get_weather", "{message}");
    assert_eq!(function["arguments"], r#"{"city": "Paris"}"#);
    message
}

#[test]
fn underscores_and_model_dir() {
    let files = Files::new();
    let model = files.replay(HERMES);
    let arguments = [
        "--model_dir",
        &model,
        "--port",
        "0",
        "--tp",
        "1",
        "--tool_call_parser",
        "qwen25",
    ];
    calls(&Server::spawn(&mut command(arguments)));
}

#[test]
fn dashes_and_automatic_tool_choice() {
    let files = Files::new();
    let model = files.replay(DEEPSEEK);
    let flags = [
        "--model",
        &model,
        "--enable-auto-tool-choice",
        "--tool-call-parser",
        "deepseek_v3",
        "--reasoning_parser",
        "deepseek_r1",
    ];
    let message = calls(&Server::start(&flags));
    assert_eq!(message["reasoning_content"], "Where?");
}

#[test]
fn a_json_file() {
    let files = Files::new();
    let config = json!({"model": files.replay(HERMES), "port": 0, "tool_call_parser": "hermes", "served_model_name": "mine"});
    let path = files.write("config.json", config.to_string());
    let server = Server::spawn(&mut command([
        "serve".as_ref(),
        "-c".as_ref(),
        path.as_os_str(),
    ]));
    calls(&server);
    assert_eq!(server.chat("hi", json!({"model": "mine"})).0, 200);
    assert_eq!(server.chat("hi", json!({"model": "other"})).0, 404);
}

#[test]
fn a_yaml_file_under_flags_and_environment() {
    let files = Files::new();
    let model = files.replay(HERMES);
    // Port 1 would need rights that nobody should give; the environment overrides the file.
    let path = files.write(
        "x.yaml",
        format!("model: \"{model}\"\nport: 1\ntool_call_parser: nobody\n"),
    );
    let mut command = command([
        "--config_file".as_ref(),
        path.as_os_str(),
        "--tool-call-parser=qwen".as_ref(),
    ]);
    calls(&Server::spawn(command.env("WEIR_PORT", "0")));
}
