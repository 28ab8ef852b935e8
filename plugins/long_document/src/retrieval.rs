//! Which chunks have most to do with a question: BM25 over their words, and over pairs of characters in scripts without white
//! space, where a single one says little.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use weir_plugin_request_sdk::words::{is_unspaced, log2, words};

/// How fast a word said again stops to count, and how much a long chunk counts less.
const SATURATION: f64 = 1.2;
const LENGTH: f64 = 0.75;

/// What texts are compared by.
pub fn terms(text: &str) -> Vec<String> {
    let words = words(text);
    let mut terms = Vec::with_capacity(words.len());
    let unspaced = |word: &str| word.chars().next().is_some_and(is_unspaced);
    for (number, word) in words.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| &words[before]);
        match before {
            Some(before) if unspaced(before) && unspaced(word) => {
                terms.push([before.as_str(), word].concat());
            }
            _ => {}
        }
        terms.push(word.clone());
    }
    terms
}

/// In how many of some texts each term stands.
pub struct Terms {
    having: BTreeMap<String, f64>,
    texts: f64,
}

impl Terms {
    /// Of these texts.
    pub fn of(texts: &[&str]) -> Self {
        let mut having = BTreeMap::new();
        for text in texts {
            for term in terms(text).into_iter().collect::<BTreeSet<_>>() {
                *having.entry(term).or_default() += 1.0;
            }
        }
        Self {
            having,
            texts: texts.len() as f64,
        }
    }

    /// How rare the terms of a text are in the mean.
    pub fn rarity(&self, text: &str) -> f64 {
        let terms = terms(text);
        let rarity = |term: &String| log2(1.0 + self.texts / self.having.get(term).unwrap_or(&1.0));
        let sum: f64 = terms.iter().map(rarity).sum();
        sum / (terms.len().max(1) as f64)
    }
}

/// How much each text has to do with the question.
pub fn scores(texts: &[&str], question: &str) -> Vec<f64> {
    let asked: BTreeSet<String> = terms(question).into_iter().collect();
    let counted: Vec<(BTreeMap<String, f64>, f64)> = texts
        .iter()
        .map(|text| {
            let mut counts = BTreeMap::new();
            let all = terms(text);
            let length = all.len() as f64;
            for term in all.into_iter().filter(|term| asked.contains(term)) {
                *counts.entry(term).or_default() += 1.0;
            }
            (counts, length)
        })
        .collect();
    let all = texts.len() as f64;
    let mean = counted.iter().map(|(_, length)| length).sum::<f64>() / all.max(1.0);
    let weight = |term: &String| {
        let having = counted
            .iter()
            .filter(|(counts, _)| counts.contains_key(term));
        let having = having.count() as f64;
        log2(1.0 + (all - having + 0.5) / (having + 0.5))
    };
    let weights: BTreeMap<&String, f64> = asked.iter().map(|term| (term, weight(term))).collect();
    let score = |(counts, length): &(BTreeMap<String, f64>, f64)| {
        let damping = SATURATION * (1.0 - LENGTH + LENGTH * length / mean.max(1.0));
        let term = |(term, count): (&String, &f64)| {
            weights[term] * count * (SATURATION + 1.0) / (count + damping)
        };
        counts.iter().map(term).sum()
    };
    counted.iter().map(score).collect()
}

/// The texts by words and by vectors in turns, the best of each first, so that neither puts the other's best out of reach.
/// `by_words` is their order by `scores`; those that have no word of the question have no turn.
pub fn in_turns(by_words: &[usize], scores: &[f64], similar: &[f64]) -> Vec<usize> {
    let mut by_vectors: Vec<usize> = (0..similar.len()).collect();
    by_vectors.sort_by(|&a, &b| similar[b].total_cmp(&similar[a]));
    let said = by_words.iter().filter(|&&number| scores[number] > 0.0);
    let mut said = said.copied();
    let mut order = Vec::with_capacity(by_words.len());
    let mut seen = BTreeSet::new();
    for number in by_vectors {
        for next in said.next().into_iter().chain([number]) {
            if seen.insert(next) {
                order.push(next);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_of_the_question_find_their_text() {
        let texts = [
            "The mill stands by the river and the river is cold.",
            "The heron waits where the river bends.",
            "The miller sleeps. The miller dreams of the river.",
        ];
        let best = |question| {
            let scores = scores(&texts, question);
            (0..3).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        };
        assert_eq!(best("Where does the heron wait?"), Some(1));
        assert_eq!(best("What does the miller dream of?"), Some(2));
        assert_eq!(scores(&texts, "zebra?"), [0.0; 3]);
        assert!(scores(&[], "x").is_empty());
    }

    #[test]
    fn words_and_vectors_take_turns() {
        let scores = [0.0, 5.0, 0.0, 3.0];
        let by_words = [1, 3, 0, 2];
        let order = |similar: [f64; 4]| in_turns(&by_words, &scores, &similar);
        assert_eq!(order([0.9, 0.1, 0.8, 0.2]), [1, 0, 3, 2]);
        assert_eq!(order([0.1, 0.9, 0.2, 0.3]), [1, 3, 2, 0], "each once");
        assert_eq!(in_turns(&[0, 1], &[0.0, 0.0], &[0.1, 0.2]), [1, 0]);
    }

    #[test]
    fn characters_are_compared_in_pairs() {
        let texts = [
            "河水很冷，磨坊在河边。",
            "苍鹭在河湾等待。",
            "磨坊主梦见河流。",
        ];
        let scores = scores(&texts, "苍鹭在哪里等待？");
        assert!(scores[1] > scores[0] && scores[1] > scores[2], "{scores:?}");
        assert_eq!(terms("河水ab"), ["河", "河水", "水", "ab"]);
    }
}
