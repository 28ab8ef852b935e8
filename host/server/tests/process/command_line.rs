//! The commands people bring from elsewhere start a server: both spellings, files of three kinds, the environment.

use serde_json::json;

use crate::{
    client::tools,
    weir::{Files, Server, command, run},
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

/// The commands of the container's image and of its compose file (examples/docker).
fn image_commands() -> Vec<Vec<String>> {
    let read = |name: &str| {
        let path = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let image = read("docker/Dockerfile");
    let last = image.lines().filter_map(|line| line.strip_prefix("CMD "));
    let mut commands: Vec<Vec<String>> = last
        .map(|list| serde_json::from_str(list).unwrap())
        .collect();
    let compose = read("docker/compose.yaml");
    for command in compose.split("    command:\n").skip(1) {
        let items = command
            .lines()
            .map_while(|line| line.strip_prefix("      - "));
        commands.push(items.map(str::to_owned).collect());
    }
    commands
}

#[test]
fn the_images_commands_are_understood() {
    let examples = format!("{}/../../examples", env!("CARGO_MANIFEST_DIR"));
    let commands = image_commands();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command_line in commands {
        let (serve, flags) = command_line.split_first().unwrap();
        assert_eq!(serve, "serve");
        let flags = flags.iter().map(|flag| {
            let flag = flag.replace("/run/secrets/keys.toml", &format!("{examples}/keys.toml"));
            flag.replace(
                "/etc/weir/config.json",
                &format!("{examples}/starting/open_kimi.json"),
            )
        });
        let ended = run(["config".to_owned()].into_iter().chain(flags));
        assert_eq!(ended.code, Some(0), "{command_line:?}: {}", ended.stderr);
        assert!(
            ended.stdout.contains("host = \"0.0.0.0\""),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains("port = 8000"), "{}", ended.stdout);
    }
}
