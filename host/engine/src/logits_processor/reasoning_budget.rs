//! Ends a model's reasoning when it has had its tokens: the end marker is forced, token by token.
//!
//! Invariants: nothing is forced before the budget is spent, behind the end of the reasoning or in the middle of a character,
//! where a grammar behind it allows no marker; a token that a processor before it forbids is not forced either. Markers are looked for
//! as bytes, because a tokenizer may cut a marker that is no token of its own in several ways.

use std::{fmt, sync::Arc};

use super::LogitsProcessor;

/// What each token writes.
pub trait TokenTexts: Send + Sync + fmt::Debug {
    /// Its bytes; none for an id without a text.
    fn bytes(&self, token: u32) -> &[u8];
}

/// How long a sequence may reason, and how its reasoning is known.
#[derive(Debug, Clone)]
pub struct ReasoningBudget {
    /// Tokens between the markers at most.
    pub tokens: usize,
    /// What starts it, at the beginning of the output; empty if the prompt ends within it.
    pub start: String,
    /// What ends it; not empty.
    pub end: String,
    /// The tokens that write the end marker; at least one.
    pub end_tokens: Vec<u32>,
    /// What each token writes.
    pub texts: Arc<dyn TokenTexts>,
}

impl ReasoningBudget {
    /// What holds one sequence to it.
    pub(super) fn processor(&self) -> Box<dyn LogitsProcessor> {
        let mut limit = ReasoningLimit {
            budget: self.clone(),
            place: Place::Before,
            written: Vec::new(),
        };
        if self.start.is_empty() {
            limit.reasons(0);
        }
        Box::new(limit)
    }
}

/// Where a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The start marker may still come.
    Before,
    /// In the reasoning, so many tokens of it written.
    Within(usize),
    /// The budget is spent, and so many tokens of the end marker stand.
    Ending(usize),
    /// In the answer.
    Over,
}

struct ReasoningLimit {
    budget: ReasoningBudget,
    place: Place,
    /// The bytes that a marker may still be found in.
    written: Vec<u8>,
}

impl ReasoningLimit {
    /// So many tokens of reasoning stand.
    fn reasons(&mut self, tokens: usize) {
        self.place = match tokens < self.budget.tokens {
            true => Place::Within(tokens),
            false => Place::Ending(0),
        };
    }

    /// Behind the first `marker` in what is written, if it is there.
    fn passes(&mut self, marker: &str) -> bool {
        let marker = marker.as_bytes();
        let found = self.written.windows(marker.len()).position(|w| w == marker);
        if let Some(at) = found {
            self.written.drain(..at + marker.len());
        }
        found.is_some()
    }

    /// Looks for the start of the reasoning, which nothing but white space stands before.
    fn look_for_start(&mut self) {
        let start = self.budget.start.clone();
        if self.passes(&start) {
            return self.reasons(0);
        }
        let written = self.written.trim_ascii_start();
        if !start.as_bytes().starts_with(written) {
            self.place = Place::Over;
        }
    }

    /// Looks for the end of the reasoning; keeps what it may begin with.
    fn look_for_end(&mut self) -> bool {
        let end = self.budget.end.clone();
        let found = self.passes(&end);
        // What the longest character needs to be seen as a whole is kept too.
        let keep = (end.len() - 1).max(4);
        self.written
            .drain(..self.written.len().saturating_sub(keep));
        found
    }
}

impl LogitsProcessor for ReasoningLimit {
    fn apply(&mut self, logits: &mut [f32]) {
        let Place::Ending(written) = self.place else {
            return;
        };
        let next = self.budget.end_tokens.get(written);
        let next = next.and_then(|&token| Some((token as usize, *logits.get(token as usize)?)));
        if let Some((token, logit)) = next
            && logit > f32::NEG_INFINITY
            && !is_cut(&self.written)
        {
            logits.fill(f32::NEG_INFINITY);
            logits[token] = logit;
        }
    }

    fn accept(&mut self, token: u32) {
        if self.place == Place::Over {
            return;
        }
        self.written.extend(self.budget.texts.bytes(token));
        match self.place {
            Place::Before => self.look_for_start(),
            Place::Over => {}
            Place::Within(tokens) => match self.look_for_end() {
                true => self.place = Place::Over,
                false => self.reasons(tokens + 1),
            },
            Place::Ending(written) => {
                let expected = self.budget.end_tokens.get(written) == Some(&token);
                let written = if expected { written + 1 } else { 0 };
                let all = self.budget.end_tokens.len();
                self.place = match self.look_for_end() || written == all {
                    true => Place::Over,
                    false => Place::Ending(written),
                };
            }
        }
    }
}

