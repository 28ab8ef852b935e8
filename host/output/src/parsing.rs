//! The rooms "reasoning" and "tools": parser sessions, the contract's order of call events, and what follows an error.
//!
//! Invariants: behind a stage the call events are in the contract's order; when a session fails, nothing that the failing
//! push said is passed on and its open calls are abandoned; with [`OnError::Passthrough`] the fragment it failed on and
//! all later ones are content. What it held back until then is lost.

use crate::{
    chain::{Configured, OnError},
    error::{PluginError, PluginErrorKind},
    event::{Event, FinishReason, Fragment},
    parser::{Parser, ParserSession, RequestContext},
};

/// Which parsers run for a choice, in order.
pub(crate) enum ParserChain {
    /// Everything is content.
    Empty,
    /// One parser, for whatever roles it has.
    One(ParserStage),
    /// A reasoning parser whose content goes to a tool parser.
    Two(ParserStage, ParserStage),
}

impl ParserChain {
    /// A plugin with both roles, named for either or for both, runs once. `calls_wanted` is false when the request
    /// wants no calls: a parser for tools alone then stays out, one with both roles is told by the tool choice.
    pub(crate) fn new(
        reasoning: Option<&Configured<dyn Parser>>,
        tools: Option<&Configured<dyn Parser>>,
        calls_wanted: bool,
        context: &RequestContext,
    ) -> Result<Self, PluginError> {
        let splits_reasoning = |tools: &Configured<dyn Parser>| {
            reasoning.is_none() && tools.plugin.info().roles.reasoning
        };
        let tools = tools.filter(|tools| calls_wanted || splits_reasoning(tools));
        match (reasoning, tools) {
            (None, None) => Ok(Self::Empty),
            (Some(parser), None) => Ok(Self::One(ParserStage::new(parser, context, true)?)),
            (None, Some(parser)) => Ok(Self::One(ParserStage::new(parser, context, true)?)),
            (Some(reasoning), Some(tools)) if same(reasoning, tools) => {
                Ok(Self::One(ParserStage::new(reasoning, context, true)?))
            }
            (Some(reasoning), Some(tools)) => {
                let front = RequestContext {
                    tool_markers: tools.plugin.info().markers.clone(),
                    ..context.clone()
                };
                Ok(Self::Two(
                    ParserStage::new(reasoning, &front, false)?,
                    ParserStage::new(tools, context, true)?,
                ))
            }
        }
    }

