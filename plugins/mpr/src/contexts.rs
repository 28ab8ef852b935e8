//! Which passages each candidate is asked to weigh most, chosen in four ways, so that candidates differ in what they rest on.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use weir_plugin_request_sdk::words::{counts, entropy, log2, passages, words};

/// Words of a passage, at least.
const PASSAGE_WORDS: usize = 25;
/// Passages that a candidate is to weigh most, at most: and no more than half of all, unless there is one alone.
const SHOWN: usize = 3;

/// What makes a passage worth weighing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// What it has in common with the question.
    Relevance,
    /// How much it says.
    Entropy,
    /// How little it has in common with the others that are named.
    Diversity,
    /// Chance.
    Random,
}

/// In the order in which candidates get them.
pub const STRATEGIES: [Strategy; 4] = [
    Strategy::Relevance,
    Strategy::Entropy,
    Strategy::Diversity,
    Strategy::Random,
];

/// A passage and its words.
struct Passage<'a> {
    text: &'a str,
    words: Vec<String>,
}

/// The passages of a conversation.
pub struct Passages<'a>(Vec<Passage<'a>>);

impl<'a> Passages<'a> {
    /// Of these texts.
    pub fn of(texts: impl Iterator<Item = &'a str>) -> Self {
        let cut = texts.flat_map(|text| passages(text, PASSAGE_WORDS));
        let passage = |text| Passage {
            text,
            words: words(text),
        };
        Self(cut.map(passage).collect())
    }

    /// The passages for one candidate, in the order in which they stand there.
    pub fn choose(&self, strategy: Strategy, question: &str, seed: u64) -> Vec<&'a str> {
        let numbers = match strategy {
            Strategy::Relevance => self.best(&self.relevance(question)),
            Strategy::Entropy => self.best(&self.each(|passage| entropy(&passage.words))),
            Strategy::Diversity => self.diverse(),
            Strategy::Random => self.best(&self.chance(seed)),
        };
        numbers
            .into_iter()
            .map(|number| self.0[number].text)
            .collect()
    }

    fn most(&self) -> usize {
        SHOWN.min(self.0.len().div_ceil(2))
    }

    fn each(&self, score: impl Fn(&Passage<'a>) -> f64) -> Vec<f64> {
        self.0.iter().map(score).collect()
    }

    /// The best passages by their scores; of equal ones the first.
    fn best(&self, scores: &[f64]) -> BTreeSet<usize> {
        let mut numbers: Vec<usize> = (0..self.0.len()).collect();
        numbers.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        numbers.truncate(self.most());
        numbers.into_iter().collect()
    }

    /// Words that passage and question share, each the more the fewer passages have it.
    fn relevance(&self, question: &str) -> Vec<f64> {
        let asked = words(question);
        let all = count(self.0.len());
        let weights: Vec<(&str, f64)> = counts(&asked)
            .into_keys()
            .map(|word| {
                let having = self.0.iter().filter(|passage| passage.has(word)).count();
                (word, log2(1.0 + all / (1.0 + count(having))))
            })
            .collect();
        self.each(|passage| {
            let shared = weights.iter().filter(|(word, _)| passage.has(word));
            shared.map(|(_, weight)| weight).sum()
        })
    }

    /// The one that says most, then whichever is least like those that were taken.
    fn diverse(&self) -> BTreeSet<usize> {
        let said = self.each(|passage| entropy(&passage.words));
        let mut taken = BTreeSet::new();
        while taken.len() < self.most() {
            let score = |number: usize| {
                let likeness = taken
                    .iter()
                    .map(|&other: &usize| self.likeness(number, other));
                said[number] * (1.0 - likeness.fold(0.0, f64::max))
            };
            let free = (0..self.0.len()).filter(|number| !taken.contains(number));
            let best = free.max_by(|&a, &b| score(a).total_cmp(&score(b)).then(b.cmp(&a)));
            match best {
                Some(best) => taken.insert(best),
                None => break,
            };
        }
        taken
    }

    /// The share of their words that two passages have in common.
    fn likeness(&self, one: usize, other: usize) -> f64 {
        let of = |number: usize| counts(&self.0[number].words);
        let (one, other) = (of(one), of(other));
        let common = one.keys().filter(|word| other.contains_key(*word)).count();
        let all = one.len() + other.len() - common;
        count(common) / count(all).max(1.0)
    }

    fn chance(&self, seed: u64) -> Vec<f64> {
        let mut state = seed;
        self.0
            .iter()
            .map(|_| {
                // SplitMix64.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = state;
                mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                // Thirty-two bits are enough for an order.
                f64::from((mixed >> 32) as u32)
            })
            .collect()
    }
}

impl Passage<'_> {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// Six passages of thirty words; the fourth names the owl, the fifth says one word over and over.
    fn text() -> String {
        let mut text = String::new();
        for passage in 0..6 {
            for word in 0..30 {
                let word = match passage {
                    3 if word == 7 => "owl".to_string(),
                    4 => "same".to_string(),
                    0 | 1 => alloc::format!("w{word}"),
                    _ => alloc::format!("w{passage}x{word}"),
                };
                text.push_str(&word);
                text.push(' ');
            }
            text.push_str("end. ");
        }
        text
    }

    fn numbers(strategy: Strategy, seed: u64) -> BTreeSet<usize> {
        let text = text();
        let all = Passages::of([text.as_str()].into_iter());
        assert_eq!(all.0.len(), 6);
        let chosen = all.choose(strategy, "Where is the owl?", seed);
        let place = |chosen: &&str| all.0.iter().position(|own| own.text == *chosen);
        chosen.iter().filter_map(place).collect()
    }

    #[test]
    fn each_way_chooses_what_it_says() {
        assert!(numbers(Strategy::Relevance, 0).contains(&3));
        assert!(!numbers(Strategy::Entropy, 0).contains(&4));
        let diverse = numbers(Strategy::Diversity, 0);
        assert!(
            !(diverse.contains(&0) && diverse.contains(&1)),
            "they say the same"
        );
        let random: BTreeSet<_> = (0..20)
            .map(|seed| numbers(Strategy::Random, seed))
            .collect();
        assert!(random.len() > 5, "{random:?}");
    }

    #[test]
    fn there_may_be_little_to_choose_from() {
        for text in ["", "Short."] {
            let all = Passages::of([text].into_iter());
            for strategy in STRATEGIES {
                let chosen = all.choose(strategy, "?", 1);
                assert_eq!(chosen.len(), usize::from(!text.is_empty()));
            }
        }
    }
}
