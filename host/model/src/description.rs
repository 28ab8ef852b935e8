//! What the one decoder, and any other runner, needs to know of a model: a decoder-only transformer as data.
//!
//! `gguf` reads it from GGUF metadata, `config` from a checkpoint folder's config.json; what differs between families is
//! data here, never a second decoder. Invariant: every key that a reader meets is one it honours or one that is known to
//! change nothing; any other is an error, because ignoring it could give wrong answers. Weights are elsewhere.

mod check;
mod config;
mod gguf;
mod plain;
mod rope_scaling;

/// A decoder-only transformer, as data.
///
/// Embedding (times `embedding_scale`), then the layers, each `x + residual_scale * attention(norm(x))` and then
/// `x + residual_scale * feed_forward(norm(x))`, a last norm, the head (times `logit_scale`, then `logit_softcap`).
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// `general.architecture` of a GGUF file, `model_type` of a config.json.
    pub architecture: String,
    /// The name the files give, for logs and listings.
    pub name: Option<String>,
    /// The decoder layers, first to last. Never empty.
    pub layers: Vec<LayerDescription>,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Rows of the embedding, logits of the head.
    pub vocab: usize,
    /// Longest context the model was trained for, in tokens.
    pub context_length: usize,
    /// Added under the root of RMSNorm.
    pub norm_eps: f32,
    /// Added to the weights of every RMSNorm: checkpoints of Gemma hold them less one, their GGUF files do not.
    pub norm_offset: f32,
    /// Position embeddings; layers name them by index.
    pub ropes: Vec<RopeDescription>,
    /// Factor on the embeddings.
    pub embedding_scale: f32,
    /// Factor on what a half layer adds to the residual stream.
    pub residual_scale: f32,
    /// Factor on the logits.
    pub logit_scale: f32,
    /// Logits become `cap * tanh(logit / cap)`.
    pub logit_softcap: Option<f32>,
    /// The head's weights are the embedding's.
    pub tied_embeddings: bool,
    /// Tokens that end a sequence: end of sequence, of turn, of message.
    pub eos_token_ids: Vec<u32>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDescription {
    /// Its first half.
    pub attention: Attention,
    /// Its second half.
    pub feed_forward: FeedForward,
    /// Each half's result passes one more norm before it is added (Gemma 2 and 3).
    pub post_norms: bool,
}

/// How a layer attends.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Heads of queries over as many or fewer heads of keys and values.
    Grouped(GroupedAttention),
    /// Keys and values compressed into one latent vector a token (multi-head latent attention, arXiv 2405.04434).
    Latent(LatentAttention),
}

/// Attention with grouped query heads (arXiv 2305.13245).
#[derive(Debug, Clone, PartialEq)]
pub struct GroupedAttention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of one head, of queries, keys and values alike.
    pub head_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Index into [`ModelDescription::ropes`]; None for a layer without position embedding.
    pub rope: Option<usize>,
    /// A token sees itself and the `window - 1` before it; None sees all.
    pub window: Option<usize>,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// Queries and keys pass an RMSNorm, head by head, before they turn.
    pub qk_norm: bool,
    /// The projections to queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// The projection of the result has a bias.
    pub output_bias: bool,
    /// One matrix gives queries, keys and values, in this order.
    pub fused_qkv: bool,
}

/// Multi-head latent attention. A token's key is `latent * W_k` beside a part that turns and that all heads share; its
/// value is `latent * W_v`. Only the latent and the turning part are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentAttention {
    /// Query heads.
    pub heads: usize,
    /// Width of the queries' own latent; None projects the residual stream straight to queries.
    pub query_rank: Option<usize>,
    /// Width of the latent of keys and values.
    pub kv_rank: usize,
    /// Elements of a query or key head that do not turn.
    pub nope_dim: usize,
    /// Elements that turn.
    pub rope_dim: usize,
    /// Elements of a value head.
    pub value_dim: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Index into [`ModelDescription::ropes`].
    pub rope: usize,
    /// Added under the root of the latents' RMSNorm.
    pub norm_eps: f32,
    /// The projections into the latents have a bias.
    pub latent_bias: bool,
    /// The projection of the result has a bias.
    pub output_bias: bool,
}

