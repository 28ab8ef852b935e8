//! async-openai: URL MODEL CHECK, as asked.py says. A call comes plain, the answer to its result in a stream. What is right is judged
//! by run.py, not here.

use std::{env, error::Error};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{
        ChatCompletionMessageToolCalls, CreateChatCompletionRequest, CreateChatCompletionResponse,
    },
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
            let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
            let function = json!({"name": "get_weather", "parameters": city});
            request["tools"] = json!([{"type": "function", "function": function}]);
        }
        Ok(serde_json::from_value(request)?)
    }

    async fn ask(
        &self,
        request: CreateChatCompletionRequest,
    ) -> Outcome<CreateChatCompletionResponse> {
        Ok(self.client.chat().create(request).await?)
    }

    async fn pieces(&self, request: CreateChatCompletionRequest) -> Outcome<Vec<String>> {
        let mut stream = self.client.chat().create_stream(request).await?;
        let mut pieces = Vec::new();
        while let Some(chunk) = stream.next().await {
            let deltas = chunk?.choices.into_iter();
            pieces.extend(deltas.filter_map(|choice| choice.delta.content));
        }
        Ok(pieces)
    }

    async fn tools(&self) -> Outcome<Vec<String>> {
        let mut messages =
            vec![json!({"role": "user", "content": "What is the weather in Xanadu?"})];
        let called = self.ask(self.request(&messages, true)?).await?;
        let message = &called.choices[0].message;
        let calls = message.tool_calls.as_ref().ok_or("no calls")?;
        messages
            .push(json!({"role": "assistant", "content": message.content, "tool_calls": calls}));
        for call in calls {
            let ChatCompletionMessageToolCalls::Function(call) = call else {
                return Err("a custom call".into());
            };
            let given: Value = serde_json::from_str(&call.function.arguments)?;
            let city = given["city"].as_str().ok_or("no city")?;
            let result = format!("22 degrees in {city}");
            messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": result}));
        }
        self.pieces(self.request(&messages, true)?).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, model, check] = arguments.as_slice() else {
        return Err("URL MODEL CHECK".into());
    };
    let config = OpenAIConfig::new()
        .with_api_base(format!("{url}/v1"))
        .with_api_key("any");
    let weir = Weir {
        client: Client::with_config(config),
        model: model.clone(),
    };
    let hello = weir.request(&[json!({"role": "user", "content": "Say hello."})], false)?;
    let said = match check.as_str() {
        "plain" => {
            let content = weir.ask(hello).await?.choices[0].message.content.clone();
            vec![content.ok_or("no content")?]
        }
        "stream" => weir.pieces(hello).await?,
        _ => weir.tools().await?,
    };
    println!("{}", json!(said));
    Ok(())
}
