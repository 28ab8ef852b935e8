//! weir in front of another server, as a user starts it, and the examples of that.

use figment::{
    Figment,
    providers::{Format, Yaml},
};
use serde_json::{Value, json};

use crate::weir::{Files, Server, run};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/remote");

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    let path = format!("{EXAMPLES}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let documents = text.split("\n---\n");
    documents
        .map(|text| Figment::from(Yaml::string(text)).extract().unwrap())
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// What `weir config` makes of a command line.
fn configured(command_line: &[String]) -> String {
    let (serve, flags) = command_line.split_first().unwrap();
    assert_eq!(serve, "serve");
    let ended = run(["config".to_owned()]
        .into_iter()
        .chain(flags.iter().cloned()));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

#[test]
fn the_kubernetes_example_fits_together() {
    let [deployment, service] = documents("kubernetes.yaml").try_into().unwrap();
    let pod = &deployment["spec"]["template"];
    let labels = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(labels, &pod["metadata"]["labels"]);
    assert_eq!(labels, &service["spec"]["selector"]);
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let named = |name: &str| containers.iter().find(|one| one["name"] == name).unwrap();
    let (weir, vllm) = (named("weir"), named("vllm"));

    let config = configured(&strings(&weir["args"]));
    let port = weir["ports"][0]["containerPort"].to_string();
    assert!(config.contains(&format!("port = {port} ")), "{config}");
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], port);
    let vllm_port = strings(&vllm["args"]);
    let vllm_port = vllm_port
        .iter()
        .find_map(|flag| flag.strip_prefix("--port="))
        .unwrap();
    assert!(
        config.contains(&format!("engine = [\"http://127.0.0.1:{vllm_port}/v1\"]")),
        "{config}"
    );

    for (probe, path) in [
        ("startupProbe", "/live"),
        ("livenessProbe", "/live"),
        ("readinessProbe", "/ready"),
    ] {
        let get = &weir[probe]["httpGet"];
        assert_eq!(
            (&get["path"], &get["port"]),
            (&json!(path), &weir["ports"][0]["name"])
        );
    }
    assert_eq!(
        service["spec"]["ports"][0]["targetPort"],
        weir["ports"][0]["name"]
    );
    let mounted = |container: &Value| -> Vec<Value> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|mount| mount["name"].clone()).collect()
    };
    let volumes: Vec<&Value> = pod["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| &volume["name"])
        .collect();
    for name in [mounted(weir), mounted(vllm)].concat() {
        assert!(volumes.contains(&&name), "{name}");
    }
}

#[test]
fn the_compose_example_fits_together() {
    let [compose] = documents("compose.yaml").try_into().unwrap();
    let services = compose["services"].as_object().unwrap();
    let weir = &services["weir"];
    let config = configured(&strings(&weir["command"]));
    assert!(config.contains("port = 8080 "), "{config}");
    assert_eq!(weir["ports"], json!(["127.0.0.1:8080:8080"]));
    for engine in ["engine-1", "engine-2"] {
        let flags = strings(&services[engine]["command"]);
        assert!(flags.contains(&"--port=8000".to_owned()));
        assert!(
            config.contains(&format!("http://{engine}:8000")),
            "{config}"
        );
    }
}

#[test]
fn weir_stands_in_front_of_weir() {
    let files = Files::new();
    let model = files.replay(
        r#"{"text": "Hello <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>"}"#,
    );
    let behind = Server::start(&["--model", &model, "--api-key", "secret"]);
    let url = format!("http://{}/v1", behind.address);
    let front = Server::start(&[
        "--engine",
        &url,
        "--engine-api-key",
        "secret",
        "--tokenizer",
        &model,
        "--max-model-len",
        "4096",
        "--served-model-name",
        "front",
    ]);
    let tool =
        json!({"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}});
    let (status, body) = front.chat("hi", json!({"tools": [tool]}));
    assert_eq!(status, 200, "{body}");
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], "Hello ");
    assert_eq!(message["tool_calls"][0]["function"]["name"], "now");
    assert_eq!(body["model"], "front");
}

#[test]
fn without_a_tokenizer_messages_are_passed_on() {
    let files = Files::new();
    let model = files.replay(
        r#"{"text": "<think>Which?</think>Hello <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>"}"#,
    );
    // It must leave the text as the model wrote it.
    let raw = ["--tool-call-parser", "none", "--reasoning-parser", "none"];
    let behind = Server::start(&[&["--model", &model], raw.as_slice()].concat());
    let url = format!("http://{}/v1", behind.address);
    let parsers = [
        "--tool-call-parser",
        "hermes",
        "--reasoning-parser",
        "qwen3",
    ];
    let front = Server::start(
        &[
            &["--engine", &url, "--served-model-name", "front"],
            parsers.as_slice(),
        ]
        .concat(),
    );
    let tool =
        json!({"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}});
    let (status, body) = front.chat("hi", json!({"tools": [tool]}));
    assert_eq!(status, 200, "{body}");
    let message = &body["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Which?", "{body}");
    assert_eq!(message["content"], "Hello ", "{body}");
    assert_eq!(message["tool_calls"][0]["function"]["name"], "now");
    assert_eq!(body["model"], "front");
}
