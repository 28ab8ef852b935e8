//! `cargo xtask hostile-clients`: a server among clients that mean harm, as a table that is kept.
//!
//! Thousands of connections stay open at once, half of which never finish their request, beside readers that take nothing,
//! bodies that are too large, JSON without an end, too many headers and streams that are given up. Clients that behave ask
//! all the while; each round says how long they waited and what memory the server had. In the end it must stop by itself,
//! with nothing running.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    release, report,
    servers::{self, Server},
};

/// Whoever waits longer was not served.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the server gives clients: short, so that a run is.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Answers of well-behaved clients in each round.
const PROBES: usize = 50;
/// Readers that take nothing at once; each has a sequence in the engine.
const SLOW: usize = 16;
/// Memory beside what the idle server has: request bodies under way, and buffers of connections.
const MAX_GROWTH_MIB: f64 = 512.0;
/// Tokens of the answer that is given up at each of them.
const COUNTED: usize = 400;
const TEXT: &str = "hello there";

#[derive(clap::Args)]
pub struct Arguments {
    /// Connections at once, half of which never finish their request
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
    /// Use this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Runs every round and writes tests/reports/hostile_clients.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = release::weir_or(arguments.binary.as_deref(), root)?;
    let folder = root.join("target/hostile_clients");
    fs::create_dir_all(&folder)?;
    let answers = write_answers(&folder)?;
    let timeout = TIMEOUT.as_secs().to_string();
    let options = [
        "--header-timeout",
        &timeout,
        "--body-timeout",
        &timeout,
        "--send-timeout",
        &timeout,
        "--max-queue",
        "4096",
    ];
    let log = folder.join("weir.log");
    let model = format!("replay:{}", answers.display());
    let server = servers::weir(&binary, &model, &options, &log)?;
    let mut table = Table::new(&server)?;
    table.row(&server, "nobody else", 0)?;
    crowd(&server, &mut table, arguments.connections)?;
    slow_readers(&server, &mut table)?;
    bad_requests(&server, &mut table)?;
    given_up(&server, &mut table)?;
    table.row(&server, "after all of them", 0)?;
    conclude(root, arguments, &table, server, &log)
}

/// Ends the server as an operator does, writes the report and says what is not as it must be.
fn conclude(
    root: &Path,
    arguments: &Arguments,
    table: &Table,
    server: Server,
    log: &Path,
) -> Result<()> {
    let growth = table.most - table.idle;
    let status = server.terminate()?;
    // Its last lines may still be on their way to the file.
    std::thread::sleep(Duration::from_millis(500));
    let end = fs::read_to_string(log)?;
    let draining = end.lines().find(|line| line.contains("draining"));
    let draining = draining.context("the server never said that it drains")?;
    let idle = draining.contains("running=0");
    let body = format!(
        "{}\nThe server gives clients {} s each for headers, bodies and reading. {PROBES} well-behaved requests a round, one after \
         the other. At the end: exit {}, {}. Memory grew by {growth:.0} MiB at most; {MAX_GROWTH_MIB:.0} are allowed.\n",
        table.text,
        TIMEOUT.as_secs(),
        status.code().unwrap_or(-1),
        if idle {
            "no request was running"
        } else {
            "requests were still running"
        },
    );
    let title = "A server among hostile clients";
    let command = match &arguments.binary {
        Some(binary) => format!("cargo xtask hostile-clients --binary {}", binary.display()),
        None => "cargo xtask hostile-clients".to_owned(),
    };
    report::write(root, "hostile_clients", title, &command, &body)?;
    ensure!(idle, "requests outlive their clients: {draining}");
    ensure!(status.code() == Some(0), "the server ended with {status}");
    ensure!(growth <= MAX_GROWTH_MIB, "memory grew by {growth:.0} MiB");
    Ok(())
}

/// What the model says: an answer of more bytes than sockets take in, one of many tokens, and a short one.
fn write_answers(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("answers.jsonl");
    let piece = format!("\"{}\"", "x".repeat(4 << 10));
    let long = vec![piece; 6400].join(",");
    let counted: Vec<String> = (0..COUNTED)
        .map(|number| format!("\"{number} \""))
        .collect();
    let counted = counted.join(",");
    let lines = format!(
        "{{\"match\": \"long\", \"chunks\": [{long}]}}\n{{\"match\": \"count\", \"chunks\": [{counted}]}}\n{{\"text\": \"{TEXT}\"}}\n"
    );
    fs::write(&path, lines)?;
    Ok(path)
}

/// One line a round.
struct Table {
    text: String,
    /// MiB.
    idle: f64,
    most: f64,
}

impl Table {
    fn new(server: &Server) -> Result<Self> {
        let idle = memory(server)?;
        let text = "| others | how many | served, ms: median | max | memory, MiB |\n|---|---|---|---|---|\n";
        let text = text.to_owned();
        Ok(Self {
            text,
            idle,
            most: idle,
        })
    }