    pub(crate) fn push(
        &mut self,
        fragment: Fragment,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        match self {
            Self::Empty => events.push(Event::Content(fragment)),
            Self::One(stage) => stage.push(fragment, events)?,
            Self::Two(reasoning, tools) => {
                let mut between = Vec::new();
                let result = reasoning.push(fragment, &mut between);
                hand_on(between, tools, events)?;
                result?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(
        &mut self,
        reason: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        match self {
            Self::Empty => Ok(()),
            Self::One(stage) => stage.finish(reason, events),
            Self::Two(reasoning, tools) => {
                let mut between = Vec::new();
                let result = reasoning.finish(reason, &mut between);
                hand_on(between, tools, events)?;
                result?;
                tools.finish(reason, events)
            }
        }
    }

    /// The first error of a session, whether it was passed over or not.
    pub(crate) fn error(&self) -> Option<&PluginError> {
        match self {
            Self::Empty => None,
            Self::One(stage) => stage.error.as_ref(),
            Self::Two(reasoning, tools) => reasoning.error.as_ref().or(tools.error.as_ref()),
        }
    }
}

fn same(one: &Configured<dyn Parser>, other: &Configured<dyn Parser>) -> bool {
    std::sync::Arc::ptr_eq(&one.plugin, &other.plugin)
        || one.plugin.info().name == other.plugin.info().name
}

fn hand_on(
    between: Vec<Event>,
    tools: &mut ParserStage,
    events: &mut Vec<Event>,
) -> Result<(), PluginError> {
    for event in between {
        match event {
            Event::Content(fragment) => tools.push(fragment, events)?,
            other => events.push(other),
        }
    }
    Ok(())
}

/// One parser's session and its bookkeeping.
pub(crate) struct ParserStage {
    /// None once it failed or finished.
    session: Option<Box<dyn ParserSession>>,
    name: String,
    on_error: OnError,
    order: CallOrder,
    error: Option<PluginError>,
}

impl ParserStage {
    fn new(
        parser: &Configured<dyn Parser>,
        context: &RequestContext,
        calls: bool,
    ) -> Result<Self, PluginError> {
        let (session, error) = match (parser.plugin.session(context), parser.on_error) {
            (Ok(session), _) => (Some(session), None),
            (Err(error), OnError::Passthrough) => (None, Some(error)),
            (Err(error), OnError::Fail) => return Err(error),
        };
        let name = parser.plugin.info().name.clone();
        Ok(Self {
            session,
            name,
            on_error: parser.on_error,
            order: CallOrder::new(calls),
            error,
        })
    }

    fn push(&mut self, fragment: Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let Some(session) = &mut self.session else {
            events.push(Event::Content(fragment));
            return Ok(());
        };
        let before = events.len();
        let result = session.push(&fragment, events);
        self.check(result, "push", before, events)?;
        if self.session.is_none() {
            events.push(Event::Content(fragment));
        }
        Ok(())
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let before = events.len();
        let result = session.finish(reason, events);
        let result = self.check(result, "finish", before, events);
        self.session = None;
        self.abandon_open_calls(events);
        result
    }

    /// Takes back what a failed call appended from `before` on; a call that broke the contract failed too.
    fn check(
        &mut self,
        result: Result<(), PluginError>,
        call: &'static str,
        before: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let mut order = self.order.clone();
        let result = result.and_then(|()| {
            events[before..]
                .iter()
                .try_for_each(|event| order.check(event))
                .map_err(|broken| PluginError {
                    plugin: self.name.clone(),
                    call,
                    kind: PluginErrorKind::Contract(broken),
                })
        });
        let Err(error) = result else {
            self.order = order;
            return Ok(());
        };
        events.truncate(before);
        self.session = None;
        self.abandon_open_calls(events);
        self.error = Some(error.clone());
        match self.on_error {
            OnError::Fail => Err(error),
            OnError::Passthrough => Ok(()),
        }
    }

    fn abandon_open_calls(&mut self, events: &mut Vec<Event>) {
        let open = self.order.open.drain(..);
        events.extend(open.map(|index| Event::CallAbandoned {
            index,
            raw: String::new(),
        }));
    }
}

/// The contract's order of call events: indices from 0 without gaps; begin, arguments, then end or abandoned. The index
/// of a call that was abandoned before it began is free for the next.
#[derive(Debug, Clone)]
struct CallOrder {
    allowed: bool,
    next: u32,
    open: Vec<u32>,
}

impl CallOrder {
    fn new(allowed: bool) -> Self {
        Self {
            allowed,
            next: 0,
            open: Vec::new(),
        }
    }

    fn check(&mut self, event: &Event) -> Result<(), String> {
        let (index, what) = match event {
            Event::Content(_) | Event::Reasoning { .. } => return Ok(()),
            Event::CallBegin { index, .. } => (*index, "call-begin"),
            Event::CallArguments { index, .. } => (*index, "call-arguments"),
            Event::CallEnd { index } => (*index, "call-end"),
            Event::CallAbandoned { index, .. } => (*index, "call-abandoned"),
        };
        if !self.allowed {
            return Err(format!(
                "{what} from the reasoning parser in front of a tool parser"
            ));
        }
        let open = self.open.iter().position(|open| *open == index);
        match (event, open) {
            (Event::CallBegin { .. }, None) if index == self.next => {
                self.open.push(index);
                self.next += 1;
            }
            (Event::CallAbandoned { .. }, None) if index == self.next => {}
            (Event::CallArguments { .. }, Some(_)) => {}
            (Event::CallEnd { .. } | Event::CallAbandoned { .. }, Some(position)) => {
                self.open.remove(position);
            }
            _ => return Err(format!("{what} with index {index} out of order")),
        }
        Ok(())
    }
}
