//! A document in chunks of a number of words, cut at the ends of sentences, each beginning with the last sentences of the one
//! before it.
//!
//! Invariants: chunks are in order, none is empty, each begins and ends between characters, and together they hold every
//! sentence whole, unless a sentence is longer than [`LONGEST_SENTENCE`].

use alloc::vec::Vec;
use core::ops::Range;

use weir_plugin_request_sdk::words::{count, is_unspaced, sentence_ends};

/// Words of a sentence; a longer one, a table perhaps, is cut between words.
pub const LONGEST_SENTENCE: usize = 60;

/// A sentence and how many words it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Bytes of the document.
    pub range: Range<usize>,
    /// Its words.
    pub words: usize,
}

/// The sentences of a text, with the white space behind them.
pub fn sentences(text: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for end in sentence_ends(text).chain([text.len()]) {
        let words = count(&text[start..end]);
        match sentences.last_mut() {
            Some(Sentence { range, .. }) if words == 0 => {
                // White space and signs belong to the sentence before them.
                range.end = end;
                start = end;
                continue;
            }
            None if words == 0 && end < text.len() => continue,
            _ => {}
        }
        if words > LONGEST_SENTENCE {
            cut(text, start..end, &mut sentences);
        } else if end > start {
            sentences.push(Sentence {
                range: start..end,
                words,
            });
        }
        start = end;
    }
    sentences
}

/// Cuts a sentence that is too long between words.
fn cut(text: &str, range: Range<usize>, sentences: &mut Vec<Sentence>) {
    let (mut start, mut words, mut inside) = (range.start, 0, false);
    for (offset, character) in text[range.clone()].char_indices() {
        let part = character.is_alphanumeric() && !is_unspaced(character);
        let begins = (part && !inside) || is_unspaced(character);
        inside = part;
        if begins && words == LONGEST_SENTENCE {
            let end = range.start + offset;
            sentences.push(Sentence {
                range: start..end,
                words,
            });
            (start, words) = (end, 0);
        }
        words += usize::from(begins);
    }
    sentences.push(Sentence {
        range: start..range.end,
        words,
    });
}

/// Chunks of at most so many words, of which the first so many are those of the chunk before: numbers of sentences.
pub fn chunks(sentences: &[Sentence], most: usize, overlap: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut words) = (0, 0);
    for (number, sentence) in sentences.iter().enumerate() {
        if words + sentence.words > most && number > start {
            chunks.push(start..number);
            // At least one sentence is new in each chunk.
            let (mut back, mut shared) = (number, 0);
            while back > start + 1 && shared + sentences[back - 1].words <= overlap {
                back -= 1;
                shared += sentences[back].words;
            }
            (start, words) = (back, shared);
            if words + sentence.words > most {
                (start, words) = (number, 0);
            }
        }
        words += sentence.words;
    }
    if start < sentences.len() {
        chunks.push(start..sentences.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    fn text(sentences: usize, words: usize) -> String {
        let sentence = |number: usize| format!("{}end{number}. ", "word ".repeat(words - 1));
        (0..sentences).map(sentence).collect()
    }

    #[test]
    fn sentences_join_to_the_text() {
        let long = "long ".repeat(150);
        for text in [
            "",
            "One. Two!  Three 3.5?\n\nFour",
            "一二三。四五六！七",
            "...\n\n. .\nx",
            &long,
            &"文".repeat(200),
        ] {
            let sentences = sentences(text);
            let joined: String = sentences.iter().map(|s| &text[s.range.clone()]).collect();
            assert_eq!(joined, text);
            assert!(sentences.iter().all(|s| s.words <= LONGEST_SENTENCE));
            let words = |s: &Sentence| count(&text[s.range.clone()]) == s.words;
            assert!(sentences.iter().all(words), "{sentences:?}");
        }
    }

    #[test]
    fn chunks_have_their_size_and_their_overlap() {
        let text = text(200, 10);
        let sentences = sentences(&text);
        let chunks = chunks(&sentences, 512, 50);
        assert_eq!((chunks[0].clone(), chunks[1].clone()), (0..51, 46..97));
        assert_eq!(chunks.last().map(|last| last.end), Some(200));
        for pair in chunks.windows(2) {
            assert_eq!(
                pair[0].end - pair[1].start,
                5,
                "fifty words of ten a sentence"
            );
        }
    }

    #[test]
    fn large_sentences_and_small_chunks_still_go_on() {
        let text = text(30, 40);
        let sentences = sentences(&text);
        for (most, overlap) in [(50, 50), (40, 39), (100, 99), (10, 5)] {
            let chunks = chunks(&sentences, most, overlap);
            let mut next = 0;
            for chunk in &chunks {
                assert!(
                    chunk.start <= next && chunk.end > next,
                    "{most} {overlap}: {chunks:?}"
                );
                next = chunk.end;
            }
            assert_eq!(next, sentences.len());
        }
    }
}
