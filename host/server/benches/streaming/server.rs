//! The server under load: the `weir` binary with a replayed model that is paced.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// What the words of an answer are taken from; each with the blank before it is a token.
const WORDS: &str = "the river keeps its own slow time and nobody on either bank would say that it hurries even when \
    rain falls for days upon hills they have never seen";
/// Tokens of an answer's beginning, whatever it is.
const BEGINNING: usize = 16;

/// A process that serves.
pub struct Server {
    child: Child,
    address: SocketAddr,
    _answers: NamedTempFile,
}

/// The time between two steps that give each stream a token.
pub fn period(tokens_per_second: f64) -> Duration {
    Duration::from_secs_f64(tokens_per_second.recip())
}

impl Server {
    /// Starts it with answers of so many tokens, given at this rate to each stream.
    pub fn start(
        program: &Path,
        tokens_per_second: f64,
        tokens: usize,
        streams: usize,
    ) -> Result<Self> {
        let answers = NamedTempFile::new()?;
        std::fs::write(answers.path(), replay(tokens_per_second, tokens))?;
        let (streams, model) = (
            streams.to_string(),
            format!("replay:{}", answers.path().display()),
        );
        let mut child = Command::new(program)
            .args(["serve", "--port", "0", "--model", &model])
            .args(["--tool-call-parser", "hermes", "--max-model-len", "16384"])
            .args([
                "--max-num-seqs",
                &streams,
                "--max-num-batched-tokens",
                "8192",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("a pipe")?;
        let mut log = BufReader::new(stderr).lines();
        let address = loop {
            let Some(line) = log.next().transpose()? else {
                bail!("the server has ended before it listened");
            };
            let url = line
                .split_once("weir serves")
                .and_then(|(_, rest)| rest.split_once("http://"));
            if let Some((_, url)) = url {
                let address = url.split(['/', ' ']).next().unwrap_or_default();
                break address.parse()?;
            }
        };
        // A pipe that nobody reads would stop it.
        thread::spawn(move || log.for_each(drop));
        Ok(Self {
            child,
            address,
            _answers: answers,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Prose for everybody, and for prompts that ask for it a call with prose as its argument; neither ends.
fn replay(tokens_per_second: f64, tokens: usize) -> String {
    let words: Vec<String> = WORDS.split(' ').map(|word| format!(" {word}")).collect();
    let prose = words.iter().cycle().take(tokens + BEGINNING);
    let prose = prose.map(|word| serde_json::json!(word).to_string());
    let prose = prose.collect::<Vec<_>>().join(",");
    let call = r#"{"text":"<tool_call>","control":true},"\n{\"","name","\": \"","write","\", \"","arguments","\": {\"","text","\": \"""#;
    let mut lines = format!(r#"{{"tokens_per_second":{tokens_per_second},"chunks":[{prose}]}}"#);
    let matches = super::client::ASKS_FOR_A_CALL;
    let _ = write!(
        lines,
        "\n{{\"match\":\"{matches}\",\"chunks\":[{call},{prose}]}}\n"
    );
    lines
}
