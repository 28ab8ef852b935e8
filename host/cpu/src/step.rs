//! One step: the whole forward pass of a batch, as every worker of the team runs it.
//!
//! A step is a row of phases, each of which begins when the one before is done. A phase is so many pieces of work, which
//! workers take one after the other from a counter, so that one that is slowed down by something else on the machine takes
//! fewer. Between its pieces a worker may be late by whole phases: it touches shared memory within pieces only. Who takes
//! what changes no result: pieces write disjoint memory, and every number is computed by one piece in one order.
//! Nor does company: a token's numbers are computed from its own sequence alone, in an order that depends on positions
//! only. So logits are the same to the bit however rows are batched and prompts are cut into chunks.
#![allow(
    unsafe_code,
    reason = "the phases of a step write disjoint parts of shared buffers"
)]

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use weir_engine::Batch;

use crate::{
    attention::{Plan, Queries},
    barrier::{Abandoned, Barrier, Phase},
    buffers::{Buffers, Scratch},
    decoder::{AttentionWeights, Decoder, FeedForwardWeights, Linear, NetworkWeights},
    kv_cache::KvCache,
    matrix::{PackedMatrix, QuantizedRows},
    norm::{add_scaled, rms_norm, rms_norm_in_place, scale, soft_cap},
    shared::{Borrowed, Shared},
    simd::Simd,
};

mod attend;
mod experts;
mod grouping;
mod latent;
mod network;

pub(crate) use grouping::Grouping;

/// Elements of a block of quantized activations.
pub(crate) const QUANTIZED: usize = 32;
/// Pieces a worker should find in a phase: more balance better, fewer cost less.
const PIECES: usize = 8;

/// Where a token stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// Which row of the batch it is of.
    pub(crate) row: usize,
    pub(crate) position: usize,
}

/// What all workers of a step read.
pub(crate) struct Step<'a> {
    pub(crate) simd: Simd,
    pub(crate) decoder: &'a Decoder,
    pub(crate) cache: &'a KvCache,
    pub(crate) batch: &'a Batch,
    /// One for each of the batch's.
    pub(crate) tokens: &'a [Token],
    /// Numbers of the tokens of which something is wanted.
    pub(crate) wanted: &'a [usize],
    pub(crate) plans: &'a [Plan],
    pub(crate) buffers: &'a Buffers,
    /// One a worker.
    pub(crate) scratch: &'a [Mutex<Scratch>],
    /// None taken yet.
    pub(crate) phases: &'a [Phase],
    pub(crate) output: Output<'a>,
}

/// What is wanted of tokens, and where it goes.
#[derive(Clone, Copy)]
pub(crate) enum Output<'a> {
    /// `(wanted, vocab)`.
    Logits(&'a Borrowed<'a, f32>),
    /// What the last norm makes of them, `(wanted, hidden)`.
    Hidden(&'a Borrowed<'a, f32>),
}

/// How many phases a model's step has at most: layers of latent attention and experts have as many.
pub(crate) fn phases(layers: usize) -> usize {
    20 * layers + 3
}

/// What half a layer leaves to be added to the residual stream: `delta`, its bias, and a norm of the sum.
struct Left<'a> {
    bias: &'a [f32],
    /// Empty for none.
    norm: &'a [f32],
}

/// Quantizes a row from a block on; a last block that is short is filled up with zeros, as the matrices' are.
///
/// # Safety
/// Nobody else touches these blocks of the row.
unsafe fn quantize(to: &QuantizedRows, row: usize, block: usize, x: &[f32]) {
    let (whole, rest) = x.as_chunks::<QUANTIZED>();
    let end = block + whole.len();
    // SAFETY: the caller's word.
    unsafe {
        to.quantize_blocks(row, block..end, whole.as_flattened());
        if !rest.is_empty() {
            let mut last = [0.0; QUANTIZED];
            last[..rest.len()].copy_from_slice(rest);
            to.quantize_blocks(row, end..end + 1, &last);
        }
    }
}

/// One worker on its way through a step.
struct Worker<'a> {
    step: &'a Step<'a>,
    barrier: &'a Barrier,
    workers: usize,
    phase: usize,
    /// In the last layer.
    last: bool,
    /// Behind its keys and values: only tokens whose logits are wanted go on, a row each.
    narrowed: bool,
    scratch: &'a mut Scratch,
}

