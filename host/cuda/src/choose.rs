//! From the device's logits to the engine's: whole rows, or, of rows whose likeliest tokens are enough, the blocks that hold
//! those. A row of a large vocabulary is half a megabyte on a bus that a step has no time for; first the largest logit of
//! each block goes over it, then the blocks.
//!
//! Invariants: which blocks are taken is decided on the host, by the row's own logits alone; what is handed over is what
//! the device computed, bit for bit.

use candle_core::{Result, Tensor};
use weir_engine::{LOGITS_BLOCK, Logits, likeliest_blocks};

use crate::{device::fetch, kernels::Kernels};

/// A row of which more than one in so many blocks would be taken goes over whole.
const SPARED: usize = 2;

/// Hands rows over; holds little but buffers.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    /// Whatever is enough, all of each row: the device does not find the largest.
    whole_rows: bool,
    maxima: Vec<f32>,
    scratch: Vec<f32>,
    /// Of one row.
    blocks: Vec<u32>,
    /// Of all rows, each numbered through all of them.
    which: Vec<u32>,
    /// Where each row's blocks end in `which`; a row without any is whole.
    ends: Vec<usize>,
    parts: Vec<f32>,
}

impl Chooser {
    /// One that hands over rows in part, or only whole ones.
    pub(crate) fn new(whole_rows: bool) -> Self {
        Self {
            whole_rows,
            ..Self::default()
        }
    }

    /// Hands over `computed`, `(rows, vocab)`. `enough` says of each row how many of its largest logits are; if it says nothing
    /// at all, all rows are whole.
    pub(crate) fn hand_over(
        &mut self,
        computed: &Tensor,
        enough: &[Option<usize>],
        kernels: &dyn Kernels,
        logits: &mut Logits,
    ) -> Result<()> {
        let (rows, vocab) = computed.dims2()?;
        let blocks = vocab.div_ceil(LOGITS_BLOCK);
        let spares = |count: &Option<usize>| count.is_some_and(|count| count * SPARED <= blocks);
        if self.whole_rows || !enough.iter().any(spares) {
            return fetch(computed, logits.resize(rows, vocab));
        }
        self.choose(computed, enough, blocks, kernels)?;
        logits.resize(0, vocab);
        let mut start = 0;
        for (row, &end) in self.ends.iter().enumerate() {
            self.blocks.clear();
            let own = self.which[start..end].iter();
            self.blocks
                .extend(own.map(|number| number - (row * blocks) as u32));
            let memory = logits.push(&self.blocks);
            if start == end {
                fetch(&computed.narrow(0, row, 1)?, memory)?;
            } else {
                memory.copy_from_slice(&self.parts[start * LOGITS_BLOCK..end * LOGITS_BLOCK]);
            }
            start = end;
        }
        Ok(())
    }

    /// Decides which of a row's `blocks` blocks are taken, and fetches them.
    fn choose(
        &mut self,
        computed: &Tensor,
        enough: &[Option<usize>],
        blocks: usize,
        kernels: &dyn Kernels,
    ) -> Result<()> {
        self.maxima.resize(computed.dim(0)? * blocks, 0.0);
        fetch(&kernels.block_maxima(computed)?, &mut self.maxima)?;
        self.which.clear();
        self.ends.clear();
        for (row, (maxima, enough)) in self.maxima.chunks_exact(blocks).zip(enough).enumerate() {
            if let Some(enough) = enough {
                likeliest_blocks(maxima, *enough, &mut self.scratch, &mut self.blocks);
                if self.blocks.len() * SPARED <= blocks {
                    let first = (row * blocks) as u32;
                    self.which
                        .extend(self.blocks.iter().map(|block| first + block));
                }
            }
            self.ends.push(self.which.len());
        }
        self.parts.resize(self.which.len() * LOGITS_BLOCK, 0.0);
        if self.which.is_empty() {
            return Ok(());
        }
        let which = Tensor::from_slice(&self.which, self.which.len(), computed.device())?;
        fetch(&kernels.take_blocks(computed, &which)?, &mut self.parts)
    }
}

#[cfg(test)]
mod tests;