/// Whether these bytes end in the middle of a character.
fn is_cut(bytes: &[u8]) -> bool {
    let lead = bytes
        .iter()
        .rev()
        .take(4)
        .position(|byte| byte & 0xC0 != 0x80);
    let Some(behind) = lead else {
        return false;
    };
    let length = match bytes[bytes.len() - 1 - behind] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    behind + 1 < length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens below 256 are bytes, those from there on these texts.
    #[derive(Debug)]
    struct Texts(Vec<[u8; 1]>, &'static [&'static str]);

    impl TokenTexts for Texts {
        fn bytes(&self, token: u32) -> &[u8] {
            match (self.0.get(token as usize), self.1) {
                (Some(byte), _) => byte,
                (None, texts) => texts[token as usize - 256].as_bytes(),
            }
        }
    }

    const THINK: u32 = 256;
    const END: u32 = 257;

    fn limit(tokens: usize, start: &str, end_tokens: &[u32]) -> Box<dyn LogitsProcessor> {
        let bytes = (0..=255).map(|byte| [byte]).collect();
        let budget = ReasoningBudget {
            tokens,
            start: start.to_owned(),
            end: "</think>".to_owned(),
            end_tokens: end_tokens.to_vec(),
            texts: Arc::new(Texts(bytes, &["<think>", "</think>", "k></think>a"])),
        };
        budget.processor()
    }

    /// The only token that is left, if others are forbidden.
    fn forced(limit: &mut dyn LogitsProcessor) -> Option<u32> {
        let mut logits = vec![0.0; 260];
        limit.apply(&mut logits);
        let allowed: Vec<u32> = (0..260).filter(|id| logits[*id as usize] == 0.0).collect();
        match allowed[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    fn write(limit: &mut dyn LogitsProcessor, text: &str) {
        text.bytes().for_each(|byte| limit.accept(u32::from(byte)));
    }

    #[test]
    fn the_end_is_forced_when_the_budget_is_spent() {
        let mut limit = limit(3, "", &[END]);
        for _ in 0..3 {
            assert_eq!(forced(&mut *limit), None);
            write(&mut *limit, "a");
        }
        assert_eq!(forced(&mut *limit), Some(END));
        limit.accept(END);
        assert_eq!(forced(&mut *limit), None);
        write(&mut *limit, "<think>aaaaa");
        assert_eq!(forced(&mut *limit), None, "reasoning comes once");
    }

    #[test]
    fn an_end_that_comes_by_itself_is_the_end() {
        for last in ["</think>", "a</think>b"] {
            let mut limit = limit(20, "", &[END]);
            write(&mut *limit, last);
            write(&mut *limit, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
            assert_eq!(forced(&mut *limit), None, "{last}");
        }
        let mut across = limit(3, "", &[END]);
        across.accept(258);
        write(&mut *across, "aaaaaaa");
        assert_eq!(forced(&mut *across), None, "in the middle of a token");
    }

    #[test]
    fn a_marker_of_several_tokens_is_forced_in_order() {
        let end: Vec<u32> = "</think>".bytes().map(u32::from).collect();
        let mut limit = limit(1, "", &end);
        write(&mut *limit, "a");
        for byte in end {
            assert_eq!(forced(&mut *limit), Some(byte));
            limit.accept(byte);
        }
        assert_eq!(forced(&mut *limit), None);
    }

    #[test]
    fn nothing_is_counted_before_the_start_or_without_one() {
        let mut late = limit(0, "<think>", &[END]);
        assert_eq!(forced(&mut *late), None);
        write(&mut *late, "\n ");
        late.accept(THINK);
        assert_eq!(forced(&mut *late), Some(END));
        let mut never = limit(0, "<think>", &[END]);
        write(&mut *never, "<thing> and <think>");
        assert_eq!(forced(&mut *never), None);
        let mut spelled = limit(1, "<think>", &[END]);
        write(&mut *spelled, "<think>");
        assert_eq!(forced(&mut *spelled), None);
        write(&mut *spelled, "a");
        assert_eq!(forced(&mut *spelled), Some(END));
    }

    #[test]
    fn characters_and_other_masks_come_first() {
        let mut limit = limit(1, "", &[END]);
        let character = "é".as_bytes();
        limit.accept(u32::from(character[0]));
        assert_eq!(forced(&mut *limit), None, "in the middle of a character");
        limit.accept(u32::from(character[1]));
        assert_eq!(forced(&mut *limit), Some(END));
        let mut logits = vec![0.0; 260];
        logits[END as usize] = f32::NEG_INFINITY;
        limit.apply(&mut logits);
        assert_eq!(logits[0], 0.0, "a forbidden token is not forced");
    }
}