impl Step<'_> {
    /// Runs the step as worker `index`.
    pub(crate) fn work(&self, index: usize, barrier: &Barrier) -> Result<(), Abandoned> {
        let mut scratch = self.scratch[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut worker = Worker {
            step: self,
            barrier,
            workers: self.scratch.len(),
            phase: 0,
            last: false,
            narrowed: false,
            scratch: &mut scratch,
        };
        worker.embed()?;
        let mut left = None;
        for (index, layer) in self.decoder.layers.iter().enumerate() {
            worker.join(left.as_ref(), &layer.attention_norm)?;
            worker.last = index + 1 == self.decoder.layers.len();
            worker.attend(index, &layer.attention)?;
            if worker.narrowed && self.wanted.is_empty() {
                return Ok(());
            }
            worker.join(
                Some(&Left {
                    bias: &layer.attention.output().bias,
                    norm: &layer.post_attention_norm,
                }),
                &layer.network_norm,
            )?;
            worker.feed_forward(index, &layer.network)?;
            left = Some(Left {
                bias: layer.network.bias(),
                norm: &layer.post_network_norm,
            });
        }
        match self.output {
            Output::Logits(logits) => {
                worker.join_wanted(left.as_ref())?;
                worker.head(logits)
            }
            Output::Hidden(hidden) => worker.tell_wanted(left.as_ref(), hidden),
        }
    }

    fn hidden(&self) -> usize {
        self.decoder.description.hidden
    }

    /// The columns of a token in a buffer of rows.
    fn row(token: usize, width: usize) -> Range<usize> {
        token * width..(token + 1) * width
    }
}

