//! A random walk through what a constraint allows, with a small vocabulary that can spell a family's format.
//!
//! The vocabulary has characters, pieces of markers as ordinary text, and, if asked, the markers as control tokens. A walk
//! goes anywhere at first and, once it is long, prefers what ends texts and values.

use std::{collections::BTreeSet, sync::Arc};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_constrain::{Answer, Constrainer};
use weir_output::{Fragment, FragmentKind, Segment};
use weir_prompt::{TokenKind, Vocabulary};

/// After so many tokens a walk looks for its end, and after so many it has none.
const LONG: usize = 120;
const ENDLESS: usize = 6000;

/// What ends a value or goes on behind one.
const CLOSERS: &[&str] = &["\"", "}", "]", ")", ",", " ", ";", "\n", ">", "<"];

/// Tokens that stand across the borders of what a format is made of, as real vocabularies have them.
const ACROSS: &[&str] = &[
    "\"}", "}}", "\"]", "\": ", "\", \"", ", ", "\n\n", "</", "\\u00", "=\"", ">\n", "}\n", "é",
    "日本", "😀",
];

/// What a walk chooses from.
pub struct Words {
    vocabulary: Arc<Vocabulary>,
    constrainer: Constrainer,
    end: u32,
    /// Tokens that end something.
    closers: Vec<u32>,
}

impl Words {
    /// A vocabulary for this grammar, with these control tokens.
    pub fn new(grammars: &[&Segment], controls: &[String]) -> Self {
        let mut texts = Markers::default();
        grammars.iter().for_each(|grammar| texts.gather(grammar));
        // In free text, what is markup without being a control token would be read so: it is left out, but for the end.
        let is_text = |marker: &String| !controls.iter().any(|control| marker.contains(control));
        if !texts.ends.is_empty() {
            texts.others.retain(|marker| !is_text(marker));
        }
        let texts = [texts.others, texts.ends].concat();
        let pieces: BTreeSet<String> = texts
            .iter()
            .flat_map(|text| pieces(text, controls))
            .collect();
        let mut normal: BTreeSet<String> =
            (' '..='~').chain(['\n', '\t']).map(String::from).collect();
        let written = grammars
            .iter()
            .map(|grammar| format!("{grammar:?}"))
            .collect::<String>();
        let characters = written
            .chars()
            .chain(controls.iter().flat_map(|text| text.chars()));
        normal.extend(characters.filter(|c| !c.is_ascii()).map(String::from));
        normal.extend(ACROSS.iter().map(|text| (*text).to_owned()));
        normal.extend(pieces.iter().cloned());
        let count = normal.len();
        let closes = |text: &String| pieces.contains(text) || CLOSERS.contains(&text.as_str());
        let mut closers: Vec<u32> = (0..)
            .zip(&normal)
            .filter(|(_, text)| closes(text))
            .map(|(id, _)| id)
            .collect();
        closers.extend((count..count + controls.len()).map(|id| id as u32));
        let bytes = |text: &String| text.as_bytes().to_vec().into_boxed_slice();
        let normal = normal.iter().map(|text| (bytes(text), TokenKind::Normal));
        let added = controls.iter().map(|text| (bytes(text), TokenKind::Added));
        let end = (
            b"<end of walk>".to_vec().into_boxed_slice(),
            TokenKind::Special,
        );
        let vocabulary = Arc::new(Vocabulary::new(normal.chain(added).chain([end]).collect()));
        let end = vocabulary.len() as u32 - 1;
        let constrainer = Constrainer::of_vocabulary(&vocabulary, end).expect("a vocabulary");
        Self {
            vocabulary,
            constrainer,
            end,
            closers,
        }
    }

    /// What a walk writes, a fragment a token.
    pub fn walk(
        &self,
        grammar: &Segment,
        answer: &Answer,
        seed: u64,
    ) -> Result<Vec<Fragment>, String> {
        let constraint = self.constrainer.compile(grammar, answer);
        let constraint = constraint.map_err(|error| error.to_string())?;
        let mut processor = constraint.processor(&[self.end]);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut written = Vec::new();
        while written.len() < ENDLESS {
            let mut logits = vec![0.0_f32; self.vocabulary.len()];
            processor.apply(&mut logits);
            let allowed = |id: &u32| logits[*id as usize] == 0.0;
            let long = written.len() > LONG;
            let closes = random.random_bool(if long { 0.9 } else { 0.3 });
            let controls: Vec<u32> = self.controls().filter(allowed).collect();
            let mut choice: Vec<u32> = self.closers.iter().copied().filter(allowed).collect();
            if !closes || choice.is_empty() {
                choice = (0..self.end).filter(allowed).collect();
            }
            if long && !controls.is_empty() && random.random_bool(0.5) {
                choice = controls;
            }
            let ends = allowed(&self.end) && (choice.is_empty() || long || random.random_bool(0.1));
            if ends {
                return Ok(written);
            }
            if choice.is_empty() {
                break;
            }
            let id = choice[random.random_range(0..choice.len())];
            processor.accept(id);
            written.push(self.fragment(id));
        }
        let text: String = written.iter().map(|fragment| &*fragment.text).collect();
        Err(format!("no end was found after {text:?}"))
    }

    fn controls(&self) -> impl Iterator<Item = u32> {
        (0..self.end).filter(|id| self.vocabulary.kind(*id) == TokenKind::Added)
    }

    fn fragment(&self, id: u32) -> Fragment {
        let text = String::from_utf8_lossy(self.vocabulary.bytes(id).unwrap_or_default());
        let kind = match self.vocabulary.kind(id) {
            TokenKind::Normal => FragmentKind::Text,
            TokenKind::Added | TokenKind::Special => FragmentKind::Control,
        };
        Fragment {
            text: text.into_owned(),
            kind,
        }
    }
}

/// What stands in a grammar as a marker.
#[derive(Default)]
struct Markers {
    /// Those that end free text.
    ends: Vec<String>,
    /// The others.
    others: Vec<String>,
}

impl Markers {
    fn gather(&mut self, segment: &Segment) {
        match segment {
            Segment::Marker(marker) => self.others.push(marker.clone()),
            Segment::Until(marker) => self.ends.push(marker.clone()),
            Segment::Sequence(parts) | Segment::Alternative(parts) => {
                parts.iter().for_each(|part| self.gather(part));
            }
            Segment::Repeat { segment, .. } => self.gather(segment),
            Segment::TextWithout(_)
            | Segment::Literal(_)
            | Segment::Json(_)
            | Segment::Pattern(_)
            | Segment::Answer
            | Segment::Lark(_) => {}
        }
    }
}

/// A marker whole, and what stands around the control tokens in it.
fn pieces(marker: &str, controls: &[String]) -> Vec<String> {
    let mut pieces = vec![marker.to_owned()];
    for control in controls
        .iter()
        .filter(|control| marker.contains(control.as_str()))
    {
        pieces.extend(
            marker
                .split(control.as_str())
                .filter(|piece| !piece.is_empty())
                .map(str::to_owned),
        );
    }
    pieces
}
