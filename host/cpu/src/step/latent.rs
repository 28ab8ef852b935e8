//! A layer's first half where attention is latent (arXiv 2405.04434, section 2.1.2), in its absorbed form.
//!
//! A key is a matrix times the latent, so each head's query is multiplied by that matrix instead: all heads then read
//! the one latent that is kept of a token, with the one part that turns behind it, and values come out of the mixed
//! latents. One form for prefill and decode alike.

use super::{Queries, Step, Token, Worker, grouping::by_item, quantize};
use crate::{
    barrier::Abandoned,
    decoder::{LatentWeights, Stack},
    matrix::QuantizedRows,
    norm::{add_scaled, rms_norm_in_place, scale},
    shared::Shared,
};

impl Worker<'_> {
    /// Attention of all tokens over their contexts, into `delta`.
    pub(super) fn attend_latent(
        &mut self,
        index: usize,
        weights: &LatentWeights,
    ) -> Result<(), Abandoned> {
        let step = self.step;
        let (buffers, attention) = (step.buffers, &weights.description);
        let x = buffers.outer.rows(step.hidden());
        self.multiply(&[&weights.query, &weights.kept], x, &buffers.projected)?;
        self.queries_of_latent(weights)?;
        self.turn_latent(index, weights)?;
        let rows = buffers.latent.heads.rows(attention.nope_dim);
        let (heads, kv_rank) = (attention.heads, attention.kv_rank);
        let width = kv_rank + attention.rope_dim;
        self.multiply_heads(&weights.key, rows, &buffers.latent.absorbed, width)?;
        let layer = &step.cache.layers[index];
        let asked = Queries {
            simd: step.simd,
            rows: &step.batch.rows,
            layer,
            projected: &buffers.latent.absorbed,
            stride: heads * width,
            group: heads / layer.shape.heads,
            softcap: None,
            window: None,
            mixed: &buffers.mixed,
            partials: &buffers.partials,
        };
        let mixed = buffers.latent.heads.rows(kv_rank);
        // Behind `mix`, as many as go on.
        let rows = if self.last {
            step.wanted.len()
        } else {
            step.tokens.len()
        };
        self.mix(&asked, |token, row| {
            for head in 0..heads {
                let range = Step::row(token * heads + head, kv_rank);
                let row = head * rows + row;
                // SAFETY: a token's rows belong to whoever took the token.
                unsafe { quantize(mixed, row, 0, buffers.mixed.slice(range)) };
            }
        })?;
        let (values, width) = (&buffers.latent.values, heads * attention.value_dim);
        self.multiply_heads(&weights.value, mixed, values, attention.value_dim)?;
        let attended = buffers.outer.rows(width);
        self.phase(self.rows(), |_, tokens| {
            for token in tokens {
                // SAFETY: as above.
                unsafe { quantize(attended, token, 0, values.slice(Step::row(token, width))) };
            }
        })?;
        self.multiply(&[&weights.output], attended, &buffers.delta)
    }

    /// Queries out of their own latents, where they have any.
    fn queries_of_latent(&mut self, weights: &LatentWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let Some(latent) = &weights.query_latent else {
            return Ok(());
        };
        let rows = step.buffers.outer.rows(latent.rank);
        let eps = weights.description.norm_eps;
        self.phase(step.tokens.len(), |_, tokens| {
            for token in tokens {
                let start = token * weights.projected();
                let range = start..start + latent.rank;
                // SAFETY: in this phase a token's rows belong to whoever took the token.
                let row = unsafe { step.buffers.projected.slice_mut(range) };
                add_bias(step, row, &weights.query.bias);
                rms_norm_in_place(step.simd, row, &latent.norm, eps);
                // SAFETY: as above.
                unsafe { quantize(rows, token, 0, row) };
            }
        })?;
        self.multiply(&[&latent.out], rows, &step.buffers.latent.queries)
    }

    /// Rotation; latents into the cache, queries to where they meet them.
    fn turn_latent(&mut self, index: usize, weights: &LatentWeights) -> Result<(), Abandoned> {
        let step = self.step;
        // Behind the heads of a token comes what is kept of it.
        let pieces = weights.description.heads + 1;
        self.phase(step.tokens.len() * pieces, |_, taken| {
            for (token, pieces) in by_item(taken, pieces) {
                for piece in pieces {
                    if piece < weights.description.heads {
                        turn_query(step, weights, token, piece);
                    } else {
                        keep(step, index, weights, token);
                    }
                }
            }
        })
    }

    /// Products of each head's rows with its matrix: a row a token, the heads side by side, `width` from one to the next.
    fn multiply_heads(
        &mut self,
        stack: &Stack,
        x: &QuantizedRows,
        out: &Shared<f32>,
        width: usize,
    ) -> Result<(), Abandoned> {
        let (count, heads) = (self.rows(), stack.matrices.len());
        let stride = heads * width;
        let out = out.pointer(0..count * stride);
        self.phase(heads * stack.tiles(), |_, pieces| {
            for (head, tiles) in by_item(pieces, stack.tiles()) {
                let rows = head * count..(head + 1) * count;
                // SAFETY: the matrix has no more rows than a head is wide, and the tiles of a phase are taken once.
                unsafe {
                    let out = out.add(head * width);
                    stack.matrices[head].multiply_rows(x, rows, tiles, out, stride);
                }
            }
        })
    }
}

