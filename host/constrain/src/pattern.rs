//! What a stranger's regular expression may cost: its repetitions written out, and how deep it nests.

use std::convert::Infallible;

use regex_syntax::{
    ast::{
        self, Ast, ClassPerl, ClassPerlKind, ClassSetItem, RepetitionKind, RepetitionRange,
        Visitor, parse::ParserBuilder,
    },
    hir::{Dot, Hir, HirKind},
};

use crate::limits;

/// Characters of a repetition without a limit.
const UNBOUNDED: u64 = 2;

/// Whether it can be enforced within the limits; if not, why.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    expansion(pattern).map(drop)
}

/// Characters with its repetitions written out.
///
/// # Errors
/// When it cannot be enforced within the limits: why.
pub(crate) fn expansion(pattern: &str) -> Result<u64, String> {
    if pattern.len() > limits::MAX_PATTERN_BYTES {
        return Err(format!(
            "a regular expression of {} bytes, the limit is {}",
            pattern.len(),
            limits::MAX_PATTERN_BYTES
        ));
    }
    let parsed = ParserBuilder::new()
        .nest_limit(limits::MAX_PATTERN_DEPTH)
        .build()
        .parse(pattern);
    let ast = parsed.map_err(|error| {
        let text = pattern.get(error.span().start.offset..error.span().end.offset);
        let text: String = text.unwrap_or_default().chars().take(40).collect();
        format!("{} ({text:?})", error.kind())
    })?;
    let expansion = characters(&ast);
    if expansion > limits::MAX_PATTERN_EXPANSION {
        return Err(format!(
            "with its repetitions written out it has {expansion} characters, the limit is {}",
            limits::MAX_PATTERN_EXPANSION
        ));
    }
    Ok(expansion)
}

/// Whether it takes any text up to some length, the empty one too.
pub(crate) fn takes_any_text(pattern: &str) -> bool {
    let parsed = regex_syntax::parse(pattern).map(Hir::into_kind);
    matches!(parsed, Ok(HirKind::Repetition(it)) if it.min == 0 && *it.sub == Hir::dot(Dot::AnyChar))
}

/// What ECMA-262 (WhiteSpace and LineTerminator) takes for a space. Unicode, which a regular expression means otherwise,
/// counts U+0085 and not U+FEFF.
const SPACES: &str = r"\t\n\x0B\x0C\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";

/// The pattern of a JSON Schema, whose dialect is ECMA-262's, with its spaces written out. One that does not parse stays.
pub(crate) fn with_ecma_spaces(pattern: &str) -> String {
    let Ok(ast) = ParserBuilder::new().build().parse(pattern) else {
        return pattern.to_owned();
    };
    let Ok(found) = ast::visit(&ast, Spaces::default());
    let mut written = String::with_capacity(pattern.len());
    let mut rest = 0;
    for (start, end, negated) in found {
        written += &pattern[rest..start];
        written += if negated { "[^" } else { "[" };
        written += SPACES;
        written.push(']');
        rest = end;
    }
    written + &pattern[rest..]
}

/// Where a pattern speaks of spaces: from, to, and whether of all others.
#[derive(Default)]
struct Spaces(Vec<(usize, usize, bool)>);

impl Spaces {
    fn note(&mut self, class: &ClassPerl) {
        if class.kind == ClassPerlKind::Space {
            let (start, end) = (class.span.start.offset, class.span.end.offset);
            self.0.push((start, end, class.negated));
        }
    }
}

impl Visitor for Spaces {
    type Output = Vec<(usize, usize, bool)>;
    type Err = Infallible;

    fn finish(self) -> Result<Self::Output, Infallible> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        if let Ast::ClassPerl(class) = ast {
            self.note(class);
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        if let ClassSetItem::Perl(class) = item {
            self.note(class);
        }
        Ok(())
    }
}

/// Characters with all repetitions written out. Recursion is bounded by the parser's limit.
fn characters(ast: &Ast) -> u64 {
    let sum = |parts: &[Ast]| {
        let sizes = parts.iter().map(characters);
        sizes.fold(0, u64::saturating_add)
    };
    match ast {
        Ast::Empty(_) | Ast::Flags(_) => 0,
        Ast::Group(group) => characters(&group.ast),
        Ast::Concat(concat) => sum(&concat.asts),
        Ast::Alternation(alternation) => sum(&alternation.asts),
        Ast::Repetition(repetition) => {
            let times = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne => 1,
                RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => UNBOUNDED,
                RepetitionKind::Range(RepetitionRange::Exactly(times)) => u64::from(*times),
                RepetitionKind::Range(RepetitionRange::AtLeast(times)) => u64::from(*times) + 1,
                RepetitionKind::Range(RepetitionRange::Bounded(_, times)) => u64::from(*times),
            };
            // An empty part many times is not nothing: each is looked at.
            characters(&repetition.ast)
                .max(1)
                .saturating_mul(times.max(1))
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        for (pattern, size) in [
            ("abc", 3),
            ("(ab|c){10}", 30),
            ("(x{100}){50}y", 5001),
            ("[a-z]+", 2),
            ("(a?){3,}", 4),
            ("(){7}", 7),
        ] {
            let ast = ParserBuilder::new().build().parse(pattern);
            assert_eq!(characters(&ast.expect(pattern)), size, "{pattern}");
        }
    }

    #[test]
    fn spaces_are_those_of_ecma_script() {
        assert_eq!(with_ecma_spaces(r"^a\d$"), r"^a\d$");
        for (pattern, yes, no) in [
            (r"^\s$", "\u{FEFF}", "\u{85}"),
            (r"^\S$", "\u{85}", "\u{FEFF}"),
            (r"^[x\s]\s$", "x\u{A0}", "a "),
            (r"^[^\S]$", " ", "a"),
        ] {
            let written = with_ecma_spaces(pattern);
            let regex = regex::Regex::new(&written).expect(&written);
            assert!(regex.is_match(yes) && !regex.is_match(no), "{written}");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        for (pattern, problem) in [
            ("(x{1000}){1000}".to_owned(), "written out"),
            ("((x{99}){99}){99}".to_owned(), "written out"),
            (deep, "maximum number"),
            ("a".repeat(limits::MAX_PATTERN_BYTES + 1), "bytes"),
            ("(?=a)b".to_owned(), "look-around"),
            (r"(a)\1".to_owned(), "backreference"),
            ("a{".to_owned(), "repetition"),
        ] {
            let refused = check(&pattern).expect_err(problem);
            assert!(refused.contains(problem), "{refused}");
        }
        for fine in [
            r"^\d{4}-\d{2}-\d{2}$",
            r"^\w+([\.-]?\w+)*@\w+\.\w{2,}$",
            "^.{0,10000}$",
        ] {
            check(fine).expect(fine);
        }
    }
}
