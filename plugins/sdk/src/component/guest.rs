//! The exports of a component in terms of the SDK's traits, and what a `no_std` component needs to run at all: an allocator
//! and a panic handler.
//!
//! A panic is a trap: the host ends the session and names the plugin, so nothing is formatted or unwound here.

use alloc::{string::String, vec::Vec};
use core::{cell::RefCell, marker::PhantomData, panic::PanicInfo};

use super::bindings::{
    parser_world::{
        exports::weir::plugin::parser as parser_exports,
        weir::plugin::{grammars, types as wit},
    },
    post_processor_world::exports::weir::plugin::post_processor as post_exports,
};
use crate::{
    outcome::{Outcome, PostOutcome, Running},
    parser::Parser,
    post_processor::PostProcessor,
    types::{Action, Event},
};

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Where the one session of an instance stands. A module that runs is one choice of one request and has one thread.
pub struct Slot<S, T>(RefCell<Option<Running<S, T>>>);

// SAFETY: a component of this contract has no threads, so nothing is ever shared between any.
#[allow(unsafe_code)]
unsafe impl<S, T> Sync for Slot<S, T> {}

impl<S, T> Slot<S, T> {
    /// Without a session.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    fn start(&self, session: S) {
        *self.0.borrow_mut() = Some(Running::new(session));
    }

    fn with<R>(&self, run: impl FnOnce(&mut Running<S, T>) -> R) -> R {
        match &mut *self.0.borrow_mut() {
            Some(running) => run(running),
            None => panic!("called before start"),
        }
    }
}

/// A parser and the slot of its session; the export macro implements it.
pub trait ParserSlot {
    /// The parser.
    type Parser: Parser;

    /// The slot.
    fn slot() -> &'static Slot<Self::Parser, Event>;
}

/// The exports of a component made from a parser.
pub struct ParserGuest<S>(PhantomData<S>);

impl<S: ParserSlot> parser_exports::Guest for ParserGuest<S> {
    fn describe(config: String) -> Result<parser_exports::Info, String> {
        S::Parser::describe(&config).map(Into::into)
    }

    fn grammar(config: String, context: wit::RequestContext) -> Option<Vec<grammars::Segment>> {
        S::Parser::grammar(&config, &context.into()).map(super::convert::flatten)
    }

    fn start(config: String, context: wit::RequestContext) {
        S::slot().start(S::Parser::new(&config, &context.into()));
    }

    fn push(fragment: wit::Fragment) -> parser_exports::Outcome {
        let fragment = fragment.into();
        S::slot().with(|Running { session, said }| {
            session.push(&fragment, said);
            let outcome = Outcome::of(&fragment, said);
            if outcome != Outcome::Events {
                said.clear();
            }
            outcome.into()
        })
    }

    fn take_events() -> Vec<wit::Event> {
        S::slot().with(|running| running.said.drain(..).map(Into::into).collect())
    }

    fn finish(reason: wit::FinishReason) -> Vec<wit::Event> {
        S::slot().with(|Running { session, said }| {
            session.finish(reason.into(), said);
            said.drain(..).map(Into::into).collect()
        })
    }
}

/// A post-processor and the slot of its session; the export macro implements it.
pub trait PostProcessorSlot {
    /// The post-processor.
    type PostProcessor: PostProcessor;

    /// The slot.
    fn slot() -> &'static Slot<Self::PostProcessor, Action>;
}

/// The exports of a component made from a post-processor.
pub struct PostProcessorGuest<S>(PhantomData<S>);

impl<S: PostProcessorSlot> post_exports::Guest for PostProcessorGuest<S> {
    fn describe(config: String) -> Result<post_exports::Info, String> {
        S::PostProcessor::describe(&config).map(Into::into)
    }

    fn start(config: String, context: wit::RequestContext) {
        S::slot().start(S::PostProcessor::new(&config, &context.into()));
    }

    fn push(event: wit::Event) -> post_exports::Outcome {
        let event = event.into();
        S::slot().with(|Running { session, said }| {
            session.push(&event, said);
            let outcome = PostOutcome::of(&event, said);
            if outcome != PostOutcome::Actions {
                said.clear();
            }
            outcome.into()
        })
    }

    fn take_actions() -> Vec<post_exports::Action> {
        S::slot().with(|running| running.said.drain(..).map(Into::into).collect())
    }

    fn finish(reason: wit::FinishReason) -> Vec<post_exports::Action> {
        S::slot().with(|Running { session, said }| {
            session.finish(reason.into(), said);
            said.drain(..).map(Into::into).collect()
        })
    }
}
