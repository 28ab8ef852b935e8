//! One model on several devices: each holds its share of every layer's heads and of every network's width.
//!
//! Matrices into heads and widths are cut by rows, those back to the residual stream by columns; their results are parts of
//! a sum ([`Kernels::sum`]), and everything between two sums is a device's own. Norms, embedding and head are whole on each.
//! Only tests compile it: on GPUs the sum is NCCL's, and `--tp` above 1 is refused until that could be tried.

use candle_core::Tensor;
use weir_model::{
    Attention, FeedForward, ModelDescription, ModelError,
    names::{self, Part, Place},
};

use crate::weight_source::WeightSource;

/// The model that one of `count` devices computes.
///
/// # Errors
/// What cannot be shared evenly.
fn shard(description: &ModelDescription, count: usize) -> Result<ModelDescription, String> {
    let share = |what: &str, of: usize| match of.is_multiple_of(count) {
        true => Ok(of / count),
        false => Err(format!("{of} {what} cannot be shared by {count} devices")),
    };
    let mut shard = description.clone();
    for layer in &mut shard.layers {
        if let Attention::Grouped(attention) = &mut layer.attention {
            attention.heads = share("heads", attention.heads)?;
            attention.kv_heads = share("heads of keys", attention.kv_heads)?;
        }
        if let FeedForward::Dense(network) = &mut layer.feed_forward {
            network.inner = share("columns of a network", network.inner)?;
        }
    }
    Ok(shard)
}

/// How a tensor is shared.
enum Cut {
    /// Each device has all of it.
    Whole,
    /// Rows, of each of the sections that stand one behind the other; how many times as long as the last each is.
    Rows(Vec<usize>),
    /// Columns. Its bias is the first device's, so that the sum has it once.
    Columns,
}

/// How a part is cut; `group` heads of queries share one of keys.
fn cut(part: Part, group: usize) -> Cut {
    let is = |other: Part| (part.gguf, part.folder) == (other.gguf, other.folder);
    let rows = [
        names::QUERY,
        names::KEY,
        names::VALUE,
        names::DENSE.gate,
        names::DENSE.up,
    ];
    if is(names::FUSED_QKV) {
        Cut::Rows(vec![group, 1, 1])
    } else if is(names::FUSED_GATE_UP) {
        Cut::Rows(vec![1, 1])
    } else if rows.into_iter().any(is) {
        Cut::Rows(vec![1])
    } else if is(names::ATTENTION_OUTPUT) || is(names::DENSE.down) {
        Cut::Columns
    } else {
        Cut::Whole
    }
}

/// What one device takes of a source; shapes that it is asked for are the shard's.
struct Share<'a> {
    whole: &'a mut dyn WeightSource,
    rank: usize,
    count: usize,
    group: usize,
}

impl WeightSource for Share<'_> {
    fn take(
        &mut self,
        place: Place,
        part: Part,
        suffix: &str,
        shape: &[usize],
    ) -> Result<Tensor, ModelError> {
        let Self { rank, count, .. } = *self;
        let mut whole = shape.to_vec();
        match cut(part, self.group) {
            Cut::Whole => self.whole.take(place, part, suffix, shape),
            Cut::Rows(sections) => {
                whole[0] *= count;
                let tensor = self.whole.take(place, part, suffix, &whole)?;
                let unit = shape[0] / sections.iter().sum::<usize>();
                let mut start = 0;
                let mut own = Vec::with_capacity(sections.len());
                for section in sections {
                    let rows = section * unit;
                    own.push(tensor.narrow(0, start + rank * rows, rows)?);
                    start += rows * count;
                }
                Ok(Tensor::cat(&own, 0)?)
            }
            Cut::Columns if suffix == "bias" => {
                let bias = self.whole.take(place, part, suffix, shape)?;
                match rank {
                    0 => Ok(bias),
                    _ => Ok(bias.zeros_like()?),
                }
            }
            Cut::Columns => {
                whole[1] *= count;
                let tensor = self.whole.take(place, part, suffix, &whole)?;
                Ok(tensor.narrow(1, rank * shape[1], shape[1])?.contiguous()?)
            }
        }
    }
}

#[cfg(test)]
mod tests;
