//! One line that may be a fence, read character by character.
//!
//! A fence is up to three spaces, three or more backticks or tildes, and an info string, in which no backtick stands after
//! backticks: CommonMark's rule. It decides about one line and knows no blocks.

/// The fence that opened a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    mark: char,
    run: usize,
}

/// What was read of a line that may still be a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FenceLine {
    indent: usize,
    /// The mark and how often it stands there; none before the first.
    run: Option<Fence>,
    /// Whether the run of marks is over.
    in_info: bool,
    /// Whether the info string is more than white space.
    has_info: bool,
}

impl FenceLine {
    /// The line with one more character, which is no line feed; none if it is no fence any more.
    pub fn then(mut self, c: char) -> Option<Self> {
        let may_be_fence = match &mut self.run {
            None if c == ' ' => {
                self.indent += 1;
                self.indent <= 3
            }
            None => {
                self.run = Some(Fence { mark: c, run: 1 });
                matches!(c, '`' | '~')
            }
            Some(fence) if c == fence.mark && !self.in_info => {
                fence.run += 1;
                true
            }
            Some(fence) => {
                self.in_info = true;
                self.has_info |= !c.is_whitespace();
                fence.run >= 3 && (fence.mark, c) != ('`', '`')
            }
        };
        may_be_fence.then_some(self)
    }

    /// The fence that the line is if it ends here.
    pub fn opened(&self) -> Option<Fence> {
        self.run.filter(|fence| fence.run >= 3)
    }

    /// The fence that the line is if it ends here, one that cannot close any block.
    pub fn opened_with_info(&self) -> Option<Fence> {
        self.opened().filter(|_| self.has_info)
    }

    /// Whether the line, if it ends here, closes the block that `open` opened.
    pub fn closes(&self, open: Fence) -> bool {
        self.may_close(open) && self.run.is_some_and(|fence| fence.run >= open.run)
    }

    /// Whether the line may yet come to close the block that `open` opened.
    pub fn may_close(&self, open: Fence) -> bool {
        let fits =
            |fence: Fence| fence.mark == open.mark && (!self.in_info || fence.run >= open.run);
        !self.has_info && self.run.is_none_or(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<FenceLine> {
        line.chars().try_fold(FenceLine::default(), FenceLine::then)
    }

    #[test]
    fn fences_are_told_from_other_lines() {
        for line in ["```", "   ```json", "~~~ a`b", "````  ", "```c++ {.x}"] {
            assert!(
                read(line).and_then(|line| line.opened()).is_some(),
                "{line}"
            );
        }
        for line in [
            "", "``", "    ```", "\t```", "```x```", "`` `", "~~", "text",
        ] {
            assert!(
                read(line).and_then(|line| line.opened()).is_none(),
                "{line}"
            );
        }
    }

    #[test]
    fn a_block_is_closed_by_a_bare_fence_as_long_as_its_own() {
        let open = read("````py")
            .and_then(|line| line.opened())
            .expect("a fence");
        for (line, closes) in [
            ("````", true),
            ("  `````` \t", true),
            ("```", false),
            ("~~~~", false),
            ("````py", false),
        ] {
            assert_eq!(read(line).expect(line).closes(open), closes, "{line}");
        }
    }
}
