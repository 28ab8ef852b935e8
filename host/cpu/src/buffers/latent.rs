//! What latent attention needs beside: queries on their way to the latents, and what comes back, head by head.

use super::Activations;
use crate::{decoder::LatentWeights, shared::Shared};

/// A row a token in each.
#[derive(Default)]
pub(crate) struct LatentBuffers {
    /// Queries that come out of a latent of their own.
    pub(crate) queries: Shared<f32>,
    /// Queries as they meet the latents, with the part that turns behind, head by head.
    pub(crate) absorbed: Shared<f32>,
    /// Values, head by head.
    pub(crate) values: Shared<f32>,
    /// What is multiplied by the matrix of each head: all tokens of the first head, then those of the next.
    pub(crate) heads: Activations,
}

impl LatentBuffers {
    /// Makes room for a layer's, and for what it reads from `outer`.
    pub(super) fn add(&mut self, weights: &LatentWeights, outer: &mut Activations, tokens: usize) {
        let attention = &weights.description;
        let heads = attention.heads;
        outer.add(&weights.query);
        outer.add(&weights.kept);
        if let Some(latent) = &weights.query_latent {
            outer.add(&latent.out);
            self.queries.grow(tokens * latent.out.matrix.rows());
        }
        let absorbed = attention.kv_rank + attention.rope_dim;
        self.absorbed.grow(tokens * heads * absorbed);
        self.values.grow(tokens * heads * attention.value_dim);
        self.heads.add_stack(&weights.key);
        self.heads.add_stack(&weights.value);
        self.heads.grow(tokens * heads);
    }
}
