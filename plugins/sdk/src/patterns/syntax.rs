//! The pattern language: a small regular language with the notation everyone knows.
//!
//! Literals, `.` (all but a line break), `[a-z0-9_]` and `[^...]`, `\d \w \s` and `\D \W \S` (ASCII), `\n \r \t`, any
//! other ASCII punctuation escaped by `\`, groups, `|`, and `? * + {n} {n,} {n,m}` with counts up to [`MAX_COUNT`].
//! No anchors, look-around or back references: what these need is not known while the text still comes. What has another
//! meaning elsewhere is refused rather than taken as a literal.

use alloc::{boxed::Box, format, string::String, vec, vec::Vec};

/// The largest count in braces.
pub const MAX_COUNT: u32 = 256;
/// How deep groups may nest: bounds the recursion of parser and compiler.
const MAX_DEPTH: usize = 32;
/// Ranges of so many characters are not looked through for letters of another case.
const MAX_CASED: u32 = 4096;

/// Ranges of characters, both ends included.
pub type Ranges = Vec<(char, char)>;

/// A parsed pattern. No node is empty of states: that bounds the compiler's work by the program it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// One character of these.
    Class(Ranges),
    /// One after the other.
    Sequence(Vec<Node>),
    /// Any of these.
    Alternatives(Vec<Node>),
    /// At least `min`, at most `max` times.
    Repeat {
        /// What is repeated.
        node: Box<Node>,
        /// How often at least.
        min: u32,
        /// How often at most; 1 or more.
        max: Option<u32>,
    },
}

/// Which characters a letter of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Letters {
    /// Itself.
    #[default]
    Exact,
    /// Itself in either case, by Unicode's one-to-one mappings. Classes like `\w` mean what they mean anyway.
    AnyCase,
}

/// Parses a pattern.
///
/// # Errors
/// The number of the offending character, from 1, and what is wrong with it.
pub fn parse(pattern: &str, letters: Letters) -> Result<Node, String> {
    let mut parser = Parser {
        chars: pattern.chars().collect(),
        position: 0,
        depth: 0,
        letters,
    };
    let node = parser.alternatives()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => parser.fail("`)` without `(`"),
    }
}

/// The node of exactly this text, in which nothing has a meaning of its own. `text` is not empty.
pub fn phrase(text: &str, letters: Letters) -> Node {
    let character = |c| Node::Class(cased(vec![(c, c)], letters));
    Node::Sequence(text.chars().map(character).collect())
}

struct Parser {
    chars: Vec<char>,
    position: usize,
    depth: usize,
    letters: Letters,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += 1;
        Some(c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.position += usize::from(found);
        found
    }

    fn fail<T>(&self, reason: &str) -> Result<T, String> {
        self.fail_at(self.position, reason)
    }

    fn fail_at<T>(&self, position: usize, reason: &str) -> Result<T, String> {
        Err(format!("character {}: {reason}", position + 1))
    }

