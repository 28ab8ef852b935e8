//! Text with the kinds of its pieces: what a parser holds back and may have to hand out, or read again, as it came.
//!
//! Control fragments keep their borders, because a control fragment is a marker only when it is whole; others are joined.

use alloc::{string::String, vec::Vec};

use crate::types::{Fragment, FragmentKind};

/// Text in the order it came.
#[derive(Debug, Default)]
pub struct FragmentBuffer {
    text: String,
    /// Where each run of one kind starts, in order.
    runs: Vec<(usize, FragmentKind)>,
}

impl FragmentBuffer {
    /// Appends text of a kind.
    pub fn push(&mut self, text: &str, kind: FragmentKind) {
        if text.is_empty() {
            return;
        }
        let joins = kind != FragmentKind::Control
            && self.runs.last().is_some_and(|(_, last)| *last == kind);
        if !joins {
            self.runs.push((self.text.len(), kind));
        }
        self.text.push_str(text);
    }

    /// All of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the first control fragment starts.
    pub fn control_from(&self) -> Option<usize> {
        let control = |run: &&(usize, FragmentKind)| run.1 == FragmentKind::Control;
        self.runs.iter().find(control).map(|(start, _)| *start)
    }

    /// Takes what stands from the byte `at` on.
    ///
    /// # Panics
    /// When `at` is past the end or inside a character.
    pub fn split_off(&mut self, at: usize) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        while let Some(&(start, kind)) = self.runs.last() {
            if self.text.len() == at {
                break;
            }
            fragments.push(Fragment::new(&self.text[start.max(at)..], kind));
            self.text.truncate(start.max(at));
            if start >= at {
                self.runs.pop();
            }
        }
        fragments.reverse();
        fragments
    }

    /// Takes everything.
    pub fn take(&mut self) -> Vec<Fragment> {
        self.split_off(0)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.text.clear();
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_kinds_and_control_borders() {
        let mut buffer = FragmentBuffer::default();
        buffer.push("a", FragmentKind::Text);
        buffer.push("b", FragmentKind::Text);
        buffer.push("<x>", FragmentKind::Control);
        buffer.push("<x>", FragmentKind::Control);
        buffer.push("cd", FragmentKind::Text);
        assert_eq!(buffer.text(), "ab<x><x>cd");
        let tail = buffer.split_off(1);
        assert_eq!(
            tail,
            [
                Fragment::new("b", FragmentKind::Text),
                Fragment::new("<x>", FragmentKind::Control),
                Fragment::new("<x>", FragmentKind::Control),
                Fragment::new("cd", FragmentKind::Text),
            ]
        );
        assert_eq!(buffer.take(), [Fragment::new("a", FragmentKind::Text)]);
        assert_eq!(buffer.take(), []);
    }
}
