//! Reasoning parser for DeepSeek R1: `<think>`, the reasoning, `</think>`, the answer. The start marker usually stands in
//! the prompt or is left out, so an output starts inside reasoning unless the prompt says otherwise.
//!
//! Only the markers are this crate's; how they are read is the SDK's [`reasoning`].
//!
//! [`reasoning`]: weir_plugin_sdk::reasoning

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{borrow::Cow, string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
    reasoning::{MarkedReasoning, ReasoningFormat},
};

static FORMAT: ReasoningFormat = ReasoningFormat {
    turn: Cow::Borrowed("<｜Assistant｜>"),
    start: Cow::Borrowed("<think>"),
    end: Cow::Borrowed("</think>"),
    starts_inside: true,
    tool_marker_ends: false,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct DeepseekR1(MarkedReasoning);

impl Parser for DeepseekR1 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        let [start, end] = [&FORMAT.start, &FORMAT.end].map(|marker| String::from(&**marker));
        Ok(ParserInfo {
            name: "deepseek_r1".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                ..Roles::default()
            },
            markers: [start.clone()].into(),
            special_tokens: [start, end].into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(MarkedReasoning::new(&FORMAT, context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        Some(FORMAT.grammar(context))
    }
}

weir_plugin_sdk::export_parser!(DeepseekR1);

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::{content, events, text};

    use super::*;

    fn parse(prompt_tail: &str, answer: &str) -> Vec<Event> {
        let context = RequestContext {
            prompt_tail: prompt_tail.into(),
            ..RequestContext::default()
        };
        events::<DeepseekR1>("{}", &context, &[text(answer)])
    }

    #[test]
    fn the_prompt_says_where_an_output_starts() {
        let reasoning = [Event::Reasoning { text: "x".into() }];
        let content = [content("x")];
        assert_eq!(parse("", "x"), reasoning);
        assert_eq!(parse("</think>y<think>\n", "x"), reasoning);
        assert_eq!(parse("</think>y<｜Assistant｜>", "x"), reasoning);
        assert_eq!(parse("<think>\n\n</think>", "x"), content);
        assert_eq!(parse("<think>\n\n</think>", "<think>x"), reasoning);
    }
}
