//! Stub of the parser `granite`: passes everything on as content until its family's format is written.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles};

/// One choice's parsing.
#[derive(Debug)]
pub struct Granite;

impl Parser for Granite {
    fn describe(_config: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "granite".into(),
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

weir_plugin_sdk::export_parser!(Granite);
