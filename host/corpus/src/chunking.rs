//! The ways to cut a case's text: whole, per character, in two at every place, and at random; [`crate::boundaries`] adds
//! that of a real tokenizer.
//!
//! A control token is never cut. Deterministic: the random ones are seeded by the number of the chunking.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_output::{Fragment, FragmentKind};

/// How many random chunkings each case gets.
const RANDOM: u64 = 50;

/// A place to cut: before this byte of this fragment.
pub type Cut = (usize, usize);

/// Every place where `fragments` may be cut.
pub fn cuts(fragments: &[Fragment]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        if fragment.kind != FragmentKind::Control {
            let places = fragment.text.char_indices().skip(1);
            cuts.extend(places.map(|(byte, _)| (index, byte)));
        }
    }
    cuts
}

/// Whole, every single cut, some random choices of cuts, all cuts; in this order, so that the first that fails is simple.
pub fn chunkings(all: &[Cut]) -> Vec<Vec<Cut>> {
    let mut chunkings = vec![Vec::new()];
    chunkings.extend(all.iter().map(|cut| vec![*cut]));
    for seed in 0..RANDOM {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // From pieces of one or two characters to pieces of a line or more.
        let share = 0.5 / f64::from(1 << (seed % 6));
        chunkings.push(
            all.iter()
                .copied()
                .filter(|_| random.random_bool(share))
                .collect(),
        );
    }
    chunkings.push(all.to_vec());
    chunkings
}

/// The fragments cut at these places, which are sorted.
pub fn apply(fragments: &[Fragment], cuts: &[Cut]) -> Vec<Fragment> {
    let mut pieces = Vec::new();
    let mut cuts = cuts;
    for (index, fragment) in fragments.iter().enumerate() {
        let (here, later) = cuts.split_at(cuts.partition_point(|(at, _)| *at == index));
        cuts = later;
        let mut start = 0;
        let ends = here.iter().map(|(_, byte)| *byte);
        for end in ends.chain([fragment.text.len()]) {
            pieces.push(Fragment {
                text: fragment.text[start..end].to_owned(),
                kind: fragment.kind,
            });
            start = end;
        }
    }
    pieces
}

/// The smallest part of `cuts` under which `fails` still holds, found by leaving out one cut after the other.
pub fn smallest_failing(mut cuts: Vec<Cut>, mut fails: impl FnMut(&[Cut]) -> bool) -> Vec<Cut> {
    let mut index = 0;
    while index < cuts.len() {
        let left_out = cuts.remove(index);
        if !fails(&cuts) {
            cuts.insert(index, left_out);
            index += 1;
        }
    }
    cuts
}
