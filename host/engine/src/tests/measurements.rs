//! What an engine measures of its steps.

use std::sync::Arc;

use super::{Transcripts, endless, run_dry, steps::engine};
use crate::EngineConfig;

#[test]
fn steps_are_measured_and_gaps_between_tokens_without_pauses() {
    let (mut engine, _) = engine(4, 4, EngineConfig::default());
    let measurements = Arc::clone(engine.measurements());
    let slow = engine.add(endless(vec![1; 6], 6)).unwrap();
    let mut transcripts = Transcripts::default();
    transcripts.record(engine.step());
    engine.pause(slow);
    assert!(engine.step().is_empty());
    engine.resume(slow);
    run_dry(&mut engine, &mut transcripts);
    let counters = engine.counters();
    let steps = measurements.step.snapshot();
    assert_eq!(steps.count(), counters.steps);
    assert!(steps.sum > 0);
    assert_eq!(measurements.step_sequences.snapshot().sum, counters.steps);
    let tokens = measurements.step_tokens.snapshot();
    assert_eq!(tokens.sum, counters.computed_tokens);
    // Six tokens have five gaps; a reader's pause is none.
    assert_eq!(measurements.inter_token.snapshot().count(), 4);
}
