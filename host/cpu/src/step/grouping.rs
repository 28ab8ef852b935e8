//! Visits of tokens to experts, ordered by expert.
//!
//! Each expert's visits stand side by side, so that its weights are read once for all of them, with as many rows as
//! tokens chose it. Where a visit stands changes no number: rows are multiplied one like another, and a token's results
//! are summed in the order of its own choices.

use std::ops::Range;

use crate::buffers::Choice;

/// Where each visit stands.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    /// Of each choice, in their order: the row of its visit.
    places: Vec<usize>,
    /// The first row of each expert, and the end of the last.
    starts: Vec<usize>,
    /// The experts that are visited, those with most rows first: the largest pieces of work should not come last.
    visited: Vec<usize>,
}

impl Grouping {
    /// Groups the choices of all tokens, token by token, among so many experts.
    pub(crate) fn fill(&mut self, experts: usize, choices: &[Choice]) {
        let Self {
            places,
            starts,
            visited,
        } = self;
        starts.clear();
        starts.resize(experts + 1, 0);
        for choice in choices {
            starts[choice.expert as usize + 1] += 1;
        }
        visited.clear();
        visited.extend((0..experts).filter(|&expert| starts[expert + 1] > 0));
        visited.sort_by_key(|&expert| std::cmp::Reverse(starts[expert + 1]));
        for expert in 0..experts {
            starts[expert + 1] += starts[expert];
        }
        places.clear();
        for choice in choices {
            let next = &mut starts[choice.expert as usize];
            places.push(*next);
            *next += 1;
        }
        // Each start has moved to its expert's end, which is where the next begins.
        starts.pop();
        starts.insert(0, 0);
    }

    /// The row of each choice's visit.
    pub(crate) fn places(&self) -> &[usize] {
        &self.places
    }

    /// The experts that are visited.
    pub(crate) fn visited(&self) -> &[usize] {
        &self.visited
    }

    /// The rows of an expert's visits.
    pub(crate) fn rows(&self, expert: usize) -> Range<usize> {
        self.starts[expert]..self.starts[expert + 1]
    }
}

/// Cuts pieces of work, of which every item has `each`, by item: the items, and which of their pieces.
pub(super) fn by_item(
    pieces: Range<usize>,
    each: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = pieces.start;
    std::iter::from_fn(move || {
        let item = start / each.max(1);
        let first = item * each;
        let end = pieces.end.min(first + each);
        let own = (start < pieces.end).then(|| start - first..end - first);
        start = end;
        Some((item, own?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_visit_has_a_row_of_its_own_among_its_experts(
            experts in 1usize..40,
            chosen in proptest::collection::vec(0usize..1000, 0..200),
        ) {
            let choices: Vec<Choice> = chosen
                .iter()
                .map(|number| Choice { expert: (number % experts) as u32, weight: 1.0 })
                .collect();
            let mut grouping = Grouping::default();
            // What was in it before does not matter.
            for before in [&choices[..choices.len() / 2], &choices] {
                grouping.fill(experts, before);
            }
            let mut rows = grouping.places().to_vec();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..choices.len()).collect::<Vec<_>>());
            let mut start = 0;
            for expert in 0..experts {
                let own = grouping.rows(expert);
                prop_assert_eq!(own.start, start);
                start = own.end;
                // In the order of the tokens.
                let visits = choices.iter().zip(grouping.places());
                let mine: Vec<usize> = visits
                    .filter(|(choice, _)| choice.expert as usize == expert)
                    .map(|(_, &place)| place)
                    .collect();
                prop_assert_eq!(mine, own.clone().collect::<Vec<_>>());
                prop_assert_eq!(grouping.visited().contains(&expert), !own.is_empty());
            }
            prop_assert_eq!(start, choices.len());
            let rows = |expert: &usize| grouping.rows(*expert).len();
            prop_assert!(grouping.visited().is_sorted_by(|a, b| rows(a) >= rows(b)));
        }

        #[test]
        fn pieces_are_cut_by_item_and_none_is_lost(
            start in 0usize..100, count in 0usize..100, each in 1usize..20,
        ) {
            let mut found = Vec::new();
            for (item, own) in by_item(start..start + count, each) {
                prop_assert!(!own.is_empty() && own.end <= each);
                found.extend(own.map(|piece| item * each + piece));
            }
            prop_assert_eq!(found, (start..start + count).collect::<Vec<_>>());
        }
    }
}
