//! Reloads a plugin again and again while streams run: none may fail or change its plugin on the way, every request after a
//! reload gets the new version, and a bad file changes nothing. `cargo xtask reload` runs it and keeps its table.
//!
//! The server is the binary beside this program, told by SIGHUP; the clients are plain sockets.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// The two versions of the plugin: the first reads the answer as a call, the second leaves it as content.
const VERSIONS: [&str; 2] = ["qwen25.wasm", "deepseek_v3.wasm"];
const ANSWER: &str = "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"zone\": \"Europe/Berlin\", \"format\": \"ISO 8601\"}}\n</tool_call>";
/// Every so many reloads the file is no component.
const BAD_EVERY: usize = 10;
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    /// Streams at one time
    #[arg(long, default_value_t = 200)]
    streams: usize,
    /// Reloads that succeed
    #[arg(long, default_value_t = 100)]
    reloads: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let plugin = Plugin::new(folder.path())?;
    plugin.install(0)?;
    let mut server = Server::start(folder.path(), &plugin.file)?;
    let clients = Arc::new(Clients {
        address: server.address.clone(),
        over: AtomicBool::new(false),
        ended: VERSIONS.map(|_| AtomicU64::new(0)),
    });
    let mut streams = JoinSet::new();
    for number in 0..arguments.streams {
        let clients = Arc::clone(&clients);
        streams.spawn(async move { clients.one_after_the_other(number).await });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let mut bad = 0;
    for reload in 1..=arguments.reloads {
        if reload % BAD_EVERY == 0 {
            bad += 1;
            plugin.break_it()?;
            server.hang_up("plugins not reloaded")?;
            let version = clients.ask("quick").await?;
            ensure!(version == (reload - 1) % 2, "a bad file took effect");
        }
        plugin.install(reload % 2)?;
        server.hang_up("plugins reloaded")?;
        let version = clients.ask("quick").await?;
        ensure!(version == reload % 2, "reload {reload} had no effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    clients.over.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    while let Some(ended) = streams.join_next().await {
        failed.extend(ended?.err());
    }
    let [calls, texts] = clients.ended.each_ref().map(|n| n.load(Ordering::Relaxed));
    println!("| what | figure |\n|---|---|");
    println!("| streams at one time | {} |", arguments.streams);
    println!("| reloads | {} |", arguments.reloads);
    println!("| bad files, each reported and without effect | {bad} |");
    println!("| seconds | {seconds:.1} |");
    println!("| streams ended on the first version | {calls} |");
    println!("| streams ended on the second version | {texts} |");
    println!("| streams that failed | {} |", failed.len());
    for failure in failed.iter().take(3) {
        eprintln!("{failure:#}");
    }
    ensure!(failed.is_empty(), "a stream failed");
    ensure!(calls > 0 && texts > 0, "only one version was seen");
    Ok(())
}

/// The file of the plugin that is reloaded.
struct Plugin {
    file: PathBuf,
    versions: [Vec<u8>; 2],
}

impl Plugin {
    fn new(folder: &Path) -> Result<Self> {
        let dist = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist"));
        let [first, second] = VERSIONS.map(|name| fs::read(dist.join(name)));
        Ok(Self {
            file: folder.join("mine.wasm"),
            versions: [first?, second?],
        })
    }

    fn install(&self, version: usize) -> Result<()> {
        self.replace(&self.versions[version])
    }

    fn break_it(&self) -> Result<()> {
        self.replace(b"no component")
    }

    /// In one step, as an installer does.
    fn replace(&self, content: &[u8]) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, content)?;
        Ok(fs::rename(new, &self.file)?)
    }
}

/// The server's process.
struct Server {
    child: Child,
    address: String,
    log: mpsc::Receiver<String>,
}

