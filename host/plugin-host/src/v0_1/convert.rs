//! Between the words of `weir-output` and the generated ones. What goes in is borrowed, what comes out is moved: no text
//! is copied on the host's side.

use weir_output::{
    Event, FinishReason, Fragment, FragmentKind, RequestContext, ResponseFormat, Segment, Tool,
    ToolChoice, grammar::FlatSegment,
};

use super::bindings::weir::plugin::{grammars, types};

pub(super) fn fragment(fragment: &Fragment) -> types::FragmentParam<'_> {
    types::FragmentParam {
        text: &fragment.text,
        kind: match fragment.kind {
            FragmentKind::Text => types::FragmentKind::Text,
            FragmentKind::Control => types::FragmentKind::Control,
            FragmentKind::Unknown => types::FragmentKind::Unknown,
        },
    }
}

fn fragment_out(fragment: types::FragmentResult) -> Fragment {
    Fragment {
        text: fragment.text,
        kind: match fragment.kind {
            types::FragmentKind::Text => FragmentKind::Text,
            types::FragmentKind::Control => FragmentKind::Control,
            types::FragmentKind::Unknown => FragmentKind::Unknown,
        },
    }
}

pub(super) fn event(event: &Event) -> types::EventParam<'_> {
    match event {
        Event::Content(content) => types::EventParam::Content(fragment(content)),
        Event::Reasoning { text } => types::EventParam::Reasoning(text),
        Event::CallBegin { index, id, name } => {
            types::EventParam::CallBegin(types::CallBeginParam {
                index: *index,
                id: id.as_deref(),
                name,
            })
        }
        Event::CallArguments { index, delta } => {
            types::EventParam::CallArguments(types::CallArgumentsParam {
                index: *index,
                delta,
            })
        }
        Event::CallEnd { index } => types::EventParam::CallEnd(*index),
        Event::CallAbandoned { index, raw } => {
            types::EventParam::CallAbandoned(types::CallAbandonedParam { index: *index, raw })
        }
    }
}

pub(super) fn event_out(event: types::EventResult) -> Event {
    match event {
        types::EventResult::Content(content) => Event::Content(fragment_out(content)),
        types::EventResult::Reasoning(text) => Event::Reasoning { text },
        types::EventResult::CallBegin(call) => Event::CallBegin {
            index: call.index,
            id: call.id,
            name: call.name,
        },
        types::EventResult::CallArguments(call) => Event::CallArguments {
            index: call.index,
            delta: call.delta,
        },
        types::EventResult::CallEnd(index) => Event::CallEnd { index },
        types::EventResult::CallAbandoned(call) => Event::CallAbandoned {
            index: call.index,
            raw: call.raw,
        },
    }
}

pub(super) fn finish_reason(reason: FinishReason) -> types::FinishReason {
    match reason {
        FinishReason::Stop => types::FinishReason::Stop,
        FinishReason::Length => types::FinishReason::Length,
        FinishReason::ContentFilter => types::FinishReason::ContentFilter,
    }
}

/// The lists a borrowed request context points into.
pub(super) struct ContextLists<'a> {
    tools: Vec<types::Tool<'a>>,
    markers: Vec<&'a str>,
}

impl<'a> ContextLists<'a> {
    pub(super) fn of(context: &'a RequestContext) -> Self {
        Self {
            tools: context.tools.iter().map(tool).collect(),
            markers: context.tool_markers.iter().map(String::as_str).collect(),
        }
    }

    pub(super) fn context(&'a self, context: &'a RequestContext) -> types::RequestContext<'a> {
        types::RequestContext {
            tools: &self.tools,
            tool_choice: match &context.tool_choice {
                ToolChoice::None => types::ToolChoice::None,
                ToolChoice::Auto => types::ToolChoice::Auto,
                ToolChoice::Required => types::ToolChoice::Required,
                ToolChoice::Named(name) => types::ToolChoice::Named(name),
            },
            parallel_tool_calls: context.parallel_tool_calls,
            response_format: match &context.response_format {
                ResponseFormat::Text => types::ResponseFormat::Text,
                ResponseFormat::JsonObject => types::ResponseFormat::JsonObject,
                ResponseFormat::JsonSchema(schema) => types::ResponseFormat::JsonSchema(schema),
            },
            prompt_tail: &context.prompt_tail,
            tool_markers: &self.markers,
            strict_markers: context.strict_markers,
        }
    }
}

fn tool(tool: &Tool) -> types::Tool<'_> {
    types::Tool {
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: &tool.parameters,
        strict: tool.strict,
    }
}

pub(super) fn segment_out(segment: grammars::Segment) -> FlatSegment {
    FlatSegment::Leaf(match segment {
        grammars::Segment::Marker(text) => Segment::Marker(text),
        grammars::Segment::Literal(text) => Segment::Literal(text),
        grammars::Segment::Json(schema) => Segment::Json(schema),
        grammars::Segment::Pattern(pattern) => Segment::Pattern(pattern),
        grammars::Segment::Until(marker) => Segment::Until(marker),
        grammars::Segment::TextWithout(markers) => Segment::TextWithout(markers),
        grammars::Segment::Answer => Segment::Answer,
        grammars::Segment::Lark(rule) => Segment::Lark(rule),
        grammars::Segment::Sequence(parts) => return FlatSegment::Sequence(parts),
        grammars::Segment::Alternative(parts) => return FlatSegment::Alternative(parts),
        grammars::Segment::Repeat(repetition) => {
            return FlatSegment::Repeat {
                segment: repetition.segment,
                separator: repetition.separator,
                min: repetition.min,
                max: repetition.max,
            };
        }
    })
}