impl Worker<'_> {
    /// Takes pieces `body(worker, range)` of `0..total` until none is left, then waits until all are done.
    fn phase(
        &mut self,
        total: usize,
        mut body: impl FnMut(&mut Self, Range<usize>),
    ) -> Result<(), Abandoned> {
        let phase = &self.step.phases[self.phase];
        self.phase += 1;
        let size = (total / (PIECES * self.workers)).max(1);
        self.barrier
            .share(phase, total, size, |piece| body(self, piece))
    }

    /// Embeddings and angles.
    fn embed(&mut self) -> Result<(), Abandoned> {
        let step = self.step;
        let width = step.hidden();
        let embedding = &step.decoder.embedding.matrix;
        self.phase(step.tokens.len(), |worker, tokens| {
            for token in tokens {
                // SAFETY: in this phase a token's rows belong to whoever took the token.
                let row = unsafe { step.buffers.hidden.slice_mut(Step::row(token, width)) };
                if let Some(given) = step.batch.embedding(token) {
                    row.copy_from_slice(given);
                } else {
                    let embedded = &mut worker.scratch.row;
                    embedded.resize(embedding.columns(), 0.0);
                    embedding.dequantize_row(step.batch.tokens[token] as usize, embedded);
                    row.copy_from_slice(&embedded[..width]);
                }
                scale(step.simd, row, step.decoder.description.embedding_scale);
                for (rope, angles) in step.decoder.ropes.iter().zip(&step.buffers.angles) {
                    let range = Step::row(token, rope.angles_len());
                    // SAFETY: as above.
                    rope.angles(step.tokens[token].position, unsafe {
                        angles.slice_mut(range)
                    });
                }
            }
        })
    }

    /// How many tokens are on their way.
    fn rows(&self) -> usize {
        match self.narrowed {
            true => self.step.wanted.len(),
            false => self.step.tokens.len(),
        }
    }

    /// Which token has a row.
    fn token(&self, row: usize) -> usize {
        match self.narrowed {
            true => self.step.wanted[row],
            false => row,
        }
    }

    /// Adds what is left of all tokens to the residual stream, and quantizes its norm for the matrices that come.
    fn join(&mut self, left: Option<&Left<'_>>, norm: &[f32]) -> Result<(), Abandoned> {
        let to = self.step.buffers.outer.rows(self.step.hidden());
        self.phase(self.rows(), |worker, rows| {
            for row in rows {
                worker.join_row(left, norm, row);
                // SAFETY: a row belongs to whoever took it.
                unsafe { quantize(to, row, 0, &worker.scratch.row) };
            }
        })
    }

    /// The same of what is left of the tokens whose logits are wanted, for the head.
    fn join_wanted(&mut self, left: Option<&Left<'_>>) -> Result<(), Abandoned> {
        let step = self.step;
        let Some(head) = &step.buffers.head else {
            return Ok(());
        };
        let norm = &step.decoder.output_norm;
        self.phase(step.wanted.len(), |worker, wanted| {
            for row in wanted {
                worker.join_row(left, norm, row);
                // SAFETY: a row belongs to whoever took it.
                unsafe { quantize(head, row, 0, &worker.scratch.row) };
            }
        })
    }

    /// The same of the tokens whose hidden states are wanted, for the caller.
    fn tell_wanted(
        &mut self,
        left: Option<&Left<'_>>,
        hidden: &Borrowed<'_, f32>,
    ) -> Result<(), Abandoned> {
        let step = self.step;
        self.phase(step.wanted.len(), |worker, wanted| {
            for row in wanted {
                worker.join_row(left, &step.decoder.output_norm, row);
                // SAFETY: a row belongs to whoever took it.
                let out = unsafe { hidden.slice_mut(Step::row(row, step.hidden())) };
                out.copy_from_slice(&worker.scratch.row);
            }
        })
    }

    /// Adds what is left of a row's token to its residual stream, and leaves the norm of that in the worker's row.
    fn join_row(&mut self, left: Option<&Left<'_>>, norm: &[f32], row: usize) {
        let step = self.step;
        let model = &step.decoder.description;
        let (simd, eps) = (step.simd, model.norm_eps);
        let range = |row| Step::row(row, model.hidden);
        // SAFETY: in this phase a row, and the token that has it, belong to whoever took the row.
        let hidden = unsafe { step.buffers.hidden.slice_mut(range(self.token(row))) };
        if let Some(left) = left {
            // SAFETY: as above.
            let delta = unsafe { step.buffers.delta.slice_mut(range(row)) };
            add_scaled(simd, delta, left.bias, 1.0);
            if !left.norm.is_empty() {
                rms_norm_in_place(simd, delta, left.norm, eps);
            }
            add_scaled(simd, hidden, delta, model.residual_scale);
        }
        let normed = &mut self.scratch.row;
        normed.resize(model.hidden, 0.0);
        rms_norm(simd, hidden, norm, eps, normed);
    }

    /// Products of all rows with some matrices whose results stand side by side.
    fn multiply(
        &mut self,
        linears: &[&Linear],
        x: &QuantizedRows,
        out: &Shared<f32>,
    ) -> Result<(), Abandoned> {
        let tiles = linears.iter().map(|linear| linear.matrix.tiles()).sum();
        let width: usize = linears.iter().map(|linear| linear.matrix.rows()).sum();
        let rows = 0..self.rows();
        let out = out.pointer(0..rows.len() * width);
        self.phase(tiles, |_, taken| {
            let (mut first, mut column) = (0, 0);
            for Linear { matrix, .. } in linears {
                let own = first..first + matrix.tiles();
                let part = taken.start.max(own.start)..taken.end.min(own.end);
                if !part.is_empty() {
                    let part = part.start - first..part.end - first;
                    // SAFETY: `out` has `width` columns for each of the rows, the matrix has those from `column` on, and
                    // the tiles of a phase are taken once.
                    unsafe { matrix.multiply_rows(x, rows.clone(), part, out.add(column), width) };
                }
                first = own.end;
                column += matrix.rows();
            }
        })
    }

    /// Logits.
    fn head(&mut self, logits: &Borrowed<'_, f32>) -> Result<(), Abandoned> {
        let step = self.step;
        let model = &step.decoder.description;
        let Some(x) = &step.buffers.head else {
            return Ok(());
        };
        let matrix = &step.decoder.head().matrix;
        let vocab = model.vocab;
        let out = logits.pointer(0..step.wanted.len() * vocab);
        let tiles = if step.wanted.is_empty() {
            0
        } else {
            matrix.tiles()
        };
        self.phase(tiles, |_, tiles| {
            let start = tiles.start * PackedMatrix::TILE;
            let end = (tiles.end * PackedMatrix::TILE).min(vocab);
            // SAFETY: `out` has `vocab` columns for each row of `x`, and the tiles of a phase are taken once.
            unsafe { matrix.multiply(x, tiles, out, vocab) };
            for row in 0..step.wanted.len() {
                let range = row * vocab + start..row * vocab + end;
                // SAFETY: these logits are the tiles'.
                let logits = unsafe { logits.slice_mut(range) };
                scale(step.simd, logits, model.logit_scale);
                if let Some(cap) = model.logit_softcap {
                    soft_cap(step.simd, logits, cap);
                }
            }
        })
    }
}
