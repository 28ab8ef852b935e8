//! A checkpoint folder as `transformers` writes it, served: weights, tokenizer, templates, end tokens and sampling
//! defaults, each from its own file.

use std::{fs, path::Path, sync::Arc};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use weir_server::{
    AppState, ServedModel, ServerSettings,
    config::Config,
    pull::Source,
    router,
    wiring::{self, PluginWiring, WiringError},
};

const PLAIN: &str =
    "{% for message in messages %}<s>{{ message.role }}: {{ message.content }}{% endfor %}<s>";
const WITH_TOOLS: &str = "{{ tools | length }} tools<s>";

/// A tiny qwen2 with a tokenizer of characters.
fn folder(config: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models/qwen2");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(checkpoint.join(name), folder.path().join(name)).unwrap();
    }
    let mut characters: Vec<String> = ["Ċ", "Ġ"].map(str::to_owned).to_vec();
    characters.extend(('!'..='}').map(String::from));
    let vocabulary: serde_json::Map<_, _> = characters
        .into_iter()
        .enumerate()
        .map(|(id, character)| (character, json!(id)))
        .collect();
    let start = vocabulary.len();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [{"id": start, "content": "<s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    let write = |name: &str, content: &Value| {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    };
    write("tokenizer.json", &tokenizer);
    write("tokenizer_config.json", config);
    write(
        "generation_config.json",
        &json!({"eos_token_id": [90, 91], "temperature": 0.5, "top_k": 7, "max_new_tokens": 5}),
    );
    folder
}

fn load(folder: &TempDir) -> Result<ServedModel, WiringError> {
    let config = Config {
        max_model_len: Some(128),
        ..Config::default()
    };
    let plugins = PluginWiring::new(&config)?;
    let source = Source::Folder(folder.path().to_owned());
    Ok(wiring::load_model(&config, &source, &plugins)?.model)
}

#[tokio::test]
async fn a_folder_answers_with_what_stands_beside_its_weights() {
    let folder = folder(&json!({"chat_template": PLAIN, "eos_token": "<s>"}));
    let model = load(&folder).unwrap();
    assert_eq!(model.defaults.temperature, Some(0.5));
    assert_eq!(model.defaults.top_k, Some(7));
    assert_eq!(model.tokenizer.end_ids(), [95, 90, 91]);
    let router = router(Arc::new(AppState::ready(model, ServerSettings::default())));
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "ignore_eos": true});
    let request = Request::post("/v1/chat/completions")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    // `<s>user: hi<s>` in characters, and the five tokens that generation_config.json allows.
    assert_eq!(answer["usage"]["prompt_tokens"], 10, "{answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 5);
}

#[test]
fn a_second_template_is_for_requests_with_tools() {
    let named = json!([{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": WITH_TOOLS}]);
    let model = load(&folder(&json!({"chat_template": named}))).unwrap();
    assert!(!model.chat_template.unwrap().takes_tools());
    assert!(model.tool_chat_template.unwrap().takes_tools());
}

#[test]
fn a_folder_without_a_tokenizer_is_refused_by_name() {
    let folder = folder(&json!({}));
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = load(&folder).err().unwrap().to_string();
    assert!(error.contains("no tokenizer here"), "{error}");
}
