//! The part of a step that makes vectors: a pass for hidden states, and what they add up to.

use super::{Engine, StepOutput};
use crate::{batch::Batch, error::EngineError, generator::Generated, request::FinishReason};

impl Engine {
    /// Computes the hidden states of a batch.
    pub(super) fn run_pooled(&mut self, batch: &Batch) -> Result<(), EngineError> {
        let outcome = self.runner.hidden_into(batch, &mut self.hidden);
        self.totals.lost = matches!(outcome, Err(EngineError::Lost(_)));
        outcome?;
        let expected = batch.wanted_tokens() * self.hidden_size().unwrap_or(0);
        if self.hidden.len() != expected {
            let message = format!("{} hidden values, not {expected}", self.hidden.len());
            return Err(EngineError::Runner(message));
        }
        Ok(())
    }

    /// Counts what was computed and gives every sequence of the batch its hidden states; whoever has all of them ends.
    pub(super) fn pool(&mut self, batch: &Batch, outputs: &mut Vec<StepOutput>) {
        let size = self.hidden_size().unwrap_or(0);
        let mut hidden = self.hidden.as_slice();
        for row in &batch.rows {
            self.totals.computed_tokens += row.len as u64;
            let wanted = if row.wants_logits { row.len * size } else { 0 };
            let (own, others) = hidden.split_at(wanted);
            hidden = others;
            let Some(sequence) = self.scheduler.running_mut(row.sequence) else {
                unreachable!("a sequence that becomes a vector ends with its last row");
            };
            sequence.computed += row.len;
            sequence.pool(own, size);
            if !sequence.uncomputed().is_empty() {
                continue;
            }
            let finished = Generated::Finished {
                reason: FinishReason::Length,
                usage: sequence.usage(),
            };
            let results = match sequence.take_vector() {
                Ok(vector) => vec![Ok(Generated::Vector(vector)), Ok(finished)],
                Err(error) => vec![Err(error)],
            };
            outputs.extend(results.into_iter().map(|result| StepOutput {
                sequence: row.sequence,
                result,
            }));
            self.scheduler.remove(row.sequence);
            self.runner.release(row.sequence);
        }
    }
}