impl Server {
    fn start(folder: &Path, plugin: &Path) -> Result<Self> {
        // The binary lies beside the folder of the examples.
        let own = std::env::current_exe()?;
        let binary = own.ancestors().nth(2).context("a build folder")?;
        let chunks: Vec<String> = ANSWER.chars().map(String::from).collect();
        let slow = json!({"match": "slow", "chunks": chunks, "tokens_per_second": 60.0});
        let replay = folder.join("answers.jsonl");
        fs::write(&replay, format!("{slow}\n{}\n", json!({"text": ANSWER})))?;
        let mut child = Command::new(binary.join("weir"))
            .args(["serve", "--port", "0", "--max-num-seqs", "512"])
            // Prompts must not wait for each other: the streams are what is looked at.
            .args(["--max-num-batched-tokens", "65536"])
            .arg(format!("--model=replay:{}", replay.display()))
            .arg(format!("--plugin=mine={}", plugin.display()))
            .args(["--tool-call-parser", "mine"])
            .env("WEIR_CACHE", folder.join("cache"))
            .stderr(Stdio::piped())
            .spawn()
            .context("the binary `weir`; build it first")?;
        let stderr = child.stderr.take().context("a pipe")?;
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            let read = BufReader::new(stderr).lines().map_while(Result::ok);
            // Requests are logged too; nobody waits for those.
            let wanted = read.filter(|line| line.contains("plugins ") || line.contains("serves"));
            wanted.for_each(|line| drop(lines.send(line)));
        });
        let mut server = Self {
            child,
            address: String::new(),
            log,
        };
        let line = server.logged("weir serves")?;
        let (_, url) = line.split_once("http://").context("an address")?;
        server.address = url.trim_end_matches("/v1").to_owned();
        Ok(server)
    }

    /// The next line that holds this.
    fn logged(&self, text: &str) -> Result<String> {
        let line = self.log.recv_timeout(DEADLINE).context(text.to_owned())?;
        ensure!(line.contains(text), "not `{text}` but {line}");
        Ok(line)
    }

    /// Sends SIGHUP and waits until the log says this.
    fn hang_up(&mut self, answer: &str) -> Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status()?;
        ensure!(sent.success(), "no SIGHUP");
        self.logged(answer).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Clients {
    address: String,
    over: AtomicBool,
    /// Streams that ended well, by the version that read them.
    ended: [AtomicU64; 2],
}

impl Clients {
    async fn one_after_the_other(&self, number: usize) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(number as u64 * 10)).await;
        while !self.over.load(Ordering::Relaxed) {
            let version = self.ask("slow").await?;
            self.ended[version].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Streams one answer to its end and says which version read it.
    async fn ask(&self, question: &str) -> Result<usize> {
        let body = json!({
            "messages": [{"role": "user", "content": question}],
            "tools": [{"type": "function", "function": {"name": "now"}}],
            "stream": true,
        })
        .to_string();
        let mut socket = TcpStream::connect(&self.address).await?;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        version(&answer).with_context(|| answer)
    }
}

/// Which version read a stream; it must be one of them, from beginning to end.
fn version(answer: &str) -> Result<usize> {
    ensure!(answer.starts_with("HTTP/1.1 200"), "not answered");
    ensure!(answer.contains("data: [DONE]"), "cut off");
    let mut content = String::new();
    let mut arguments = String::new();
    let mut finish_reason = String::new();
    let events = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"));
    for event in events {
        let event: Value = serde_json::from_str(&format!("{{{event}"))?;
        let choice = &event["choices"][0];
        let delta = &choice["delta"];
        content += delta["content"].as_str().unwrap_or_default();
        let call = &delta["tool_calls"][0]["function"];
        arguments += call["arguments"].as_str().unwrap_or_default();
        finish_reason += choice["finish_reason"].as_str().unwrap_or_default();
    }
    if content.is_empty() && ANSWER.contains(&arguments) && finish_reason == "tool_calls" {
        ensure!(arguments.ends_with('}'), "half a call");
        Ok(0)
    } else if content == ANSWER && arguments.is_empty() && finish_reason == "stop" {
        Ok(1)
    } else {
        bail!("read by no version or by both")
    }
}
