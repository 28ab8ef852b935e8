//! What must hold of every description, whichever file it was read from, before anything is computed or sized by it.
//!
//! Sizes are not compared with tensors here: loading does, tensor by tensor. They are bounded, so that the products that
//! loading compares cannot overflow. Numbers are such that arithmetic on them stays arithmetic: no zero is divided by.

use super::{
    Attention, Experts, FeedForward, GatedNetwork, GroupedAttention, LatentAttention,
    LayerDescription, ModelDescription, RopeDescription, Router,
};

/// More than any size of any model; two of them multiplied, and some such products added, still are a `usize`.
const LARGEST_SIZE: usize = 1 << 24;

/// Refuses what cannot be true of a model, in one line.
pub(super) fn check(description: &ModelDescription) -> Result<(), String> {
    if description.layers.is_empty() {
        return Err("it has no layers".to_owned());
    }
    size("a residual stream", description.hidden)?;
    size("a vocabulary", description.vocab)?;
    for (what, number) in [
        ("an epsilon", Some(description.norm_eps)),
        ("a factor on embeddings", Some(description.embedding_scale)),
        ("a factor on layers", Some(description.residual_scale)),
        ("a factor on logits", Some(description.logit_scale)),
        ("a cap on logits", description.logit_softcap),
    ] {
        number.map_or(Ok(()), |number| positive(what, number))?;
    }
    description.ropes.iter().try_for_each(rope)?;
    for (index, description) in description.layers.iter().enumerate() {
        layer(description).map_err(|what| format!("layer {index} has {what}"))?;
    }
    Ok(())
}

fn size(of: &str, size: usize) -> Result<(), String> {
    if (1..=LARGEST_SIZE).contains(&size) {
        Ok(())
    } else {
        Err(format!("{of} of size {size}"))
    }
}

fn positive(what: &str, number: f32) -> Result<(), String> {
    if number.is_normal() && number > 0.0 {
        Ok(())
    } else {
        Err(format!("{what} of {number:e}"))
    }
}

fn rope(rope: &RopeDescription) -> Result<(), String> {
    positive("a factor on turned elements", rope.magnitude)?;
    let long = rope.long.iter().flat_map(|long| &long.frequencies);
    match rope
        .frequencies
        .iter()
        .chain(long)
        .find(|frequency| !frequency.is_finite())
    {
        Some(frequency) => Err(format!("elements turn by {frequency} radians a token")),
        None => Ok(()),
    }
}

fn layer(layer: &LayerDescription) -> Result<(), String> {
    match &layer.attention {
        Attention::Grouped(attention) => grouped(attention)?,
        Attention::Latent(attention) => latent(attention)?,
    }
    match &layer.feed_forward {
        FeedForward::Dense(GatedNetwork { inner, .. }) => size("a network", *inner),
        FeedForward::Experts(mixture) => experts(mixture),
    }
}

fn grouped(attention: &GroupedAttention) -> Result<(), String> {
    let GroupedAttention {
        heads,
        kv_heads,
        head_dim,
        ..
    } = *attention;
    size("a list of heads", heads)?;
    size("a list of heads of keys", kv_heads)?;
    size("a head", head_dim)?;
    positive("a factor on scores", attention.scale)?;
    if let Some(cap) = attention.softcap {
        positive("a cap on scores", cap)?;
    }
    if heads.is_multiple_of(kv_heads) {
        Ok(())
    } else {
        Err(format!("{heads} heads of queries over {kv_heads} of keys"))
    }
}

fn latent(attention: &LatentAttention) -> Result<(), String> {
    for (of, found) in [
        ("a list of heads", attention.heads),
        ("a latent of queries", attention.query_rank.unwrap_or(1)),
        ("a latent of keys", attention.kv_rank),
        ("a head without its turning part", attention.nope_dim),
        ("a head's turning part", attention.rope_dim),
        ("a head of values", attention.value_dim),
    ] {
        size(of, found)?;
    }
    positive("a factor on scores", attention.scale)?;
    positive("an epsilon of latents", attention.norm_eps)
}

fn experts(experts: &Experts) -> Result<(), String> {
    let Experts {
        count,
        used,
        inner,
        shared_inner,
        router:
            Router {
                groups,
                groups_used,
                scale,
                ..
            },
        ..
    } = *experts;
    for (of, found) in [
        ("a list of experts", count),
        ("a list of visited experts", used),
        ("a network", inner),
        ("a shared network", shared_inner.unwrap_or(1)),
        ("a list of groups", groups),
        ("a list of visited groups", groups_used),
    ] {
        size(of, found)?;
    }
    positive("a factor on experts", scale)?;
    if used > count {
        return Err(format!("{count} experts, of which a token visits {used}"));
    }
    if groups_used > groups || !count.is_multiple_of(groups) {
        return Err(format!(
            "{count} experts in {groups} groups, of which {groups_used} are looked at"
        ));
    }
    if count / groups * groups_used < used {
        return Err(format!(
            "too few experts in {groups_used} groups for {used}"
        ));
    }
    Ok(())
}
