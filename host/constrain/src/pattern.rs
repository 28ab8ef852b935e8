//! What a stranger's regular expression may cost: its repetitions written out, and how deep it nests.

use regex_syntax::ast::{Ast, RepetitionKind, RepetitionRange, parse::ParserBuilder};

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
