//! Being written.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles};

/// One choice's parsing.
#[derive(Debug)]
pub struct Llama3;

impl Parser for Llama3 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "llama3".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: false,
                tools: true,
            },
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, _: &RequestContext) -> Self {
        Self
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        events.push(Event::Content(fragment.clone()));
    }

    fn finish(&mut self, _: FinishReason, _: &mut Vec<Event>) {}
}

weir_plugin_sdk::export_parser!(Llama3);
