//! A cheap client: plain TCP on one thread, events counted by the blank lines behind them, nothing parsed.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Prompts that hold this are answered with a call.
pub const ASKS_FOR_A_CALL: &str = "in a file";
/// Tokens of an answer that make no event: a call's beginning, up to its arguments.
const SILENT_TOKENS: usize = 12;
/// How the body of a chunked answer ends (RFC 9112, 7.1).
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
const READ_BUFFER: usize = 16 << 10;

/// Connections that are used again and again.
pub struct Streams {
    runtime: Runtime,
    connections: Vec<TcpStream>,
}

/// What one stream brought.
#[derive(Default)]
pub struct Heard {
    /// Tokens that were asked for.
    pub tokens: usize,
    /// For each read that ended an event: when, in nanoseconds since 1970, and how many.
    pub arrivals: Vec<(u64, usize)>,
}

impl Streams {
    /// Opens them.
    pub fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let connections = runtime.block_on(async {
            let mut connections = Vec::with_capacity(count);
            for _ in 0..count {
                let connection = TcpStream::connect(address).await?;
                connection.set_nodelay(true)?;
                connections.push(connection);
            }
            anyhow::Ok(connections)
        })?;
        Ok(Self {
            runtime,
            connections,
        })
    }

    /// Asks once on each for so many tokens and reads all answers.
    pub fn run(&mut self, tokens: usize) -> Result<Vec<Heard>> {
        let connections = std::mem::take(&mut self.connections);
        self.runtime.block_on(async {
            let mut running = JoinSet::new();
            for (number, connection) in connections.into_iter().enumerate() {
                running.spawn(ask(connection, number % 2 == 1, tokens));
            }
            let mut all = Vec::new();
            while let Some(ended) = running.join_next().await {
                let (connection, heard) = ended??;
                self.connections.push(connection);
                all.push(heard);
            }
            Ok(all)
        })
    }
}

fn request(call: bool, tokens: usize) -> String {
    let wish = if call { ASKS_FOR_A_CALL } else { "here" };
    let body = json!({
        "messages": [{"role": "user", "content": format!("Write of a river {wish}.")}],
        "tools": [{"type": "function", "function": {"name": "write", "parameters": {
            "type": "object", "properties": {"text": {"type": "string"}},
        }}}],
        "stream": true,
        "temperature": 0,
        "max_tokens": tokens,
    })
    .to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn ask(mut connection: TcpStream, call: bool, tokens: usize) -> Result<(TcpStream, Heard)> {
    connection
        .write_all(request(call, tokens).as_bytes())
        .await?;
    let mut heard = Heard {
        tokens,
        arrivals: Vec::with_capacity(tokens + SILENT_TOKENS),
    };
    let mut buffer = vec![0; READ_BUFFER];
    // The end of what was read before stands in front of what is read now.
    let mut kept = 0;
    let mut begun = false;
    loop {
        let read = connection.read(&mut buffer[kept..]).await?;
        ensure!(read > 0, "the server has closed a connection");
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let bytes = &buffer[..kept + read];
        if !begun && !bytes.starts_with(b"HTTP/1.1 200 ") {
            bail!("the server says {}", String::from_utf8_lossy(bytes));
        }
        begun = true;
        let events = events(&bytes[kept.saturating_sub(1)..]);
        if events > 0 {
            heard
                .arrivals
                .push((u64::try_from(now.as_nanos())?, events));
        }
        if bytes.ends_with(LAST_CHUNK) {
            break;
        }
        let end = bytes.len();
        kept = LAST_CHUNK.len().min(end);
        buffer.copy_within(end - kept..end, 0);
    }
    let events: usize = heard.arrivals.iter().map(|(_, events)| events).sum();
    ensure!(
        events + SILENT_TOKENS >= tokens,
        "{tokens} tokens were asked for, and {events} events came"
    );
    Ok((connection, heard))
}

/// Blank lines: nothing else in an answer has two line feeds in a row.
fn events(bytes: &[u8]) -> usize {
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    pairs.filter(|pair| *pair == (&b'\n', &b'\n')).count()
}
