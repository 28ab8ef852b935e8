//! What a session and a push cost, as a component with the host's path and epoch interruption, and natively beside it:
//! `cargo bench -p weir-plugin-host`. A time is no test: nothing is asserted.

mod streams;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use weir_output::Parser;

use streams::{Component, Native, Streamed, streams};

/// Times so many pushes, in as many streams as it takes.
fn pushes<S: Streamed>(
    mut left: u64,
    open: impl Fn() -> S,
    start: &str,
    deltas: &[String],
) -> Duration {
    let fragments: Vec<_> = deltas.iter().map(|delta| S::fragment(delta)).collect();
    let mut spent = Duration::ZERO;
    while left > 0 {
        let mut session = open();
        if !start.is_empty() {
            session.push(&S::fragment(start));
        }
        let count = left.min(fragments.len() as u64);
        let begun = Instant::now();
        for fragment in &fragments[..count as usize] {
            session.push(fragment);
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

fn bench(criterion: &mut Criterion) {
    let parser = streams::component();
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
