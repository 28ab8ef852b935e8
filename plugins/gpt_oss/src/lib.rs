//! Parser for OpenAI's harmony, the format of gpt-oss: reasoning, calls and answer as messages on channels.
//!
//! `<|channel|>analysis<|message|>...<|end|>` is reasoning, a message to a tool is a call, any other is content. This
//! file says what the format is; `messages` reads it, `header` the words of a message's header, and `forced` says how
//! it is forced.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod forced;
mod header;
mod messages;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Event, FinishReason, Fragment, Parser, ParserInfo, RequestContext, Roles, Segment,
};

use crate::messages::{CALL, CHANNEL, MARKERS, Messages, RETURN, START};

/// One choice's parsing.
#[derive(Debug)]
pub struct GptOss(Messages);

impl Parser for GptOss {
    fn describe(_: &str) -> Result<ParserInfo, String> {
        Ok(ParserInfo {
            name: "gpt_oss".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            roles: Roles {
                reasoning: true,
                tools: true,
            },
            aliases: ["harmony", "openai"].map(Into::into).into(),
            markers: [MARKERS[START], MARKERS[CHANNEL]].map(Into::into).into(),
            special_tokens: MARKERS.map(Into::into).into(),
            stop_tokens: [MARKERS[RETURN], MARKERS[CALL]].map(Into::into).into(),
            ..ParserInfo::default()
        })
    }

    fn new(_: &str, context: &RequestContext) -> Self {
        Self(Messages::new(context))
    }

    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.0.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.0.finish(reason, events);
    }

    fn grammar(_: &str, context: &RequestContext) -> Option<Segment> {
        forced::grammar(context)
    }
}

weir_plugin_sdk::export_parser!(GptOss);

#[cfg(test)]
mod tests {
    use alloc::format;

    use weir_plugin_sdk::{FragmentKind, ToolChoice};

    use super::*;

    /// What a client would have: content, reasoning in brackets, calls in braces, as they come.
    fn fold(context: &RequestContext, reason: FinishReason, text: &str) -> String {
        let mut parser = GptOss::new("{}", context);
        let mut events = Vec::new();
        parser.push(&Fragment::new(text, FragmentKind::Text), &mut events);
        parser.finish(reason, &mut events);
        let mut folded = String::new();
        for event in events {
            folded += &match event {
                Event::Content(Fragment { text, .. }) => text.into(),
                Event::Reasoning { text } => format!("[{text}]"),
                Event::CallBegin { index, name, .. } => format!("{{{index} {name} "),
                Event::CallArguments { delta, .. } => delta.into(),
                Event::CallEnd { .. } => "}".into(),
                Event::CallAbandoned { raw, .. } => format!("!{raw}}}"),
            };
        }
        folded
    }

    fn context(prompt_tail: &str) -> RequestContext {
        RequestContext {
            prompt_tail: prompt_tail.into(),
            ..RequestContext::default()
        }
    }

    const CALL_OF_F: &str =
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>";

    #[test]
    fn where_no_call_may_be_the_channel_decides() {
        let none = RequestContext {
            tool_choice: ToolChoice::None,
            ..RequestContext::default()
        };
        assert_eq!(fold(&none, FinishReason::Stop, CALL_OF_F), "{\"a\": 1}");
        let text = "<|channel|>analysis to=python code<|message|>print(1)<|call|>";
        assert_eq!(fold(&none, FinishReason::Stop, text), "[print(1)]");
    }

    #[test]
    fn a_prompt_may_end_anywhere() {
        for (prompt, text, folded) in [
            ("<|start|>assistant", CALL_OF_F, "{0 f {\"a\": 1}}"),
            (
                "<|start|>assistant<|channel|>",
                "analysis<|message|>Hm",
                "[Hm]",
            ),
            (
                "<|start|>assistant<|channel|>analysis<|message|>We",
                " know.<|end|>",
                "[ know.]",
            ),
            (
                "<|start|>assistant<|channel|>final<|message|>",
                "\nYes.",
                "\nYes.",
            ),
            (
                "<|start|>assistant to=functions.f",
                "<|message|>{}",
                "{0 f {}}",
            ),
            (
                "<|start|>assistant to=functions.f<|message|>",
                "{}",
                "{0 f {}}",
            ),
            (
                "<|start|>assistant to=functions.f<|message|>{",
                "\"a\": 1}",
                "\"a\": 1}",
            ),
            ("cut<|channel|>analysis<|message|>", "Hm<|end|>", "[Hm]"),
            (
                "<|start|>assistant<|channel|>analysis",
                "Hm, no<|end|>",
                "[Hm, no]",
            ),
            ("<|start|>assistant<|channel|>ana", "lysis Hm", "[Hm]"),
            ("<|start|>assistant<|channel|>well, then", "", ""),
            ("<|start|>assistant<|channel|>well, then", "<|end|>A", "A"),
            (
                "<|channel|>commentary to=f <|constrain|>json{\"a\": 1}",
                "<|call|>",
                "",
            ),
            (
                "<|channel|>commentary to=f <|constrain|>js",
                "on{}",
                "{0 f {}}",
            ),
        ] {
            assert_eq!(
                fold(&context(prompt), FinishReason::Stop, text),
                folded,
                "{prompt}"
            );
        }
    }

    #[test]
    fn a_filtered_call_is_abandoned() {
        let text = "<|channel|>commentary to=functions.f<|message|>{\"a";
        let folded = fold(&context(""), FinishReason::ContentFilter, text);
        assert_eq!(folded, "{0 f {\"a!{\"a}");
    }
}
