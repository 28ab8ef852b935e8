//! A tiny embedding model behind the router, from its folder: tokenizer, encoder and route together.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Router, body::Body, http::Request};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_model::{Embedder, SafetensorsFolder};
use weir_server::{
    AppState, ServedModel, ServerSettings,
    config::Config,
    pull::Source,
    router,
    wiring::{self, PluginWiring, WiringError},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tiny_models/bert-mean")
}

fn load(source: &Source) -> Result<ServedModel, WiringError> {
    let config = Config::default();
    let plugins = PluginWiring::new(&config)?;
    Ok(wiring::load_model(&config, source, &plugins)?.model)
}

fn serve() -> Router {
    let model = load(&Source::Folder(folder())).unwrap();
    router(Arc::new(AppState::ready(model, ServerSettings::default())))
}

async fn embed(router: &Router, body: Value) -> Value {
    let request = Request::post("/v1/embeddings")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn text_and_its_ids_have_the_vector_of_the_model() {
    let router = serve();
    // [CLS] he ##llo wor ##ld ! [SEP]
    let ids = [2, 58, 59, 60, 61, 63, 3];
    let by_text = embed(&router, json!({"input": "Hello world!"})).await;
    let by_ids = embed(&router, json!({"input": ids})).await;
    assert_eq!(by_text["data"], by_ids["data"]);
    assert_eq!(by_text["usage"]["prompt_tokens"], 7);
    let model = Embedder::from_folder(&SafetensorsFolder::open(&folder()).unwrap()).unwrap();
    let vector = model.embed(&[ids]).unwrap().remove(0);
    let found: Vec<f32> = serde_json::from_value(by_text["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(found, vector);
}

#[tokio::test]
async fn a_cut_text_keeps_its_special_tokens() {
    let router = serve();
    let cut = embed(
        &router,
        json!({"input": "Hello world!", "truncate_prompt_tokens": 4}),
    )
    .await;
    let kept = embed(&router, json!({"input": "hello"})).await;
    assert_eq!(cut["data"], kept["data"]);
    let window = json!({"input": "a ".repeat(100), "truncate_prompt_tokens": -1});
    assert_eq!(embed(&router, window).await["usage"]["prompt_tokens"], 32);
    let nothing = embed(
        &router,
        json!({"input": "a b", "truncate_prompt_tokens": 2}),
    )
    .await;
    let message = nothing["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("leaves no room for text beside 2 special tokens"),
        "{message}"
    );
}

#[tokio::test]
async fn a_large_request_beside_small_ones_changes_no_vector() {
    let router = serve();
    let texts: Vec<String> = (1..=300)
        .map(|n| "hello world ".repeat(n % 7 + 1))
        .collect();
    let large = embed(&router, json!({"input": texts}));
    let small = embed(&router, json!({"input": texts[3]}));
    let (large, small) = tokio::join!(large, small);
    assert_eq!(large["data"][3]["embedding"], small["data"][0]["embedding"]);
    assert_eq!(large["data"].as_array().unwrap().len(), 300);
}

#[test]
fn a_file_without_a_vocabulary_is_refused() {
    let file = Source::Gguf(folder().join("model.gguf"));
    let error = load(&file).err().unwrap().to_string();
    assert!(error.contains("tokenizer"), "{error}");
}
