//! The CPU runner's tokens a second, by criterion: `WEIR_BENCH_MODEL=MODEL.gguf cargo bench -p weir-cpu --bench engine`.
//!
//! Prefill of 512 and 1,536 tokens in the engine's chunks, and decode of 1 to 32 sequences, 64 tokens each behind 64. All
//! cores; nothing is asserted. Without a model it says so and measures nothing, as no model is part of the checkout.

#[path = "workload/mod.rs"]
mod workload;

use std::{path::PathBuf, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_engine::ModelRunner;

use workload::Work;

const WORKS: [Work; 8] = [
    Work::Prefill(512),
    Work::Prefill(1536),
    Work::Decode(1),
    Work::Decode(2),
    Work::Decode(4),
    Work::Decode(8),
    Work::Decode(16),
    Work::Decode(32),
];

fn bench(criterion: &mut Criterion) {
    let Some(path) = std::env::var_os("WEIR_BENCH_MODEL").map(PathBuf::from) else {
        println!("engine: no model: set WEIR_BENCH_MODEL to a GGUF file");
        return;
    };
    let mut runner = match workload::load(&path, None) {
        Ok(runner) => runner,
        Err(error) => return println!("engine: {}: {error}", path.display()),
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut group = criterion.benchmark_group(format!("engine/{name}"));
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    for work in WORKS {
        if work.longest() > runner.info().max_model_len {
            continue;
        }
        group.throughput(Throughput::Elements(work.tokens() as u64));
        let id = match work {
            Work::Prefill(tokens) => format!("prefill/{tokens}"),
            Work::Decode(sequences) => format!("decode/{sequences}"),
        };
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| {
                let mut run = || {
                    workload::prepare(&mut runner, work)?;
                    workload::run(&mut runner, work)
                };
                let seconds: workload::Outcome<f64> = (0..count).map(|_| run()).sum();
                Duration::from_secs_f64(seconds.expect("a step that can be computed"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
