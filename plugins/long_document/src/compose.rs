//! What of a document stays where not all of it fits: one sentence of each chunk and as many dense chunks as there is room for, in
//! the order of the document; behind them the chunks that the question is about.
//!
//! What comes first does not depend on the question, so that the engine computes it once for all questions.

use alloc::{string::String, vec::Vec};
use core::ops::Range;

use crate::{
    chunks::sentences,
    index::{Chunk, Index},
    retrieval,
};

/// Stands where something is left out.
pub const GAP: &str = "\n[...]\n";
/// Stands between what every question gets and what this one does.
const FOR_QUESTION: &str = "\n\n---\n\n";
/// Tokens of a gap, at most.
const GAP_TOKENS: u32 = 6;
/// The room for what every question gets is a multiple of so many tokens: questions are not equally long.
const STEP_TOKENS: u32 = 256;

/// What stays of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Summary,
    Whole,
}

/// A choice in the making.
struct Choice<'a> {
    index: &'a Index,
    kept: Vec<Kept>,
    left: u32,
}

impl Choice<'_> {
    /// Keeps a summary if it costs no more than this.
    fn summary(&mut self, number: usize, most: u32) -> u32 {
        let cost = self.index.chunks[number].summary.tokens + GAP_TOKENS;
        if self.kept[number] != Kept::Nothing || cost > most.min(self.left) {
            return 0;
        }
        self.kept[number] = Kept::Summary;
        self.left -= cost;
        cost
    }

    /// Keeps a whole chunk if it fits, in place of its summary.
    fn whole(&mut self, number: usize) -> bool {
        let Chunk { whole, summary, .. } = &self.index.chunks[number];
        let had = match self.kept[number] {
            Kept::Whole => return true,
            Kept::Summary => summary.tokens + GAP_TOKENS,
            Kept::Nothing => 0,
        };
        let cost = whole.tokens + GAP_TOKENS;
        let fits = cost <= self.left + had;
        if fits {
            self.left = self.left + had - cost;
            self.kept[number] = Kept::Whole;
        }
        fits
    }
}

/// What the document is searched for.
pub struct Question<'a> {
    /// As it was asked.
    pub text: &'a str,
    /// How similar each chunk's vector is to its own, where there are vectors.
    pub similar: Option<&'a [f64]>,
    /// Chunks that are kept because of it, in part if not whole; more of them where there is room left.
    pub retrieved: usize,
}

/// The document as it goes into the prompt, of about `budget` tokens at most.
pub fn compose(text: &str, index: &Index, question: &Question<'_>, budget: u32) -> String {
    let texts = index
        .chunks
        .iter()
        .map(|chunk| &text[chunk.whole.range.clone()]);
    let texts: Vec<&str> = texts.collect();
    let scores = retrieval::scores(&texts, question.text);
    let density = |number: usize| f64::from(index.chunks[number].density);
    let mut by_words: Vec<usize> = (0..texts.len()).collect();
    let mut dense = by_words.clone();
    by_words.sort_by(|&a, &b| {
        let by_score = scores[b].total_cmp(&scores[a]);
        by_score.then(density(b).total_cmp(&density(a)))
    });
    let asked = match question.similar {
        Some(similar) => retrieval::in_turns(&by_words, &scores, similar),
        None => by_words,
    };
    dense.sort_by(|&a, &b| density(b).total_cmp(&density(a)));
    let (pieces, kept, left) = for_all_questions(index, &dense, question.retrieved, budget);
    let start = joined(text, pieces);
    let mut pieces = Vec::new();
    let mut choice = Choice { index, kept, left };
    for (rank, &number) in asked.iter().enumerate() {
        if choice.kept[number] == Kept::Whole {
            continue;
        }
        // Its summary stays where every question gets it.
        let cost = index.chunks[number].whole.tokens + GAP_TOKENS;
        if cost <= choice.left {
            choice.left -= cost;
            choice.kept[number] = Kept::Whole;
            pieces.push(index.chunks[number].whole.range.clone());
        } else if rank < question.retrieved {
            let most = choice.left / 2;
            let (chosen, tokens) = best_sentences(text, &index.chunks[number], question.text, most);
            pieces.extend(chosen);
            choice.left -= tokens.min(choice.left);
        }
    }
    for &number in &asked {
        if choice.summary(number, u32::MAX) > 0 {
            pieces.push(index.chunks[number].summary.range.clone());
        }
    }
    if pieces.is_empty() {
        return start;
    }
    [&start, FOR_QUESTION, &joined(text, pieces)].concat()
}

