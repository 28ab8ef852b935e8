//! Finds stop strings in the raw model text, before any parser sees it, as engines do: inside reasoning and calls too.
//!
//! Invariants: linear in the text (Knuth-Morris-Pratt, one automaton a stop string); the match that ends first wins, and
//! of those the longest, under every chunking; text is withheld only while a stop string may have begun in it;
//! fragments keep their kind, and a control fragment stays whole unless a stop string cuts it.
//! It does not end the generation: the caller does when [`StopStrings::push`] answers true.

use std::collections::VecDeque;

use crate::event::{Fragment, FragmentKind};

/// The search of one choice.
#[derive(Debug, Default)]
pub struct StopStrings {
    patterns: Vec<Pattern>,
    include: bool,
    held: VecDeque<Fragment>,
    held_bytes: usize,
    matched: Option<String>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// Per matched length, less one: the length of the longest proper prefix that is a suffix of what matched.
    fallback: Vec<usize>,
    /// How many of its bytes the text ends with.
    progress: usize,
}

impl StopStrings {
    /// `include` leaves the stop string in the text. Empty stop strings are ignored.
    pub fn new(stop_strings: impl IntoIterator<Item = String>, include: bool) -> Self {
        let patterns = stop_strings
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(Pattern::new)
            .collect();
        Self {
            patterns,
            include,
            held: VecDeque::new(),
            held_bytes: 0,
            matched: None,
        }
    }

    /// Takes the next fragment, appends what is certain to hold no stop string, and answers whether one matched. After a
    /// match everything is ignored.
    pub fn push(&mut self, fragment: Fragment, fragments: &mut Vec<Fragment>) -> bool {
        if self.matched.is_some() {
            return true;
        }
        if self.patterns.is_empty() {
            fragments.push(fragment);
            return false;
        }
        for (offset, byte) in fragment.text.bytes().enumerate() {
            if let Some(text) = self.advance(byte) {
                let after = fragment.text.len() - offset - 1;
                let cut = if self.include {
                    after
                } else {
                    after + text.len()
                };
                self.hold(fragment);
                self.matched = Some(text);
                self.release_all_but(cut, true, fragments);
                self.held.clear();
                return true;
            }
        }
        self.hold(fragment);
        let possible = self
            .patterns
            .iter()
            .map(|pattern| pattern.progress)
            .max()
            .unwrap_or(0);
        self.release_all_but(possible, false, fragments);
        false
    }

    /// Says that nothing more comes: what was withheld is text.
    pub fn finish(&mut self, fragments: &mut Vec<Fragment>) {
        fragments.extend(self.held.drain(..));
    }

    /// The stop string that matched.
    pub fn matched(&self) -> Option<&str> {
        self.matched.as_deref()
    }

    /// The longest stop string that ends with this byte.
    fn advance(&mut self, byte: u8) -> Option<String> {
        let mut longest: Option<&Pattern> = None;
        for pattern in &mut self.patterns {
            if pattern.advance(byte)
                && longest.is_none_or(|best| best.text.len() < pattern.text.len())
            {
                longest = Some(pattern);
            }
        }
        longest.map(|pattern| pattern.text.clone())
    }

    fn hold(&mut self, fragment: Fragment) {
        self.held_bytes += fragment.text.len();
        self.held.push_back(fragment);
    }

    /// Releases held text up to its last `keep` bytes. A control fragment that the border cuts is one token no more:
    /// with `cut` its first part goes out as text, else all of it stays.
    fn release_all_but(&mut self, keep: usize, cut: bool, fragments: &mut Vec<Fragment>) {
        let mut release = self.held_bytes.saturating_sub(keep);
        while release > 0 {
            let Some(mut fragment) = self.held.pop_front() else {
                return;
            };
            if fragment.text.len() <= release {
                release -= fragment.text.len();
                self.held_bytes -= fragment.text.len();
                fragments.push(fragment);
                continue;
            }
            if fragment.kind == FragmentKind::Control && !cut {
                self.held.push_front(fragment);
                return;
            }
            let kind = if fragment.kind == FragmentKind::Control {
                FragmentKind::Text
            } else {
                fragment.kind
            };
            let rest = fragment.text.split_off(release);
            self.held_bytes -= release;
            fragments.push(Fragment {
                text: fragment.text,
                kind,
            });
            self.held.push_front(Fragment { text: rest, kind });
            return;
        }
    }
}