    /// Asks as those do who behave, and notes how that went while others do what `what` says.
    fn row(&mut self, server: &Server, what: &str, others: usize) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..PROBES {
            let asked = Instant::now();
            let answer = exchange(server, &chat("hi", "connection: close\r\n", false))?;
            ensure!(answer.contains(TEXT), "while {what}: {answer}");
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let memory = memory(server)?;
        self.most = self.most.max(memory);
        let line = format!(
            "| {what} | {others} | {:.1} | {:.1} | {memory:.1} |\n",
            times[times.len() / 2],
            times[times.len() - 1],
        );
        print!("{line}");
        self.text.push_str(&line);
        Ok(())
    }
}

/// Resident memory in MiB.
fn memory(server: &Server) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("VmRSS")?.trim().parse()?;
    Ok(kib / 1024.0)
}

fn address(server: &Server) -> &str {
    let address = server.url.trim_end_matches("/v1");
    address.strip_prefix("http://").unwrap_or(address)
}

fn connect(server: &Server) -> Result<TcpStream> {
    let stream = TcpStream::connect(address(server))
        .context("no connection; `ulimit -n` must be above the number of connections")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A chat request as it goes over the wire.
fn chat(content: &str, more: &str, stream: bool) -> String {
    let body = format!(
        "{{\"messages\": [{{\"role\": \"user\", \"content\": \"{content}\"}}], \"stream\": {stream}}}"
    );
    format!("{}{body}", head(body.len(), more))
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    )
}

/// All that comes until the server closes; what it cuts short is what came.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn exchange(server: &Server, request: &str) -> Result<String> {
    let mut stream = connect(server)?;
    // What is refused may be refused before all of it is sent.
    drop(stream.write_all(request.as_bytes()));
    Ok(rest(&mut stream))
}

fn crowd(server: &Server, table: &mut Table, connections: usize) -> Result<()> {
    let half_body = head(100, "") + "{\"messages\":";
    let unfinished = [
        "",
        "PRI * HTTP/2.0\r\n",
        "GET /health HTTP/1.1\r\nhost: w",
        half_body.as_str(),
    ];
    let mut halves = Vec::new();
    for number in 0..connections / 2 {
        let mut stream = connect(server)?;
        stream.write_all(unfinished[number % unfinished.len()].as_bytes())?;
        halves.push(stream);
    }
    let mut wholes = Vec::new();
    for _ in 0..connections - connections / 2 {
        let mut stream = connect(server)?;
        stream.write_all(chat("hi", "connection: close\r\n", false).as_bytes())?;
        wholes.push(stream);
    }
    for mut stream in wholes {
        let answer = rest(&mut stream);
        ensure!(answer.contains(TEXT), "a whole request got {answer:?}");
    }
    table.row(server, "requests that never end", halves.len())?;
    for (number, mut stream) in halves.into_iter().enumerate() {
        let answer = rest(&mut stream);
        let expected = match number % unfinished.len() {
            3 => answer.starts_with("HTTP/1.1 408"),
            _ => answer.is_empty(),
        };
        ensure!(expected, "half a request got {answer:?}");
    }
    table.row(server, "those cut off", 0)
}

fn slow_readers(server: &Server, table: &mut Table) -> Result<()> {
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = connect(server)?;
        stream.write_all(chat("long", "", true).as_bytes())?;
        slow.push(stream);
    }
    table.row(server, "streams that nobody reads", slow.len())?;
    std::thread::sleep(TIMEOUT + Duration::from_secs(1));
    for mut stream in slow {
        let answer = rest(&mut stream);
        ensure!(
            !answer.contains("[DONE]"),
            "a stream nobody read was kept to its end"
        );
    }
    table.row(server, "those cut off", 0)
}

fn bad_requests(server: &Server, table: &mut Table) -> Result<()> {
    const EACH: usize = 20;
    let deep = format!("{{\"messages\": {}", "[".repeat(1_000_000));
    let many: String = (0..10_000)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let kinds = [
        ("bodies of 45 MB and a byte", head(45_000_001, ""), "413"),
        (
            "JSON a million levels deep",
            head(deep.len(), "connection: close\r\n") + &deep,
            "400",
        ),
        ("requests of 10,000 headers", head(2, &many) + "{}", "431"),
    ];
    for (what, request, status) in kinds {
        for _ in 0..EACH {
            let answer = exchange(server, &request)?;
            let expected = answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}"));
            ensure!(expected, "{what}: {answer:?}");
        }
        table.row(server, what, EACH)?;
    }
    Ok(())
}

fn given_up(server: &Server, table: &mut Table) -> Result<()> {
    for lines in 0..COUNTED {
        let mut stream = connect(server)?;
        stream.write_all(chat("count", "", true).as_bytes())?;
        let mut taken = BufReader::new(stream).lines();
        // A chunk is a line, and an empty one follows it.
        for _ in 0..2 * lines {
            taken.next().context("the stream has ended")??;
        }
    }
    table.row(server, "streams given up at every chunk", COUNTED)
}
