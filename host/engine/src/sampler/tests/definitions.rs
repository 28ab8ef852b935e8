//! The sampler against its definitions: everything computed in f64, over whole rows, sorted where order matters.

use super::*;

/// What rounding in f32 may move a share of the weight by.
const SLACK: f64 = 1e-6;

/// Logits of which few, if any, are equal; some are unusable. Long enough for several blocks.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        20 => -12.0f32..12.0,
        1 => -200.0f32..20.0,
        1 => Just(f32::NAN),
        1 => Just(f32::NEG_INFINITY),
    ];
    let usable_row = |row: &Vec<f32>| row.iter().copied().any(usable);
    prop::collection::vec(logit, 1..900).prop_filter("nothing usable", usable_row)
}

/// Logits of which many are equal.
fn tied_rows() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-9i8..9).prop_map(f32::from), 1..900)
}

/// Scaled logits, each with its weight in f64; None for what has none.
fn weights(logits: &[f32], temperature: f32) -> Vec<Option<(f64, f64)>> {
    let usable_logits = logits.iter().copied().filter(|logit| usable(*logit));
    let max = f64::from(usable_logits.fold(f32::NEG_INFINITY, f32::max));
    let weight = |logit: &f32| {
        let scaled = (f64::from(*logit) - max) / f64::from(temperature);
        (scaled >= f64::from(LOWEST)).then(|| (scaled, scaled.exp()))
    };
    logits.iter().map(weight).collect()
}

/// The ids that a truncation leaves.
fn kept(logits: &[f32], params: &SamplingParams) -> Vec<u32> {
    let (mut maxima, mut buffers) = (Vec::new(), Buffers::default());
    let row = Row::new(logits, &mut maxima).unwrap();
    assert!(buffers.truncate(&row.tempered(params.temperature), params));
    buffers.candidates.iter().map(|c| c.id).collect()
}

/// Whether `kept` of the tokens of `from` are the fewest nearest to the centre that have the share.
fn is_nearest(
    weights: &[Option<(f64, f64)>],
    from: &[u32],
    kept: &[u32],
    share: f32,
    typical: bool,
) -> Result<(), TestCaseError> {
    let all = from.iter().map(|&id| (id, weights[id as usize].unwrap()));
    let total: f64 = all.clone().map(|(_, (_, weight))| weight).sum();
    let mean = |(_, (scaled, weight))| scaled * weight / total;
    let centre = if typical {
        all.clone().map(mean).sum()
    } else {
        0.0
    };
    let distance = |scaled: f64| (scaled - centre).abs();
    let (mut farthest, mut mass, mut nearest_left) = ((0.0, 0.0), 0.0, f64::INFINITY);
    for (id, (scaled, weight)) in all {
        if kept.contains(&id) {
            mass += weight;
            if distance(scaled) >= farthest.0 {
                farthest = (distance(scaled), weight);
            }
        } else {
            nearest_left = distance(scaled).min(nearest_left);
        }
    }
    let wanted = total * f64::from(share);
    prop_assert!(kept.is_sorted() && kept.iter().all(|id| from.contains(id)));
    prop_assert!(farthest.0 <= nearest_left + 1e-4);
    prop_assert!(mass >= wanted - SLACK * total, "{mass} of {wanted}");
    prop_assert!(mass - farthest.1 < wanted + SLACK * total, "one too many");
    Ok(())
}

