//! The encoder's computation: embeddings, then layers of attention and feed-forward with a layer norm after each
//! (Devlin et al. 2018, as published in BERT's own code).
//!
//! All texts' tokens go through the matrices together, without padding; only attention looks at texts one by one.
//! Invariant: a text's vectors do not depend on its neighbours, to the last bit. A general matrix product rounds
//! differently with the number of its rows, so every product here has the same number of them. (The quantized product
//! that the decoder takes for this reason is four times slower on many rows.)

use candle_core::{D, Device, Result, Tensor};

use crate::{
    encoder::{
        description::{Activation, EncoderDescription},
        weights::EncoderWeights,
    },
    error::ModelError,
};

/// Queries attended to at once; bounds the scores to `heads * QUERY_TILE * tokens` floats.
const QUERY_TILE: usize = 128;

/// Rows of every matrix product; a multiple of what kernels compute at once, few enough that a short text does not pay for
/// many rows it does not have.
const PRODUCT_ROWS: usize = 32;

/// An encoder with its weights.
#[derive(Debug)]
pub(super) struct Encoder {
    heads: usize,
    padding: Option<usize>,
    activation: Activation,
    tokens: Tensor,
    positions: Tensor,
    /// The row of the first token type, where there is a table.
    token_type: Option<Tensor>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// A matrix, `(inputs, outputs)`, and its bias.
#[derive(Debug)]
struct Linear {
    matrix: Tensor,
    bias: Tensor,
}

/// A layer norm.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl Encoder {
    /// Loads every tensor the description asks for.
    pub(super) fn load(
        description: &EncoderDescription,
        weights: &mut EncoderWeights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let EncoderDescription { hidden, .. } = *description;
        let token_type = match description.token_types {
            0 => None,
            rows => Some(
                weights
                    .tensor("token_types.weight", &[rows, hidden])?
                    .get(0)?,
            ),
        };
        Ok(Self {
            heads: description.heads,
            padding: description.padding,
            activation: description.activation,
            tokens: weights.tensor("token_embd.weight", &[description.vocab, hidden])?,
            positions: weights.tensor("position_embd.weight", &[description.positions, hidden])?,
            token_type,
            embedding_norm: Norm::load("token_embd_norm", description, weights)?,
            layers: (0..description.layers)
                .map(|index| Layer::load(index, description, weights))
                .collect::<std::result::Result<_, _>>()?,
        })
    }

    /// The last layer's vectors of all tokens of all texts, one after the other, `(tokens, hidden)`.
    ///
    /// The texts are checked: none is empty, no id outside the vocabulary, none longer than the positions.
    pub(super) fn forward<T: AsRef<[u32]>>(&self, texts: &[T]) -> Result<Tensor> {
        let lens: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
        let mut hidden = self.embed(texts)?;
        for layer in &self.layers {
            let mixed = layer.attention(&hidden, &lens, self.heads)?;
            hidden = layer.attention_norm.forward(&(hidden + mixed)?)?;
            let inner = self.activate(&layer.up.forward(&hidden)?)?;
            hidden = layer
                .output_norm
                .forward(&(hidden + layer.down.forward(&inner)?)?)?;
        }
        Ok(hidden)
    }

    fn embed<T: AsRef<[u32]>>(&self, texts: &[T]) -> Result<Tensor> {
        let mut tokens: Vec<u32> = Vec::new();
        let mut positions = Vec::new();
        for text in texts {
            tokens.extend(text.as_ref());
            positions.extend(position_rows(text.as_ref(), self.padding));
        }
        let rows = |table: &Tensor, rows: Vec<u32>| {
            table.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)
        };
        let mut sum = (rows(&self.tokens, tokens)? + rows(&self.positions, positions)?)?;
        if let Some(token_type) = &self.token_type {
            sum = sum.broadcast_add(token_type)?;
        }
        self.embedding_norm.forward(&sum)
    }

    fn activate(&self, values: &Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::Gelu => values.gelu_erf(),
            Activation::GeluTanh => values.gelu(),
            Activation::Relu => values.relu(),
        }
    }
}

