//! One server to ask, and one request with its clock.
//!
//! Every request opens a connection of its own: what a server closes between two rounds can then break none, and all servers
//! pay the same. The clock starts before the connection is made. Proxies of the environment are not used.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use weir_remote::{
    connections::{BaseUrl, Connections, bearer, connection_error, root, whole},
    event_stream::EventStream,
};

use super::{
    BenchError,
    chunk::{self, Usage},
};

/// A server's API.
pub(super) struct Server {
    /// Without a slash at its end.
    pub(super) url: String,
    key: Option<HeaderValue>,
    client: Connections,
    timeout: Duration,
}

/// What one request came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    /// From sending to the first text.
    pub(super) first: Duration,
    /// Between the arrivals of pieces of text.
    pub(super) gaps: Vec<Duration>,
    /// From sending to the stream's end.
    pub(super) total: Duration,
    /// What the server counted, if it did.
    pub(super) usage: Option<Usage>,
}

impl Answer {
    /// The server's count, or else one token a piece of text.
    pub(super) fn output_tokens(&self) -> u64 {
        match self.usage {
            Some(usage) => usage.completion_tokens,
            None => self.gaps.len() as u64 + 1,
        }
    }
}

impl Server {
    /// Prepares to ask a server; nothing is sent.
    ///
    /// # Errors
    /// An unusable URL or key, or no TLS certificates on this system.
    pub(super) fn new(
        url: &str,
        api_key: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, BenchError> {
        let address = BaseUrl::parse(url).map_err(|reason| BenchError::Url {
            url: url.to_owned(),
            reason,
        })?;
        let key = api_key.map(bearer).transpose();
        Ok(Self {
            url: address.api,
            key: key.map_err(|_| BenchError::Key)?,
            client: Connections::new(address.tls, 0, None).map_err(BenchError::Tls)?,
            timeout,
        })
    }

    /// The first model that the server lists.
    ///
    /// # Errors
    /// [`BenchError::Models`] with what came instead.
    pub(super) async fn first_model(&self) -> Result<String, BenchError> {
        let failed = |reason| BenchError::Models {
            url: self.url.clone(),
            reason,
        };
        let list = async {
            let response = self.send(Method::GET, "/models", Bytes::new()).await?;
            let body = whole(response).await?;
            let value: Value = serde_json::from_slice(&body)
                .map_err(|error| format!("its list of models is no JSON: {error}"))?;
            let id = value.pointer("/data/0/id").and_then(Value::as_str);
            id.map(str::to_owned)
                .ok_or_else(|| "it lists no model".to_owned())
        };
        let listed = tokio::time::timeout(self.timeout, list).await;
        listed
            .unwrap_or_else(|_| Err(self.too_late()))
            .map_err(failed)
    }

    /// Sends a request for a stream and reads it to its end.
    ///
    /// # Errors
    /// One line: no connection, the server's refusal, a stream that broke, said an error, held no text or took too long.
    pub(super) async fn ask(&self, path: &str, body: Bytes) -> Result<Answer, String> {
        let answer = tokio::time::timeout(self.timeout, self.stream(path, body)).await;
        answer.unwrap_or_else(|_| Err(self.too_late()))
    }

    fn too_late(&self) -> String {
        format!("not done after {} s, see --timeout", self.timeout.as_secs())
    }

    async fn stream(&self, path: &str, body: Bytes) -> Result<Answer, String> {
        let begun = Instant::now();
        let mut response = self.send(Method::POST, path, body).await?;
        let (mut stream, mut events) = (EventStream::default(), Vec::new());
        let mut answer = Answer::default();
        let mut last_text: Option<Duration> = None;
        let (mut ended, mut done) = (false, false);
        while !done && let Some(frame) = response.frame().await {
            let frame =
                frame.map_err(|error| format!("the stream was cut off: {}", root(&error)))?;
            let now = begun.elapsed();
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            stream
                .push(bytes, &mut events)
                .map_err(|_| "an event of more than 16 MiB".to_owned())?;
            for event in events.drain(..) {
                let said = chunk::read(&event)?;
                if said.text {
                    match last_text.replace(now) {
                        Some(before) => answer.gaps.push(now - before),
                        None => answer.first = now,
                    }
                }
                ended |= said.end;
                done |= said.done;
                answer.usage = said.usage.or(answer.usage);
            }
        }
        answer.total = begun.elapsed();
        match (ended || done, last_text) {
            (false, _) => Err("the stream was cut off before its end".to_owned()),
            (true, None) => Err("the answer held no text".to_owned()),
            (true, Some(_)) => Ok(answer),
        }
    }

    /// Sends a request and waits for the head of a good answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| connection_error(&error))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = whole(response).await.unwrap_or_default();
        let message = chunk::error_message(&String::from_utf8_lossy(&body));
        Err(format!("HTTP {}: {message}", status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Result<String, String> {
        Server::new(url, None, Duration::from_secs(1))
            .map(|server| server.url)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_completed_or_refused() {
        assert_eq!(url("http://h:1/v1/"), Ok("http://h:1/v1".to_owned()));
        assert_eq!(url("http://h:1"), Ok("http://h:1/v1".to_owned()));
        assert_eq!(url("http://h/api"), Ok("http://h/api".to_owned()));
        for bad in [
            "h:1",
            "127.0.0.1:8000/v1",
            "ftp://h/v1",
            "http://h/v1?x=1",
            "",
            "http://",
        ] {
            let error = url(bad).expect_err(bad);
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
        let key = Server::new("http://h", Some("a\nb"), Duration::from_secs(1));
        assert!(matches!(key, Err(BenchError::Key)));
    }
}
