//! From the generated bindings' types to the SDK's and back.
//!
//! Field by field, nothing else: the two say the same.

use alloc::vec::Vec;

use super::bindings::{
    parser_world::{
        exports::weir::plugin::parser as parser_exports,
        weir::plugin::{grammars, types as wit},
    },
    post_processor_world::exports::weir::plugin::post_processor as post_exports,
};
use crate::{
    grammar::Segment,
    outcome::{Outcome, PostOutcome},
    types::{
        Action, CallIdFormat, Event, FinishReason, Fragment, FragmentKind, Interests, ParserInfo,
        PostProcessorInfo, RequestContext, ResponseFormat, Roles, Tool, ToolChoice,
    },
};

impl From<wit::Fragment> for Fragment {
    fn from(fragment: wit::Fragment) -> Self {
        let kind = match fragment.kind {
            wit::FragmentKind::Text => FragmentKind::Text,
            wit::FragmentKind::Control => FragmentKind::Control,
            wit::FragmentKind::Unknown => FragmentKind::Unknown,
        };
        Self {
            text: fragment.text.into(),
            kind,
        }
    }
}

impl From<Fragment> for wit::Fragment {
    fn from(fragment: Fragment) -> Self {
        let kind = match fragment.kind {
            FragmentKind::Text => wit::FragmentKind::Text,
            FragmentKind::Control => wit::FragmentKind::Control,
            FragmentKind::Unknown => wit::FragmentKind::Unknown,
        };
        Self {
            text: fragment.text.into(),
            kind,
        }
    }
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        match event {
            wit::Event::Content(fragment) => Self::Content(fragment.into()),
            wit::Event::Reasoning(text) => Self::Reasoning { text: text.into() },
            wit::Event::CallBegin(wit::CallBegin { index, id, name }) => {
                Self::CallBegin { index, id, name }
            }
            wit::Event::CallArguments(wit::CallArguments { index, delta }) => Self::CallArguments {
                index,
                delta: delta.into(),
            },
            wit::Event::CallEnd(index) => Self::CallEnd { index },
            wit::Event::CallAbandoned(wit::CallAbandoned { index, raw }) => {
                Self::CallAbandoned { index, raw }
            }
        }
    }
}

impl From<Event> for wit::Event {
    fn from(event: Event) -> Self {
        match event {
            Event::Content(fragment) => Self::Content(fragment.into()),
            Event::Reasoning { text } => Self::Reasoning(text.into()),
            Event::CallBegin { index, id, name } => {
                Self::CallBegin(wit::CallBegin { index, id, name })
            }
            Event::CallArguments { index, delta } => Self::CallArguments(wit::CallArguments {
                index,
                delta: delta.into(),
            }),
            Event::CallEnd { index } => Self::CallEnd(index),
            Event::CallAbandoned { index, raw } => {
                Self::CallAbandoned(wit::CallAbandoned { index, raw })
            }
        }
    }
}

impl From<wit::FinishReason> for FinishReason {
    fn from(reason: wit::FinishReason) -> Self {
        match reason {
            wit::FinishReason::Stop => Self::Stop,
            wit::FinishReason::Length => Self::Length,
            wit::FinishReason::ContentFilter => Self::ContentFilter,
        }
    }
}

impl From<wit::RequestContext> for RequestContext {
    fn from(context: wit::RequestContext) -> Self {
        Self {
            tools: context.tools.into_iter().map(Into::into).collect(),
            tool_choice: match context.tool_choice {
                wit::ToolChoice::None => ToolChoice::None,
                wit::ToolChoice::Auto => ToolChoice::Auto,
                wit::ToolChoice::Required => ToolChoice::Required,
                wit::ToolChoice::Named(name) => ToolChoice::Named(name),
            },
            parallel_tool_calls: context.parallel_tool_calls,
            response_format: match context.response_format {
                wit::ResponseFormat::Text => ResponseFormat::Text,
                wit::ResponseFormat::JsonObject => ResponseFormat::JsonObject,
                wit::ResponseFormat::JsonSchema(schema) => ResponseFormat::JsonSchema(schema),
            },
            prompt_tail: context.prompt_tail,
            tool_markers: context.tool_markers,
            strict_markers: context.strict_markers,
        }
    }
}

