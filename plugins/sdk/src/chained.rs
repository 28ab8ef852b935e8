//! A reasoning parser in front of a tool parser, as one parser: for formats that are both.
//!
//! Invariants: the tool parser sees what is content to the reasoning parser and nothing else, with its kinds; all other
//! events pass in order. Once the reasoning is over it costs nothing more. It knows no markers.

use alloc::vec::Vec;

use crate::{
    grammar::Segment,
    listed_calls::ListedCalls,
    marked_calls::MarkedCalls,
    reasoning::{MarkedReasoning, ReasoningFormat},
    types::{Event, FinishReason, Fragment, RequestContext},
    xml_calls::XmlCalls,
};

/// A tool parser that can stand behind a reasoning parser.
pub trait ToolStage {
    /// See [`crate::Parser::push`].
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>);

    /// See [`crate::Parser::finish`].
    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>);
}

impl ToolStage for MarkedCalls {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.finish(reason, events);
    }
}

impl ToolStage for ListedCalls {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.finish(reason, events);
    }
}

impl ToolStage for XmlCalls {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        self.push(fragment, events);
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.finish(reason, events);
    }
}

/// One choice's parsing.
#[derive(Debug)]
pub struct Chained<T> {
    reasoning: MarkedReasoning,
    tools: T,
    /// What the reasoning parser says of a fragment; empty between two.
    said: Vec<Event>,
}

impl<T: ToolStage> Chained<T> {
    /// A parser of reasoning in this format and of what `tools` reads. `tool_markers` start calls: where the reasoning
    /// format says so, they end the reasoning.
    pub fn new(
        format: &ReasoningFormat,
        tools: T,
        tool_markers: &[&str],
        context: &RequestContext,
    ) -> Self {
        let context = RequestContext {
            tool_markers: tool_markers.iter().map(|marker| (*marker).into()).collect(),
            prompt_tail: context.prompt_tail.clone(),
            strict_markers: context.strict_markers,
            ..RequestContext::default()
        };
        Self {
            reasoning: MarkedReasoning::new(format, &context),
            tools,
            said: Vec::new(),
        }
    }

    /// See [`crate::Parser::push`].
    pub fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) {
        if self.reasoning.is_over() {
            self.tools.push(fragment, events);
        } else {
            self.reasoning.push(fragment, &mut self.said);
            self.pass(events);
        }
    }

    /// See [`crate::Parser::finish`].
    pub fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        self.reasoning.finish(reason, &mut self.said);
        self.pass(events);
        self.tools.finish(reason, events);
    }

    fn pass(&mut self, events: &mut Vec<Event>) {
        for event in self.said.drain(..) {
            match event {
                Event::Content(fragment) => self.tools.push(&fragment, events),
                other => events.push(other),
            }
        }
    }
}

/// See [`crate::Parser::grammar`]: how an answer is forced that may have reasoning in front of what `tools` forces.
pub fn grammar(
    format: &ReasoningFormat,
    tools: Option<Segment>,
    context: &RequestContext,
) -> Segment {
    let reasoning = format.grammar(context);
    match (reasoning, tools) {
        (Segment::Answer, Some(tools)) => tools,
        (Segment::Sequence(mut parts), Some(tools)) => {
            if parts.last() == Some(&Segment::Answer) {
                parts.pop();
            }
            parts.push(tools);
            Segment::Sequence(parts)
        }
        (reasoning, _) => reasoning,
    }
}
