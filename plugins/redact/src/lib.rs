//! The post-processor `redact`: replaces what its patterns match in content, and in reasoning if asked to.
//!
//! Content is one text and reasoning is another, however they arrive: matches are found across fragments, and only what
//! may still become a match is held back. It does not look into tool calls, and it passes text on as kind `text`: behind
//! the parsers nobody looks for markers any more.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;

use alloc::{string::String, sync::Arc, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, PostProcessor,
    PostProcessorInfo, RequestContext, patterns::search::Search,
};

use crate::config::{Config, default_config};

weir_plugin_sdk::export_post_processor!(Redact);

/// One choice's redaction.
pub struct Redact {
    content: Search,
    reasoning: Search,
}

impl PostProcessor for Redact {
    fn describe(config: &str) -> Result<PostProcessorInfo, String> {
        let config = Config::read(config)?;
        Ok(PostProcessorInfo {
            name: "redact".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                content: true,
                reasoning: config.reasoning,
                calls: false,
            },
            default_config: default_config(),
        })
    }

    fn new(config: &str, _context: &RequestContext) -> Self {
        let rules = match Config::read(config) {
            Ok(config) => Arc::new(config.rules),
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        Self {
            content: Search::new(Arc::clone(&rules)),
            reasoning: Search::new(rules),
        }
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        let mut out = String::new();
        match event {
            Event::Content(fragment) => {
                self.content.push(&fragment.text, &mut out);
                emit_content(out, actions);
            }
            Event::Reasoning { text } => {
                self.reasoning.push(text, &mut out);
                emit_reasoning(out, actions);
            }
            call => actions.push(Action::Emit(call.clone())),
        }
    }

    fn finish(&mut self, _reason: FinishReason, actions: &mut Vec<Action>) {
        let mut out = String::new();
        self.reasoning.finish(&mut out);
        emit_reasoning(out, actions);
        let mut out = String::new();
        self.content.finish(&mut out);
        emit_content(out, actions);
    }
}

fn emit_content(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        let fragment = Fragment::new(text, FragmentKind::Text);
        actions.push(Action::Emit(Event::Content(fragment)));
    }
}

fn emit_reasoning(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        actions.push(Action::Emit(Event::Reasoning { text: text.into() }));
    }
}
