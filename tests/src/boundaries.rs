//! Where a real tokenizer cuts a case: `tests/corpora/boundaries/NAME.json`, which `tests/reference/token_boundaries.py`
//! writes.
//!
//! A folder without a file has no tokenizer at hand and no such chunking. Where there is a file, each case of the folder
//! must stand in it with the input it has now: a change of a case must not quietly lose its check.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use weir_corpus::{case::Case, chunking::Cut};
use weir_output::{Fragment, FragmentKind};

use crate::corpora::corpora;

/// The pieces of one folder's cases, by the case's name.
#[derive(Deserialize)]
pub struct Boundaries {
    cases: BTreeMap<String, Pieces>,
}

#[derive(Deserialize)]
struct Pieces {
    /// [`input_hash`] of the input that was cut.
    input: String,
    /// Lengths in bytes; that of a control token is negative.
    pieces: Vec<i64>,
}

impl Boundaries {
    /// Those of the folder of this name, if it has some.
    ///
    /// # Errors
    /// When the file is not what the script writes.
    pub fn read(folder: &str) -> anyhow::Result<Option<Self>> {
        let path = corpora().join("boundaries").join(format!("{folder}.json"));
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&fs::read_to_string(path)?)?))
    }

    /// The case as its tokenizer sends it: text and control tokens, and the cuts between the tokens of the text.
    ///
    /// # Errors
    /// When the case is not in the file as it is now.
    pub fn tokens(&self, case: &Case) -> Result<(Vec<Fragment>, Vec<Cut>), String> {
        let pieces = self.cases.get(case.name());
        pieces
            .filter(|pieces| pieces.input == input_hash(case))
            .and_then(|pieces| cut(&case.fragments(), &pieces.pieces))
            .ok_or_else(|| {
                format!(
                    "  new or changed: run tests/reference/token_boundaries.py {}\n",
                    case.plugin()
                )
            })
    }
}

/// Fragments and cuts of these pieces, if they are pieces of these fragments.
fn cut(fragments: &[Fragment], pieces: &[i64]) -> Option<(Vec<Fragment>, Vec<Cut>)> {
    let mut tokens: Vec<Fragment> = Vec::new();
    let mut cuts = Vec::new();
    let mut pieces = pieces.iter();
    for fragment in fragments {
        let mut rest = fragment.text.as_str();
        // Whether the next piece goes on with the fragment that is last in `tokens`.
        let mut same = false;
        while !rest.is_empty() {
            let piece = *pieces.next()?;
            let (text, after) = rest.split_at_checked(usize::try_from(piece.abs()).ok()?)?;
            rest = after;
            let kind = if piece < 0 {
                FragmentKind::Control
            } else {
                fragment.kind
            };
            match tokens.last_mut() {
                Some(last) if same && kind != FragmentKind::Control => {
                    let at = last.text.len();
                    last.text.push_str(text);
                    cuts.push((tokens.len() - 1, at));
                }
                _ => tokens.push(Fragment {
                    text: text.to_owned(),
                    kind,
                }),
            }
            same = kind != FragmentKind::Control;
        }
    }
    pieces.next().is_none().then_some((tokens, cuts))
}

/// FNV-1a of the fragments and of whether markers are strict, in hexadecimal; the script computes the same.
fn input_hash(case: &Case) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for fragment in case.fragments() {
        add(match fragment.kind {
            FragmentKind::Text => b"t",
            FragmentKind::Control => b"c",
            FragmentKind::Unknown => b"u",
        });
        add(fragment.text.as_bytes());
        add(b"\0");
    }
    add(if case.strict_markers { b"s" } else { b"l" });
    format!("{hash:016x}")
}
