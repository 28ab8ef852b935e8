//! A runner that hands over parts of its rows changes nothing of what is said.

use super::{Transcripts, endless, run_dry};
use crate::{
    Batch, Engine, EngineConfig, EngineError, Logits, ModelRunner, RunnerInfo, SamplingParams,
    batch::tests::push_part, tests::arithmetic_runner::ArithmeticRunner,
};

const VOCAB: usize = 500;

/// Hands over as little as it may, and counts it.
struct InParts(ArithmeticRunner);

impl ModelRunner for InParts {
    fn info(&self) -> &RunnerInfo {
        self.0.info()
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        self.0.execute_into(batch, logits)
    }

    fn execute_choosing(
        &mut self,
        batch: &Batch,
        enough: &[Option<usize>],
        logits: &mut Logits,
    ) -> Result<(), EngineError> {
        let mut whole = Logits::default();
        self.0.execute_into(batch, &mut whole)?;
        assert_eq!(whole.shape().0, enough.len());
        logits.resize(0, VOCAB);
        for (row, enough) in whole.rows_mut().zip(enough) {
            match enough {
                Some(enough) => push_part(row, *enough, logits),
                None => logits.push(&[]).copy_from_slice(row),
            }
        }
        Ok(())
    }
}

fn transcripts(in_parts: bool) -> Vec<super::Transcript> {
    let info = RunnerInfo {
        vocab_size: VOCAB,
        max_model_len: 64,
        block_size: 4,
        num_blocks: 64,
        eos_token_ids: vec![0],
    };
    let (runner, _) = ArithmeticRunner::new(info);
    let runner: Box<dyn ModelRunner> = match in_parts {
        true => Box::new(InParts(runner)),
        false => Box::new(runner),
    };
    let mut engine = Engine::new(runner, EngineConfig::default());
    let seeded = SamplingParams {
        seed: Some(3),
        ..SamplingParams::default()
    };
    let ways = [
        SamplingParams {
            temperature: 0.0,
            ..seeded.clone()
        },
        SamplingParams {
            top_k: 3,
            ..seeded.clone()
        },
        SamplingParams {
            top_k: 20,
            top_p: 0.9,
            min_p: 0.01,
            ..seeded.clone()
        },
        SamplingParams {
            top_k: 3,
            repetition_penalty: 1.5,
            ..seeded.clone()
        },
        SamplingParams {
            temperature: 0.0,
            logprobs: Some(3),
            prompt_logprobs: Some(0),
            ..seeded.clone()
        },
        seeded,
    ];
    let mut add = |sampling| {
        let request = endless((1..9).collect(), 12);
        engine.add(crate::SequenceRequest {
            sampling,
            ..request
        })
    };
    let ids = ways.map(|sampling| add(sampling).unwrap());
    let mut said = Transcripts::default();
    run_dry(&mut engine, &mut said);
    ids.map(|id| said.of(id)).into()
}

#[test]
fn parts_say_what_whole_rows_say() {
    let whole = transcripts(false);
    assert!(whole.iter().all(|said| said.ids().len() == 12));
    assert_eq!(transcripts(true), whole);
}
