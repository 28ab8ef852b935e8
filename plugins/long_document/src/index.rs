//! What is known of a document once it was read: where its chunks and the sentence that stands for each are, how many tokens they
//! have and how dense they are. It is kept under the document's digest, so that a second question reads no more than the text.

use alloc::{string::String, vec::Vec};
use core::ops::Range;

use weir_plugin_request_sdk::words::words;

use crate::{
    chunks::{Sentence, chunks, sentences},
    config::Config,
    density::Corpus,
    retrieval::Terms,
};

/// What an index begins with; another layout has another.
const MAGIC: &[u8; 4] = b"LDX1";
/// Bytes of a chunk's entry: seven numbers.
const ENTRY: usize = 7 * 4;

/// A piece of the document: bytes of it, and its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// Which bytes.
    pub range: Range<usize>,
    /// How many tokens it has by itself.
    pub tokens: u32,
}

/// A chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// All of it.
    pub whole: Piece,
    /// The sentence that says most of what only this chunk says.
    pub summary: Piece,
    /// How dense it is, from 0 to 1.
    pub density: f32,
}

/// All chunks, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    /// Bytes of the document.
    pub bytes: usize,
    /// Its chunks.
    pub chunks: Vec<Chunk>,
}

impl Index {
    /// Reads a document; tokens are not known yet.
    pub fn of(text: &str, config: &Config) -> Self {
        let sentences = sentences(text);
        let ranges = chunks(&sentences, config.chunk_words, config.overlap_words);
        let bytes = |range: &Range<usize>| {
            sentences[range.start].range.start..sentences[range.end - 1].range.end
        };
        let texts: Vec<&str> = ranges.iter().map(|range| &text[bytes(range)]).collect();
        let said: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        let densities = Corpus::new(&said).densities(&texts);
        let terms = Terms::of(&texts);
        let entries = ranges.iter().zip(densities);
        let chunk = |(range, density): (&Range<usize>, f64)| Chunk {
            whole: Piece {
                range: bytes(range),
                tokens: 0,
            },
            summary: Piece {
                range: telling(text, &sentences[range.clone()], &terms),
                tokens: 0,
            },
            density: density as f32,
        };
        Self {
            bytes: text.len(),
            chunks: entries.map(chunk).collect(),
        }
    }

    /// The texts whose tokens have to be counted.
    pub fn texts(&self, text: &str) -> Vec<String> {
        let pieces = self
            .chunks
            .iter()
            .flat_map(|chunk| [&chunk.whole, &chunk.summary]);
        pieces
            .map(|piece| text[piece.range.clone()].into())
            .collect()
    }

    /// Takes what they were counted to.
    pub fn set_tokens(&mut self, counts: &[u32]) {
        let pieces = self.chunks.iter_mut();
        let pieces = pieces.flat_map(|chunk| [&mut chunk.whole, &mut chunk.summary]);
        for (piece, count) in pieces.zip(counts) {
            piece.tokens = *count;
        }
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12 + ENTRY * self.chunks.len());
        let mut put = |number: usize| bytes.extend((number as u32).to_le_bytes());
        put(self.bytes);
        for Chunk {
            whole,
            summary,
            density,
        } in &self.chunks
        {
            for piece in [whole, summary] {
                put(piece.range.start);
                put(piece.range.end);
                put(piece.tokens as usize);
            }
            put(density.to_bits() as usize);
        }
        [MAGIC.as_slice(), &bytes].concat()
    }

    /// From what was kept of this text; None if it is of another, or no index.
    pub fn read(bytes: &[u8], text: &str) -> Option<Self> {
        let numbers = bytes.strip_prefix(MAGIC)?;
        let mut numbers = numbers.chunks_exact(4).map(|four| {
            let four: [u8; 4] = four.try_into().unwrap_or_default();
            u32::from_le_bytes(four)
        });
        let length = numbers.next()? as usize;
        let mut index = Self {
            bytes: length,
            chunks: Vec::new(),
        };
        let sound = |piece: &Piece| text.get(piece.range.clone()).is_some();
        while let Some(first) = numbers.next() {
            let mut first = Some(first);
            let mut next = || first.take().or_else(|| numbers.next());
            let mut piece = || {
                let range = next()? as usize..next()? as usize;
                Some(Piece {
                    range,
                    tokens: next()?,
                })
            };
            let (whole, summary) = (piece()?, piece()?);
            let density = f32::from_bits(next()?);
            if !sound(&whole) || !sound(&summary) {
                return None;
            }
            index.chunks.push(Chunk {
                whole,
                summary,
                density,
            });
        }
        (length == text.len() && !index.chunks.is_empty()).then_some(index)
    }
}

/// The sentence whose words are, one for another, the rarest in the document.
fn telling(text: &str, sentences: &[Sentence], terms: &Terms) -> Range<usize> {
    let score = |sentence: &Sentence| {
        let rarity = terms.rarity(&text[sentence.range.clone()]);
        // A heading of two rare words says less than a sentence.
        rarity * (sentence.words.min(12) as f64)
    };
    let best = sentences
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)));
    best.map(|sentence| sentence.range.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_nothing_else_is() {
        let sentence = |number: usize| format!("Sentence {number} has some more words in it. ");
        let text: String = (0..300).map(sentence).collect();
        let mut index = Index::of(&text, &Config::default());
        assert!(index.chunks.len() > 3);
        let counts: Vec<u32> = (0..).take(2 * index.chunks.len()).collect();
        assert_eq!(index.texts(&text).len(), counts.len());
        index.set_tokens(&counts);
        let kept = index.to_bytes();
        assert_eq!(Index::read(&kept, &text), Some(index));
        assert_eq!(Index::read(&kept, &text[1..]), None, "another text");
        for damaged in [&kept[1..], &kept[..kept.len() - 4], b"", b"LDX1"] {
            assert_eq!(Index::read(damaged, &text), None);
        }
        let wide = "é".repeat(text.len() / 2);
        assert_eq!(Index::read(&kept, &wide), None, "not between characters");
    }

    #[test]
    fn the_sentence_that_stands_for_a_chunk_says_what_only_it_says() {
        let filler = "The day went by as the days before it went by and nobody came. ".repeat(30);
        let text = format!("{filler}The zephyr machine was hidden beneath Marlow's quay. {filler}");
        let index = Index::of(&text, &Config::default());
        let summaries = index
            .chunks
            .iter()
            .map(|chunk| &text[chunk.summary.range.clone()]);
        assert!(
            summaries
                .into_iter()
                .any(|summary| summary.contains("zephyr"))
        );
    }
}
