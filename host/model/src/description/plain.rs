//! What most families have: the readers start from these and set what their family has differently.

use super::{
    Activation, Attention, Experts, FeedForward, GatedNetwork, GroupScore, GroupedAttention,
    LayerDescription, Router, RouterScore,
};

impl GroupedAttention {
    /// Turned by the first rope, seeing all, without norms, biases or caps.
    pub(super) fn plain(heads: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self {
            heads,
            kv_heads,
            head_dim,
            scale: (head_dim as f32).sqrt().recip(),
            rope: Some(0),
            window: None,
            softcap: None,
            qk_norm: false,
            qkv_bias: false,
            output_bias: false,
            fused_qkv: false,
        }
    }
}

impl GatedNetwork {
    /// Three matrices without biases.
    pub(super) fn plain(inner: usize, activation: Activation) -> Self {
        Self {
            inner,
            activation,
            bias: false,
            fused_gate_up: false,
        }
    }
}

impl Router {
    /// The best by softmax over all experts, in one group.
    pub(super) fn plain() -> Self {
        Self {
            score: RouterScore::Softmax,
            correction_bias: false,
            groups: 1,
            groups_used: 1,
            group_score: GroupScore::Best,
            normalise: false,
            scale: 1.0,
        }
    }
}

impl LayerDescription {
    /// One norm before each half.
    pub(super) fn plain(attention: Attention, feed_forward: FeedForward) -> Self {
        Self {
            attention,
            feed_forward,
            post_norms: false,
        }
    }

    /// Layers of one attention, the first `leading_dense` of them with the dense network and the others with experts, if
    /// there are experts.
    pub(super) fn leading_dense(
        count: usize,
        leading_dense: usize,
        attention: &Attention,
        dense: &GatedNetwork,
        experts: Option<&Experts>,
    ) -> Vec<Self> {
        let layer = |index| {
            let feed_forward = match experts {
                Some(experts) if index >= leading_dense => FeedForward::Experts(experts.clone()),
                _ => FeedForward::Dense(dense.clone()),
            };
            Self::plain(attention.clone(), feed_forward)
        };
        (0..count).map(layer).collect()
    }
}
