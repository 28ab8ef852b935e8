//! From the generated bindings to the SDK's traits and back, and what a `no_std` component needs to run at all:
//! an allocator and a panic handler.
//!
//! A panic is a trap: the host ends the session and names the plugin, so nothing is formatted or unwound here.

use alloc::{string::String, vec::Vec};
use core::{cell::RefCell, marker::PhantomData, panic::PanicInfo};

use super::bindings::{
    parser_world::{exports::weir::plugin::parser as parser_exports, weir::plugin::types as wit},
    post_processor_world::exports::weir::plugin::post_processor as post_exports,
};
use crate::{
    parser::Parser,
    post_processor::PostProcessor,
    types::{
        Action, Event, FinishReason, Fragment, FragmentKind, Interests, ParserInfo,
        PostProcessorInfo, RequestContext, Roles, Tool, ToolChoice,
    },
};

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// The exports of a component made from the parser `P`.
pub struct ParserGuest<P>(PhantomData<P>);

/// A session of the parser `P`. The component model hands out shared references; calls never overlap.
pub struct ParserSession<P>(RefCell<P>);

impl<P: Parser> parser_exports::Guest for ParserGuest<P> {
    type Session = ParserSession<P>;

    fn describe(config: String) -> Result<parser_exports::Info, String> {
        P::describe(&config).map(Into::into)
    }
}

impl<P: Parser> parser_exports::GuestSession for ParserSession<P> {
    fn new(config: String, context: wit::RequestContext) -> Self {
        Self(RefCell::new(P::new(&config, &context.into())))
    }

    fn push(&self, fragment: wit::Fragment) -> Vec<wit::Event> {
        let mut events = Vec::new();
        self.0.borrow_mut().push(fragment.into(), &mut events);
        events.into_iter().map(Into::into).collect()
    }

    fn finish(&self, reason: wit::FinishReason) -> Vec<wit::Event> {
        let mut events = Vec::new();
        self.0.borrow_mut().finish(reason.into(), &mut events);
        events.into_iter().map(Into::into).collect()
    }
}

/// The exports of a component made from the post-processor `P`.
pub struct PostProcessorGuest<P>(PhantomData<P>);

/// A session of the post-processor `P`.
pub struct PostProcessorSession<P>(RefCell<P>);

impl<P: PostProcessor> post_exports::Guest for PostProcessorGuest<P> {
    type Session = PostProcessorSession<P>;

    fn describe(config: String) -> Result<post_exports::Info, String> {
        P::describe(&config).map(Into::into)
    }
}

impl<P: PostProcessor> post_exports::GuestSession for PostProcessorSession<P> {
    fn new(config: String, context: wit::RequestContext) -> Self {
        Self(RefCell::new(P::new(&config, &context.into())))
    }

    fn push(&self, event: wit::Event) -> Vec<post_exports::Action> {
        let mut actions = Vec::new();
        self.0.borrow_mut().push(event.into(), &mut actions);
        actions.into_iter().map(Into::into).collect()
    }

    fn finish(&self, reason: wit::FinishReason) -> Vec<post_exports::Action> {
        let mut actions = Vec::new();
        self.0.borrow_mut().finish(reason.into(), &mut actions);
        actions.into_iter().map(Into::into).collect()
    }
}

impl From<wit::Fragment> for Fragment {
    fn from(fragment: wit::Fragment) -> Self {
        let kind = match fragment.kind {
            wit::FragmentKind::Text => FragmentKind::Text,
            wit::FragmentKind::Control => FragmentKind::Control,
            wit::FragmentKind::Unknown => FragmentKind::Unknown,
        };
        Self {
            text: fragment.text,
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
            text: fragment.text,
            kind,
        }
    }
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        match event {
            wit::Event::Content(fragment) => Self::Content(fragment.into()),
            wit::Event::Reasoning(text) => Self::Reasoning { text },
            wit::Event::CallBegin(wit::CallBegin { index, id, name }) => {
                Self::CallBegin { index, id, name }
            }
            wit::Event::CallArguments(wit::CallArguments { index, delta }) => {
                Self::CallArguments { index, delta }
            }
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
            Event::Reasoning { text } => Self::Reasoning(text),
            Event::CallBegin { index, id, name } => {
                Self::CallBegin(wit::CallBegin { index, id, name })
            }
            Event::CallArguments { index, delta } => {
                Self::CallArguments(wit::CallArguments { index, delta })
            }
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
