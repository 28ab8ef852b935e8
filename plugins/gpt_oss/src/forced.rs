//! How harmony's answers are forced: the reasoning freely, then the answer, or a call of one of the tools.
//!
//! A call ends the output, as its end marker is a stop token, so one call is forced at most. Forces nothing where the
//! prompt ends in the middle of a header or of a call.

use alloc::{format, string::String, vec::Vec};

use weir_plugin_sdk::{
    RequestContext, Segment, Tool, ToolChoice,
    grammar::{forced_tools, strict_tools_on_offer},
};

use crate::messages::{
    CALL, CHANNEL, CONSTRAIN, END, MARKERS, MESSAGE, Messages, Place, RETURN, START,
};

/// What the model must write after this request's prompt.
pub fn grammar(context: &RequestContext) -> Option<Segment> {
    let place = Messages::new(context).place();
    let answer = answer(context);
    match place {
        Place::Header if analysis_is_over(&context.prompt_tail) => Some(answer),
        Place::Header => Some(Segment::sequence([
            message("analysis"),
            analysis(),
            marker(END),
            next_message(),
            answer,
        ])),
        Place::Reasoning => Some(Segment::sequence([
            analysis(),
            marker(END),
            next_message(),
            answer,
        ])),
        Place::Content if forced_tools(context).next().is_none() => Some(Segment::Answer),
        Place::Content | Place::Other => None,
    }
}

/// What follows the reasoning, from its channel marker on.
fn answer(context: &RequestContext) -> Segment {
    let forced: Vec<Segment> = forced_tools(context).map(call).collect();
    if !forced.is_empty() {
        return Segment::any_of(forced);
    }
    let mut either = Vec::from([Segment::sequence([message("final"), Segment::Answer])]);
    if strict_tools_on_offer(context) {
        either.extend(context.tools.iter().map(call));
    } else if !context.tools.is_empty() && context.tool_choice != ToolChoice::None {
        // The model may choose to call, in its own way.
        either.push(Segment::sequence([
            marker(CHANNEL),
            Segment::literal("commentary to=functions."),
            Segment::Until(MARKERS[CALL].into()),
        ]));
    }
    Segment::any_of(either)
}

fn call(tool: &Tool) -> Segment {
    Segment::sequence([
        marker(CHANNEL),
        Segment::Literal(format!("commentary to=functions.{} ", tool.name)),
        marker(CONSTRAIN),
        Segment::literal("json"),
        marker(MESSAGE),
        Segment::arguments(tool),
        marker(CALL),
    ])
}

/// A message on this channel, up to its text.
fn message(channel: &str) -> Segment {
    Segment::sequence([marker(CHANNEL), Segment::literal(channel), marker(MESSAGE)])
}

/// The text of the reasoning, in which nothing stands that would end it, or begin another message, as its end marker does.
fn analysis() -> Segment {
    let others = [START, CHANNEL, RETURN, CALL];
    Segment::TextWithout(others.map(|other| MARKERS[other].into()).into())
}

/// Between the end of a message and the channel of the next one.
fn next_message() -> Segment {
    Segment::sequence([marker(START), Segment::literal("assistant")])
}

fn marker(marker: usize) -> Segment {
    Segment::Marker(String::from(MARKERS[marker]))
}

/// Whether the last whole message of the prompt is the model's reasoning.
fn analysis_is_over(prompt_tail: &str) -> bool {
    let mut messages = prompt_tail.rsplit(MARKERS[START]).skip(1);
    messages.next().is_some_and(|message| {
        message.starts_with("assistant<|channel|>analysis<|message|>")
            && message.contains(MARKERS[END])
    })
}

#[cfg(test)]
mod tests {
    use weir_plugin_sdk::testing::tool;

    use super::*;

    fn context(tool_choice: ToolChoice, prompt_tail: &str) -> RequestContext {
        let tool = |name: &str| tool(name, &format!("{{\"type\":\"{name}\"}}"));
        RequestContext {
            tools: [tool("f"), tool("g")].into(),
            tool_choice,
            prompt_tail: prompt_tail.into(),
            ..RequestContext::default()
        }
    }

