//! The engine's main promise, over random requests, limits, aborts and pauses: whatever runs beside it and whatever is
//! cached, a sequence's output is the one it gets alone, and no block is ever lost.

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Transcript, Transcripts, arithmetic_runner::ArithmeticRunner, constraints::Rhythm, run_dry,
};
use crate::{
    Constraint, Engine, EngineConfig, Pooling, RunnerInfo, SamplingParams, SequenceId,
    SequenceRequest, StopConditions,
};

const VOCAB: u32 = 24;

#[derive(Debug, Clone)]
enum Action {
    Add,
    Step,
    Abort(prop::sample::Index),
    Pause(prop::sample::Index),
    Resume(prop::sample::Index),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::Add),
        9 => Just(Action::Step),
        1 => any::<prop::sample::Index>().prop_map(Action::Abort),
        2 => any::<prop::sample::Index>().prop_map(Action::Pause),
        2 => any::<prop::sample::Index>().prop_map(Action::Resume),
    ]
}

fn sampling() -> impl Strategy<Value = SamplingParams> {
    let truncation = (0usize..8, 0.3f32..=1.0, 0.0f32..0.2, 0.5f32..=1.0);
    let penalties = (0.8f32..1.5, -1.0f32..1.0, -1.0f32..1.0);
    let bias = prop::collection::vec((0..VOCAB, -2.0f32..2.0), 0..2);
    let temperature = prop_oneof![Just(0.0f32), 0.2f32..2.0];
    (
        temperature,
        truncation,
        penalties,
        bias,
        any::<u64>(),
        (prop::option::of(0usize..3), prop::bool::weighted(0.3)),
    )
        .prop_map(
            |(temperature, truncation, penalties, logit_bias, seed, told)| SamplingParams {
                temperature,
                top_k: truncation.0,
                top_p: truncation.1,
                min_p: truncation.2,
                typical_p: truncation.3,
                repetition_penalty: penalties.0,
                presence_penalty: penalties.1,
                frequency_penalty: penalties.2,
                logit_bias,
                // Every other token of the vocabulary, or all but one.
                allowed_tokens: (seed % 5 == 0).then(|| (0..VOCAB).step_by(2).collect()),
                bad_words: if seed % 3 == 0 {
                    vec![vec![3], vec![5, 5]]
                } else {
                    Vec::new()
                },
                seed: Some(seed),
                logprobs: told.0,
                prompt_logprobs: told.1.then_some(1),
            },
        )
}

fn request() -> impl Strategy<Value = SequenceRequest> {
    let stop = (
        0usize..22,
        0usize..6,
        prop::collection::vec(0..VOCAB, 0..2),
        any::<bool>(),
    )
        .prop_map(
            |(max_tokens, min_tokens, stop_token_ids, ignore_eos)| StopConditions {
                max_tokens: Some(max_tokens),
                min_tokens,
                stop_token_ids,
                ignore_eos,
                strings: Vec::new(),
                reasoning: None,
                closing_reserve: 0,
            },
        );
    let pooling = prop_oneof![Just(Pooling::Last), Just(Pooling::Mean)];
    let pooling = prop::option::weighted(0.2, pooling);
    let fields = (prompt(), sampling(), stop, pooling, (-1i64..2, rhythm()));
    fields.prop_map(|(prompt, sampling, stop, pooling, (priority, rhythm))| {
        // Other masks may leave nothing of what a constraint allows.
        let masked = sampling.allowed_tokens.is_some() || !sampling.bad_words.is_empty();
        let endless = stop.ignore_eos && stop.stop_token_ids.is_empty();
        let rhythm = rhythm.filter(|_| !masked && !endless);
        SequenceRequest {
            prompt,
            sampling,
            stop,
            constraint: rhythm.map(|rhythm| Arc::new(rhythm) as Arc<dyn Constraint>),
            embeddings: None,
            pooling,
            priority,
        }
    })
}

fn rhythm() -> impl Strategy<Value = Option<Rhythm>> {
    let begins = prop::collection::vec(0..VOCAB, 0..4);
    let rhythm = (begins, 0u32..9, 1usize..20, 1u32..4);
    prop::option::of(rhythm.prop_map(|(begins, run, length, late)| Rhythm {
        begins,
        run,
        length,
        late,
    }))
}