impl Layer {
    fn load(
        index: usize,
        description: &EncoderDescription,
        weights: &mut EncoderWeights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let EncoderDescription {
            hidden,
            intermediate,
            ..
        } = *description;
        let name = |part: &str| format!("blk.{index}.{part}");
        let mut linear =
            |part: &str, rows, columns| Linear::load(&name(part), rows, columns, weights);
        Ok(Self {
            query: linear("attn_q", hidden, hidden)?,
            key: linear("attn_k", hidden, hidden)?,
            value: linear("attn_v", hidden, hidden)?,
            attention_output: linear("attn_output", hidden, hidden)?,
            up: linear("ffn_up", intermediate, hidden)?,
            down: linear("ffn_down", hidden, intermediate)?,
            attention_norm: Norm::load(&name("attn_output_norm"), description, weights)?,
            output_norm: Norm::load(&name("layer_output_norm"), description, weights)?,
        })
    }

    /// The attention half, before it is added to its input: each text's tokens see each other and nothing else.
    fn attention(&self, hidden: &Tensor, lens: &[usize], heads: usize) -> Result<Tensor> {
        let (tokens, width) = hidden.dims2()?;
        let split = |linear: &Linear| {
            linear
                .forward(hidden)?
                .reshape((tokens, heads, width / heads))
        };
        let scale = 1.0 / ((width / heads) as f64).sqrt();
        let (query, key, value) = (
            (split(&self.query)? * scale)?,
            split(&self.key)?,
            split(&self.value)?,
        );
        let mut mixed = Vec::with_capacity(lens.len());
        let mut start = 0;
        for len in lens {
            // `(heads, len, head_dim)`
            let own = |all: &Tensor| all.narrow(0, start, *len)?.transpose(0, 1)?.contiguous();
            let text = attend(&own(&query)?, &own(&key)?, &own(&value)?)?;
            mixed.push(text.transpose(0, 1)?.reshape((*len, width))?);
            start += len;
        }
        self.attention_output.forward(&Tensor::cat(&mixed, 0)?)
    }
}

/// The row of the position table of each of a text's tokens (modeling_roberta.py, `create_position_ids_from_input_ids`).
fn position_rows(text: &[u32], padding: Option<usize>) -> impl Iterator<Item = u32> {
    let padding = padding.and_then(|id| u32::try_from(id).ok());
    let mut next = padding.map_or(0, |id| id + 1);
    text.iter().map(move |id| {
        if Some(*id) == padding {
            *id
        } else {
            next += 1;
            next - 1
        }
    })
}

/// softmax(Q K^T) V of one text; all are `(heads, len, head_dim)`, the scale is in the queries.
fn attend(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let len = query.dim(1)?;
    let key = key.transpose(D::Minus2, D::Minus1)?;
    let tiles = (0..len)
        .step_by(QUERY_TILE)
        .map(|start| {
            let tile = query.narrow(1, start, QUERY_TILE.min(len - start))?;
            candle_nn::ops::softmax_last_dim(&tile.matmul(&key)?)?.matmul(value)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&tiles, 1)
}

impl Linear {
    fn load(
        name: &str,
        rows: usize,
        columns: usize,
        weights: &mut EncoderWeights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        let matrix = weights.tensor(&format!("{name}.weight"), &[rows, columns])?;
        Ok(Self {
            matrix: matrix.t()?.contiguous()?,
            bias: weights.tensor(&format!("{name}.bias"), &[rows])?,
        })
    }

    fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let rows = values.dim(0)?;
        let missing = rows.next_multiple_of(PRODUCT_ROWS) - rows;
        let padded = values.pad_with_zeros(0, 0, missing)?;
        let products = (0..rows)
            .step_by(PRODUCT_ROWS)
            .map(|start| padded.narrow(0, start, PRODUCT_ROWS)?.matmul(&self.matrix))
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&products, 0)?
            .narrow(0, 0, rows)?
            .broadcast_add(&self.bias)
    }
}

impl Norm {
    fn load(
        name: &str,
        description: &EncoderDescription,
        weights: &mut EncoderWeights<'_>,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), &[description.hidden])?,
            bias: weights.tensor(&format!("{name}.bias"), &[description.hidden])?,
            eps: description.norm_eps,
        })
    }

    /// The variance is the mean of squared distances: the fused kernel's difference of means loses it to rounding
    /// where the epsilon is as small as BERT's.
    fn forward(&self, values: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm_slow(values, &self.weight, &self.bias, self.eps)
    }
}
