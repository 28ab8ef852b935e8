//! One model on several devices: each holds its share of every layer's heads and of every network's width.
//!
//! Matrices into heads and widths are cut by rows, those back to the residual stream by columns; their results are parts of
//! a sum ([`crate::collective::Collective::sum`]), and everything between two sums is a device's own. Norms, embedding and
//! head are whole on each. Where heads of keys are fewer than devices, those that use the same one each have it.

use std::ops::Range;

use weir_model::{
    Attention, FeedForward, GatedNetwork, GroupedAttention, ModelDescription,
    names::{self, Part, Place},
};

/// What one of `count` devices has of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share<'a> {
    pub(crate) model: &'a ModelDescription,
    /// From 0 on.
    pub(crate) rank: usize,
    pub(crate) count: usize,
}

/// What a share has of a tensor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// Rows of so many, one range behind the other.
    Rows(usize, Vec<Range<usize>>),
    /// Columns of so many.
    Columns(usize, Range<usize>),
    /// Zeros in its place: another device has it, or the sum would have it several times.
    Zeros,
}

impl Share<'_> {
    /// The share as a model of its own.
    ///
    /// # Errors
    /// What cannot be shared evenly.
    pub(crate) fn description(&self) -> Result<ModelDescription, String> {
        let Self { model, count, .. } = *self;
        let refuse = |what: &str, of: usize| {
            format!(
                "tp is {count}, but the model's {of} {what} cannot be shared evenly by {count} devices"
            )
        };
        let share = |what: &str, of: usize| match of.is_multiple_of(count) {
            true => Ok(of / count),
            false => Err(refuse(what, of)),
        };
        let mut shard = model.clone();
        for layer in &mut shard.layers {
            if let Attention::Grouped(attention) = &mut layer.attention {
                let GroupedAttention {
                    heads, kv_heads, ..
                } = *attention;
                attention.heads = share("heads", heads)?;
                attention.kv_heads = match count.is_multiple_of(kv_heads) {
                    true => 1,
                    false => share("heads of keys", kv_heads)?,
                };
            }
            if let FeedForward::Dense(network) = &mut layer.feed_forward {
                network.inner = share("columns of a network", network.inner)?;
            }
        }
        Ok(shard)
    }

    /// What it has of a tensor; `suffix` is `weight` or `bias`.
    pub(crate) fn cut(&self, place: Place, part: Part, suffix: &str) -> Cut {
        let Place::Layer(layer) = place else {
            return Cut::Whole;
        };
        if self.count == 1 {
            return Cut::Whole;
        }
        let layer = &self.model.layers[layer];
        let of_attention = match &layer.attention {
            Attention::Grouped(attention) => self.attention(attention, part, suffix),
            Attention::Latent(_) => None,
        };
        let of_network = || match &layer.feed_forward {
            FeedForward::Dense(network) => self.network(network, part, suffix),
            FeedForward::Experts(_) => None,
        };
        of_attention.or_else(of_network).unwrap_or(Cut::Whole)
    }

    fn attention(&self, attention: &GroupedAttention, part: Part, suffix: &str) -> Option<Cut> {
        let GroupedAttention {
            heads,
            kv_heads,
            head_dim,
            ..
        } = *attention;
        let rows = |heads: Range<usize>| heads.start * head_dim..heads.end * head_dim;
        let queries = rows(self.own(heads));
        let keys = rows(self.own(kv_heads));
        let (all_queries, all_keys) = (heads * head_dim, kv_heads * head_dim);
        let is = |other| same(part, other);
        if is(names::QUERY) {
            Some(Cut::Rows(all_queries, vec![queries]))
        } else if is(names::KEY) || is(names::VALUE) {
            Some(Cut::Rows(all_keys, vec![keys]))
        } else if is(names::FUSED_QKV) {
            let behind = |first: usize| first + keys.start..first + keys.end;
            let values = behind(all_queries + all_keys);
            let ranges = vec![queries, behind(all_queries), values];
            Some(Cut::Rows(all_queries + 2 * all_keys, ranges))
        } else if is(names::ATTENTION_OUTPUT) {
            Some(self.way_back(all_queries, queries, suffix))
        } else {
            None
        }
    }

    fn network(&self, network: &GatedNetwork, part: Part, suffix: &str) -> Option<Cut> {
        let inner = network.inner;
        let own = self.own(inner);
        let is = |other| same(part, other);
        if is(names::DENSE.gate) || is(names::DENSE.up) {
            Some(Cut::Rows(inner, vec![own]))
        } else if is(names::FUSED_GATE_UP) {
            let up = inner + own.start..inner + own.end;
            Some(Cut::Rows(2 * inner, vec![own, up]))
        } else if is(names::DENSE.down) {
            Some(self.way_back(inner, own, suffix))
        } else {
            None
        }
    }

    /// Of a matrix back to the residual stream, whose bias is the first device's.
    fn way_back(&self, columns: usize, own: Range<usize>, suffix: &str) -> Cut {
        match (suffix, self.rank) {
            ("bias", 0) => Cut::Whole,
            ("bias", _) => Cut::Zeros,
            _ => Cut::Columns(columns, own),
        }
    }

    /// Its range of so many, which are shared evenly, or of which each is had by equally many devices.
    fn own(&self, of: usize) -> Range<usize> {
        let start = self.rank * of / self.count;
        start..start + (of / self.count).max(1)
    }
}

fn same(part: Part, other: Part) -> bool {
    (part.gguf, part.folder) == (other.gguf, other.folder)
}

#[cfg(test)]
mod tests;