/// Pieces that stay whatever is asked, what they keep of each chunk, and how many tokens are left.
fn for_all_questions(
    index: &Index,
    dense: &[usize],
    retrieved: usize,
    budget: u32,
) -> (Vec<Range<usize>>, Vec<Kept>, u32) {
    let largest = index.chunks.iter().map(|chunk| chunk.whole.tokens).max();
    let asked = largest.unwrap_or_default().saturating_add(GAP_TOKENS);
    let asked = asked.saturating_mul(u32::try_from(retrieved).unwrap_or(u32::MAX));
    let room = budget - asked.min(budget / 2);
    let room = room - room % STEP_TOKENS;
    let mut choice = Choice {
        index,
        kept: alloc::vec![Kept::Nothing; index.chunks.len()],
        left: room,
    };
    // Half of the room is for the gist of everything.
    let mut gist = room / 2;
    for &number in dense {
        gist -= choice.summary(number, gist);
    }
    for &number in dense {
        choice.whole(number);
    }
    for &number in dense {
        choice.summary(number, u32::MAX);
    }
    let mut pieces = Vec::new();
    for (chunk, kept) in index.chunks.iter().zip(&choice.kept) {
        match kept {
            Kept::Nothing => {}
            Kept::Summary => pieces.push(chunk.summary.range.clone()),
            Kept::Whole => pieces.push(chunk.whole.range.clone()),
        }
    }
    (pieces, choice.kept, budget - room + choice.left)
}

/// The sentences of a chunk that does not fit which have most to do with the question, and about how many tokens they have.
fn best_sentences(
    text: &str,
    chunk: &Chunk,
    question: &str,
    most: u32,
) -> (Vec<Range<usize>>, u32) {
    let start = chunk.whole.range.start;
    let own = sentences(&text[chunk.whole.range.clone()]);
    let range = |number: usize| start + own[number].range.start..start + own[number].range.end;
    let texts: Vec<&str> = (0..own.len()).map(|number| &text[range(number)]).collect();
    let scores = retrieval::scores(&texts, question);
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let words: usize = own.iter().map(|sentence| sentence.words).sum();
    let (mut chosen, mut used) = (Vec::new(), 0);
    for number in order {
        let share = own[number].words as f64 / (words.max(1) as f64);
        let tokens = (share * f64::from(chunk.whole.tokens)) as u32 + GAP_TOKENS;
        if used + tokens > most {
            break;
        }
        used += tokens;
        chosen.push(range(number));
    }
    (chosen, used)
}

/// Pieces in their order, overlaps once, with a gap where something is left out.
fn joined(text: &str, mut pieces: Vec<Range<usize>>) -> String {
    pieces.sort_by_key(|piece| piece.start);
    let mut joined = String::new();
    let mut end = 0;
    for piece in pieces {
        if piece.end <= end {
            continue;
        }
        if piece.start > end {
            let trimmed = joined.trim_end().len();
            joined.truncate(trimmed);
            joined.push_str(if joined.is_empty() {
                GAP.trim_start()
            } else {
                GAP
            });
        }
        joined.push_str(&text[piece.start.max(end)..piece.end]);
        end = piece.end;
    }
    if end < text.len() {
        let trimmed = joined.trim_end().len();
        joined.truncate(trimmed);
        joined.push_str(GAP.trim_end());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_in_order_and_once() {
        let text = "abc. def. ghi. jkl. ";
        let of = |pieces: &[Range<usize>]| joined(text, pieces.to_vec());
        assert_eq!(of(&[10..15, 0..7]), "abc. de\n[...]\nghi.\n[...]");
        assert_eq!(of(&[0..12, 5..20]), text);
        assert_eq!(of(&[5..10, 5..8]), "[...]\ndef.\n[...]");
        assert_eq!(of(&[]), "\n[...]");
    }
}