    fn alternatives(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.sequence()?];
        while self.take('|') {
            nodes.push(self.sequence()?);
        }
        Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::Alternatives(nodes),
        })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            let atom = self.atom()?;
            nodes.push(self.repeated(atom)?);
        }
        match nodes.len() {
            0 => self.fail("an empty alternative; use `?` for what may be missing"),
            1 => Ok(nodes.remove(0)),
            _ => Ok(Node::Sequence(nodes)),
        }
    }

    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let start = self.position;
        let (min, max) = match self.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') => self.counts()?,
            _ => return Ok(node),
        };
        self.position += 1;
        if matches!(self.peek(), Some('?' | '*' | '+' | '{')) {
            return self.fail("a repetition of a repetition; put the first into a group");
        }
        if max == Some(0) || max.is_some_and(|max| max < min) {
            return self.fail_at(
                start,
                "the largest count must be 1 or more and not below the smallest",
            );
        }
        Ok(Node::Repeat {
            node: Box::new(node),
            min,
            max,
        })
    }

    /// Reads `{n}`, `{n,}` or `{n,m}` up to the closing brace, which is left.
    fn counts(&mut self) -> Result<(u32, Option<u32>), String> {
        self.position += 1;
        let min = self.count()?;
        let max = if self.take(',') {
            match self.peek() {
                Some('}') => None,
                _ => Some(self.count()?),
            }
        } else {
            Some(min)
        };
        if self.peek() != Some('}') {
            return self.fail("`}` expected");
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<u32, String> {
        let start = self.position;
        let mut count = 0;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            count = count * 10 + digit;
            if count > MAX_COUNT {
                return self.fail_at(start, &format!("a count above {MAX_COUNT}"));
            }
            self.position += 1;
        }
        if self.position == start {
            return self.fail("a count expected");
        }
        Ok(count)
    }

    fn atom(&mut self) -> Result<Node, String> {
        let start = self.position;
        let ranges = match self.next() {
            Some('(') => return self.group(start),
            Some('[') => self.class(start)?,
            Some('\\') => self.escape()?,
            Some('.') => complement(&[('\n', '\n')]),
            Some('?' | '*' | '+') => return self.fail_at(start, "nothing to repeat"),
            Some('^' | '$') => {
                return self.fail_at(
                    start,
                    "anchors are not supported; escape it if it is meant literally",
                );
            }
            Some('{' | '}' | ']') => {
                return self.fail_at(start, "escape it if it is meant literally");
            }
            Some(c) => cased(vec![(c, c)], self.letters),
            None => return self.fail("a pattern expected"),
        };
        Ok(Node::Class(ranges))
    }

    fn group(&mut self, start: usize) -> Result<Node, String> {
        if self.peek() == Some('?') {
            return self.fail("`(?` groups are not supported");
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail_at(
                start,
                &format!("more than {MAX_DEPTH} groups in each other"),
            );
        }
        let node = self.alternatives()?;
        self.depth -= 1;
        if !self.take(')') {
            return self.fail_at(start, "`(` without `)`");
        }
        Ok(node)
    }

    fn class(&mut self, start: usize) -> Result<Ranges, String> {
        let negated = self.take('^');
        let mut ranges = Ranges::new();
        loop {
            let Some(c) = self.next() else {
                return self.fail_at(start, "`[` without `]`");
            };
            let mut item = match c {
                ']' => break,
                '[' => return self.fail_at(self.position - 1, "escape `[` inside a class"),
                '\\' => self.escape()?,
                c => vec![(c, c)],
            };
            let is_range = self.peek() == Some('-')
                && !matches!(self.chars.get(self.position + 1), None | Some(']'));
            if is_range {
                item = self.range(&item)?;
            }
            ranges.append(&mut cased(item, self.letters));
        }
        if ranges.is_empty() {
            return self.fail_at(start, "an empty class");
        }
        if negated {
            ranges = complement(&ranges);
        }
        if ranges.is_empty() {
            return self.fail_at(start, "a class that nothing is in");
        }
        Ok(ranges)
    }

    /// Reads what follows the first end of a range: `-` and the last end.
    fn range(&mut self, first: &[(char, char)]) -> Result<Ranges, String> {
        let dash = self.position;
        self.position += 1;
        let last = match self.next() {
            Some('\\') => self.escape()?,
            Some(c) => vec![(c, c)],
            None => return self.fail("the end of the range expected"),
        };
        match (first, last.as_slice()) {
            ([(low, same_low)], [(high, same_high)])
                if low == same_low && high == same_high && low <= high =>
            {
                Ok(vec![(*low, *high)])
            }
            _ => self.fail_at(
                dash,
                "a range needs two single characters, the smaller first",
            ),
        }
    }

    fn escape(&mut self) -> Result<Ranges, String> {
        const DIGITS: [(char, char); 1] = [('0', '9')];
        const WORD: [(char, char); 4] = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        const SPACE: [(char, char); 2] = [('\t', '\r'), (' ', ' ')];
        Ok(match self.next() {
            Some('d') => DIGITS.to_vec(),
            Some('D') => complement(&DIGITS),
            Some('w') => WORD.to_vec(),
            Some('W') => complement(&WORD),
            Some('s') => SPACE.to_vec(),
            Some('S') => complement(&SPACE),
            Some('n') => vec![('\n', '\n')],
            Some('r') => vec![('\r', '\r')],
            Some('t') => vec![('\t', '\t')],
            Some(c) if c.is_ascii_punctuation() => vec![(c, c)],
            Some(_) => return self.fail_at(self.position - 1, "an unknown escape"),
            None => return self.fail("an escape expected"),
        })
    }
}

