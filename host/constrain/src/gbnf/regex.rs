//! A regular expression as GBNF. It is read as the local engine reads it, so both mean the same.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::{class, either, literal, times};

/// A pattern that the whole text matches.
///
/// # Errors
/// What of it cannot be said.
pub(super) fn expression(pattern: &str) -> Result<String, String> {
    written(&without_anchors(parsed(pattern)?), pattern)
}

/// Whether a text of this pattern may hold this character.
///
/// # Errors
/// As [`expression`].
pub(super) fn may_write(pattern: &str, character: Option<char>) -> Result<bool, String> {
    Ok(character.is_some_and(|character| match parsed(pattern) {
        Ok(hir) => holds(&hir, character),
        Err(_) => true,
    }))
}

fn parsed(pattern: &str) -> Result<Hir, String> {
    regex_syntax::parse(pattern).map_err(|_| format!("the pattern {pattern:?}"))
}

/// The whole text matches, so anchors around it say nothing.
fn without_anchors(hir: Hir) -> Hir {
    let start = |hir: &Hir| matches!(hir.kind(), HirKind::Look(Look::Start));
    let end = |hir: &Hir| matches!(hir.kind(), HirKind::Look(Look::End));
    if start(&hir) || end(&hir) {
        return Hir::empty();
    }
    match hir.into_kind() {
        HirKind::Concat(mut parts) => {
            while parts.first().is_some_and(start) {
                parts.remove(0);
            }
            while parts.last().is_some_and(end) {
                parts.pop();
            }
            Hir::concat(parts)
        }
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => Hir::repetition(repetition),
        HirKind::Capture(capture) => Hir::capture(capture),
        HirKind::Alternation(parts) => Hir::alternation(parts),
    }
}

/// Recursion is bounded: what is too deep was refused when it was vetted.
fn written(hir: &Hir, pattern: &str) -> Result<String, String> {
    let refused = || format!("the pattern {pattern:?}");
    let all = |parts: &[Hir]| -> Result<Vec<String>, String> {
        parts.iter().map(|part| written(part, pattern)).collect()
    };
    Ok(match hir.kind() {
        HirKind::Empty => literal(""),
        HirKind::Literal(bytes) => literal(std::str::from_utf8(&bytes.0).map_err(|_| refused())?),
        HirKind::Class(Class::Unicode(of)) if !of.ranges().is_empty() => {
            let ranges: Vec<_> = of
                .ranges()
                .iter()
                .map(|range| (range.start(), range.end()))
                .collect();
            class(&ranges, false)
        }
        HirKind::Class(Class::Bytes(of)) => {
            let ranges = of.to_unicode_class().ok_or_else(refused)?;
            let ranges: Vec<_> = ranges
                .ranges()
                .iter()
                .map(|range| (range.start(), range.end()))
                .collect();
            class(&ranges, false)
        }
        HirKind::Class(_) | HirKind::Look(_) => return Err(refused()),
        HirKind::Repetition(of) => {
            format!("({}){}", written(&of.sub, pattern)?, times(of.min, of.max))
        }
        HirKind::Capture(group) => written(&group.sub, pattern)?,
        HirKind::Concat(parts) => format!("({})", all(parts)?.join(" ")),
        HirKind::Alternation(parts) => either(&all(parts)?),
    })
}

fn holds(hir: &Hir, character: char) -> bool {
    let any = |parts: &[Hir]| parts.iter().any(|part| holds(part, character));
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(bytes) => {
            std::str::from_utf8(&bytes.0).map_or(true, |text| text.contains(character))
        }
        HirKind::Class(Class::Unicode(of)) => {
            let mut ranges = of.ranges().iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&character))
        }
        HirKind::Class(Class::Bytes(_)) => true,
        HirKind::Repetition(of) => holds(&of.sub, character),
        HirKind::Capture(group) => holds(&group.sub, character),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => any(parts),
    }
}
