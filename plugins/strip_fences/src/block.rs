//! The text of an answer on its way through: where its first block begins and ends, and what is held back meanwhile.
//!
//! Held back are white space in front of the block, a line that may still be the opening or the closing fence together
//! with the line break before it, and white space behind the block; with [`Before::Drop`] also the text in front. That is
//! at most [`MAX_LINE`] bytes for a line and [`MAX_AROUND`] for the rest: past that, it is text like any other. Work is
//! linear, and what comes out depends on the text alone.

use alloc::string::String;

use crate::{
    config::{Before, Config},
    fence::{Fence, FenceLine},
};

/// The longest line, in bytes, that is taken for a fence.
pub const MAX_LINE: usize = 256;
/// The most bytes in front of a block or behind it that are held back.
pub const MAX_AROUND: usize = 64 * 1024;

/// One answer's text.
#[derive(Debug)]
pub struct BlockText {
    config: Config,
    phase: Phase,
    held: String,
    /// Where in `held` the line begins that may be a fence.
    line_start: usize,
    /// The line as far as it was read; none if it is no fence.
    line: Option<FenceLine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before {
        only_space: bool,
    },
    Inside(Block),
    After,
    /// All that comes is text.
    Passing,
    /// All that comes is dropped.
    Dropping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    fence: Fence,
    /// Whether it is Markdown, so that blocks may stand in it.
    is_markdown: bool,
    /// The fence of the block that is open in it.
    inner: Option<Fence>,
}

impl BlockText {
    /// The text of a new answer.
    pub fn new(config: Config, acts: bool) -> Self {
        Self {
            config,
            phase: if acts {
                Phase::Before { only_space: true }
            } else {
                Phase::Passing
            },
            held: String::new(),
            line_start: 0,
            line: Some(FenceLine::default()),
        }
    }

    /// Whether all that comes goes out as it is.
    pub fn is_passing(&self) -> bool {
        self.phase == Phase::Passing
    }

