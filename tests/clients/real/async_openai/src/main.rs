//! async-openai against weir. Prints one JSON object, as checks.py says.

use std::{env, error::Error};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{ChatCompletionMessageToolCalls, CreateChatCompletionRequest, CreateChatCompletionResponse},
};
use futures::StreamExt;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Weir {
    client: Client<OpenAIConfig>,
    model: String,
}

impl Weir {
    fn request(&self, messages: &[Value], tools: bool) -> Outcome<CreateChatCompletionRequest> {
        let mut request = json!({"model": self.model, "messages": messages});
        if tools {
            let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
            request["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]);
        }
        Ok(serde_json::from_value(request)?)
    }

    async fn ask(&self, messages: &[Value], tools: bool) -> Outcome<CreateChatCompletionResponse> {
        Ok(self.client.chat().create(self.request(messages, tools)?).await?)
    }

    async fn plain(&self) -> Outcome<String> {
        let answer = self.ask(&[json!({"role": "user", "content": "Say hello."})], false).await?;
        answer.choices[0].message.content.clone().ok_or_else(|| "no content".into())
    }

    async fn stream(&self) -> Outcome<String> {
        let request = self.request(&[json!({"role": "user", "content": "Say hello."})], false)?;
        let mut stream = self.client.chat().create_stream(request).await?;
        let mut pieces = Vec::new();
        while let Some(chunk) = stream.next().await {
            pieces.extend(chunk?.choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        if pieces.len() < 3 {
            return Err(format!("{} pieces", pieces.len()).into());
        }
        Ok(pieces.concat())
    }

    async fn tools(&self) -> Outcome<String> {
        let mut messages = vec![json!({"role": "user", "content": "What is the weather in Xanadu?"})];
        let message = self.ask(&messages, true).await?.choices.swap_remove(0).message;
        let calls = message.tool_calls.ok_or("no calls")?;
        messages.push(json!({"role": "assistant", "content": message.content, "tool_calls": calls}));
        for call in calls {
            let ChatCompletionMessageToolCalls::Function(call) = call else { return Err("a custom call".into()) };
            let given: Value = serde_json::from_str(&call.function.arguments)?;
            let content = format!("22 degrees in {}", given["city"].as_str().ok_or("no city")?);
            messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": content}));
        }
        let answer = self.ask(&messages, true).await?;
        answer.choices[0].message.content.clone().ok_or_else(|| "no content".into())
    }
}

fn verdict(said: Outcome<String>, wanted: &str) -> Value {
    match said {
        Ok(text) if text.contains(wanted) => Value::Null,
        Ok(text) => Value::String(text),
        Err(error) => Value::String(error.to_string()),
    }
}

#[tokio::main]
async fn main() {
    let [url, model] = [1, 2].map(|index| env::args().nth(index).unwrap_or_default());
    let config = OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key("any");
    let weir = Weir { client: Client::with_config(config), model };
    let results = json!({
        "plain": verdict(weir.plain().await, "Hello from weir"),
        "stream": verdict(weir.stream().await, "Hello from weir"),
        "tools": verdict(weir.tools().await, "It is 22 degrees in Xanadu."),
    });
    println!("{results}");
}
