//! Stub of the parser `ernie45`: passes everything on as content until its family's format is written.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles};

/// One choice's parsing.
#[derive(Debug)]
pub struct Ernie45;

impl Parser for Ernie45 {
    fn describe(_config: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "ernie45".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                reasoning: true,
            },
            ..ParserInfo::default()
        })
    }

    fn new(_config: &str, _context: &RequestContext) -> Self {
        Self
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        events.push(Event::Content(fragment.clone()));
    }

    fn finish(&mut self, _reason: FinishReason, _events: &mut Vec<Event>) {}
}

weir_plugin_sdk::export_parser!(Ernie45);