/// `ranges`, and the other case of what they hold if letters stand for both. Ranges of more than `MAX_CASED` characters
/// hold both anyway, or are no letters.
fn cased(mut ranges: Ranges, letters: Letters) -> Ranges {
    if letters == Letters::Exact {
        return ranges;
    }
    for (low, high) in ranges.clone() {
        if high as u32 - low as u32 >= MAX_CASED {
            continue;
        }
        for other in (low..=high).flat_map(other_cases) {
            if !ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&other))
            {
                ranges.push((other, other));
            }
        }
    }
    ranges
}

/// The characters that differ from `c` in case alone: both ways round, so that a final sigma stands for every sigma.
fn other_cases(c: char) -> [char; 4] {
    let (lower, upper) = (single(c, c.to_lowercase()), single(c, c.to_uppercase()));
    let both = (
        single(upper, upper.to_lowercase()),
        single(lower, lower.to_uppercase()),
    );
    [lower, upper, both.0, both.1]
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Every character that is in none of `ranges`.
fn complement(ranges: &[(char, char)]) -> Ranges {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut free = Some('\0');
    let mut out = Ranges::new();
    for (low, high) in sorted {
        let Some(start) = free else { break };
        if high < start {
            continue;
        }
        if let Some(before) = ('\0'..low).next_back().filter(|before| *before >= start) {
            out.push((start, before));
        }
        free = (high..=char::MAX).nth(1);
    }
    if let Some(start) = free {
        out.push((start, char::MAX));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_patterns_are_refused_with_position_and_reason() {
        for (pattern, reason) in [
            ("", "character 1: an empty alternative"),
            ("a|", "character 3: an empty alternative"),
            ("a()b", "character 3: an empty alternative"),
            ("ab)", "character 3: `)` without `(`"),
            ("a(bc", "character 2: `(` without `)`"),
            ("*a", "character 1: nothing to repeat"),
            ("a**", "character 3: a repetition of a repetition"),
            ("^a", "character 1: anchors"),
            ("a{2", "character 4: `}` expected"),
            ("a{x}", "character 3: a count expected"),
            ("a{1,1000}", "character 5: a count above 256"),
            ("a{0}", "character 2: the largest count"),
            ("a{3,2}", "character 2: the largest count"),
            ("[a", "character 1: `[` without `]`"),
            ("x[]", "character 2: an empty class"),
            ("[z-a]", "character 3: a range needs"),
            ("[\\d-z]", "character 4: a range needs"),
            (
                "[\\s\\S]+[^\\s\\S]",
                "character 8: a class that nothing is in",
            ),
            ("a\\q", "character 3: an unknown escape"),
            ("a\\", "character 3: an escape expected"),
            ("(?i)a", "character 2: `(?`"),
            ("é}", "character 2: escape it"),
        ] {
            let error = parse(pattern, Letters::Exact).expect_err(pattern);
            assert!(error.starts_with(reason), "{pattern}: {error}");
        }
        let deep = "(".repeat(40) + "a" + &")".repeat(40);
        assert!(
            parse(&deep, Letters::Exact)
                .expect_err("too deep")
                .contains("in each other")
        );
    }

    #[test]
    fn letters_of_any_case_stand_for_both() {
        let has = |pattern: &str, c: char| match parse(pattern, Letters::AnyCase).expect(pattern) {
            Node::Class(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)),
            _ => panic!("{pattern} is one class"),
        };
        for (pattern, in_it, not_in_it) in [
            ("a", "aA", "bB"),
            ("[k-m]", "kKlLmM", "jn"),
            ("[^a]", "bB", "aA"),
            ("[^B-D]", "aAeE", "bBcCdD"),
            ("ö", "öÖ", "oO"),
            ("ς", "ςσΣ", "s"),
            ("ß", "ß", "sS"),
            (r"\W", "-ß", "aZ_"),
            (".", "aA", "\n"),
        ] {
            assert!(in_it.chars().all(|c| has(pattern, c)), "{pattern}");
            assert!(!not_in_it.chars().any(|c| has(pattern, c)), "{pattern}");
        }
    }

    #[test]
    fn complements_join_up() {
        assert_eq!(complement(&[('\0', 'a'), ('c', char::MAX)]), [('b', 'b')]);
        assert_eq!(
            complement(&[('c', 'd'), ('a', 'z')]),
            [('\0', '`'), ('{', char::MAX)]
        );
        assert_eq!(complement(&[('\0', char::MAX)]), []);
        assert_eq!(complement(&[('\u{d7ff}', '\u{d7ff}')])[1].0, '\u{e000}');
    }
}
