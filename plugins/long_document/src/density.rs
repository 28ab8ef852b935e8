//! How much each chunk of a document says: 0.3 word entropy, 0.2 entropy of pairs of words, 0.3 how far it is from what the
//! document says everywhere (by TF-IDF), 0.2 structure; each between 0 and 1.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use weir_plugin_request_sdk::words::log2;

/// How often each word stands in a chunk, by the word's number.
type Counts = BTreeMap<u32, f64>;

/// The chunks' words by numbers, and what the document says of each.
pub struct Corpus {
    counts: Vec<Counts>,
    pairs: Vec<BTreeMap<(u32, u32), f64>>,
    /// By word: the rarer among the chunks, the larger.
    rarity: Vec<f64>,
}

impl Corpus {
    /// Of the words of each chunk.
    pub fn new(chunks: &[Vec<String>]) -> Self {
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut having: Vec<f64> = Vec::new();
        let (mut counts, mut pairs) = (Vec::new(), Vec::new());
        for words in chunks {
            let mut own = Counts::new();
            let mut own_pairs = BTreeMap::new();
            let mut last = None;
            for word in words {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                let number = *numbers.entry(word).or_insert(next);
                if number == next {
                    having.push(0.0);
                }
                let count: &mut f64 = own.entry(number).or_default();
                if *count == 0.0 {
                    having[number as usize] += 1.0;
                }
                *count += 1.0;
                if let Some(last) = last.replace(number) {
                    *own_pairs.entry((last, number)).or_default() += 1.0;
                }
            }
            counts.push(own);
            pairs.push(own_pairs);
        }
        let all = chunks.len() as f64;
        let rarity = having.into_iter().map(|having| log2((1.0 + all) / having));
        Self {
            counts,
            pairs,
            rarity: rarity.collect(),
        }
    }

    /// The density of every chunk, whose texts these are.
    pub fn densities(&self, texts: &[&str]) -> Vec<f64> {
        let mut centre = alloc::vec![0.0; self.rarity.len()];
        for counts in &self.counts {
            for (&word, count) in counts {
                centre[word as usize] += count * self.rarity[word as usize];
            }
        }
        let length = root(centre.iter().map(|weight| weight * weight).sum());
        let chunks = self.counts.iter().zip(&self.pairs).zip(texts);
        chunks
            .map(|((counts, pairs), text)| {
                0.3 * evenness(counts.values())
                    + 0.2 * evenness(pairs.values())
                    + 0.3 * self.distance(counts, &centre, length)
                    + 0.2 * structure(text)
            })
            .collect()
    }

    /// One less the cosine between a chunk and the whole document.
    fn distance(&self, counts: &Counts, centre: &[f64], length: f64) -> f64 {
        let (mut product, mut square) = (0.0, 0.0);
        for (&word, count) in counts {
            let weight = count * self.rarity[word as usize];
            product += weight * centre[word as usize];
            square += weight * weight;
        }
        match root(square) * length {
            both if both > 0.0 => (1.0 - product / both).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }
}

/// The entropy of counts as a share of what so many could have at most.
fn evenness<'a>(counts: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let all: f64 = counts.clone().sum();
    if all < 2.0 {
        return 0.0;
    }
    let bits = |count: &f64| -(count / all) * log2(count / all);
    counts.map(bits).sum::<f64>() / log2(all)
}

/// The share of lines and words that look like more than prose: headings, lists, figures, code.
fn structure(text: &str) -> f64 {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (mut marked, mut all) = (0.0, 0.0);
    for line in lines {
        all += 1.0;
        let begins = line.starts_with(['#', '-', '*', '|', '•', '>', '`']);
        let ends = line.ends_with([':', '：', '{', ';', '|']);
        let numbered = line.starts_with(|first: char| first.is_ascii_digit());
        if begins || ends || numbered {
            marked += 1.0;
        }
    }
    let (mut figures, mut words) = (0.0, 0.0);
    for word in text.split_whitespace() {
        words += 1.0;
        if word.contains(|character: char| character.is_ascii_digit()) {
            figures += 1.0;
        }
    }
    let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
    0.5 * share(marked, all) + 0.5 * (4.0 * share(figures, words)).min(1.0)
}

/// The square root of a number that is not negative, by Newton's method from above.
pub fn root(number: f64) -> f64 {
    if number <= 0.0 {
        return 0.0;
    }
    let mut guess = number.max(1.0);
    loop {
        let next = 0.5 * (guess + number / guess);
        if next >= guess {
            return guess;
        }
        guess = next;
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_request_sdk::words::words;

    use super::*;

    #[test]
    fn roots() {
        for number in [0.0, 1e-6, 0.25, 2.0, 144.0, 1e9] {
            assert!(
                (root(number) - number.sqrt()).abs() < 1e-9 * number.max(1.0),
                "{number}"
            );
        }
    }

    #[test]
    fn what_says_more_is_denser() {
        let filler = "the sea was calm and the sea was calm ".repeat(8);
        let facts: String = (0..40)
            .map(|n| format!("item{n} weighs {n} kg\n"))
            .collect();
        let other = "the sea was calm and then the wind rose ".repeat(8);
        let texts = [
            filler.as_str(),
            facts.as_str(),
            other.as_str(),
            filler.as_str(),
        ];
        let chunks: Vec<_> = texts.iter().map(|text| words(text)).collect();
        let densities = Corpus::new(&chunks).densities(&texts);
        assert!(
            densities[1] > densities[2] && densities[2] > densities[0],
            "{densities:?}"
        );
        assert!(
            densities
                .iter()
                .all(|density| (0.0..=1.0).contains(density))
        );
        assert!(Corpus::new(&[]).densities(&[]).is_empty());
        let lone = Corpus::new(&[words("one")]).densities(&["one"]);
        assert!(lone[0].is_finite(), "{lone:?}");
    }
}