impl Pattern {
    fn new(text: String) -> Self {
        let bytes = text.as_bytes();
        let mut fallback = vec![0; bytes.len()];
        let mut length = 0;
        for end in 1..bytes.len() {
            while length > 0 && bytes[end] != bytes[length] {
                length = fallback[length - 1];
            }
            if bytes[end] == bytes[length] {
                length += 1;
            }
            fallback[end] = length;
        }
        Self {
            text,
            fallback,
            progress: 0,
        }
    }

    /// Whether the pattern ends with this byte. It is not asked again after that.
    fn advance(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.progress > 0 && bytes[self.progress] != byte {
            self.progress = self.fallback[self.progress - 1];
        }
        if bytes[self.progress] == byte {
            self.progress += 1;
        }
        self.progress == bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Fragment {
        Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        }
    }

    fn control(text: &str) -> Fragment {
        Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Control,
        }
    }

    fn search(
        stops: &[&str],
        include: bool,
        input: &[Fragment],
    ) -> (Vec<Fragment>, Option<String>) {
        let mut search = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()), include);
        let mut fragments = Vec::new();
        for fragment in input {
            search.push(fragment.clone(), &mut fragments);
        }
        search.finish(&mut fragments);
        (fragments, search.matched().map(str::to_owned))
    }

    fn joined(fragments: &[Fragment]) -> String {
        fragments
            .iter()
            .map(|fragment| fragment.text.as_str())
            .collect()
    }

    /// The same by the definition: the match that ends first, of those the longest.
    fn expected(stops: &[&str], include: bool, text: &str) -> (String, Option<String>) {
        for end in 0..=text.len() {
            let longest = stops.iter().filter(|stop| {
                !stop.is_empty() && text.as_bytes()[..end].ends_with(stop.as_bytes())
            });
            if let Some(stop) = longest.max_by_key(|stop| stop.len()) {
                let end = if include { end } else { end - stop.len() };
                return (text[..end].to_owned(), Some((*stop).to_owned()));
            }
        }
        (text.to_owned(), None)
    }

    #[test]
    fn withholds_a_possible_prefix_and_nothing_more() {
        let mut search = StopStrings::new(["END".to_owned(), "\n\n".to_owned()], false);
        let mut fragments = Vec::new();
        assert!(!search.push(text("abE"), &mut fragments));
        assert_eq!(joined(&fragments), "ab");
        assert!(!search.push(text("Ex\n"), &mut fragments));
        assert_eq!(joined(&fragments), "abEEx");
        assert!(search.push(text("\nrest"), &mut fragments));
        assert!(search.push(text("more"), &mut fragments));
        search.finish(&mut fragments);
        assert_eq!(joined(&fragments), "abEEx");
        assert_eq!(search.matched(), Some("\n\n"));
    }

    #[test]
    fn kinds_survive_and_control_fragments_stay_whole() {
        let input = [text("a"), control("<tool_call>"), text("b")];
        assert_eq!(search(&["call>x"], false, &input), (input.to_vec(), None));
        let (fragments, matched) = search(&["call>b"], false, &input);
        assert_eq!(fragments, [text("a"), text("<tool_")]);
        assert_eq!(matched.as_deref(), Some("call>b"));
        let (fragments, _) = search(&["b"], true, &input);
        assert_eq!(fragments, input);
    }

    #[test]
    fn the_longest_of_several_that_end_together_wins() {
        assert_eq!(
            joined(&search(&["c", "bc", ""], false, &[text("abc")]).0),
            "a"
        );
    }

    proptest! {
        #[test]
        fn every_chunking_finds_what_the_definition_says(
            chunks in prop::collection::vec("[abé]{1,4}", 0..12),
            stops in prop::collection::vec("[abé]{0,5}", 0..4),
            include in any::<bool>(),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let input: Vec<Fragment> = chunks.iter().map(|chunk| text(chunk)).collect();
            let (fragments, matched) = search(&stops, include, &input);
            prop_assert_eq!((joined(&fragments), matched), expected(&stops, include, &chunks.concat()));
        }
    }
}
