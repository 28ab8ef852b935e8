//! What the tests of chat requests are made of.

use serde_json::{Value, json};
use weir_protocol::{ChatRequest, Invalid};

/// A chat request with `more` fields beside one message.
pub fn chat(more: Value) -> Result<ChatRequest, Invalid> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    ChatRequest::from_json(body)
}

/// A strict tool.
pub fn weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}, "strict": true}})
}