impl From<wit::Tool> for Tool {
    fn from(tool: wit::Tool) -> Self {
        Self {
            name: tool.name,
            description: tool.description,
            parameters: tool.parameters,
            strict: tool.strict,
        }
    }
}

impl From<ParserInfo> for parser_exports::Info {
    fn from(info: ParserInfo) -> Self {
        let Roles { reasoning, tools } = info.roles;
        let mut roles = parser_exports::Roles::empty();
        if reasoning {
            roles = roles | parser_exports::Roles::REASONING;
        }
        if tools {
            roles = roles | parser_exports::Roles::TOOLS;
        }
        Self {
            name: info.name,
            version: info.version,
            roles,
            aliases: info.aliases,
            markers: info.markers,
            special_tokens: info.special_tokens,
            stop_tokens: info.stop_tokens,
            chat_template: info.chat_template,
            call_ids: match info.call_ids {
                CallIdFormat::Any => parser_exports::CallIds::Any,
                CallIdFormat::Alphanumeric(length) => parser_exports::CallIds::Alphanumeric(length),
            },
            default_config: info.default_config,
        }
    }
}

impl From<PostProcessorInfo> for post_exports::Info {
    fn from(info: PostProcessorInfo) -> Self {
        let Interests {
            content,
            reasoning,
            calls,
        } = info.interests;
        let mut interests = post_exports::Interests::empty();
        if content {
            interests = interests | post_exports::Interests::CONTENT;
        }
        if reasoning {
            interests = interests | post_exports::Interests::REASONING;
        }
        if calls {
            interests = interests | post_exports::Interests::CALLS;
        }
        Self {
            name: info.name,
            version: info.version,
            interests,
            default_config: info.default_config,
        }
    }
}

impl From<Action> for post_exports::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Emit(event) => Self::Emit(event.into()),
            Action::Stop(reason) => Self::Stop(reason),
        }
    }
}

impl From<Outcome> for parser_exports::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Hold => Self::Hold,
            Outcome::Content => Self::Content,
            Outcome::Reasoning => Self::Reasoning,
            Outcome::Arguments => Self::Arguments,
            Outcome::Events => Self::Events,
        }
    }
}

impl From<PostOutcome> for post_exports::Outcome {
    fn from(outcome: PostOutcome) -> Self {
        match outcome {
            PostOutcome::Hold => Self::Hold,
            PostOutcome::Pass => Self::Pass,
            PostOutcome::Actions => Self::Actions,
        }
    }
}

/// The tree as the contract has it: parts before what they are parts of.
pub(super) fn flatten(segment: Segment) -> Vec<grammars::Segment> {
    let mut segments = Vec::new();
    append(segment, &mut segments);
    segments
}

/// Appends a segment after all it refers to, and returns its place.
fn append(segment: Segment, segments: &mut Vec<grammars::Segment>) -> u32 {
    let flat = match segment {
        Segment::Marker(text) => grammars::Segment::Marker(text),
        Segment::Literal(text) => grammars::Segment::Literal(text),
        Segment::Json(schema) => grammars::Segment::Json(schema),
        Segment::Pattern(pattern) => grammars::Segment::Pattern(pattern),
        Segment::Until(marker) => grammars::Segment::Until(marker),
        Segment::TextWithout(markers) => grammars::Segment::TextWithout(markers),
        Segment::Answer => grammars::Segment::Answer,
        Segment::Lark(rule) => grammars::Segment::Lark(rule),
        Segment::Sequence(parts) => grammars::Segment::Sequence(append_all(parts, segments)),
        Segment::Alternative(parts) => grammars::Segment::Alternative(append_all(parts, segments)),
        Segment::Repeat {
            segment,
            separator,
            min,
            max,
        } => grammars::Segment::Repeat(grammars::Repetition {
            segment: append(*segment, segments),
            separator: separator.map(|separator| append(*separator, segments)),
            min,
            max,
        }),
    };
    segments.push(flat);
    // A list of the component model counts its elements in 32 bits.
    (segments.len() - 1) as u32
}

fn append_all(parts: Vec<Segment>, segments: &mut Vec<grammars::Segment>) -> Vec<u32> {
    parts
        .into_iter()
        .map(|part| append(part, segments))
        .collect()
}
