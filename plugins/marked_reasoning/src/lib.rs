//! Reasoning parser for any family that writes its reasoning between two markers; the [`config`] names them.
//!
//! How they are read is the SDK's [`reasoning`].
//!
//! [`reasoning`]: weir_plugin_sdk::reasoning

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment, reasoning,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct MarkedReasoning(reasoning::MarkedReasoning);

impl Parser for MarkedReasoning {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        let format = config::read(config)?;
        let markers = |markers: &[&str]| {
            let written = markers.iter().filter(|marker| !marker.is_empty());
            written.copied().map(String::from).collect()
        };
        Ok(ParserInfo {
            name: "marked_reasoning".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                ..Roles::default()
            },
            markers: markers(&[&format.start]),
            special_tokens: markers(&[&format.start, &format.end]),
            default_config: config::DEFAULT.into(),
            ..ParserInfo::default()
        })
    }

    fn new(config: &str, context: &RequestContext) -> Self {
        match config::read(config) {
            Ok(format) => Self(reasoning::MarkedReasoning::new(&format, context)),
            Err(message) => unreachable!("describe took this configuration: {message}"),
        }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(config: &str, context: &RequestContext) -> Option<Segment> {
        Some(config::read(config).ok()?.grammar(context))
    }
}

weir_plugin_sdk::export_parser!(MarkedReasoning);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_of_itself_follows_its_configuration() {
        let info = MarkedReasoning::describe(r#"{"start": "[A]", "end": "[B]"}"#).expect("usable");
        assert_eq!(info.markers, ["[A]"]);
        assert_eq!(info.special_tokens, ["[A]", "[B]"]);
        let info = MarkedReasoning::describe(r#"{"start": "", "starts_inside": true}"#);
        let info = info.expect("usable");
        assert!(info.markers.is_empty());
        assert_eq!(info.special_tokens, ["</think>"]);
    }
}
