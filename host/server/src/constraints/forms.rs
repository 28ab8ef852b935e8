//! What a request's answer format is as a tree of segments.

use weir_constrain::Answer;
use weir_output::Segment;
use weir_protocol::{
    AnswerForm, AnswerFormat,
    structural_tag::{Tag, TagFormat},
};

use crate::error::ApiError;

/// The answer that a format asks for.
///
/// # Errors
/// When it cannot be said as a tree: 400.
pub(super) fn answer_of(format: &AnswerFormat) -> Result<Answer, ApiError> {
    let segment = match &format.form {
        AnswerForm::Grammar(grammar) => return Ok(Answer::Lark(grammar.clone())),
        AnswerForm::JsonObject => Segment::Json(r#"{"type": "object"}"#.to_owned()),
        AnswerForm::JsonSchema(schema) => Segment::Json(schema.to_string()),
        AnswerForm::Regex(pattern) => Segment::Pattern(pattern.clone()),
        AnswerForm::Choice(texts) => {
            Segment::Alternative(texts.iter().cloned().map(Segment::Literal).collect())
        }
        AnswerForm::StructuralTag(tag) => tagged(tag).map_err(|why| refused(format, why))?,
    };
    Ok(Answer::Segment(segment))
}

/// The 400 of a format that cannot be enforced.
pub(super) fn refused(format: &AnswerFormat, why: &str) -> ApiError {
    let what = match &format.form {
        AnswerForm::Grammar(text) if text.contains("::=") => {
            "is a grammar that cannot be enforced (it looks like EBNF; this server takes Lark's syntax, from a rule `start`)"
        }
        AnswerForm::Grammar(_) => "is a grammar that cannot be enforced",
        AnswerForm::Regex(_) => "is an expression that cannot be enforced",
        _ => "cannot be enforced",
    };
    let message = format!("`{}` {what}: {why}", format.param);
    ApiError::bad_request(message).with_param(&format.param)
}

const TEXT_BEFORE: &str =
    "any_text must stand last, or before a tag or a const_string, which ends it";

fn tagged(format: &TagFormat) -> Result<Segment, &'static str> {
    Ok(match format {
        TagFormat::ConstString(text) => Segment::Marker(text.clone()),
        TagFormat::JsonSchema(schema) => Segment::Json(schema.to_string()),
        TagFormat::Regex(pattern) => Segment::Pattern(pattern.clone()),
        TagFormat::AnyText(without) => Segment::TextWithout(without.clone()),
        TagFormat::Sequence(parts) => in_a_row(parts)?,
        TagFormat::Or(parts) => {
            Segment::Alternative(parts.iter().map(tagged).collect::<Result<_, _>>()?)
        }
        TagFormat::Tag(tag) => tag_behind("", tag)?,
        TagFormat::TriggeredTags {
            triggers,
            tags,
            at_least_one,
            stop_after_first,
        } => triggered(triggers, tags, *at_least_one, *stop_after_first)?,
        TagFormat::TagsWithSeparator {
            tags,
            separator,
            at_least_one,
            stop_after_first,
        } => Segment::Repeat {
            segment: Box::new(any_tag("", tags)?),
            separator: (!separator.is_empty()).then(|| Segment::Literal(separator.clone()).into()),
            min: u32::from(*at_least_one),
            max: stop_after_first.then_some(1),
        },
        TagFormat::Repeat { content, min, max } => Segment::Repeat {
            segment: Box::new(tagged(content)?),
            separator: None,
            min: *min,
            max: *max,
        },
    })
}

/// Parts one after the other. Any text goes on to where the next part begins, so that must be told from it.
fn in_a_row(parts: &[TagFormat]) -> Result<Segment, &'static str> {
    let mut row = Vec::with_capacity(parts.len());
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        let begin = match (part, parts.peek().copied()) {
            (TagFormat::AnyText(_), None) => None,
            (TagFormat::AnyText(without), Some(next)) if without.is_empty() => Some(next),
            (TagFormat::AnyText(_), Some(_)) => return Err(TEXT_BEFORE),
            _ => None,
        };
        row.push(match begin {
            None => tagged(part)?,
            Some(TagFormat::ConstString(text)) => {
                parts.next();
                Segment::Until(text.clone())
            }
            Some(TagFormat::Tag(tag)) => {
                let begin = Segment::Until(tag.begin.clone());
                let rest = tag_behind(&tag.begin, tag)?;
                parts.next();
                Segment::Sequence(vec![begin, rest])
            }
            Some(_) => return Err(TEXT_BEFORE),
        });
    }
    Ok(Segment::Sequence(row))
}

/// Any text with the tags in it. Whoever must begin with one has no text before the first.
fn triggered(
    triggers: &[String],
    tags: &[Tag],
    at_least_one: bool,
    stop_after_first: bool,
) -> Result<Segment, &'static str> {
    let behind = |trigger: &String| -> Result<Segment, &'static str> {
        let begun = tags
            .iter()
            .filter(|tag| tag.begin.starts_with(trigger.as_str()));
        Ok(Segment::Sequence(vec![
            Segment::TextWithout(triggers.to_vec()),
            Segment::Marker(trigger.clone()),
            any_tag(trigger, begun)?,
        ]))
    };
    let later = triggers.iter().map(behind).collect::<Result<_, _>>()?;
    let later = Segment::Alternative(later);
    let text = Segment::TextWithout(triggers.to_vec());
    let first = any_tag("", tags)?;
    let again = |segment| Segment::Repeat {
        segment: Box::new(segment),
        separator: None,
        min: 0,
        max: None,
    };
    Ok(match (at_least_one, stop_after_first) {
        (true, true) => first,
        (true, false) => Segment::Sequence(vec![first, again(later), text]),
        (false, true) => Segment::Alternative(vec![later, text]),
        (false, false) => Segment::Sequence(vec![again(later), text]),
    })
}

/// One of the tags, of which this much is written already.
fn any_tag<'a>(
    written: &str,
    tags: impl IntoIterator<Item = &'a Tag>,
) -> Result<Segment, &'static str> {
    let tags = tags.into_iter().map(|tag| tag_behind(written, tag));
    Ok(Segment::Alternative(tags.collect::<Result<_, _>>()?))
}

/// A tag of whose beginning this much is written already.
fn tag_behind(written: &str, tag: &Tag) -> Result<Segment, &'static str> {
    let begin = tag.begin.strip_prefix(written).unwrap_or(&tag.begin);
    let mut parts = Vec::new();
    if !begin.is_empty() {
        parts.push(Segment::Marker(begin.to_owned()));
    }
    if matches!(&*tag.content, TagFormat::AnyText(without) if without.is_empty()) {
        let [end] = tag.ends.as_slice() else {
            return Err("a tag of any_text with more than one end");
        };
        parts.push(Segment::Until(end.clone()));
    } else {
        parts.push(tagged(&tag.content)?);
        let mut ends: Vec<Segment> = tag.ends.iter().cloned().map(Segment::Marker).collect();
        parts.push(match ends.len() {
            // A pattern goes on to a marker behind it.
            1 => ends.remove(0),
            _ => Segment::Alternative(ends),
        });
    }
    Ok(Segment::Sequence(parts))
}
