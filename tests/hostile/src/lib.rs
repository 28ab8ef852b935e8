//! A parser that misbehaves on request: the host's tests prove with it that a bad plugin harms nobody else.
//!
//! Its configuration says what it does and in which function: `{"mode":"loop","in":"push"}`. `in` is `describe`, `new`, `push`
//! or `finish`; everywhere else, and without a mode, it hands content on as it came. The texts are looked for as they are
//! written here, without white space, which is how the host writes configuration; it is no example of reading JSON.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod misbehaviour;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles};

use crate::misbehaviour::{Misbehaviour, Place};

weir_plugin_sdk::export_parser!(Hostile);

/// One session that will misbehave.
pub struct Hostile {
    misbehaviour: Misbehaviour,
}

impl Parser for Hostile {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        if config.contains("\"mode\":\"refuse\"") {
            return Err("a hostile plugin likes no configuration".into());
        }
        Misbehaviour::of(config).act(Place::Describe, &mut Vec::new());
        Ok(ParserInfo {
            name: "hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: config.contains("\"role\":\"reasoning\""),
                tools: !config.contains("\"role\":\"reasoning\""),
            },
            ..ParserInfo::default()
        })
    }

    fn new(config: &str, _context: &RequestContext) -> Self {
        let misbehaviour = Misbehaviour::of(config);
        misbehaviour.act(Place::New, &mut Vec::new());
        Self { misbehaviour }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        events.push(Event::Content(fragment.clone()));
        self.misbehaviour.act(Place::Push, events);
    }

    fn finish(&mut self, _reason: FinishReason, events: &mut Vec<Event>) {
        self.misbehaviour.act(Place::Finish, events);
    }
}
