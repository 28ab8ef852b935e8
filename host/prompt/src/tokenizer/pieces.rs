//! Merging by the rank of what a merge makes: SentencePiece's BPE ranks its pieces by score, tiktoken by id.
//!
//! Invariants: the best-ranked piece that two neighbours make is made first, the leftmost of equals, as both of them do
//! it; a text of n characters costs O(n log n) look-ups. A list of pairs (`merges`) cannot say that: two ways to make one piece
//! must rank the same, which shows in runs of one character. It neither cuts nor normalises a text.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};
use tokenizers::{Model, Token, models::bpe::BpeTrainer};

use crate::error::PromptError;

/// What the spelling of a token may be in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Merged; the lower the rank the sooner.
    Piece { rank: u32 },
    /// Merged, but taken apart again: it is in no result.
    Unused { rank: u32 },
    /// Never made of text: control tokens, lone bytes, the unknown token.
    Apart,
}

/// What becomes of a character that no piece has.
#[derive(Debug, Clone)]
pub(crate) enum Unknown {
    /// Its bytes, by id.
    Bytes(Box<[u32; 256]>),
    /// This id, once for a run of such characters.
    Token(u32),
}

/// The model; cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct PieceMerges(Arc<Pieces>);

struct Pieces {
    tokens: HashMap<String, (u32, Role)>,
    unknown: Unknown,
    /// A word that is a piece is taken as it is, reachable by merging or not.
    whole_words: bool,
    /// Pieces found before anything is merged, and never merged.
    whole: Option<DoubleArrayAhoCorasick<u32>>,
    /// No piece has more bytes.
    longest: usize,
}

/// A run of text on its way to being a piece; links are indices, the last one's `next` is the number of symbols.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0: merged into the one before.
    len: usize,
    prev: usize,
    next: usize,
    frozen: bool,
}

/// Two neighbours that make a piece, best first: rank, then position, then length.
type Candidate = Reverse<(u32, usize, usize)>;

/// How an unused piece was last made, to take it apart again: its text, and the bytes of its left part.
type Borders<'t> = HashMap<&'t str, usize>;

impl PieceMerges {
    /// `tokens` by spelling, of which `whole` are found first, the longest where several begin.
    ///
    /// # Errors
    /// When there are too many `whole` for their automaton.
    pub(crate) fn new(
        tokens: HashMap<String, (u32, Role)>,
        unknown: Unknown,
        whole_words: bool,
        whole: &[String],
    ) -> Result<Self, PromptError> {
        let whole: BTreeSet<&String> = whole.iter().collect();
        let whole = (!whole.is_empty())
            .then(|| {
                DoubleArrayAhoCorasickBuilder::new()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(whole)
            })
            .transpose()
            .map_err(PromptError::unusable)?;
        let longest = tokens.keys().map(String::len).max().unwrap_or(0);
        Ok(Self(Arc::new(Pieces {
            tokens,
            unknown,
            whole_words,
            whole,
            longest,
        })))
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pieces").finish_non_exhaustive()
    }
}

