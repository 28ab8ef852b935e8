//! What a model thinks of a prompt: the same numbers that it gives when each token is asked for by itself, in steps of
//! bounded size, told once.

use std::sync::{Arc, Mutex};

use super::{
    Transcript, Transcripts,
    arithmetic_runner::{ArithmeticRunner, Probe},
    greedy, run_dry,
};
use crate::{
    Engine, EngineConfig, EngineError, FinishReason, Generated, RunnerInfo, SamplingParams,
    SequenceRequest, StopConditions, TokenLogprobs,
};

const VOCAB: usize = 20;

fn engine(config: EngineConfig) -> (Engine, Arc<Mutex<Probe>>) {
    let info = RunnerInfo {
        vocab_size: VOCAB,
        max_model_len: 64,
        block_size: 4,
        num_blocks: 16,
        eos_token_ids: vec![0],
    };
    let (runner, probe) = ArithmeticRunner::new(info);
    (Engine::new(Box::new(runner), config), probe)
}

fn scored(prompt: &[u32], max_tokens: usize) -> SequenceRequest {
    SequenceRequest {
        sampling: SamplingParams {
            temperature: 0.0,
            // The prompt is scored by the model itself, whatever is done to what is sampled.
            repetition_penalty: 1.5,
            logit_bias: vec![(3, 50.0)],
            logprobs: Some(2),
            prompt_logprobs: Some(2),
            ..SamplingParams::default()
        },
        stop: StopConditions {
            max_tokens: Some(max_tokens),
            ignore_eos: true,
            ..StopConditions::default()
        },
        ..greedy(prompt.to_vec(), None)
    }
}

fn run(engine: &mut Engine, request: SequenceRequest) -> Transcript {
    let id = engine.add(request).unwrap();
    let mut transcripts = Transcripts::default();
    run_dry(engine, &mut transcripts);
    transcripts.of(id)
}

/// What the model says behind each beginning of the prompt, asked one by one for all its tokens.
fn one_by_one(prompt: &[u32]) -> Vec<TokenLogprobs> {
    let ask = |(before, &token): (&[u32], &u32)| {
        let mut request = greedy(before.to_vec(), Some(1));
        request.sampling.logprobs = Some(VOCAB);
        request.stop.ignore_eos = true;
        let transcript = run(&mut engine(EngineConfig::default()).0, request);
        let Generated::Token { logprobs, .. } = &transcript.tokens[0] else {
            panic!("{transcript:?}")
        };
        let mut top = logprobs.clone().unwrap().top;
        let place = top.iter().position(|(id, _)| *id == token).unwrap();
        let sampled = top[place].1;
        let likelier = top.iter().filter(|(_, logprob)| *logprob > sampled);
        let rank = likelier.count() + 1;
        top.truncate(2);
        TokenLogprobs { sampled, rank, top }
    };
    let beginnings = (1..prompt.len()).map(|end| &prompt[..end]);
    beginnings.zip(&prompt[1..]).map(ask).collect()
}

#[test]
fn a_prompts_scores_are_those_of_its_tokens_asked_one_by_one() {
    let prompt = [5, 3, 17, 3, 3, 8, 0, 11, 19];
    let expected = one_by_one(&prompt);
    for (max_num_batched_tokens, max_num_seqs) in [(1, 1), (3, 9), (64, 4), (64, 64)] {
        let config = EngineConfig {
            max_num_batched_tokens,
            max_num_seqs,
            ..EngineConfig::default()
        };
        let (mut engine, probe) = engine(config);
        // The second one finds all blocks cached and must see every token all the same.
        for _ in 0..2 {
            let transcript = run(&mut engine, scored(&prompt, 3));
            assert_eq!(transcript.prompt.as_ref(), Some(&expected));
            assert_eq!(transcript.tokens.len(), 3);
            assert_eq!(transcript.cached_tokens(), 0);
        }
        let probe = probe.lock().unwrap();
        let most = probe.batches.iter().map(|batch| batch.logit_rows()).max();
        assert!(most <= Some(max_num_seqs), "{most:?}");
    }
}

#[test]
fn a_prompt_can_be_scored_and_nothing_be_generated() {
    for (prompt, told) in [(vec![4, 7, 9], Some(2)), (vec![4], Some(0))] {
        let (mut engine, _) = engine(EngineConfig::default());
        let transcript = run(&mut engine, scored(&prompt, 0));
        assert_eq!(transcript.prompt.as_ref().map(Vec::len), told);
        assert_eq!(
            (transcript.tokens.len(), transcript.reason()),
            (0, FinishReason::Length)
        );
        let counters = engine.counters();
        assert_eq!((counters.generated_tokens, counters.blocks_used), (0, 0));
    }
    let (mut engine, _) = engine(EngineConfig::default());
    let unscored = greedy(vec![4, 7, 9], Some(0));
    let transcript = run(&mut engine, unscored);
    assert_eq!((transcript.prompt, transcript.tokens.len()), (None, 0));
}

#[test]
fn an_end_token_is_told_only_with_its_logprobs() {
    for (logprobs, told) in [(None, None), (Some(0), Some(7))] {
        let (mut engine, _) = engine(EngineConfig::default());
        let mut request = greedy(vec![1, 2], None);
        request.sampling.logprobs = logprobs;
        request.sampling.logit_bias = vec![(7, 90.0)];
        request.stop.stop_token_ids = vec![7];
        let transcript = run(&mut engine, request);
        assert_eq!(transcript.end_token, told);
        assert_eq!(
            (transcript.tokens.len(), transcript.reason()),
            (0, FinishReason::Stop)
        );
    }
}

#[test]
fn a_failed_step_is_said_once_however_many_rows_the_sequence_has() {
    let (mut engine, probe) = engine(EngineConfig::default());
    let id = engine.add(scored(&[1, 2, 3, 4], 2)).unwrap();
    probe.lock().unwrap().fail_next = Some(EngineError::Runner("out of luck".into()));
    let outputs = engine.step();
    assert_eq!((outputs.len(), outputs[0].sequence), (1, id));
    assert_eq!(probe.lock().unwrap().released, [id]);

    // Its first row is spoilt: the others come to nothing.
    let id = engine.add(scored(&[1, 2, 3, 4], 2)).unwrap();
    let beside = engine.add(greedy(vec![9, 9], Some(1))).unwrap();
    probe.lock().unwrap().spoil_row = true;
    let mut transcripts = Transcripts::default();
    transcripts.record(engine.step());
    engine.check_invariants();
    assert!(matches!(
        transcripts.of(id).end,
        Some(Err(EngineError::Runner(_)))
    ));
    assert_eq!(transcripts.of(beside).tokens.len(), 1);
}