    /// The grammar as text: free text as `*`, schemas as they are, alternatives in parentheses.
    fn text(segment: &Segment) -> String {
        let join = |segments: &[Segment], separator| {
            segments
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(separator)
        };
        match segment {
            Segment::Marker(text) | Segment::Literal(text) | Segment::Json(text) => text.clone(),
            Segment::Until(marker) => format!("*{marker}"),
            Segment::TextWithout(_) => "*".into(),
            Segment::Answer => "ANSWER".into(),
            Segment::Sequence(segments) => join(segments, ""),
            Segment::Alternative(segments) => format!("({})", join(segments, "|||")),
            other => panic!("{other:?}"),
        }
    }

    fn forced(tool_choice: ToolChoice, prompt_tail: &str) -> Option<String> {
        grammar(&context(tool_choice, prompt_tail))
            .as_ref()
            .map(text)
    }

    const F: &str =
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"type\":\"f\"}<|call|>";
    const G: &str =
        "<|channel|>commentary to=functions.g <|constrain|>json<|message|>{\"type\":\"g\"}<|call|>";
    const ANALYSIS: &str = "<|channel|>analysis<|message|>*<|end|><|start|>assistant";
    const FINAL: &str = "<|channel|>final<|message|>ANSWER";
    const PROMPT: &str = "<|start|>user<|message|>Hi<|end|><|start|>assistant";

    #[test]
    fn calls_are_forced_after_the_reasoning() {
        let named = forced(ToolChoice::Named("g".into()), PROMPT);
        assert_eq!(named, Some(format!("{ANALYSIS}{G}")));
        let required = forced(ToolChoice::Required, PROMPT);
        assert_eq!(required, Some(format!("{ANALYSIS}({F}|||{G})")));
    }

    /// A model of another family wrote `<|channel|>` there, and what followed was read as an answer beside the call.
    #[test]
    fn reasoning_begins_no_other_message() {
        let Segment::TextWithout(markers) = analysis() else {
            panic!("free text");
        };
        for marker in [START, CHANNEL, RETURN, CALL] {
            assert!(markers.contains(&MARKERS[marker].into()), "{markers:?}");
        }
    }

    #[test]
    fn an_answer_is_final() {
        let none = forced(ToolChoice::None, "");
        assert_eq!(none, Some(format!("{ANALYSIS}{FINAL}")));
        let auto = forced(ToolChoice::Auto, PROMPT);
        let call = "<|channel|>commentary to=functions.*<|call|>";
        assert_eq!(auto, Some(format!("{ANALYSIS}({FINAL}|||{call})")));
    }

    #[test]
    fn a_call_of_strict_tools_is_forced_once_it_is_chosen() {
        let mut context = context(ToolChoice::Auto, PROMPT);
        context.tools[0].strict = true;
        let mixed = grammar(&context).as_ref().map(text);
        assert!(mixed.is_some_and(|mixed| mixed.contains("functions.*")));
        context.tools[1].strict = true;
        let strict = grammar(&context).as_ref().map(text);
        let expected = format!("{ANALYSIS}({FINAL}|||{F}|||{G})");
        assert_eq!(strict, Some(expected));
        context.tool_choice = ToolChoice::None;
        let none = grammar(&context).as_ref().map(text);
        assert_eq!(none, Some(format!("{ANALYSIS}{FINAL}")));
    }

    #[test]
    fn the_prompt_decides_where_it_starts() {
        let none = |tail: &str| forced(ToolChoice::None, &format!("{PROMPT}{tail}"));
        let rest = format!("*<|end|><|start|>assistant{FINAL}");
        assert_eq!(none("<|channel|>analysis<|message|>We"), Some(rest));
        let closed = "<|channel|>analysis<|message|><|end|><|start|>assistant";
        assert_eq!(none(closed), Some(FINAL.into()));
        assert_eq!(none("<|channel|>final<|message|>"), Some("ANSWER".into()));
        assert_eq!(none("<|channel|>"), None);
        let required = forced(
            ToolChoice::Required,
            "<|start|>assistant<|channel|>final<|message|>",
        );
        assert_eq!(required, None);
    }
}
