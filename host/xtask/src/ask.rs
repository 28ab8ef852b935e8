//! A client of servers that a check started: plain answers and streams, many at once.

use std::{
    io::{BufRead, BufReader},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;

use crate::servers::Server;

/// Longer than any answer takes on a busy machine; whoever waits longer is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who asks one server.
pub struct Client {
    agent: Agent,
    url: String,
}

/// A plain answer.
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// A stream that came to its end.
pub struct Stream {
    /// From the request to the first text.
    pub first: Duration,
    /// Tokens, as the server counted them.
    pub tokens: u64,
}

impl Client {
    pub fn new(server: &Server) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None);
        Self {
            agent: config.build().into(),
            url: server.url.clone(),
        }
    }

    /// The plain answer to a chat request, whatever its status.
    pub fn chat(&self, body: &Value) -> Result<Reply> {
        let request = self.agent.post(format!("{}/chat/completions", self.url));
        let request = request.header("content-type", "application/json");
        let mut response = request.send(body.to_string())?;
        let text = response.body_mut().read_to_string()?;
        Ok(Reply {
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).with_context(|| text)?,
        })
    }

    /// A streamed chat answer, read to its end.
    pub fn stream(&self, body: &Value) -> Result<Stream> {
        let mut body = body.clone();
        body["stream"] = true.into();
        body["stream_options"] = serde_json::json!({"include_usage": true});
        let asked = Instant::now();
        let request = self.agent.post(format!("{}/chat/completions", self.url));
        let request = request.header("content-type", "application/json");
        let mut response = request.send(body.to_string())?;
        if response.status().as_u16() != 200 {
            anyhow::bail!("{}", response.body_mut().read_to_string()?);
        }
        let (mut first, mut tokens, mut ended) = (None, 0, false);
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line?;
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            if data == "[DONE]" {
                ended = true;
                break;
            }
            let chunk: Value = serde_json::from_str(data)?;
            ensure!(chunk.get("error").is_none(), "{chunk}");
            if let Some(piece) = chunk["choices"][0]["delta"]["content"].as_str()
                && !piece.is_empty()
            {
                first.get_or_insert_with(|| asked.elapsed());
            }
            tokens = chunk["usage"]["completion_tokens"]
                .as_u64()
                .unwrap_or(tokens);
        }
        ensure!(ended, "the stream broke off");
        Ok(Stream {
            first: first.context("a stream without text")?,
            tokens,
        })
    }

    /// The sum of a metric's samples, over all its labels; None where the server has no such metric.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let samples = self.samples(name)?.into_iter();
        Ok(samples
            .map(|(_, value)| value)
            .reduce(|sum, value| sum + value))
    }

    /// The bound of the bucket of a histogram in which this part of its samples ends.
    pub fn quantile(&self, name: &str, part: f64) -> Result<Duration> {
        let mut buckets: Vec<(f64, f64)> = self
            .samples(&format!("{name}_bucket"))?
            .into_iter()
            .filter_map(|(labels, count)| {
                let bound = labels.split_once("le=\"")?.1.split_once('"')?.0;
                Some((bound.parse().ok()?, count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (_, all) = buckets
            .last()
            .with_context(|| format!("no metric {name}"))?;
        ensure!(*all > 0.0, "{name} has no samples");
        let within = buckets.iter().find(|(_, count)| *count >= all * part);
        let (bound, _) = within.context("buckets that do not grow")?;
        // Behind the last bound there is no end.
        Ok(Duration::try_from_secs_f64(*bound).unwrap_or(Duration::MAX))
    }

    /// Labels and values of a metric.
    fn samples(&self, name: &str) -> Result<Vec<(String, f64)>> {
        let url = format!("{}/metrics", self.url.trim_end_matches("/v1"));
        let text = self.agent.get(url).call()?.body_mut().read_to_string()?;
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels.to_owned(), value.trim().parse().ok()?))
        });
        Ok(samples.collect())
    }
}

/// Runs a job for each number below `count`, so many at once, and gives the results in order.
pub fn at_once<T: Send>(count: usize, workers: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, job(number)));
        }
    };
    let mut results: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(thread::ScopedJoinHandle::join);
        results
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
