//! Cutting and joining lists of fragments, for the generator and for the search of the smallest input.

use weir_output::{Fragment, FragmentKind};

/// Neighbours of one kind in one piece, as they come whole; control tokens stay apart and empty fragments go.
pub fn joined(pieces: impl IntoIterator<Item = Fragment>) -> Vec<Fragment> {
    let mut whole: Vec<Fragment> = Vec::new();
    for piece in pieces {
        match whole.last_mut() {
            _ if piece.text.is_empty() => {}
            Some(last) if last.kind == piece.kind && piece.kind != FragmentKind::Control => {
                last.text.push_str(&piece.text);
            }
            _ => whole.push(piece),
        }
    }
    whole
}

/// How many places there are to split at, less one: bytes of text, and one a control token.
pub fn length(fragments: &[Fragment]) -> usize {
    fragments.iter().map(places).sum()
}

fn places(fragment: &Fragment) -> usize {
    match fragment.kind {
        FragmentKind::Control => 1,
        FragmentKind::Text | FragmentKind::Unknown => fragment.text.len(),
    }
}

/// What stands before and after a place; within a character, that is before it.
pub fn split(fragments: &[Fragment], at: usize) -> (Vec<Fragment>, Vec<Fragment>) {
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut left = at;
    for fragment in fragments {
        let here = places(fragment);
        if left >= here {
            before.push(fragment.clone());
        } else if left == 0 {
            after.push(fragment.clone());
        } else {
            let (start, end) = fragment
                .text
                .split_at(fragment.text.floor_char_boundary(left));
            let part = |text: &str| Fragment {
                text: text.to_owned(),
                kind: fragment.kind,
            };
            before.push(part(start));
            after.push(part(end));
        }
        left = left.saturating_sub(here);
    }
    (before, after)
}

/// The text of all of them.
pub fn text(fragments: &[Fragment]) -> String {
    fragments.iter().map(|part| part.text.as_str()).collect()
}
