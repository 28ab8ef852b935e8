//! Prompts that no cache can know: made-up words, another text for every request of a run.
//!
//! Invariants: the same seed, level, round and number give the same prompt, so two servers can be asked the same; two requests of a
//! run differ within their first words, because these spell out number, round and level; shared prefixes differ from
//! round to round and level to level alike. Lengths are approximate: each word is one token of most vocabularies, and
//! no tokenizer is asked.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// 64 words, so that a word is six bits of a number.
const WORDS: [&str; 64] = [
    "time", "river", "stone", "light", "garden", "window", "market", "paper", "music", "summer",
    "winter", "engine", "bridge", "letter", "doctor", "teacher", "island", "forest", "silver",
    "golden", "quiet", "simple", "public", "modern", "ancient", "travel", "history", "science",
    "nature", "country", "water", "house", "table", "morning", "evening", "family", "friend",
    "school", "story", "number", "street", "village", "city", "road", "field", "horse", "bird",
    "fish", "tree", "flower", "mountain", "ocean", "ship", "train", "king", "queen", "child",
    "woman", "book", "picture", "voice", "heart", "hand", "door",
];
/// How many words spell a request's number, its round and its level.
const NUMBER_WORDS: u32 = 3;
const ROUND_WORDS: u32 = 2;
const LEVEL_WORDS: u32 = 1;
/// Levels that one word can tell apart.
pub(super) const MAX_LEVELS: usize = 64;
const TASK: &str = ". Write a long story about these words.";
const TASK_TOKENS: u32 = 9;
const SYSTEM: &str = "You are a helpful assistant. These words matter:";
const SYSTEM_TOKENS: u32 = 10;
/// The number of what is no request of its own: the prefix that a level's requests share. Three words count further
/// than `--requests` goes.
const PREFIX: u32 = (1 << 18) - 1;
/// The round of what is not measured; two words count further than `--rounds` goes.
pub(super) const WARM_UP: u32 = (1 << 12) - 1;

/// Which request of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) round: u32,
    pub(super) level: u32,
    pub(super) number: u32,
}

/// Makes the prompts of one run.
pub(super) struct Prompts {
    pub(super) seed: u64,
    pub(super) input_tokens: u32,
    pub(super) shared_prefix_tokens: u32,
}

impl Prompts {
    /// The prompt of a request.
    pub(super) fn own(&self, place: Place) -> String {
        let words = self.words(place, self.input_tokens.saturating_sub(TASK_TOKENS));
        format!("{words}{TASK}")
    }

    /// What all prompts of this request's level and round begin with, if anything.
    pub(super) fn shared(&self, place: Place) -> Option<String> {
        let place = Place {
            number: PREFIX,
            ..place
        };
        let length = self.shared_prefix_tokens.checked_sub(1)? + 1;
        let words = self.words(place, length.saturating_sub(SYSTEM_TOKENS));
        Some(format!("{SYSTEM} {words}."))
    }

    /// So many words, and at least those that spell the place.
    fn words(&self, place: Place, count: u32) -> String {
        let spelled = [
            (place.number, NUMBER_WORDS),
            (place.round, ROUND_WORDS),
            (place.level, LEVEL_WORDS),
        ];
        let digits = spelled.into_iter().flat_map(|(value, digits)| {
            (0..digits).map(move |digit| (value >> (6 * digit)) as usize % WORDS.len())
        });
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let Place {
            round,
            level,
            number,
        } = place;
        random.set_stream(u64::from(round) << 32 | u64::from(level) << 24 | u64::from(number));
        let spelled_words = (NUMBER_WORDS + ROUND_WORDS + LEVEL_WORDS) as usize;
        let filler = std::iter::repeat_with(|| random.next_u32() as usize % WORDS.len());
        let all = digits.chain(filler);
        let words: Vec<&str> = all
            .take(spelled_words.max(count as usize))
            .map(|index| WORDS[index])
            .collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn prompts(seed: u64, input_tokens: u32, shared_prefix_tokens: u32) -> Prompts {
        Prompts {
            seed,
            input_tokens,
            shared_prefix_tokens,
        }
    }

    fn places() -> impl Iterator<Item = Place> {
        (0..3).flat_map(|round| {
            (0..3).flat_map(move |level| {
                (0..200).map(move |number| Place {
                    round,
                    level,
                    number,
                })
            })
        })
    }

    #[test]
    fn words_differ_from_each_other() {
        assert_eq!(WORDS.iter().collect::<HashSet<_>>().len(), WORDS.len());
    }

    #[test]
    fn every_prompt_is_unlike_all_others_however_short() {
        for length in [1, 8, 200] {
            let prompts = prompts(1, length, 0);
            let all: HashSet<String> = places().map(|place| prompts.own(place)).collect();
            assert_eq!(all.len(), places().count());
        }
    }

    #[test]
    fn a_prompt_is_about_as_long_as_asked() {
        let place = Place {
            round: 1,
            level: 2,
            number: 3,
        };
        let text = prompts(7, 200, 1500).own(place);
        assert_eq!(text.split_whitespace().count(), 198);
        let shared = prompts(7, 200, 1500).shared(place).expect("a prefix");
        assert_eq!(shared.split_whitespace().count(), 1498);
        assert_eq!(prompts(7, 200, 0).shared(place), None);
    }

    #[test]
    fn a_prefix_is_shared_within_level_and_round_alone() {
        let prompts = prompts(3, 50, 100);
        let all: HashSet<Option<String>> = places().map(|place| prompts.shared(place)).collect();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn the_seed_decides() {
        let place = Place {
            round: 0,
            level: 0,
            number: 0,
        };
        assert_eq!(prompts(1, 99, 0).own(place), prompts(1, 99, 0).own(place));
        assert_ne!(prompts(1, 99, 0).own(place), prompts(2, 99, 0).own(place));
    }
}