proptest! {
    #[test]
    fn a_share_is_the_fewest_nearest_that_have_it(
        logits in rows(), temperature in 0.1f32..4.0, share in 0.01f32..0.999, typical in any::<bool>(),
    ) {
        let mut params = SamplingParams { temperature, ..SamplingParams::default() };
        *(if typical { &mut params.typical_p } else { &mut params.top_p }) = share;
        let weights = weights(&logits, temperature);
        let from: Vec<u32> = (0..).zip(&weights).filter_map(|(id, weight)| weight.map(|_| id)).collect();
        is_nearest(&weights, &from, &kept(&logits, &params), share, typical)?;
    }

    #[test]
    fn a_share_of_what_is_left_is_so_too(
        logits in rows(), top_k in 1usize..900, share in 0.01f32..0.999, typical in any::<bool>(),
    ) {
        let only_k = SamplingParams { top_k, ..SamplingParams::default() };
        let mut params = only_k.clone();
        *(if typical { &mut params.typical_p } else { &mut params.top_p }) = share;
        let from = kept(&logits, &only_k);
        is_nearest(&weights(&logits, 1.0), &from, &kept(&logits, &params), share, typical)?;
    }

    #[test]
    fn both_shares_are_one_after_the_other(logits in rows(), typical_p in 0.1f32..0.999, top_p in 0.1f32..0.999) {
        let typical = SamplingParams { typical_p, ..SamplingParams::default() };
        let both = SamplingParams { top_p, ..typical.clone() };
        is_nearest(&weights(&logits, 1.0), &kept(&logits, &typical), &kept(&logits, &both), top_p, false)?;
    }

    #[test]
    fn the_likeliest_are_the_first_of_a_full_sort(
        logits in prop_oneof![rows(), tied_rows()], top_k in 1usize..1000, min_p in prop_oneof![Just(0.0f32), 1e-9f32..1.0],
    ) {
        let weights = weights(&logits, 1.0);
        let mut sorted: Vec<(u32, f64)> = (0..).zip(&weights)
            .filter_map(|(id, weight)| Some((id, (*weight)?.1)))
            .filter(|(_, weight)| *weight >= f64::from(min_p))
            .collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        sorted.truncate(top_k);
        let mut expected: Vec<u32> = sorted.into_iter().map(|(id, _)| id).collect();
        expected.sort_unstable();
        let params = SamplingParams { top_k, min_p, ..SamplingParams::default() };
        prop_assert_eq!(kept(&logits, &params), expected);
    }

    #[test]
    fn of_equal_tokens_the_first_are_kept(logits in tied_rows(), top_p in 0.01f32..0.999) {
        let params = SamplingParams { top_p, ..SamplingParams::default() };
        let kept = kept(&logits, &params);
        let least = kept.iter().map(|id| logits[*id as usize]).fold(f32::INFINITY, f32::min);
        let equal: Vec<u32> = (0..).zip(&logits).filter(|(_, logit)| **logit == least).map(|(id, _)| id).collect();
        let kept_equal: Vec<u32> = kept.into_iter().filter(|id| equal.contains(id)).collect();
        prop_assert_eq!(&kept_equal, &equal[..kept_equal.len()]);
    }

    #[test]
    fn a_draw_is_where_the_random_number_points(
        logits in rows(), temperature in 0.1f32..4.0, top_p in prop_oneof![Just(1.0f32), 0.1f32..1.0], seed in any::<u64>(),
    ) {
        let params = SamplingParams { temperature, top_p, ..SamplingParams::default() };
        let weights = weights(&logits, temperature);
        let from: Vec<u32> = if top_p < 1.0 { kept(&logits, &params) } else { (0..logits.len() as u32).collect() };
        let weight = |id: u32| weights[id as usize].map_or(0.0, |(_, weight)| weight);
        let total: f64 = from.iter().map(|id| weight(*id)).sum();
        let chosen = sample(&logits, &params, seed).unwrap().id;
        let before: f64 = from.iter().filter(|id| **id < chosen).map(|id| weight(*id)).sum();
        let point = total * ChaCha8Rng::seed_from_u64(seed).random::<f64>();
        prop_assert!(before - SLACK * total <= point && point <= before + weight(chosen) + SLACK * total);
    }

    #[test]
    fn logprobs_are_the_log_softmax(logits in rows(), top in 0usize..60, seed in any::<u64>()) {
        let params = SamplingParams { logprobs: Some(top), ..SamplingParams::default() };
        let sampled = sample(&logits, &params, seed).unwrap();
        let usable_logits = (0..).zip(&logits).filter(|(_, logit)| usable(**logit));
        let mut all: Vec<(u32, f64)> = usable_logits.map(|(id, logit)| (id, f64::from(*logit))).collect();
        let max = all.iter().map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
        let log_total = all.iter().map(|(_, logit)| (logit - max).exp()).sum::<f64>().ln() + max;
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let logprobs = sampled.logprobs.unwrap();
        let close = |found: f32, logit: f64| (f64::from(found) - (logit - log_total)).abs() < 1e-5 * (1.0 + logit.abs());
        prop_assert!(close(logprobs.sampled, f64::from(logits[sampled.id as usize])));
        let own = f64::from(logits[sampled.id as usize]);
        prop_assert_eq!(logprobs.rank, all.iter().filter(|(_, logit)| *logit > own).count() + 1);
        prop_assert_eq!(logprobs.top.len(), top.min(all.len()));
        for (found, expected) in logprobs.top.iter().zip(&all) {
            prop_assert_eq!(found.0, expected.0);
            prop_assert!(close(found.1, expected.1));
        }
    }
}