/// Tokens of its own behind a beginning that others are likely to have: one of two, which differ only in the middle.
fn prompt() -> impl Strategy<Value = Vec<u32>> {
    let stem = (0u32..2, 0u32..14).prop_map(|(which, len)| {
        let token = move |position| if position == 5 { which } else { position % 4 };
        (0..len).map(token).collect::<Vec<_>>()
    });
    let tail = prop_oneof![Just(Vec::new()), prop::collection::vec(0..VOCAB, 1..6)];
    (stem, tail)
        .prop_map(|(stem, tail)| [stem, tail].concat())
        .prop_filter("a prompt has a token", |prompt| !prompt.is_empty())
}

fn engine(num_blocks: usize, block_size: usize, config: EngineConfig) -> Engine {
    let info = RunnerInfo {
        vocab_size: VOCAB as usize,
        max_model_len: 64,
        block_size,
        num_blocks,
        eos_token_ids: vec![0],
    };
    Engine::new(Box::new(ArithmeticRunner::new(info).0), config)
}

/// What the request gets from an engine of its own.
fn alone(request: &SequenceRequest) -> Transcript {
    let mut engine = engine(64, 64, EngineConfig::default());
    let id = engine.add(request.clone()).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(&mut engine, &mut transcripts);
    transcripts.of(id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn neighbours_never_matter(
        requests in prop::collection::vec(request(), 1..8),
        actions in prop::collection::vec(action(), 0..120),
        block_size in 1usize..6,
        // 39 tokens are the most a request above can have; with so few blocks preemption is the rule.
        spare_blocks in 0usize..5,
        (max_num_batched_tokens, max_num_seqs) in (1usize..24, 1usize..6),
        // No cache, one whose hashes collide all the time, seldom, never.
        hash_bits in prop_oneof![Just(None), Just(Some(0)), Just(Some(1)), Just(Some(3)), Just(Some(64))],
    ) {
        let num_blocks = 39usize.div_ceil(block_size) + spare_blocks;
        let prefix_cache = hash_bits.is_some();
        let mut engine = engine(num_blocks, block_size, EngineConfig { max_num_batched_tokens, max_num_seqs, max_queue: 99, prefix_cache });
        engine.weaken_hashes(u64::MAX.checked_shr(64 - hash_bits.unwrap_or(64)).unwrap_or(0));
        let mut transcripts = Transcripts::default();
        let mut ids: Vec<SequenceId> = Vec::new();
        let mut aborted = Vec::new();
        let mut upcoming = requests.iter();
        let pick = |ids: &[SequenceId], index: prop::sample::Index| (!ids.is_empty()).then(|| ids[index.index(ids.len())]);
        for action in actions {
            match action {
                Action::Add => ids.extend(upcoming.next().map(|request| engine.add(request.clone()).unwrap())),
                Action::Step => transcripts.record(engine.step()),
                Action::Abort(index) => if let Some(id) = pick(&ids, index) {
                    let ended = transcripts.of(id).end.is_some();
                    let lived = engine.abort(id);
                    prop_assert_eq!(lived, !ended && !aborted.contains(&id));
                    if lived { aborted.push(id); }
                },
                Action::Pause(index) => { pick(&ids, index).map(|id| engine.pause(id)); }
                Action::Resume(index) => { pick(&ids, index).map(|id| engine.resume(id)); }
            }
            engine.check_invariants();
        }
        ids.extend(upcoming.map(|request| engine.add(request.clone()).unwrap()));
        ids.iter().for_each(|&id| { engine.resume(id); });
        run_dry(&mut engine, &mut transcripts);

        for (&id, request) in ids.iter().zip(&requests) {
            let (got, expected) = (transcripts.of(id), alone(request));
            let cached = if got.end.is_some() { got.cached_tokens() } else { 0 };
            prop_assert!(cached < request.prompt.len() || cached == 0);
            prop_assert!(cached % block_size == 0 && (cached == 0 || prefix_cache));
            let got = got.uncached();
            if aborted.contains(&id) {
                prop_assert!(expected.tokens.starts_with(&got.tokens), "{:?} is no prefix of {:?}", got, expected);
                prop_assert_eq!(got.end, None);
            } else {
                prop_assert_eq!(got, expected);
            }
        }
        let counters = engine.counters();
        prop_assert_eq!((counters.blocks_used, counters.blocks_total), (0, num_blocks));
        prop_assert!(prefix_cache || counters.blocks_cached == 0);
        prop_assert_eq!((counters.waiting, counters.running, counters.paused), (0, 0, 0));
    }
}
