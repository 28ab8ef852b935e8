//! Embeddings in place of a prompt's tokens: they say what the tokens would, however they are batched, and neither find nor leave
//! anything in the prefix cache, where their places look like tokens.

use super::{
    Transcript, Transcripts,
    arithmetic_runner::{ArithmeticRunner, EMBEDDING},
    endless, greedy, run_dry,
};
use crate::{
    Engine, EngineConfig, EngineError, FakeRunner, Pooling, PromptEmbeddings, RunnerInfo,
    SequenceRequest,
};

const PROMPT: [u32; 11] = [5, 3, 17, 3, 3, 8, 0, 11, 19, 2, 7];

fn info(num_blocks: usize) -> RunnerInfo {
    RunnerInfo {
        vocab_size: 20,
        max_model_len: 64,
        block_size: 4,
        num_blocks,
        eos_token_ids: vec![0],
    }
}

fn engine(num_blocks: usize, config: EngineConfig) -> Engine {
    Engine::new(Box::new(ArithmeticRunner::new(info(num_blocks)).0), config)
}

/// The same prompt by its embeddings.
fn embedded(prompt: &[u32], request: SequenceRequest) -> SequenceRequest {
    let rows = prompt.iter().flat_map(|token| [*token as f32, -1.0]);
    SequenceRequest {
        prompt: vec![0; prompt.len()],
        embeddings: PromptEmbeddings::new(rows.collect::<Vec<_>>(), EMBEDDING),
        ..request
    }
}

fn run(engine: &mut Engine, requests: Vec<SequenceRequest>) -> Vec<Transcript> {
    let ids = requests
        .into_iter()
        .map(|request| engine.add(request).unwrap());
    let ids: Vec<_> = ids.collect();
    let mut transcripts = Transcripts::default();
    run_dry(engine, &mut transcripts);
    ids.into_iter().map(|id| transcripts.of(id)).collect()
}

#[test]
fn they_say_what_the_tokens_say() {
    let tokens = endless(PROMPT.to_vec(), 9);
    let alone = &run(
        &mut engine(16, EngineConfig::default()),
        vec![tokens.clone()],
    )[0];
    // Chunks of one token, of three, whole; and blocks for hardly more than one of them, so that they are preempted.
    for (num_blocks, max_num_batched_tokens) in [(16, 1), (16, 3), (64, 64), (7, 3)] {
        let config = EngineConfig {
            max_num_batched_tokens,
            ..EngineConfig::default()
        };
        let mut engine = engine(num_blocks, config);
        let all = [
            tokens.clone(),
            embedded(&PROMPT, tokens.clone()),
            embedded(&PROMPT, tokens.clone()),
        ];
        // The second round comes when the tokens' blocks are cached.
        for _ in 0..2 {
            for transcript in run(&mut engine, all.to_vec()) {
                assert_eq!(
                    transcript.ids(),
                    alone.ids(),
                    "{num_blocks} {max_num_batched_tokens}"
                );
            }
            engine.check_invariants();
        }
        assert_eq!(run(&mut engine, all.to_vec())[1].cached_tokens(), 0);
    }
}

#[test]
fn their_places_are_no_tokens() {
    let mut used = engine(16, EngineConfig::default());
    run(
        &mut used,
        vec![embedded(&PROMPT, endless(PROMPT.to_vec(), 9))],
    );
    // What looks like their places finds nothing of theirs.
    let places = endless(vec![0; PROMPT.len()], 9);
    let found = run(&mut used, vec![places.clone()]);
    let fresh = run(&mut engine(16, EngineConfig::default()), vec![places]);
    assert_eq!(
        (found[0].ids(), found[0].cached_tokens()),
        (fresh[0].ids(), 0)
    );
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let asked = || embedded(&PROMPT, greedy(PROMPT.to_vec(), Some(1)));
    type Spoil = fn(&mut SequenceRequest);
    let cases: [(&str, Spoil); 5] = [
        ("(11, 2)", |r| r.prompt.truncate(10)),
        ("(2, 11)", |r| {
            r.embeddings = PromptEmbeddings::new(vec![0.0; 22], 11)
        }),
        ("finite", |r| {
            r.embeddings = PromptEmbeddings::new(vec![f32::NAN; 22], EMBEDDING)
        }),
        ("log-probabilities", |r| {
            r.sampling.prompt_logprobs = Some(0)
        }),
        ("vectors", |r| r.pooling = Some(Pooling::Mean)),
    ];
    let mut sound = engine(16, EngineConfig::default());
    for (message, spoil) in cases {
        let mut request = asked();
        spoil(&mut request);
        match sound.add(request) {
            Err(EngineError::InvalidRequest(text)) => assert!(text.contains(message), "{text}"),
            other => panic!("{message}: {other:?}"),
        }
    }
    let fake = Box::new(FakeRunner::new(info(16), Vec::new(), None));
    let refused = Engine::new(fake, EngineConfig::default())
        .add(asked())
        .unwrap_err();
    assert!(
        refused.to_string().contains("takes no embeddings"),
        "{refused}"
    );
    assert_eq!(PromptEmbeddings::new(vec![0.0; 3], 2), None);
    assert_eq!(PromptEmbeddings::new(Vec::new(), 2), None);
}