impl Pieces {
    fn role(&self, text: &str) -> Option<(u32, Role)> {
        self.tokens.get(text).copied()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        if self.whole_words
            && let Some((id, Role::Piece { .. })) = self.role(text)
        {
            return vec![id];
        }
        let mut symbols = self.symbols(text);
        let borders = self.merge(text, &mut symbols);
        let mut ids = Vec::with_capacity(symbols.len());
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            self.emit(
                &text[symbol.start..symbol.start + symbol.len],
                &borders,
                &mut ids,
            );
        }
        ids
    }

    /// Whole pieces, and single characters between them.
    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        let mut push = |start: usize, len: usize, frozen: bool| {
            let index = symbols.len();
            symbols.push(Symbol {
                start,
                len,
                prev: index.wrapping_sub(1),
                next: index + 1,
                frozen,
            });
        };
        let mut done = 0;
        let whole = self
            .whole
            .as_ref()
            .map(|whole| whole.leftmost_find_iter(text));
        for found in whole.into_iter().flatten() {
            for (at, character) in text[done..found.start()].char_indices() {
                push(done + at, character.len_utf8(), false);
            }
            push(found.start(), found.end() - found.start(), true);
            done = found.end();
        }
        for (at, character) in text[done..].char_indices() {
            push(done + at, character.len_utf8(), false);
        }
        symbols
    }

    fn merge<'t>(&self, text: &'t str, symbols: &mut [Symbol]) -> Borders<'t> {
        let mut borders = Borders::new();
        let mut queue: BinaryHeap<Candidate> = (0..symbols.len())
            .filter_map(|left| self.candidate(text, symbols, left, &mut borders))
            .collect();
        while let Some(Reverse((_, left, len))) = queue.pop() {
            let next = symbols[left].next;
            // What this candidate was made of may be part of something else by now.
            if symbols[left].len == 0
                || symbols
                    .get(next)
                    .is_none_or(|right| symbols[left].len + right.len != len)
            {
                continue;
            }
            let after = symbols[next].next;
            symbols[next].len = 0;
            symbols[left].len = len;
            symbols[left].next = after;
            if let Some(symbol) = symbols.get_mut(after) {
                symbol.prev = left;
            }
            let before = symbols[left].prev;
            queue.extend(self.candidate(text, symbols, before, &mut borders));
            queue.extend(self.candidate(text, symbols, left, &mut borders));
        }
        borders
    }

    /// What the symbol `left` and the one after it make.
    fn candidate<'t>(
        &self,
        text: &'t str,
        symbols: &[Symbol],
        left: usize,
        borders: &mut Borders<'t>,
    ) -> Option<Candidate> {
        let first = symbols.get(left)?;
        let second = symbols.get(first.next)?;
        let len = first.len + second.len;
        if first.frozen || second.frozen || len > self.longest {
            return None;
        }
        let piece = &text[first.start..first.start + len];
        let rank = match self.role(piece)?.1 {
            Role::Piece { rank } => rank,
            Role::Unused { rank } => {
                borders.insert(piece, first.len);
                rank
            }
            Role::Apart => return None,
        };
        Some(Reverse((rank, left, len)))
    }

    fn emit(&self, piece: &str, borders: &Borders<'_>, ids: &mut Vec<u32>) {
        // Parts of an unused piece, the next one last: pieces may nest deeper than a stack of calls.
        let mut parts = vec![piece];
        while let Some(part) = parts.pop() {
            match self.role(part) {
                Some((id, Role::Piece { .. })) => ids.push(id),
                Some((id, Role::Unused { .. })) => match borders.get(part) {
                    Some(border) => {
                        let (left, right) = part.split_at(*border);
                        parts.extend([right, left]);
                    }
                    None => ids.push(id),
                },
                Some((_, Role::Apart)) | None => match &self.unknown {
                    Unknown::Bytes(bytes) => {
                        ids.extend(part.bytes().map(|byte| bytes[usize::from(byte)]));
                    }
                    Unknown::Token(id) if ids.last() == Some(id) => {}
                    Unknown::Token(id) => ids.push(*id),
                },
            }
        }
    }
}

impl Model for PieceMerges {
    type Trainer = BpeTrainer;

    fn tokenize(&self, sequence: &str) -> tokenizers::Result<Vec<Token>> {
        // Nobody reads the text or the place of a token: `Tokenizer::encode` asks for ids.
        let token = |id| Token::new(id, String::new(), (0, 0));
        Ok(self.0.encode(sequence).into_iter().map(token).collect())
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.tokens.get(token).map(|(id, _)| *id)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        let mut tokens = self.0.tokens.iter();
        tokens
            .find(|(_, (other, _))| *other == id)
            .map(|(text, _)| text.clone())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        let tokens = self.0.tokens.iter();
        tokens.map(|(text, (id, _))| (text.clone(), *id)).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.0.tokens.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("this tokenizer is only read".into())
    }

    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}
