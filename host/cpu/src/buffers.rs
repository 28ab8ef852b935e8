//! The memory of a step: grown when a step is larger than any before, never given back.
//!
//! Activations are kept by width: whatever is multiplied by matrices of so many columns stands in the same rows, one
//! thing after the other.

use weir_engine::Batch;
use weir_model::RouterMemory;

use crate::{
    attention::{AttentionScratch, Plan, partial_len},
    decoder::{AttentionWeights, Decoder, FeedForwardWeights, Linear, NetworkWeights, Stack},
    kv_cache::{VECTOR, latent_groups},
    matrix::QuantizedRows,
    shared::Shared,
    step::{Grouping, QUANTIZED},
};

mod experts;
mod latent;

pub(crate) use experts::{Choice, ExpertBuffers};
pub(crate) use latent::LatentBuffers;

/// What all workers of a step share.
#[derive(Default)]
pub(crate) struct Buffers {
    /// The residual stream: a row a token, as all below.
    pub(crate) hidden: Shared<f32>,
    /// What half a layer adds to it.
    pub(crate) delta: Shared<f32>,
    /// Queries, keys and values of a token, side by side, or what latent attention projects.
    pub(crate) projected: Shared<f32>,
    /// What attention makes of them.
    pub(crate) mixed: Shared<f32>,
    pub(crate) partials: Shared<f32>,
    /// Of each position embedding.
    pub(crate) angles: Vec<Shared<f32>>,
    /// What projections of the residual stream and of attention's results read.
    pub(crate) outer: Activations,
    /// What the last projection of a network reads. Apart, for it is written while `outer` is read.
    pub(crate) inner: Activations,
    pub(crate) latent: LatentBuffers,
    pub(crate) experts: ExpertBuffers,
    /// Of the tokens whose logits are wanted.
    pub(crate) head: Option<QuantizedRows>,
    head_rows: usize,
}

/// Rows to be multiplied by matrices, by the columns of those.
#[derive(Default)]
pub(crate) struct Activations {
    widths: Vec<Width>,
    max_rows: usize,
}

struct Width {
    columns: usize,
    /// Whether any of the matrices multiplies f32.
    floats: bool,
    rows: QuantizedRows,
}

/// What one worker has for itself.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) attention: AttentionScratch,
    /// A row before it is quantized.
    pub(crate) row: Vec<f32>,
    /// Some columns of gate and of up, a row a token.
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    pub(crate) router: RouterMemory,
    /// Of this layer's visits: each worker makes the same one for itself.
    pub(crate) grouping: Grouping,
}

impl Buffers {
    /// Makes room for a batch of at least one token.
    pub(crate) fn grow(&mut self, decoder: &Decoder, batch: &Batch, plans: &[Plan]) {
        let tokens = batch.tokens.len();
        let hidden = decoder.description.hidden;
        self.hidden.grow(tokens * hidden);
        self.delta.grow(tokens * hidden);
        let places = plans.iter().map(|plan| plan.partials).max().unwrap_or(0);
        let (mut projected, mut mixed, mut partials) = (0, 0, 0);
        for layer in &decoder.layers {
            projected = projected.max(layer.attention.projected());
            let (heads, group, value_dim) = match &layer.attention {
                AttentionWeights::Grouped(weights) => {
                    let attention = &weights.description;
                    let group = attention.heads / attention.kv_heads;
                    (attention.heads, group, attention.head_dim)
                }
                AttentionWeights::Latent(weights) => {
                    let attention = &weights.description;
                    let group = attention.heads / latent_groups(attention.heads);
                    (attention.heads, group, attention.kv_rank)
                }
            };
            mixed = mixed.max(heads * value_dim);
            let len = partial_len(group, value_dim.next_multiple_of(VECTOR));
            partials = partials.max(places * len);
        }
        self.projected.grow(tokens * projected);
        self.mixed.grow(tokens * mixed);
        self.partials.grow(partials);
        self.angles
            .resize_with(decoder.ropes.len(), Shared::default);
        for (angles, rope) in self.angles.iter_mut().zip(&decoder.ropes) {
            angles.grow(tokens * rope.angles_len());
        }
        for (index, layer) in decoder.layers.iter().enumerate() {
            match &layer.attention {
                AttentionWeights::Grouped(weights) => {
                    for linear in [&weights.query, &weights.key, &weights.value] {
                        self.outer.add(linear);
                    }
                }
                AttentionWeights::Latent(weights) => {
                    self.latent.add(weights, &mut self.outer, tokens);
                }
            }
            self.outer.add(layer.attention.output());
            match &layer.network {
                FeedForwardWeights::Dense(network) => self.add_network(network),
                FeedForwardWeights::Experts(weights) => {
                    self.outer.add(&weights.logits);
                    self.outer.add_stack(&weights.gate);
                    self.outer.add_stack(&weights.up);
                    self.experts.add(index, weights, tokens);
                    weights
                        .shared
                        .iter()
                        .for_each(|shared| self.add_network(shared));
                }
            }
        }
        self.outer.resize(tokens);
        self.inner.resize(tokens);
        let wanted = batch.logit_rows();
        if wanted > self.head_rows || self.head.is_none() {
            self.head_rows = wanted.max(1);
            let head = decoder.head();
            self.head = Some(rows(self.head_rows, head.matrix.columns(), head.floats));
        }
        if let Some(head) = &mut self.head {
            head.set_rows(wanted);
        }
    }

    fn add_network(&mut self, network: &NetworkWeights) {
        self.outer.add(&network.gate);
        self.outer.add(&network.up);
        self.inner.add(&network.down);
    }
}

fn rows(max_rows: usize, columns: usize, floats: bool) -> QuantizedRows {
    if floats {
        QuantizedRows::with_floats(max_rows, columns)
    } else {
        QuantizedRows::new(max_rows, columns)
    }
}

impl Activations {
    /// The rows to be multiplied by matrices of so many columns, before those are padded to whole blocks.
    pub(crate) fn rows(&self, columns: usize) -> &QuantizedRows {
        let columns = columns.next_multiple_of(QUANTIZED);
        match self.widths.iter().find(|width| width.columns == columns) {
            Some(width) => &width.rows,
            None => unreachable!("no matrix has {columns} columns"),
        }
    }

    /// Makes sure that there are rows for a matrix.
    fn add(&mut self, Linear { matrix, floats, .. }: &Linear) {
        self.add_width(matrix.columns(), *floats);
    }

    fn add_stack(&mut self, stack: &Stack) {
        self.add_width(stack.columns(), stack.floats);
    }

    fn add_width(&mut self, columns: usize, floats: bool) {
        let known = self
            .widths
            .iter_mut()
            .find(|width| width.columns == columns);
        match known {
            Some(width) if width.floats || !floats => {}
            Some(width) => {
                width.floats = true;
                width.rows = rows(self.max_rows, columns, true);
            }
            None => self.widths.push(Width {
                columns,
                floats,
                rows: rows(self.max_rows, columns, floats),
            }),
        }
    }

    /// Room for at least so many rows, all of them in use.
    fn grow(&mut self, count: usize) {
        self.resize(count.max(self.max_rows));
    }

    fn resize(&mut self, count: usize) {
        let grown = count > self.max_rows;
        self.max_rows = self.max_rows.max(count);
        for width in &mut self.widths {
            if grown {
                width.rows = rows(count, width.columns, width.floats);
            }
            width.rows.set_rows(count);
        }
    }
}
