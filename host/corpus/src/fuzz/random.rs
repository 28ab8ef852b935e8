//! Seeded choices. The same seed makes the same choices on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of choices.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The source of one execution: its choices depend on nothing but these three.
    pub fn new(seed: u64, parser: &str, number: u64) -> Self {
        let name = parser
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut key = [0; 32];
        for (part, word) in key.chunks_exact_mut(8).zip([seed, name, number]) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// Yes in so many of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.random_ratio(percent, 100)
    }

    /// One of them; there is one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A small number, 0 the most often, each next one half as often, `most` at most.
    pub fn few(&mut self, most: usize) -> usize {
        let mut number = 0;
        while number < most && self.percent(50) {
            number += 1;
        }
        number
    }

    /// A place in `text` where it may be cut, its ends among them.
    pub fn place(&mut self, text: &str) -> usize {
        text.floor_char_boundary(self.below(text.len() + 1))
    }
}
