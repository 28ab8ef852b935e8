//! The example of a third party's parser, used as its README says.

use serde_json::{Value, json};

use crate::{client::tools, weir::Server};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tool_parser");

#[test]
fn its_readme_works() {
    let model = format!("replay:{FOLDER}/demo.jsonl");
    let plugin = format!("mine={FOLDER}/hash_call.wasm");
    let server = Server::start(&[
        "--model",
        &model,
        "--plugin",
        &plugin,
        "--tool-call-parser",
        "mine",
    ]);
    let message = server.message("weather in Paris?", tools());
    assert_eq!(message["content"], "Let me look.\n");
    let call = &message["tool_calls"][0]["function"];
    assert_eq!(call["name"], "get_weather", "{message}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Paris"}));
    assert_eq!(
        server.message("hello", tools())["content"],
        "Ask me about the weather."
    );
}
