//! How a case asks for its text to be cut.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use weir_output::{Fragment, FragmentKind};

/// How text is cut before it is pushed. Control chunks are one token and stay whole.
#[derive(Clone, Copy)]
pub(super) enum Chunking {
    /// Neighbouring texts are joined.
    Whole,
    /// That many characters each.
    Chars(usize),
    /// Groups of 1 to [`LONGEST_RANDOM_GROUP`] characters, the same for the same seed.
    Random(u64),
}

/// Longer than most markers, so that groups both cut them and hold them whole.
const LONGEST_RANDOM_GROUP: u32 = 24;

impl Chunking {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let chunking = match text.split_once(':') {
            None if text == "whole" => Some(Self::Whole),
            Some(("chars", count)) => count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Chars),
            Some(("random", seed)) => seed.parse().ok().map(Self::Random),
            _ => None,
        };
        chunking
            .ok_or_else(|| format!("chunking is `whole`, `chars:N` or `random:SEED`, not `{text}`"))
    }
}

pub(super) fn rechunk(fragments: Vec<Fragment>, chunking: Chunking) -> Vec<Fragment> {
    let mut joined: Vec<Fragment> = Vec::new();
    for fragment in fragments {
        match joined.last_mut() {
            Some(last)
                if last.kind == FragmentKind::Text && fragment.kind == FragmentKind::Text =>
            {
                last.text.push_str(&fragment.text);
            }
            _ => joined.push(fragment),
        }
    }
    match chunking {
        Chunking::Whole => joined,
        Chunking::Chars(count) => cut(joined, || count),
        Chunking::Random(seed) => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            cut(joined, || {
                1 + (random.next_u32() % LONGEST_RANDOM_GROUP) as usize
            })
        }
    }
}

/// `length` says how many characters the next piece has.
fn cut(fragments: Vec<Fragment>, mut length: impl FnMut() -> usize) -> Vec<Fragment> {
    let mut pieces = Vec::new();
    for fragment in fragments {
        if fragment.kind == FragmentKind::Control {
            pieces.push(fragment);
            continue;
        }
        let mut rest = fragment.text.as_str();
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .nth(length())
                .map_or(rest.len(), |(end, _)| end);
            let (piece, after) = rest.split_at(end);
            pieces.push(Fragment {
                text: piece.to_owned(),
                kind: fragment.kind,
            });
            rest = after;
        }
    }
    pieces
}
