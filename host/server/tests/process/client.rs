//! A blocking client: whole answers, and streams line by line.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
};

use serde_json::{Value, json};
use ureq::{
    Agent, Body, BodyReader,
    http::{Request, Response},
};

use crate::weir::{DEADLINE, Server};

/// A chat request with one user message and these fields.
pub fn chat_body(content: &str, more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": content}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// One tool that takes any object.
pub fn tools() -> Value {
    json!({"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]})
}

fn agent() -> Agent {
    // A connection of its own for every request: none lingers.
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(DEADLINE))
        .proxy(None);
    config.build().into()
}

fn send(server: &Server, path: &str, body: &Value) -> Result<Response<Body>, ureq::Error> {
    let request = agent().post(format!("http://{}{path}", server.address));
    request
        .header("content-type", "application/json")
        .send(body.to_string())
}

/// Status and JSON body.
fn read(mut response: Response<Body>) -> Result<(u16, Value), ureq::Error> {
    let text = response.body_mut().read_to_string()?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_str(&text).expect("JSON")))
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    /// Without parameters.
    pub media_type: String,
    /// The fields that the server did not know.
    pub ignored: Option<String>,
    pub text: String,
}

impl Server {
    /// The answer to any request.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &BTreeMap<String, String>,
        body: Option<String>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            // As bytes: a header may hold more than ASCII.
            request = request.header(name, value.as_bytes());
        }
        let sent = match body {
            Some(body) => agent().run(request.body(body).expect("a request")),
            None => agent().run(request.body(()).expect("a request")),
        };
        let mut response = sent.expect("an answer");
        let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let media_type = header("content-type").unwrap_or_default();
        Answer {
            status: response.status().as_u16(),
            media_type: media_type.split(';').next().unwrap_or_default().to_owned(),
            ignored: header("x-weir-ignored-fields"),
            text: response.body_mut().read_to_string().expect("text"),
        }
    }

    /// Status and JSON body of an answer, if the server takes the connection.
    pub fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value), ureq::Error> {
        read(send(self, path, body)?)
    }

    /// Status and JSON body of what somebody who bears this key posts.
    pub fn post_bearing(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let request = agent().post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {key}"));
        read(request.send(body.to_string()).expect("an answer")).expect("a whole answer")
    }

    /// Status and JSON body of what somebody who bears this key gets.
    pub fn get_bearing(&self, path: &str, key: &str) -> (u16, Value) {
        let request = agent().get(format!("http://{}{path}", self.address));
        let request = request.header("authorization", format!("Bearer {key}"));
        read(request.call().expect("an answer")).expect("a whole answer")
    }

    /// Status and JSON body of the answer to a chat request.
    pub fn chat(&self, content: &str, more: Value) -> (u16, Value) {
        self.try_post("/v1/chat/completions", &chat_body(content, more))
            .expect("an answer")
    }

    /// The message of a chat request's answer, which must be one.
    pub fn message(&self, content: &str, more: Value) -> Value {
        let (status, mut answer) = self.chat(content, more);
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"].take()
    }

    /// A streamed chat answer, begun.
    pub fn stream(&self, content: &str, more: Value) -> ChatStream {
        let mut body = chat_body(content, more);
        body["stream"] = true.into();
        let response = send(self, "/v1/chat/completions", &body).expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        ChatStream {
            lines: BufReader::new(response.into_body().into_reader()),
        }
    }
}

/// The lines of a stream as they come.
pub struct ChatStream {
    lines: BufReader<BodyReader<'static>>,
}

impl ChatStream {
    /// The next line that is not empty; None at the end, be it orderly or not.
    pub fn next_line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if !line.is_empty() {
                return Some(line.to_owned());
            }
        }
    }

    /// All lines that are left.
    pub fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }
}

/// The content that a stream's lines add up to.
pub fn content(lines: &[String]) -> String {
    let chunks = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    chunks
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}
