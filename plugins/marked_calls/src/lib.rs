//! Tool parser for any family that writes its calls as JSON behind or between markers; the [`config`] says which and how.
//!
//! How they are read is the SDK's: [`marked_calls`] where every call has its markers, [`listed_calls`] where calls stand in an
//! array. Reasoning is not read here; `marked_reasoning` stands beside it.
//!
//! [`marked_calls`]: weir_plugin_sdk::marked_calls
//! [`listed_calls`]: weir_plugin_sdk::listed_calls

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;
mod forced;

use alloc::{borrow::Cow, string::String, sync::Arc, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    listed_calls::{ListRole, ListedCalls},
    marked_calls::{self, MarkerRole, NamePlace},
    owned_formats::{OwnedCallFormat, OwnedListFormat},
};

use crate::config::{Config, NameIn};

/// One choice's parsing.
#[derive(Debug)]
pub enum MarkedCalls {
    /// Every call has its markers.
    Each(marked_calls::MarkedCalls),
    /// Calls stand in an array.
    Listed(ListedCalls),
}

impl MarkedCalls {
    fn configured(config: Config, context: &RequestContext) -> Self {
        // A word is no token of any tokenizer, so there is none to insist on.
        let strict = context.strict_markers && config.words.is_empty();
        let keys = Some(Arc::new(config.keys.clone()));
        if config.array {
            Self::Listed(ListedCalls::new(
                OwnedListFormat {
                    markers: with_roles(&config, list_role),
                    names: false,
                    ids: false,
                    keys,
                },
                strict,
            ))
        } else {
            Self::Each(marked_calls::MarkedCalls::new(
                OwnedCallFormat {
                    markers: with_roles(&config, call_role),
                    name: match config.name {
                        NameIn::Json => NamePlace::Body,
                        NameIn::AfterStart => NamePlace::Start,
                        NameIn::BeforeSeparator => NamePlace::BeforeSeparator,
                        NameIn::AfterSeparator => NamePlace::AfterSeparator,
                    },
                    keys,
                },
                strict,
            ))
        }
    }
}

/// Every marker with the role that its key gives it.
fn with_roles<R>(config: &Config, role: fn(&str) -> R) -> Vec<(Cow<'static, str>, R)> {
    let markers = config.markers().into_iter();
    markers
        .map(|(key, marker)| (Cow::Owned(String::from(marker)), role(key)))
        .collect()
}

fn list_role(key: &str) -> ListRole {
    match key {
        "start" => ListRole::Start,
        "words" => ListRole::Word,
        "lead" => ListRole::Lead,
        _ => ListRole::End,
    }
}

fn call_role(key: &str) -> MarkerRole {
    match key {
        "start" => MarkerRole::CallStart,
        "end" => MarkerRole::CallEnd,
        "separator" => MarkerRole::Separator,
        _ => MarkerRole::Block,
    }
}

impl Parser for MarkedCalls {
    fn describe(config: &str) -> Result<ParserInfo, String> {
        let config = config::read(config)?;
        let texts = |keys: &[&str]| {
            let markers = config.markers().into_iter();
            let chosen = markers.filter(|(key, _)| keys.contains(key));
            chosen.map(|(_, marker)| marker.into()).collect()
        };
        let mut markers: Vec<String> = texts(&["before", "start", "words"]);
        markers.extend(config.block.first().cloned());
        Ok(ParserInfo {
            name: "marked_calls".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                tools: true,
                ..Roles::default()
            },
            markers,
            special_tokens: texts(&["before", "start", "separator", "end", "block", "dropped"]),
            default_config: config::DEFAULT.into(),
            ..ParserInfo::default()
        })
    }

    fn new(config: &str, context: &RequestContext) -> Self {
        match config::read(config) {
            Ok(config) => Self::configured(config, context),
            Err(message) => unreachable!("describe took this configuration: {message}"),
        }
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        match self {
            Self::Each(calls) => calls.push(fragment, events),
            Self::Listed(calls) => calls.push(fragment, events),
        }
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        match self {
            Self::Each(calls) => calls.finish(reason, events),
            Self::Listed(calls) => calls.finish(reason, events),
        }
    }

    fn grammar(config: &str, context: &RequestContext) -> Option<Segment> {
        forced::grammar(&config::read(config).ok()?, context)
    }
}

weir_plugin_sdk::export_parser!(MarkedCalls);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_of_itself_follows_its_configuration() {
        let info = MarkedCalls::describe(
            r#"{"before": "<p>", "start": ["<a>", "<b>"], "end": "</a>", "block": ["<c>", "</c>"]}"#,
        )
        .expect("usable");
        assert_eq!(info.markers, ["<p>", "<a>", "<b>", "<c>"]);
        let tokens = ["</a>", "<p>", "<a>", "<b>", "<c>", "</c>"];
        assert_eq!(info.special_tokens, tokens);
        let word = r#"{"start": [], "words": "calls", "end": "", "array": true}"#;
        let info = MarkedCalls::describe(word).expect("usable");
        assert_eq!(info.markers, ["calls"]);
        assert!(info.special_tokens.is_empty());
    }

    #[test]
    fn a_bad_configuration_is_refused_at_load() {
        let error = MarkedCalls::describe(r#"{"begin": "<a>"}"#);
        assert!(error.is_err_and(|message| message.contains("`begin`")));
    }
}