/// A layer's second half.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedForward {
    /// One network for all tokens.
    Dense(GatedNetwork),
    /// A router sends each token to a few of many networks.
    Experts(Experts),
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedNetwork {
    /// Width between up and down.
    pub inner: usize,
    /// On the gate.
    pub activation: Activation,
    /// All three projections have a bias.
    pub bias: bool,
    /// One matrix gives gate and up, in this order.
    pub fused_gate_up: bool,
}

/// A gate's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU by the error function.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a token visits.
    pub used: usize,
    /// Each expert's width between up and down.
    pub inner: usize,
    /// On the gates.
    pub activation: Activation,
    /// Width of the network that all tokens pass beside their experts.
    pub shared_inner: Option<usize>,
    /// Who visits whom.
    pub router: Router,
}

/// How a token's experts are chosen and weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Router {
    /// What turns the router's logits into scores.
    pub score: RouterScore,
    /// A bias of each expert is added to its score for the choice, not for its weight (arXiv 2412.19437).
    pub correction_bias: bool,
    /// Experts stand in so many groups of equal size ...
    pub groups: usize,
    /// ... of which the best so many are looked at.
    pub groups_used: usize,
    /// What makes a group the best.
    pub group_score: GroupScore,
    /// The weights of a token's experts are divided by their sum.
    pub normalise: bool,
    /// Factor on the weights.
    pub scale: f32,
}

/// What turns a router's logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterScore {
    /// Over all experts.
    Softmax,
    /// Of each expert by itself.
    Sigmoid,
}

/// What a group of experts is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupScore {
    /// Its best expert (DeepSeek-V2).
    Best,
    /// The sum of its best two (DeepSeek-V3).
    BestTwo,
}

/// How rotary embedding pairs the elements that turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Element 2i turns with 2i + 1 (llama's GGUF weights are permuted for it).
    Interleaved,
    /// Element i turns with i + d/2 (GPT-NeoX).
    Halves,
}

/// Rotary position embedding (arXiv 2104.09864): pair i of position p turns by `p * frequencies[i]`. Elements behind the
/// last pair do not turn.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeDescription {
    /// Which elements pair up.
    pub style: RopeStyle,
    /// Radians a position, one a pair, with whatever scaling the model asks for.
    pub frequencies: Vec<f64>,
    /// Factor on cosines and sines, so on the turned elements.
    pub magnitude: f32,
    /// What takes the place of `frequencies` for long contexts (LongRoPE, arXiv 2402.13753).
    pub long: Option<LongRope>,
}

/// Frequencies for contexts beyond the one a model was first trained for.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// The context up to which the others hold, in tokens.
    pub original_context: usize,
    /// Radians a position, one a pair.
    pub frequencies: Vec<f64>,
}

impl RopeDescription {
    /// The frequencies of a server whose sequences may grow to `max_model_len` tokens. One choice for all of them: keys
    /// that were turned one way cannot be compared with keys turned another.
    pub fn frequencies_for(&self, max_model_len: usize) -> &[f64] {
        match &self.long {
            Some(long) if max_model_len > long.original_context => &long.frequencies,
            _ => &self.frequencies,
        }
    }
}

/// What one layer keeps of each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// 2 for keys and values; 1 where both are made of one latent.
    pub planes: usize,
    /// Heads of each plane.
    pub heads: usize,
    /// Elements of a head.
    pub dim: usize,
}

impl KvLayout {
    /// Elements a token.
    pub fn elements(self) -> usize {
        [self.heads, self.dim]
            .into_iter()
            .fold(self.planes, usize::saturating_mul)
    }
}

impl Attention {
    /// What the layer keeps of each token.
    pub fn kv_layout(&self) -> KvLayout {
        match self {
            Self::Grouped(grouped) => KvLayout {
                planes: 2,
                heads: grouped.kv_heads,
                dim: grouped.head_dim,
            },
            Self::Latent(latent) => KvLayout {
                planes: 1,
                heads: 1,
                dim: latent.kv_rank + latent.rope_dim,
            },
        }
    }
}