fn add_bias(step: &Step<'_>, row: &mut [f32], bias: &[f32]) {
    if !bias.is_empty() {
        add_scaled(step.simd, row, bias, 1.0);
    }
}

/// Turns a token's head, or the part of it that turns.
fn turn(step: &Step<'_>, weights: &LatentWeights, token: usize, row: &mut [f32]) {
    let rope = weights.description.rope;
    let range = Step::row(token, step.decoder.ropes[rope].angles_len());
    // SAFETY: angles are only read after the first phase.
    let angles = unsafe { step.buffers.angles[rope].slice(range) };
    step.decoder.ropes[rope].turn(step.simd, row, angles);
}

/// One head's query: what turns goes beside where the other part will come.
fn turn_query(step: &Step<'_>, weights: &LatentWeights, token: usize, head: usize) {
    let attention = &weights.description;
    let (nope_dim, rope_dim) = (attention.nope_dim, attention.rope_dim);
    let (from, stride) = match &weights.query_latent {
        None => (&step.buffers.projected, weights.projected()),
        Some(latent) => (&step.buffers.latent.queries, latent.out.matrix.rows()),
    };
    let start = token * stride + head * (nope_dim + rope_dim);
    let width = attention.kv_rank + rope_dim;
    let end = (token * attention.heads + head + 1) * width;
    // SAFETY: in this phase this head of this token belongs to whoever took it.
    let (query, turned) = unsafe {
        (
            from.slice_mut(start..start + nope_dim + rope_dim),
            step.buffers.latent.absorbed.slice_mut(end - rope_dim..end),
        )
    };
    scale(step.simd, query, attention.scale);
    let (plain, turning) = query.split_at_mut(nope_dim);
    turn(step, weights, token, turning);
    turned.copy_from_slice(turning);
    let rows = step.buffers.latent.heads.rows(nope_dim);
    // SAFETY: as above.
    unsafe { quantize(rows, head * step.tokens.len() + token, 0, plain) };
}

/// A token's latent and the part of its key that turns, into the cache.
fn keep(step: &Step<'_>, index: usize, weights: &LatentWeights, token: usize) {
    let attention = &weights.description;
    let end = (token + 1) * weights.projected();
    let range = end - weights.kept.matrix.rows()..end;
    // SAFETY: in this phase these columns belong to whoever took them.
    let kept = unsafe { step.buffers.projected.slice_mut(range) };
    add_bias(step, kept, &weights.kept.bias);
    let (latent, turning) = kept.split_at_mut(attention.kv_rank);
    rms_norm_in_place(step.simd, latent, &weights.latent_norm, attention.norm_eps);
    turn(step, weights, token, turning);
    let layer = &step.cache.layers[index];
    let Token { row, position } = step.tokens[token];
    let block_size = layer.shape.block_size;
    let block = step.batch.rows[row].block_table[position / block_size] as usize;
    let (slot, latent) = ((block, position % block_size), &kept[..attention.kv_rank]);
    // SAFETY: the slot is this token's alone, and nobody reads the cache in this phase.
    unsafe { layer.write(step.simd, slot, 0, (kept, latent)) };
}
