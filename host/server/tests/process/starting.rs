//! The files and flags that users of other servers bring: read as meant, and what has no counterpart is named.

use std::process::Command;

use serde_json::json;

use crate::{
    client::tools,
    weir::{Files, Server, command, run},
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/starting");

/// The lines of `weir config` for this file.
fn configuration(flag: &str, name: &str) -> Vec<String> {
    let ended = run(["config", flag, &format!("{EXAMPLES}/{name}")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// Each value stands there, from this file; each neighbour is named as unknown, and nothing else is.
fn reads(lines: &[String], name: &str, values: &[&str], unknown: &[&str]) {
    for value in values {
        let found = lines
            .iter()
            .find(|line| line.starts_with(&format!("{value}  # ")));
        let line = found.unwrap_or_else(|| panic!("no `{value}` in {lines:#?}"));
        assert!(line.ends_with(name), "{line}");
    }
    let named = lines
        .iter()
        .filter_map(|line| line.strip_prefix("# unknown: "));
    let named: Vec<&str> = named.map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(named, unknown);
}

#[test]
fn ksana_llm_with_its_yaml() {
    let name = "ksana_llm.yaml";
    let lines = configuration("--config_file", name);
    let values = [
        "model = \"/models/Qwen2.5-7B-Instruct\"",
        "tp = 1",
        "max_queue = 1200",
        "max_num_batched_tokens = 4096",
        "max_num_seqs = 128",
        "max_model_len = 2048",
    ];
    let unknown = [
        "setting.batch_scheduler.waiting_timeout_in_ms",
        "setting.block_manager.block_token_num",
        "setting.block_manager.reserved_device_memory_ratio",
        "setting.global.enable_lora_adapter",
        "setting.profiler.stat_interval_second",
    ];
    reads(&lines, name, &values, &unknown);

    // Started as its guide says, with a model that is here.
    let files = Files::new();
    let call =
        r#"{"text": "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n</tool_call>"}"#;
    let (model, file) = (files.replay(call), format!("{EXAMPLES}/{name}"));
    let flags = [
        "--config_file",
        &file,
        "--model",
        &model,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ];
    let parsers = ["--enable-auto-tool-choice", "--tool-call-parser", "qwen25"];
    let server = Server::spawn(&mut command(flags.iter().chain(&parsers)));
    for key in unknown {
        assert!(server.logged(key).contains("WARN"));
    }
    let message = server.message("weather?", tools());
    assert_eq!(message["tool_calls"][0]["function"]["name"], "get_weather");
}

#[test]
fn light_llm_with_its_flags() {
    let files = Files::new();
    let model = files.replay(&json!({"text": "hello"}).to_string());
    // The script calls `weir` by name; what stands behind its own flags wins.
    let weir = command::<&str>([]);
    let folder = std::path::Path::new(weir.get_program()).parent().unwrap();
    let mut script = Command::new("sh");
    script
        .arg(format!("{EXAMPLES}/light_llm.sh"))
        .args(["--port", "0"]);
    let own = weir
        .get_envs()
        .filter_map(|(key, value)| Some((key, value?)));
    script
        .envs(own)
        .env("MODEL_DIR", &model)
        .env("PATH", path_with(folder));
    script.stderr(std::process::Stdio::piped());
    let server = Server::spawn(&mut script);
    assert_eq!(
        server.message("hi", json!({"model": "your_model_name"}))["content"],
        "hello"
    );
}

fn path_with(folder: &std::path::Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

#[test]
fn open_kimi_with_its_json() {
    let name = "open_kimi.json";
    let lines = configuration("-c", name);
    let values = [
        "model = \"/models/smollm2.gguf\"",
        "device = \"cpu\"",
        "max_model_len = 4096",
        "accept_any_model = true",
        "mpr_candidates = 1",
        "request_processor = [\"long_document\"]",
        "plugin_config = {\"long_document\":{\"chunk_words\":512,\"overlap_words\":50,\"retrieved\":3}}",
    ];
    let unknown = [
        "processor.entropy_threshold",
        "rag.embedding_model",
        "rag.similarity_threshold",
    ];
    reads(&lines, name, &values, &unknown);
    let files = Files::new();
    let (model, file) = (
        files.replay(&json!({"text": "hello"}).to_string()),
        format!("{EXAMPLES}/{name}"),
    );
    let flags = [
        "--config",
        &file,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--reload",
        "--model",
        &model,
    ];
    let server = Server::spawn(&mut command(flags));
    let warning = server.logged("rag.embedding_model");
    assert!(warning.contains("WARN") && warning.contains("processor.entropy_threshold"));
    let answer = server.message("hi", json!({"model": "openkimi-model"}));
    assert_eq!(answer["content"], "hello");
}

#[test]
fn keys_are_not_shown() {
    let mut config = command([
        "config",
        "--api-key",
        "open-sesame",
        "--admin-key",
        "root-sesame",
    ]);
    let ended = crate::weir::finish(
        config
            .env("WEIR_API_KEY_FILE", "keys.toml")
            .spawn()
            .unwrap(),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("sesame"), "{}", ended.stdout);
    for line in [
        "api_key = 1 key(s), not shown  # command line",
        "admin_key = 1 key(s), not shown  # command line",
        "api_key_file = \"keys.toml\"  # environment",
        "header_timeout = 30.0  # default",
    ] {
        assert!(
            ended.stdout.lines().any(|shown| shown == line),
            "{line}: {}",
            ended.stdout
        );
    }
}
