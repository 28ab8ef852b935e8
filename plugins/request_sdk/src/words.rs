//! Words, passages and how much they say, for scripts with white space and without.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

/// The words of a text in small letters; each character of a script without white space is one.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if character.is_alphanumeric() && !is_unspaced(character) {
            word.extend(character.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push(core::mem::take(&mut word));
        }
        if is_unspaced(character) {
            words.push(character.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether a character belongs to a script that writes no white space between words.
pub fn is_unspaced(character: char) -> bool {
    matches!(u32::from(character), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_134f)
}

/// A text in pieces of at least so many words, cut at the ends of sentences; the last may be shorter.
pub fn passages(text: &str, least: usize) -> Vec<&str> {
    let mut passages = Vec::new();
    let mut start = 0;
    for end in sentence_ends(text) {
        if words(&text[start..end]).len() >= least {
            passages.push(text[start..end].trim());
            start = end;
        }
    }
    let rest = text[start..].trim();
    if !rest.is_empty() {
        passages.push(rest);
    }
    passages
}

/// Where sentences end, as byte offsets behind their last character.
pub fn sentence_ends(text: &str) -> impl Iterator<Item = usize> {
    let after = text.char_indices().skip(1).map(|(_, next)| Some(next));
    let pairs = text.char_indices().zip(after.chain([None]));
    pairs.filter_map(|((at, character), next)| {
        let ends = match character {
            '。' | '！' | '？' | '\n' => true,
            '.' | '!' | '?' => next.is_none_or(char::is_whitespace),
            _ => false,
        };
        ends.then_some(at + character.len_utf8())
    })
}

/// How often each word stands there.
pub fn counts(words: &[String]) -> BTreeMap<&str, u32> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.as_str()).or_default() += 1;
    }
    counts
}

/// The entropy of a text's words, in bits.
pub fn entropy(words: &[String]) -> f64 {
    let all = f64::from(u32::try_from(words.len()).unwrap_or(u32::MAX));
    let bits = |&count: &u32| {
        let share = f64::from(count) / all;
        -share * log2(share)
    };
    counts(words).values().map(bits).sum()
}

/// How many words [`words`] would find.
pub fn count(text: &str) -> usize {
    let (mut count, mut inside) = (0, false);
    for character in text.chars() {
        let part = character.is_alphanumeric() && !is_unspaced(character);
        count += usize::from((part && !inside) || is_unspaced(character));
        inside = part;
    }
    count
}

/// The logarithm of a positive, normal number to base 2; good to ten digits.
pub fn log2(number: f64) -> f64 {
    const MANTISSA: u32 = 52;
    let bits = number.to_bits();
    // The mask keeps eleven bits.
    let exponent = f64::from((bits >> MANTISSA & 0x7ff) as u32) - 1023.0;
    let one_to_two = f64::from_bits(bits & ((1 << MANTISSA) - 1) | 1023 << MANTISSA);
    // ln(m) = 2 atanh((m - 1) / (m + 1)), whose argument is at most a third.
    let argument = (one_to_two - 1.0) / (one_to_two + 1.0);
    let (square, mut power, mut sum, mut divisor) = (argument * argument, argument, 0.0, 1.0);
    for _ in 0..11 {
        sum += power / divisor;
        power *= square;
        divisor += 2.0;
    }
    exponent + 2.0 * sum * core::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn words_of_both_kinds_of_scripts() {
        assert_eq!(words("The CAT's 3 hats."), ["the", "cat", "s", "3", "hats"]);
        assert_eq!(words("用GPU跑。"), ["用", "gpu", "跑"]);
        assert!(words(" .,").is_empty());
        for text in ["The CAT's 3 hats.", "用GPU跑。", " .,", "跑跑a"] {
            assert_eq!(count(text), words(text).len(), "{text}");
        }
    }

    #[test]
    fn passages_end_with_sentences_and_lose_nothing() {
        let text = "One two. Three 3.5 four! Five six? Seven";
        assert_eq!(
            passages(text, 3),
            ["One two. Three 3.5 four!", "Five six? Seven"]
        );
        assert_eq!(passages("一二。三四五。六", 3), ["一二。三四五。", "六"]);
        assert_eq!(passages("a\n\nb", 1), vec!["a", "b"]);
        assert!(passages("  ", 5).is_empty());
    }

    #[test]
    fn logarithms_and_entropy() {
        for number in [1.0, 2.0, 0.125, 3.0, 1e-3, 12345.678] {
            assert!((log2(number) - number.log2()).abs() < 1e-9, "{number}");
        }
        let of = |text| entropy(&words(text));
        assert!((of("a b a b") - 1.0).abs() < 1e-9);
        assert!(of("a a a a").abs() < 1e-9 && of("a b c d") > of("a b c c"));
    }
}
