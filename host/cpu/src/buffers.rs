//! The memory of a step: grown when a step is larger than any before, never given back.
//!
//! Activations are kept by width: whatever is multiplied by matrices of so many columns stands in the same rows, one
//! thing after the other.

use weir_engine::Batch;

use crate::{
    QuantizedRows,
    attention::{AttentionScratch, Plan, partial_len},
    decoder::Decoder,
    kv_cache::VECTOR,
    shared::Shared,
};

/// What all workers of a step share.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The residual stream: a row a token, as all below.
    pub(crate) hidden: Shared<f32>,
    /// What half a layer adds to it.
    pub(crate) delta: Shared<f32>,
    /// Queries, keys and values of a token, side by side.
    pub(crate) projected: Shared<f32>,
    /// What attention makes of them.
    pub(crate) mixed: Shared<f32>,
    pub(crate) partials: Shared<f32>,
    /// Of each position embedding.
    pub(crate) angles: Vec<Shared<f32>>,
    /// By their columns.
    pub(crate) activations: Vec<Activations>,
    /// Of the tokens whose logits are wanted.
    pub(crate) head: Option<QuantizedRows>,
    head_rows: usize,
}

/// Rows to be multiplied by matrices of so many columns.
#[derive(Debug)]
pub(crate) struct Activations {
    pub(crate) columns: usize,
    /// Whether any of those matrices multiplies f32.
    floats: bool,
    max_rows: usize,
    pub(crate) rows: QuantizedRows,
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
}

impl Buffers {
    /// Makes room for a batch of at least one token.
    pub(crate) fn grow(&mut self, decoder: &Decoder, batch: &Batch, plans: &[Plan]) {
        let tokens = batch.tokens.len();
        let hidden = decoder.description.hidden;
        self.hidden.grow(tokens * hidden);
        self.delta.grow(tokens * hidden);
        let (mut projected, mut partials) = (0, 0);
        for layer in &decoder.layers {
            let attention = &layer.attention.description;
            projected = projected.max(layer.attention.projected());
            let group = attention.heads / attention.kv_heads;
            let len = partial_len(group, attention.head_dim.next_multiple_of(VECTOR));
            let places = plans.iter().map(|plan| plan.partials).max().unwrap_or(0);
            partials = partials.max(places * len);
        }
        self.projected.grow(tokens * projected);
        self.mixed.grow(tokens * projected);
        self.partials.grow(partials);
        self.angles
            .resize_with(decoder.ropes.len(), Shared::default);
        for (angles, rope) in self.angles.iter_mut().zip(&decoder.ropes) {
            angles.grow(tokens * rope.angles_len());
        }
        if self.activations.is_empty() {
            self.activations = activations(decoder);
        }
        for activations in &mut self.activations {
            activations.resize(tokens);
        }
        let wanted = batch.logit_rows();
        if wanted > self.head_rows || self.head.is_none() {
            self.head_rows = wanted.max(1);
            let floats = decoder.head().reads_floats();
            self.head = Some(QuantizedRows::new(self.head_rows, hidden, floats));
        }
        if let Some(head) = &mut self.head {
            head.set_rows(wanted);
        }
    }

    /// The rows to be multiplied by matrices of so many columns.
    pub(crate) fn rows(&self, columns: usize) -> &QuantizedRows {
        let found = self
            .activations
            .iter()
            .find(|activations| activations.columns == columns);
        match found {
            Some(activations) => &activations.rows,
            None => unreachable!("no matrix has {columns} columns"),
        }
    }
}

/// One for each number of columns of the layers' matrices.
fn activations(decoder: &Decoder) -> Vec<Activations> {
    let mut found: Vec<Activations> = Vec::new();
    for layer in &decoder.layers {
        let (attention, network) = (&layer.attention, &layer.network);
        let linears = [
            &attention.query,
            &attention.key,
            &attention.value,
            &attention.output,
            &network.gate,
            &network.up,
            &network.down,
        ];
        for matrix in linears.map(|linear| &linear.matrix) {
            let (columns, floats) = (matrix.columns(), matrix.reads_floats());
            match found.iter_mut().find(|known| known.columns == columns) {
                Some(known) => known.floats |= floats,
                None => found.push(Activations {
                    columns,
                    floats,
                    max_rows: 0,
                    rows: QuantizedRows::new(0, columns, floats),
                }),
            }
        }
    }
    found
}

impl Activations {
    fn resize(&mut self, rows: usize) {
        if rows > self.max_rows {
            self.max_rows = rows;
            self.rows = QuantizedRows::new(rows, self.columns, self.floats);
        }
        self.rows.set_rows(rows);
    }
}
