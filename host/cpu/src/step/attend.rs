//! A layer's first half: projections, heads turned and written to the KV cache, attention, and its projection.

use super::{AttentionWeights, Queries, Step, Worker, quantize};
use crate::{
    attention::{Tile, attend, finish_split},
    barrier::Abandoned,
    decoder::GroupedWeights,
    norm::{add_scaled, rms_norm_in_place, scale},
};

impl Worker<'_> {
    /// The first half of all tokens, into `delta`.
    pub(super) fn attend(
        &mut self,
        index: usize,
        weights: &AttentionWeights,
    ) -> Result<(), Abandoned> {
        match weights {
            AttentionWeights::Grouped(weights) => self.attend_grouped(index, weights),
            AttentionWeights::Latent(weights) => self.attend_latent(index, weights),
        }
    }

    /// Attention of all tokens over their contexts, into `delta`.
    fn attend_grouped(&mut self, index: usize, weights: &GroupedWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let buffers = step.buffers;
        let linears = [&weights.query, &weights.key, &weights.value];
        self.multiply(
            &linears,
            buffers.outer.rows(step.hidden()),
            &buffers.projected,
        )?;
        self.turn_heads(index, weights)?;
        let attention = &weights.description;
        let asked = Queries {
            simd: step.simd,
            rows: &step.batch.rows,
            layer: &step.cache.layers[index],
            projected: &buffers.projected,
            stride: weights.projected(),
            group: attention.heads / attention.kv_heads,
            softcap: attention.softcap,
            window: attention.window,
            mixed: &buffers.mixed,
            partials: &buffers.partials,
        };
        let width = attention.heads * attention.head_dim;
        let attended = buffers.outer.rows(width);
        self.mix(&asked, |token, row| {
            // SAFETY: a token's rows belong to whoever took the token.
            unsafe {
                let mixed = buffers.mixed.slice(Step::row(token, width));
                quantize(attended, row, 0, mixed);
            }
        })?;
        self.multiply(&[&weights.output], attended, &buffers.delta)
    }

    /// Values mixed, in the last layer for those tokens only whose logits are wanted; `then` is called for each token that
    /// goes on, and its row.
    pub(super) fn mix(
        &mut self,
        asked: &Queries<'_>,
        then: impl Fn(usize, usize),
    ) -> Result<(), Abandoned> {
        let step = self.step;
        self.narrowed = self.last;
        let kind = (asked.layer.shape.heads, asked.window);
        let found = step
            .plans
            .iter()
            .find(|plan| (plan.kv_heads, plan.window) == kind);
        let Some(plan) = found else {
            unreachable!("every layer has a plan");
        };
        self.phase(plan.units.len(), |worker, units| {
            for unit in &plan.units[units] {
                if worker.goes_on(&unit.tile) {
                    // SAFETY: in this phase queries and KV are only read, and a unit's results are its own.
                    unsafe { attend(asked, unit, &mut worker.scratch.attention) };
                }
            }
        })?;
        self.phase(self.rows(), |worker, rows| {
            for row in rows {
                let token = worker.token(row);
                if let Some(split) = plan.split(token) {
                    let of = step.tokens[token].row;
                    // SAFETY: all units are done, and a token's row belongs to whoever took the token.
                    unsafe { finish_split(asked, of, split, &mut worker.scratch.attention) };
                }
                then(token, row);
            }
        })
    }

    /// Whether any of a tile's tokens has a row.
    fn goes_on(&self, tile: &Tile) -> bool {
        let wanted = self.step.wanted;
        let first = wanted.partition_point(|&token| token < tile.token);
        let inside = |&token: &usize| token < tile.token + tile.queries;
        !self.narrowed || wanted.get(first).is_some_and(inside)
    }

    /// Biases, norms of heads, rotation; keys and values into the cache.
    fn turn_heads(&mut self, index: usize, weights: &GroupedWeights) -> Result<(), Abandoned> {
        let step = self.step;
        let kv_heads = weights.description.kv_heads;
        self.phase(step.tokens.len() * kv_heads, |_, pieces| {
            for piece in pieces {
                let (token, head) = (piece / kv_heads, piece % kv_heads);
                turn_head(step, index, weights, token, head);
            }
        })
    }
}

/// One head of keys and values of a token, and the queries that share it.
fn turn_head(step: &Step<'_>, index: usize, weights: &GroupedWeights, token: usize, head: usize) {
    let attention = &weights.description;
    let dim = attention.head_dim;
    let group = attention.heads / attention.kv_heads;
    let start = token * weights.projected();
    let queries = attention.heads * dim;
    let keys = queries + attention.kv_heads * dim;
    let simd = step.simd;
    let eps = step.decoder.description.norm_eps;
    // SAFETY: in this phase these columns belong to whoever took this head of this token; a query's come once.
    let columns = |at: usize| unsafe {
        step.buffers
            .projected
            .slice_mut(start + at..start + at + dim)
    };
    let turn = |row: &mut [f32], norm: &[f32]| {
        if !norm.is_empty() {
            rms_norm_in_place(simd, row, norm, eps);
        }
        if let Some(rope) = attention.rope {
            let range = Step::row(token, step.decoder.ropes[rope].angles_len());
            // SAFETY: angles are only read after the first phase.
            let angles = unsafe { step.buffers.angles[rope].slice(range) };
            step.decoder.ropes[rope].turn(simd, row, angles);
        }
    };
    let bias = |bias: &[f32], head: usize, row: &mut [f32]| {
        if !bias.is_empty() {
            add_scaled(simd, row, &bias[Step::row(head, dim)], 1.0);
        }
    };
    for query in head * group..(head + 1) * group {
        let row = columns(query * dim);
        bias(&weights.query.bias, query, row);
        turn(row, &weights.query_norm);
        scale(simd, row, attention.scale);
    }
    let key = columns(queries + head * dim);
    bias(&weights.key.bias, head, key);
    turn(key, &weights.key_norm);
    let value = columns(keys + head * dim);
    bias(&weights.value.bias, head, value);
    let layer = &step.cache.layers[index];
    let super::Token { row, position } = step.tokens[token];
    let block_size = layer.shape.block_size;
    let block = step.batch.rows[row].block_table[position / block_size] as usize;
    // SAFETY: the slot is this token's alone, and nobody reads the cache in this phase.
    unsafe { layer.write(simd, (block, position % block_size), head, (key, value)) };
}
