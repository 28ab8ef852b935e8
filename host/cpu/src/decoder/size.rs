//! How much a step reads and multiplies, for those who measure its speed against the machine's limits.

use super::{AttentionWeights, Decoder, FeedForwardWeights, Layer, NetworkWeights};
use crate::matrix::PackedMatrix;

/// What a step of one sequence reads and multiplies: all layers for every token, of experts those that a token visits; the
/// head for rows whose logits are wanted. An embedding that is not the head too is looked up and does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSize {
    /// Packed bytes of all layers' matrices.
    pub layer_bytes: usize,
    /// Numbers of all layers' matrices: multiplications of a token.
    pub layer_numbers: usize,
    /// Packed bytes of the head.
    pub head_bytes: usize,
    /// Numbers of the head: multiplications of a row of logits.
    pub head_numbers: usize,
}

impl Decoder {
    pub(crate) fn weight_size(&self) -> WeightSize {
        let mut layers = [0; 2];
        for layer in &self.layers {
            let [bytes, numbers] = layer.size();
            layers = [layers[0] + bytes, layers[1] + numbers];
        }
        let [head_bytes, head_numbers] = size([&self.head().matrix]);
        WeightSize {
            layer_bytes: layers[0],
            layer_numbers: layers[1],
            head_bytes,
            head_numbers,
        }
    }
}

/// Bytes and numbers of some matrices.
fn size<'a>(matrices: impl IntoIterator<Item = &'a PackedMatrix>) -> [usize; 2] {
    let mut sum = [0; 2];
    for matrix in matrices {
        sum[0] += matrix.bytes();
        sum[1] += matrix.rows() * matrix.columns();
    }
    sum
}

fn network(weights: &NetworkWeights) -> [usize; 2] {
    size([&weights.gate, &weights.up, &weights.down].map(|linear| &linear.matrix))
}

impl Layer {
    fn size(&self) -> [usize; 2] {
        let attention = match &self.attention {
            AttentionWeights::Grouped(weights) => {
                let linears = [
                    &weights.query,
                    &weights.key,
                    &weights.value,
                    &weights.output,
                ];
                size(linears.map(|linear| &linear.matrix))
            }
            AttentionWeights::Latent(weights) => {
                let through = weights.query_latent.iter().map(|latent| &latent.out);
                let linears = [&weights.query, &weights.kept, &weights.output];
                let linears = linears.into_iter().chain(through);
                let heads = weights.key.matrices.iter().chain(&weights.value.matrices);
                size(linears.map(|linear| &linear.matrix).chain(heads))
            }
        };
        let second = match &self.network {
            FeedForwardWeights::Dense(weights) => network(weights),
            FeedForwardWeights::Experts(weights) => {
                let stacks = [&weights.gate, &weights.up, &weights.down];
                let all = size(stacks.into_iter().flat_map(|stack| &stack.matrices));
                let visited = all.map(|all| all * weights.used / weights.count());
                let shared = weights.shared.as_ref().map_or([0; 2], network);
                let router = size([&weights.logits.matrix]);
                [0, 1].map(|at| visited[at] + shared[at] + router[at])
            }
        };
        [0, 1].map(|at| attention[at] + second[at])
    }
}
