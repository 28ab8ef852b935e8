//! A runner whose logits are a hash of what it reads back from its KV blocks, where every position holds a hash of all
//! tokens up to it: a wrong block table, a missed position, a stale block, a mixed-up row, or a block with the right tokens
//! behind other ones changes the output.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use crate::{Batch, BatchRow, EngineError, Logits, ModelRunner, RunnerInfo, SequenceId};

/// A small model over so many blocks.
pub fn info(num_blocks: usize) -> RunnerInfo {
    RunnerInfo {
        vocab_size: 20,
        max_model_len: 64,
        block_size: 4,
        num_blocks,
        eos_token_ids: vec![0],
    }
}

/// What a test can see and set while the engine owns the runner.
#[derive(Debug, Default)]
pub struct Probe {
    /// Every batch there was.
    pub batches: Vec<Batch>,
    /// Every batch for hidden states.
    pub pooled: Vec<Batch>,
    /// Sequences released, in order.
    pub released: Vec<SequenceId>,
    /// The next step fails with this.
    pub fail_next: Option<EngineError>,
    /// The next step returns a row too few.
    pub drop_row: bool,
    /// The next step's logits are all NaN in the first row.
    pub spoil_row: bool,
}

/// The runner; its "K and V" of a position are a hash of the token that stands there and of the position before.
pub struct ArithmeticRunner {
    info: RunnerInfo,
    slots: Vec<Option<u64>>,
    probe: Arc<Mutex<Probe>>,
}

impl ArithmeticRunner {
    pub fn new(info: RunnerInfo) -> (Self, Arc<Mutex<Probe>>) {
        let probe = Arc::<Mutex<Probe>>::default();
        let slots = vec![None; info.num_blocks * info.block_size];
        (
            Self {
                info,
                slots,
                probe: probe.clone(),
            },
            probe,
        )
    }

    fn slot(&self, row: &BatchRow, position: usize) -> usize {
        let block = row.block_table[position / self.info.block_size] as usize;
        block * self.info.block_size + position % self.info.block_size
    }

    /// What stands at a position.
    fn read(&self, row: &BatchRow, position: usize) -> u64 {
        self.slots[self.slot(row, position)].expect("every position has been written")
    }

    /// Writes all rows' new tokens.
    fn write(&mut self, batch: &Batch) {
        let mut written = HashSet::new();
        let mut index = 0;
        for (row, tokens) in batch.rows_with_tokens() {
            for (position, &token) in (row.context_len..).zip(tokens) {
                // An embedding is that of the token with its number.
                let token = batch
                    .embedding(index)
                    .map_or(token, |given| given[0] as u32);
                index += 1;
                let slot = self.slot(row, position);
                assert!(written.insert(slot), "two rows write slot {slot}");
                let before = match position.checked_sub(1) {
                    Some(before) => self.read(row, before),
                    None => BASIS,
                };
                self.slots[slot] = Some(fnv_1a(before, u64::from(token)));
            }
        }
    }

    /// So many numbers in [-4, 4), hashed from all positions before `end`, with a finaliser per number.
    fn numbers(&self, row: &BatchRow, end: usize, count: usize) -> impl Iterator<Item = f32> {
        let context = (0..end).fold(BASIS, |hash, position| {
            fnv_1a(hash, self.read(row, position))
        });
        (0..count as u64).map(move |id| {
            let mixed = (context ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 21) as f32 - 4.0
        })
    }
}

/// Elements of an embedding.
pub const EMBEDDING: usize = 2;

/// Elements of a hidden state.
pub const HIDDEN: usize = 3;

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// One step of FNV-1a, over a whole word.
fn fnv_1a(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

impl ModelRunner for ArithmeticRunner {
    fn info(&self) -> &RunnerInfo {
        &self.info
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        let probe = self.probe.clone();
        let mut probe = probe.lock().unwrap();
        probe.batches.push(batch.clone());
        if let Some(error) = probe.fail_next.take() {
            return Err(error);
        }
        self.write(batch);
        let wanting = batch.rows.iter().filter(|row| row.wants_logits);
        let logits_of = |row: &BatchRow| {
            let end = row.context_len + row.len;
            self.numbers(row, end, self.info.vocab_size)
                .collect::<Vec<_>>()
        };
        let mut data: Vec<f32> = wanting.flat_map(logits_of).collect();
        if std::mem::take(&mut probe.drop_row) {
            data.truncate(data.len() - self.info.vocab_size);
        }
        if std::mem::take(&mut probe.spoil_row) {
            data[..self.info.vocab_size].fill(f32::NAN);
        }
        let vocab = self.info.vocab_size;
        logits
            .resize(data.len() / vocab, vocab)
            .copy_from_slice(&data);
        Ok(())
    }

    fn prompt_embedding_size(&self) -> Option<usize> {
        Some(EMBEDDING)
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(HIDDEN)
    }

    fn hidden_into(&mut self, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), EngineError> {
        let probe = self.probe.clone();
        let mut probe = probe.lock().unwrap();
        probe.pooled.push(batch.clone());
        if let Some(error) = probe.fail_next.take() {
            return Err(error);
        }
        self.write(batch);
        hidden.clear();
        for row in batch.rows.iter().filter(|row| row.wants_logits) {
            for position in row.context_len..row.context_len + row.len {
                hidden.extend(self.numbers(row, position + 1, HIDDEN));
            }
        }
        if std::mem::take(&mut probe.drop_row) {
            hidden.pop();
        }
        if std::mem::take(&mut probe.spoil_row) {
            hidden[..HIDDEN].fill(f32::NAN);
        }
        Ok(())
    }

    fn release(&mut self, sequence: SequenceId) {
        self.probe.lock().unwrap().released.push(sequence);
    }
}
