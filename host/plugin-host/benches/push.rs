//! What a session and a push cost, as a component with the host's path and epoch interruption, and natively beside it:
//! `cargo bench -p weir-plugin-host`. `cargo xtask push-cost` makes a table of it. A time is no test: nothing is asserted.
//!
//! The stream is qwen25's (hermes): plain text, and one call whose argument is a string, in deltas of 4 characters.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use weir_output::{Event, Fragment, FragmentKind, Parser, RequestContext};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};
use weir_plugin_qwen25::Qwen25;
use weir_plugin_sdk as sdk;

const DELTA: usize = 4;
const CALL_LENGTHS: [usize; 2] = [2_000, 32_000];

/// What a model wrote, by the name of its bench: the text that is not timed, and the deltas that are.
fn streams() -> Vec<(String, String, Vec<String>)> {
    let deltas = |text: &str| {
        let characters: Vec<char> = text.chars().collect();
        let pieces = characters.chunks(DELTA);
        pieces.map(|piece| piece.iter().collect()).collect()
    };
    let content = "plain text with words ".repeat(100);
    let mut streams = vec![("content".to_owned(), String::new(), deltas(&content))];
    for length in CALL_LENGTHS {
        let start = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"";
        let arguments = deltas(&"some words ".repeat(length)[..length]);
        streams.push((format!("call_{length}"), start.to_owned(), arguments));
    }
    streams
}

/// A parser's session, wherever it runs.
trait Streamed {
    fn push(&mut self, text: &str);
}

struct Component {
    session: Box<dyn weir_output::ParserSession>,
    fragment: Fragment,
    events: Vec<Event>,
}

impl Component {
    fn open(parser: &dyn Parser) -> Self {
        Self {
            session: parser
                .session(&RequestContext::default())
                .expect("a session"),
            fragment: Fragment {
                text: String::new(),
                kind: FragmentKind::Text,
            },
            events: Vec::new(),
        }
    }
}

impl Streamed for Component {
    fn push(&mut self, text: &str) {
        self.events.clear();
        self.fragment.text.clear();
        self.fragment.text.push_str(text);
        let pushed = self.session.push(&self.fragment, &mut self.events);
        pushed.expect("no plugin error");
        black_box(&self.events);
    }
}

struct Native {
    session: Qwen25,
    fragment: sdk::Fragment,
    events: Vec<sdk::Event>,
}

impl Native {
    fn open() -> Self {
        Self {
            session: sdk::Parser::new("{}", &sdk::RequestContext::default()),
            fragment: sdk::Fragment::new("", sdk::FragmentKind::Text),
            events: Vec::new(),
        }
    }
}

impl Streamed for Native {
    fn push(&mut self, text: &str) {
        self.events.clear();
        self.fragment.text.clear();
        self.fragment.text.push_str(text);
        sdk::Parser::push(&mut self.session, &self.fragment, &mut self.events);
        black_box(&self.events);
    }
}

/// Times so many pushes, in as many streams as it takes.
fn pushes<S: Streamed>(
    mut left: u64,
    open: impl Fn() -> S,
    start: &str,
    deltas: &[String],
) -> Duration {
    let mut spent = Duration::ZERO;
    while left > 0 {
        let mut session = open();
        if !start.is_empty() {
            session.push(start);
        }
        let count = left.min(deltas.len() as u64);
        let begun = Instant::now();
        for delta in &deltas[..count as usize] {
            session.push(delta);
        }
        spent += begun.elapsed();
        left -= count;
    }
    spent
}

fn bench_pushes(group: &mut BenchmarkGroup<'_, WallTime>, parser: &Arc<dyn Parser>) {
    for (name, start, deltas) in streams() {
        group.bench_function(format!("wasm/{name}"), |bencher| {
            bencher.iter_custom(|count| {
                pushes(count, || Component::open(parser.as_ref()), &start, &deltas)
            });
        });
        group.bench_function(format!("native/{name}"), |bencher| {
            bencher.iter_custom(|count| pushes(count, Native::open, &start, &deltas));
        });
    }
}

/// What a session in the middle of a call of 2,000 characters holds of this process's memory.
fn live_session_bytes(parser: &dyn Parser) -> usize {
    const SESSIONS: usize = 200;
    let (_, start, deltas) = streams().swap_remove(1);
    let mut sessions = vec![Component::open(parser)];
    let before = resident_bytes();
    for _ in 0..SESSIONS {
        let mut session = Component::open(parser);
        session.push(&start);
        deltas.iter().for_each(|delta| session.push(delta));
        sessions.push(session);
    }
    (resident_bytes() - before) / SESSIONS
}

/// From Linux's /proc/self/statm, in pages of 4 KiB.
fn resident_bytes() -> usize {
    let counts = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = counts.split_whitespace().nth(1).expect("a second count");
    pages.parse::<usize>().expect("a number") * 4096
}

fn bench(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let host = PluginHost::new(&PluginHostConfig::default()).expect("a plugin host");
    let registry = Registry::builder(&host)
        .manifest_file(&root.join("plugins.toml"))
        .and_then(|builder| builder.build())
        .expect("the project's manifest");
    let parser = registry.parser("qwen25").expect("qwen25");
    // Before anything else, while no slot of the pool was used yet.
    println!(
        "memory of a live session: {} KiB",
        live_session_bytes(parser.as_ref()) / 1024
    );
    bench_pushes(&mut criterion.benchmark_group("push"), &parser);
    let mut group = criterion.benchmark_group("session");
    group.bench_function("wasm/start_and_drop", |bencher| {
        bencher.iter(|| Component::open(parser.as_ref()));
    });
    group.bench_function("native/start_and_drop", |bencher| {
        bencher.iter(Native::open)
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
