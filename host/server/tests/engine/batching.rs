//! Streams side by side: the same tokens as alone, and blocks that come back when readers go.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use weir_engine::{
    EngineCounters, FinishReason, Generated, GeneratedStream, Generator, SamplingParams,
    SequenceRequest, StopConditions,
};
use weir_server::{
    EngineHandle,
    config::{ByteSize, Config},
};

use crate::tiny_model::{BLOCK, KV_BYTES, config, load};

const STREAMS: usize = 16;

/// Prompts of different lengths, seeds of their own, temperature 1. All prompts together fit into one step, so that none is
/// cut into chunks: where the cuts lie would be the last bit's luck.
fn request(number: usize, max_tokens: usize) -> SequenceRequest {
    let length = 3 + 2 * number;
    SequenceRequest {
        prompt: (0..length)
            .map(|position| ((position * 7 + number * 13) % 96) as u32)
            .collect(),
        sampling: SamplingParams {
            seed: Some(number as u64),
            ..SamplingParams::default()
        },
        stop: StopConditions {
            max_tokens: Some(max_tokens),
            ignore_eos: true,
            ..StopConditions::default()
        },
        constraint: None,
        embeddings: None,
        pooling: None,
        priority: 0,
    }
}

pub fn submit(engine: &EngineHandle, number: usize, max_tokens: usize) -> GeneratedStream {
    engine.submit(request(number, max_tokens)).unwrap()
}

/// The stream's tokens; it must end by its length.
async fn tokens(mut stream: GeneratedStream) -> Vec<u32> {
    let mut tokens = Vec::new();
    while let Some(item) = stream.next().await {
        match item.unwrap() {
            Generated::Token { id, .. } => tokens.push(id),
            Generated::Finished { reason, usage } => {
                assert_eq!(reason, FinishReason::Length);
                assert!(usage.completion_tokens >= tokens.len());
            }
            other => panic!("nobody asked for that: {other:?}"),
        }
    }
    tokens
}

pub async fn one_by_one(engine: &EngineHandle, max_tokens: usize) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for number in 0..STREAMS {
        all.push(tokens(submit(engine, number, max_tokens)).await);
    }
    all
}

pub async fn together(engine: &EngineHandle, max_tokens: usize) -> Vec<Vec<u32>> {
    join_all((0..STREAMS).map(|number| tokens(submit(engine, number, max_tokens)))).await
}

/// Waits until the engine's counters are as wanted.
pub async fn until(
    engine: &EngineHandle,
    wanted: impl Fn(&EngineCounters) -> bool,
) -> EngineCounters {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let counters = engine.counters();
        if wanted(&counters) {
            return counters;
        }
        assert!(
            Instant::now() < deadline,
            "the engine never came there: {counters:?}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn company_changes_no_token() {
    let (_model, engine) = load(&config());
    let alone = one_by_one(&engine, 40).await;
    let steps = engine.counters().steps;
    assert_eq!(together(&engine, 40).await, alone);
    let batched = until(&engine, |counters| counters.blocks_used == 0)
        .await
        .steps
        - steps;
    assert!(
        batched < steps / 4,
        "they ran together: {batched} steps, {steps} alone"
    );
    assert!(alone.iter().all(|tokens| tokens.len() == 40));
    for (number, tokens) in alone.iter().enumerate() {
        assert!(
            !alone[..number].contains(tokens),
            "different seeds and prompts, different words"
        );
    }
    // The tokens are sampled, not stuck: a stream says many different ones.
    assert!(alone.iter().all(|tokens| {
        tokens
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len()
            > 10
    }));
}

#[tokio::test]
async fn scarce_blocks_and_small_steps_end_no_stream() {
    let scarce = Config {
        max_num_batched_tokens: 24,
        kv_cache_memory: Some(ByteSize(KV_BYTES / 12)),
        ..config()
    };
    let (_model, engine) = load(&scarce);
    assert!(
        together(&engine, 70)
            .await
            .iter()
            .all(|tokens| tokens.len() == 70)
    );
    let counters = until(&engine, |counters| counters.blocks_used == 0).await;
    assert!(
        counters.preemptions > 0 && counters.failed_steps == 0,
        "{counters:?}"
    );
}

#[tokio::test]
async fn readers_that_leave_free_their_blocks_at_once() {
    let (_model, engine) = load(&config());
    // Nobody reads, so each stands still where its channel is full, with the blocks that it holds there.
    let mut streams: Vec<_> = (0..STREAMS)
        .map(|number| submit(&engine, number, 100))
        .collect();
    let full = until(&engine, |counters| counters.paused == STREAMS).await;
    let generated = full.generated_tokens as usize / STREAMS;
    let blocks = |numbers: std::ops::Range<usize>| -> usize {
        // The last token of each has been sampled, not computed.
        numbers
            .map(|number| (request(number, 1).prompt.len() + generated - 1).div_ceil(BLOCK))
            .sum()
    };
    assert_eq!(full.blocks_used, blocks(0..STREAMS), "{full:?}");

    streams.truncate(STREAMS / 2);
    let left = until(&engine, |counters| counters.paused == STREAMS / 2).await;
    assert_eq!(left.blocks_used, blocks(0..STREAMS / 2), "{left:?}");
    assert_eq!(
        left.steps, full.steps,
        "nothing was computed for those who left"
    );

    // Those that stayed lose nothing by it.
    let rest = join_all(streams.into_iter().map(tokens)).await;
    let empty = until(&engine, |counters| counters.blocks_used == 0).await;
    assert_eq!((empty.running, empty.waiting, empty.paused), (0, 0, 0));
    let alone = one_by_one(&engine, 100).await;
    assert_eq!(rest, alone[..STREAMS / 2]);
}

#[tokio::test]
async fn readers_that_leave_while_it_computes_free_theirs_within_two_steps() {
    let (_model, engine) = load(&config());
    let mut streams: Vec<_> = (0..STREAMS)
        .map(|number| submit(&engine, number, 300))
        .collect();
    // Each reads a little, so that all are being computed when half of them leave.
    for stream in &mut streams {
        assert!(matches!(
            stream.next().await,
            Some(Ok(Generated::Token { .. }))
        ));
    }
    let staying: Vec<_> = streams.drain(..STREAMS / 2).collect();
    drop(streams);
    // The step under way may be for all; the one after it knows.
    let dropped = engine.counters().steps;
    let staying = tokio::spawn(join_all(staying.into_iter().map(tokens)));
    let after = until(&engine, |counters| {
        counters.steps >= dropped + 2 || counters.blocks_used == 0
    })
    .await;
    assert!(
        after.running + after.paused + after.waiting <= STREAMS / 2,
        "{after:?}"
    );
    assert!(
        staying
            .await
            .unwrap()
            .iter()
            .all(|tokens| tokens.len() == 299)
    );
    until(&engine, |counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn a_shut_down_engine_ends_its_streams() {
    let (_model, engine) = load(&config());
    let mut stream = submit(&engine, 0, 300);
    assert!(stream.next().await.unwrap().is_ok());
    engine.shutdown();
    let mut last = None;
    while let Some(item) = stream.next().await {
        last = Some(item);
    }
    assert_eq!(last, Some(Err(weir_engine::EngineError::Stopped)));
    assert!(engine.submit(request(1, 1)).is_err());
    assert_eq!(engine.counters().blocks_used, 0);
}