    /// Takes more text and appends what is certain.
    pub fn push(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            match self.phase {
                Phase::Passing => {
                    out.push_str(rest);
                    return;
                }
                Phase::Dropping => return,
                Phase::Inside(block) if self.line.is_none() && self.held.is_empty() => {
                    let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
                    if end > 0 {
                        out.push_str(&rest[..end]);
                        rest = &rest[end..];
                        continue;
                    }
                    self.inside(c, block, out);
                }
                Phase::Inside(block) => self.inside(c, block, out),
                Phase::Before { only_space } => self.before(c, only_space, out),
                Phase::After => self.after(c, out),
            }
            rest = &rest[c.len_utf8()..];
        }
    }

    /// Says that the text ends, and appends the rest.
    pub fn finish(&mut self, out: &mut String) {
        let drops = match self.phase {
            Phase::Before { .. } | Phase::Passing => false,
            Phase::Inside(Block { fence, inner, .. }) => {
                inner.is_none() && self.line.is_some_and(|line| line.closes(fence))
            }
            Phase::After | Phase::Dropping => true,
        };
        if !drops {
            out.push_str(&self.held);
        }
        self.held.clear();
    }

    fn flush(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.line_start = 0;
    }

    fn pass(&mut self, out: &mut String) {
        self.flush(out);
        self.phase = Phase::Passing;
    }

    fn before(&mut self, c: char, mut only_space: bool, out: &mut String) {
        let line = self.line.take();
        if let Some(fence) = line.filter(|_| c == '\n').and_then(|line| line.opened()) {
            self.open(fence);
            return;
        }
        self.held.push(c);
        let fits = self.held.len() - self.line_start <= MAX_LINE;
        self.line = match c {
            '\n' => Some(FenceLine::default()),
            _ => line.filter(|_| fits).and_then(|line| line.then(c)),
        };
        // A line that may be a fence says nothing yet of what stands in front of the block.
        let is_text = c == '\n' || self.line.is_none();
        if is_text {
            only_space &= match line {
                Some(_) => self.held[self.line_start..].trim().is_empty(),
                None => c.is_whitespace(),
            };
        }
        self.phase = Phase::Before { only_space };
        match self.config.before {
            _ if self.held.len() > MAX_AROUND => self.pass(out),
            Before::Leave if !only_space => self.pass(out),
            Before::Keep if !only_space && is_text => self.flush(out),
            Before::Leave | Before::Keep | Before::Drop => {}
        }
        if c == '\n' {
            self.line_start = self.held.len();
        }
    }

    fn open(&mut self, fence: Fence) {
        let line = self.held[self.line_start..].trim();
        let info = line.trim_start_matches(['`', '~']).trim();
        let language = info.split_whitespace().next().unwrap_or_default();
        let is_markdown = ["markdown", "md"]
            .iter()
            .any(|name| language.eq_ignore_ascii_case(name));
        self.phase = Phase::Inside(Block {
            fence,
            is_markdown,
            inner: None,
        });
        self.held.clear();
        self.line_start = 0;
        self.line = Some(FenceLine::default());
    }

    fn inside(&mut self, c: char, block: Block, out: &mut String) {
        if c == '\n' {
            self.end_line(block, out);
            return;
        }
        self.held.push(c);
        let may_matter = |line: &FenceLine| match block.inner {
            Some(inner) => line.may_close(inner),
            None => block.is_markdown || line.may_close(block.fence),
        };
        let line = self.line.filter(|_| self.held.len() <= MAX_LINE);
        self.line = line.and_then(|line| line.then(c)).filter(may_matter);
        if self.line.is_none() {
            self.flush_up_to_return(out);
        }
    }

    /// A line feed inside the block: what the line was is known now.
    fn end_line(&mut self, mut block: Block, out: &mut String) {
        match (self.line, block.inner) {
            (Some(line), None) if line.closes(block.fence) => {
                self.held.truncate(self.line_start);
                self.phase = match self.config.keep_after {
                    true => Phase::After,
                    false => Phase::Dropping,
                };
                return;
            }
            (Some(line), Some(inner)) if line.closes(inner) => block.inner = None,
            (Some(line), None) if block.is_markdown => block.inner = line.opened_with_info(),
            _ => {}
        }
        self.phase = Phase::Inside(block);
        self.flush_up_to_return(out);
        self.held.push('\n');
        self.line_start = self.held.len();
        self.line = Some(FenceLine::default());
    }

    /// A carriage return may be half of the line break in front of the closing fence.
    fn flush_up_to_return(&mut self, out: &mut String) {
        let returned = self.held.ends_with('\r');
        if returned {
            self.held.pop();
        }
        self.flush(out);
        if returned {
            self.held.push('\r');
        }
    }

    fn after(&mut self, c: char, out: &mut String) {
        self.held.push(c);
        if !c.is_whitespace() || self.held.len() > MAX_AROUND {
            self.pass(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn strip(config: &str, pieces: &[&str]) -> String {
        let config = Config::read(config).expect(config);
        let mut block = BlockText::new(config, true);
        let mut out = String::new();
        for piece in pieces {
            block.push(piece, &mut out);
        }
        block.finish(&mut out);
        out
    }

    #[test]
    fn holds_back_no_more_than_what_may_be_a_fence() {
        let config = Config::read("{}").expect("the default");
        let mut block = BlockText::new(config, true);
        let mut out = String::new();
        for (piece, so_far) in [
            ("\n``", ""),
            ("`js", ""),
            ("on\n{", "{"),
            ("\"a\":", "{\"a\":"),
            ("\n", "{\"a\":"),
            (" 1\n", "{\"a\":\n 1"),
            ("``", "{\"a\":\n 1"),
            ("x", "{\"a\":\n 1\n``x"),
            ("}\r", "{\"a\":\n 1\n``x}"),
            ("\n```", "{\"a\":\n 1\n``x}"),
        ] {
            block.push(piece, &mut out);
            assert_eq!(out, so_far);
        }
        block.finish(&mut out);
        assert_eq!(out, "{\"a\":\n 1\n``x}");
    }

    #[test]
    fn past_the_bounds_it_is_text() {
        let long = "x".repeat(MAX_LINE);
        let text = format!("```{long}\na\n```");
        assert_eq!(strip("{}", &[&text]), text);
        let text = format!("{}\n```\na\n```", "x ".repeat(MAX_AROUND));
        assert_eq!(strip(r#"{"before": "drop"}"#, &[&text]), text);
        let spaces = " ".repeat(MAX_LINE);
        let text = format!("```\na\n```{spaces}\nb");
        assert_eq!(strip("{}", &[&text]), text["```\n".len()..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn every_cut_gives_the_same(
            lines in prop::collection::vec(prop::sample::select(vec![
                "```", "````", "~~~", "```md", "```py", "   ```", "    ```", "``", "a`b", "{}", "", " ", "\t", "é",
            ]), 0..9),
            breaks in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r"]), 9),
            config in prop::sample::select(vec![
                "{}", r#"{"before": "keep"}"#, r#"{"before": "drop"}"#, r#"{"after": "drop"}"#,
            ]),
        ) {
            let text: String = lines.iter().zip(&breaks).flat_map(|(line, end)| [*line, *end]).collect();
            let whole = strip(config, &[&text]);
            let characters: Vec<&str> = text.split("").collect();
            prop_assert_eq!(&strip(config, &characters), &whole);
            for (cut, _) in text.char_indices() {
                let (one, two) = text.split_at(cut);
                prop_assert_eq!(&strip(config, &[one, two]), &whole, "cut at {}", cut);
            }
        }
    }
}
