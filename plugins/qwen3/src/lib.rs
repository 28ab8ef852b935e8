//! Reasoning parser for Qwen 3: `<think>`, the reasoning, `</think>`, the answer.
//!
//! Qwen's templates differ in who writes the start marker, and the prompt tells. The hybrid models' prompt ends with
//! `<|im_start|>assistant`, so the model writes the marker itself or answers at once; with thinking switched off their
//! prompt holds an empty block. The prompt of Thinking-2507, of Qwen 3.5 and later ends with `<think>`. Under a template
//! without it nothing says that such an output is reasoning: it streams as content, and `deepseek_r1` or
//! `marked_reasoning` with `starts_inside` is the parser to name. These models are known to call a tool without ending
//! the reasoning first, so a tool marker ends it, if it is a token of its own.
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
    turn: Cow::Borrowed("<|im_start|>"),
    start: Cow::Borrowed("<think>"),
    end: Cow::Borrowed("</think>"),
    starts_inside: false,
    tool_marker_ends: true,
};

/// One choice's parsing.
#[derive(Debug)]
pub struct Qwen3(MarkedReasoning);

impl Parser for Qwen3 {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        let [start, end] = [&FORMAT.start, &FORMAT.end].map(|marker| String::from(&**marker));
        Ok(ParserInfo {
            name: "qwen3".into(),
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

weir_plugin_sdk::export_parser!(Qwen3);

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar(prompt_tail: &str) -> Option<Segment> {
        let context = RequestContext {
            prompt_tail: prompt_tail.into(),
            ..RequestContext::default()
        };
        Qwen3::grammar("{}", &context)
    }

    #[test]
    fn a_forced_answer_may_be_reasoned_about_first() {
        let until = Segment::Until("</think>".into());
        let off = "<|im_start|>assistant\n<think>\n\n</think>\n\n";
        assert_eq!(grammar(off), Some(Segment::Answer));
        let opened = Segment::sequence([until.clone(), Segment::Answer]);
        assert_eq!(grammar("<|im_start|>assistant\n<think>\n"), Some(opened));
        let block = Segment::sequence([Segment::marker("<think>"), until]);
        let optional = Segment::Repeat {
            segment: block.into(),
            separator: None,
            min: 0,
            max: Some(1),
        };
        let hybrid = Segment::sequence([optional, Segment::Answer]);
        assert_eq!(grammar("</think>a<|im_start|>assistant\n"), Some(hybrid));
    }
}
