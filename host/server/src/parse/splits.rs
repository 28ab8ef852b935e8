//! Whether the way a case is cut changes its answer, and by which smallest cut.
//!
//! One cut at every place, then for short texts every two, then cuts at random and everywhere, the smallest part of
//! which is looked for. It ends when its time does, and says how far it came.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_corpus::chunking::{Cut, apply, chunkings, cuts, smallest_failing};
use weir_output::{Fragment, FragmentKind};

use super::{
    Input, ParseOptions,
    answer::{Answer, Bounds, End, run},
    chunking::{Chunking, rechunk},
};

/// Texts with at most so many places to cut are cut at every two of them: 7,140 ways.
const SHORT: usize = 120;

/// What cutting does to a case.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Splits {
    /// The answer to the text in one piece, which all others should equal.
    whole: Answer,
    /// Ways to cut that were tried.
    tried: usize,
    /// Ways there are to try.
    ways: usize,
    /// The single cuts that give another answer, by the number of characters in front of them.
    differing: Vec<usize>,
    /// The way of the fewest cuts that gives another answer, the first of them.
    smallest: Option<Split>,
}

/// One way to cut, and what it gives.
#[derive(Debug, Serialize, ToSchema)]
struct Split {
    /// Characters in front of each cut.
    cuts: Vec<usize>,
    /// What is pushed.
    #[schema(value_type = Vec<Object>)]
    fragments: Vec<Fragment>,
    /// The other answer.
    answer: Answer,
}

impl Splits {
    /// Looks for them within these bounds.
    pub(crate) fn of(input: &Input, options: &ParseOptions, bounds: Bounds) -> Self {
        let fragments = rechunk(input.fragments.clone(), Chunking::Whole);
        let search = Search {
            input,
            fragments: &fragments,
            options,
            bounds,
        };
        let all = cuts(&fragments);
        let (whole, given_up) = search.answer(&[]);
        let mut splits = Self {
            whole,
            tried: 0,
            ways: all.len(),
            differing: Vec::new(),
            smallest: None,
        };
        if !given_up {
            splits.try_all(&search, &all);
        }
        splits
    }

    fn try_all(&mut self, search: &Search<'_>, all: &[Cut]) {
        for cut in all {
            let Some(differs) = search.differs(&[*cut], &self.whole) else {
                return;
            };
            self.tried += 1;
            if differs {
                self.differing.push(search.characters(*cut));
                self.found(search, &[*cut]);
            }
        }
        // Whatever else there is has more cuts.
        if self.smallest.is_some() {
            return;
        }
        let more: Vec<_> = chunkings(all).split_off(all.len() + 1);
        let pairs = match all.len() <= SHORT {
            true => all.len() * all.len().saturating_sub(1) / 2,
            false => 0,
        };
        self.ways += pairs + more.len();
        if pairs > 0 {
            for (index, first) in all.iter().enumerate() {
                for second in &all[index + 1..] {
                    if !self.try_one(search, &[*first, *second]) {
                        return;
                    }
                }
            }
        }
        for chunking in more {
            if !self.try_one(search, &chunking) {
                return;
            }
        }
    }

    /// False when the search is over: something was found, or the time is.
    fn try_one(&mut self, search: &Search<'_>, chunking: &[Cut]) -> bool {
        let Some(differs) = search.differs(chunking, &self.whole) else {
            return false;
        };
        self.tried += 1;
        if differs {
            // What cannot be tried any more stays in.
            let fails = |cuts: &[Cut]| search.differs(cuts, &self.whole) == Some(true);
            let smallest = smallest_failing(chunking.to_vec(), fails);
            self.found(search, &smallest);
        }
        !differs
    }

    fn found(&mut self, search: &Search<'_>, cuts: &[Cut]) {
        if self.smallest.is_none() {
            self.smallest = Some(Split {
                cuts: cuts.iter().map(|cut| search.characters(*cut)).collect(),
                fragments: apply(search.fragments, cuts),
                answer: search.answer(cuts).0,
            });
        }
    }
}

struct Search<'a> {
    input: &'a Input,
    /// Uncut.
    fragments: &'a [Fragment],
    options: &'a ParseOptions,
    bounds: Bounds,
}

impl Search<'_> {
    /// The answer to the text cut so, and whether it was given up for its time.
    fn answer(&self, cuts: &[Cut]) -> (Answer, bool) {
        let Input { context, ended, .. } = self.input;
        let fragments = apply(self.fragments, cuts);
        let run = run(context, &fragments, *ended, self.options, self.bounds);
        let given_up = matches!(run.end, End::GivenUp(_)) && self.bounds.over();
        (Answer::of(Value::Null, context, run, false), given_up)
    }

    /// None when the time is over.
    fn differs(&self, cuts: &[Cut], whole: &Answer) -> Option<bool> {
        if self.bounds.over() {
            return None;
        }
        let (answer, given_up) = self.answer(cuts);
        (!given_up).then(|| answer != *whole)
    }

    fn characters(&self, (index, byte): Cut) -> usize {
        let before = self.fragments[..index].iter();
        let before: usize = before.map(|fragment| fragment.text.chars().count()).sum();
        let here = &self.fragments[index];
        debug_assert!(here.kind != FragmentKind::Control, "tokens are not cut");
        before + here.text[..byte].chars().count()
    }
}
