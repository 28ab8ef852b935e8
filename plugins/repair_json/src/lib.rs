//! The post-processor `repair_json`: makes JSON of what is nearly JSON, in the arguments of calls and in content that the
//! request wants as JSON.
//!
//! A call is held until it ends. One that closed goes on as it came; one that was abandoned becomes a call if its
//! arguments can be repaired to an object, and goes on as it came if not. What is open at its end is closed only if the
//! model went on or stopped by itself, unless configured otherwise; to know that, an abandoned call waits for what comes
//! next. At most [`MAX_CALL`] bytes of a call are held: a longer one streams as it comes. Content streams as far as nothing
//! can change any more (see [`content`]), as kind `text`. Valid JSON passes byte for byte.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod arguments;
pub mod config;
pub mod content;
pub mod quoted;
pub mod repair;
pub mod word;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, PostProcessor,
    PostProcessorInfo, RequestContext,
};

use crate::{
    arguments::{Repaired, repair_named, repair_unnamed},
    config::{Config, DEFAULT},
    content::Content,
};

weir_plugin_sdk::export_post_processor!(RepairJson);

/// The most bytes of a call's arguments, or of its raw text, that are held and repaired.
pub const MAX_CALL: usize = 1024 * 1024;

/// One choice's repair.
#[derive(Debug)]
pub struct RepairJson {
    config: Config,
    /// Content that is meant to be JSON.
    content: Option<Content>,
    call: Option<HeldCall>,
    waiting: Option<Waiting>,
}

/// A call that began and has not ended.
#[derive(Debug)]
struct HeldCall {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
    /// It was too long and goes on as it comes.
    passes: bool,
}

/// An abandoned call that can be repaired if its end may be closed.
#[derive(Debug)]
struct Waiting {
    call: Option<HeldCall>,
    index: u32,
    raw: String,
    repaired: Repaired,
}

impl PostProcessor for RepairJson {
    fn describe(config: &str) -> Result<PostProcessorInfo, String> {
        let config = Config::read(config)?;
        Ok(PostProcessorInfo {
            name: "repair_json".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                // For calls too: content behind an abandoned call says that the model went on.
                content: true,
                reasoning: false,
                calls: config.arguments,
            },
            default_config: DEFAULT.into(),
        })
    }

    fn new(config: &str, context: &RequestContext) -> Self {
        let config = match Config::read(config) {
            Ok(config) => config,
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        let content = Content::new(&context.response_format, config.keep_around);
        Self {
            config,
            content: content.filter(|_| config.content),
            call: None,
            waiting: None,
        }
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        self.settle(true, actions);
        match event {
            Event::Content(fragment) => match &mut self.content {
                Some(content) if !content.is_passing() => {
                    let mut out = String::new();
                    content.push(&fragment.text, &mut out);
                    emit_content(out, actions);
                }
                _ => actions.push(Action::Emit(event.clone())),
            },
            Event::Reasoning { .. } => actions.push(Action::Emit(event.clone())),
            Event::CallBegin { index, id, name } => {
                self.call = Some(HeldCall {
                    index: *index,
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                    passes: false,
                });
            }
            Event::CallArguments { delta, .. } => match &mut self.call {
                Some(call) if !call.passes => {
                    call.arguments.push_str(delta);
                    if call.arguments.len() > MAX_CALL {
                        call.passes = true;
                        call.emit_open(actions);
                    }
                }
                _ => actions.push(Action::Emit(event.clone())),
            },
            Event::CallEnd { .. } => {
                if let Some(mut call) = self.call.take().filter(|call| !call.passes) {
                    call.emit_open(actions);
                }
                actions.push(Action::Emit(event.clone()));
            }
            Event::CallAbandoned { index, raw } => self.abandon(*index, raw, actions),
        }
    }

    fn finish(&mut self, reason: FinishReason, actions: &mut Vec<Action>) {
        let closes = reason == FinishReason::Stop || self.config.close_cut;
        self.settle(closes, actions);
        if let Some(content) = &mut self.content {
            let mut out = String::new();
            content.finish(closes, &mut out);
            emit_content(out, actions);
        }
    }
}

impl RepairJson {
    fn abandon(&mut self, index: u32, raw: &str, actions: &mut Vec<Action>) {
        let call = self.call.take();
        let repaired = match &call {
            _ if raw.len() > MAX_CALL => None,
            Some(call) if call.passes => None,
            Some(call) => repair_named(&call.name, &call.arguments, raw),
            None => repair_unnamed(raw),
        };
        match repaired {
            Some(repaired) => {
                let waits = repaired.was_open;
                self.waiting = Some(Waiting {
                    call,
                    index,
                    raw: raw.into(),
                    repaired,
                });
                if !waits {
                    self.settle(true, actions);
                }
            }
            None => abandon_call(call, index, raw.into(), actions),
        }
    }

    /// Decides about the abandoned call that waits.
    fn settle(&mut self, closes: bool, actions: &mut Vec<Action>) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let Waiting {
            call,
            index,
            raw,
            repaired,
        } = waiting;
        if repaired.was_open && !closes {
            abandon_call(call, index, raw, actions);
            return;
        }
        let mut call = HeldCall {
            index,
            id: call.and_then(|call| call.id),
            name: repaired.name,
            arguments: repaired.arguments,
            passes: false,
        };
        call.emit_open(actions);
        actions.push(Action::Emit(Event::CallEnd { index }));
    }
}

impl HeldCall {
    /// Says that the call began, and what its arguments are so far.
    fn emit_open(&mut self, actions: &mut Vec<Action>) {
        let index = self.index;
        actions.push(Action::Emit(Event::CallBegin {
            index,
            id: self.id.take(),
            name: self.name.clone(),
        }));
        let delta = core::mem::take(&mut self.arguments);
        if !delta.is_empty() {
            let delta = delta.into();
            actions.push(Action::Emit(Event::CallArguments { index, delta }));
        }
    }
}

/// Says of a call what was said of it.
fn abandon_call(call: Option<HeldCall>, index: u32, raw: String, actions: &mut Vec<Action>) {
    if let Some(mut call) = call.filter(|call| !call.passes) {
        call.emit_open(actions);
    }
    actions.push(Action::Emit(Event::CallAbandoned { index, raw }));
}

fn emit_content(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        let fragment = Fragment::new(text, FragmentKind::Text);
        actions.push(Action::Emit(Event::Content(fragment)));
    }
}
