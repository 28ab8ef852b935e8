//! How a format is forced: what a model must write, as a tree of typed segments.
//!
//! A plugin says what stands where; the host finds out which markers are tokens of the model at hand, checks the schemas
//! and turns the tree into the constraint that its decoder, or a remote engine, takes. Plain data and ways to build it.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use crate::{
    json_text::member,
    types::{RequestContext, Tool, ToolChoice},
};

/// A part of what the model writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A marker: one token where the tokenizer has it, text around one where it has a part of it, its text where not.
    Marker(String),
    /// Exactly this text.
    Literal(String),
    /// A JSON value that matches this JSON Schema.
    Json(String),
    /// Text that matches this regular expression (the `regex` crate's syntax) as a whole.
    Pattern(String),
    /// Free text up to and with the first of this marker.
    Until(String),
    /// Free text, perhaps empty, in which none of these markers stands.
    TextWithout(Vec<String>),
    /// The answer itself: what the next parser or the response format asks for, free text if nothing does.
    Answer,
    /// One after the other.
    Sequence(Vec<Segment>),
    /// One of them.
    Alternative(Vec<Segment>),
    /// The segment again and again.
    Repeat {
        /// What is repeated.
        segment: Box<Segment>,
        /// Stands between two of them.
        separator: Option<Box<Segment>>,
        /// At least so often.
        min: u32,
        /// At most so often.
        max: Option<u32>,
    },
    /// A rule body in llguidance's Lark syntax, for what nothing above can say; remote engines may not take it.
    Lark(String),
}

impl Segment {
    /// A marker.
    pub fn marker(marker: impl Into<String>) -> Self {
        Self::Marker(marker.into())
    }

    /// Exactly this text.
    pub fn literal(text: impl Into<String>) -> Self {
        Self::Literal(text.into())
    }

    /// The arguments of a call of this tool as JSON: an object, even where its schema does not say so.
    pub fn arguments(tool: &Tool) -> Self {
        let schema = tool.parameters.trim();
        Self::Json(match schema.strip_prefix('{').map(str::trim_start) {
            None | Some("}") => "{\"type\": \"object\"}".into(),
            Some(rest) if member(schema, "type").is_none() => {
                format!("{{\"type\": \"object\", {rest}")
            }
            _ => schema.into(),
        })
    }

    /// One after the other.
    pub fn sequence(segments: impl IntoIterator<Item = Segment>) -> Self {
        Self::Sequence(segments.into_iter().collect())
    }

    /// One of these; of one alone, that.
    pub fn any_of(segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut segments: Vec<Segment> = segments.into_iter().collect();
        match segments.len() {
            1 => segments.remove(0),
            _ => Self::Alternative(segments),
        }
    }

    /// The segment, or nothing.
    pub fn optional(self) -> Self {
        Self::Repeat {
            segment: Box::new(self),
            separator: None,
            min: 0,
            max: Some(1),
        }
    }

    /// The segment once, or as often as the request's `parallel_tool_calls` lets the model call.
    pub fn calls(self, separator: Option<Segment>, context: &RequestContext) -> Self {
        Self::Repeat {
            segment: Box::new(self),
            separator: separator.map(Box::new),
            min: 1,
            max: if context.parallel_tool_calls {
                None
            } else {
                Some(1)
            },
        }
    }
}

/// The tools of which the request forces a call: all of them, or the named one; none when it forces no call.
pub fn forced_tools(context: &RequestContext) -> impl Iterator<Item = &Tool> {
    context
        .tools
        .iter()
        .filter(|tool| match &context.tool_choice {
            ToolChoice::Required => true,
            ToolChoice::Named(name) => tool.name == *name,
            ToolChoice::None | ToolChoice::Auto => false,
        })
}

/// Whether the choice is the model's and every tool on offer is strict: a call that it starts is forced then.
pub fn strict_tools_on_offer(context: &RequestContext) -> bool {
    context.tool_choice == ToolChoice::Auto
        && !context.tools.is_empty()
        && context.tools.iter().all(|tool| tool.strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tool;

    #[test]
    fn arguments_are_an_object() {
        for (schema, forced) in [
            ("true", r#"{"type": "object"}"#),
            (" { } ", r#"{"type": "object"}"#),
            (
                r##"{"$ref": "#/$defs/A"}"##,
                r##"{"type": "object", "$ref": "#/$defs/A"}"##,
            ),
            (r#"{"type": "object"}"#, r#"{"type": "object"}"#),
            (
                r#"{"properties": {"type": {}}}"#,
                r#"{"type": "object", "properties": {"type": {}}}"#,
            ),
        ] {
            let arguments = Segment::arguments(&tool("f", schema));
            assert_eq!(arguments, Segment::Json(forced.into()));
        }
    }
}
