//! The rooms "reasoning" and "tools": which parsers run, their sessions, and what follows an error.
//!
//! Invariants: when a session fails, nothing that the failing push said is passed on and its open call is abandoned; with
//! [`OnError::Passthrough`] the fragment it failed on and all later ones are content. What it held back until then is
//! lost. The order of a session's call events is the plugin host's to check, not checked again here.

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
    /// Whether calls may come from it: not in front of a tool parser, whose indices they would meet.
    calls_allowed: bool,
    open_call: Option<u32>,
    error: Option<PluginError>,
}

impl ParserStage {
    fn new(
        parser: &Configured<dyn Parser>,
        context: &RequestContext,
        calls_allowed: bool,
    ) -> Result<Self, PluginError> {
        let (session, error) = match (parser.plugin.session(context), parser.on_error) {
            (Ok(session), _) => (Some(session), None),
            (Err(error), OnError::Passthrough) => (None, Some(error)),
            (Err(error), OnError::Fail) => return Err(error),
        };
        Ok(Self {
            session,
            name: parser.plugin.info().name.clone(),
            on_error: parser.on_error,
            calls_allowed,
            open_call: None,
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
        self.settle(result, "push", before, events)?;
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
        let result = self.settle(result, "finish", before, events);
        self.session = None;
        self.abandon_open_call(events);
        result
    }

    /// Looks at what a session appended from `before` on, and takes it back if the session failed.
    fn settle(
        &mut self,
        result: Result<(), PluginError>,
        call: &'static str,
        before: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let result = result.and_then(|()| {
            self.refuse_calls(&events[before..])
                .map_err(|kind| PluginError {
                    plugin: self.name.clone(),
                    call,
                    kind,
                })
        });
        let Err(error) = result else {
            self.follow_calls(&events[before..]);
            return Ok(());
        };
        events.truncate(before);
        self.session = None;
        self.abandon_open_call(events);
        self.error = Some(error.clone());
        match self.on_error {
            OnError::Fail => Err(error),
            OnError::Passthrough => Ok(()),
        }
    }

    fn refuse_calls(&self, events: &[Event]) -> Result<(), PluginErrorKind> {
        let is_text = |event: &Event| matches!(event, Event::Content(_) | Event::Reasoning { .. });
        if self.calls_allowed || events.iter().all(is_text) {
            return Ok(());
        }
        Err(PluginErrorKind::Contract(
            "a call from the reasoning parser in front of a tool parser".to_owned(),
        ))
    }

    fn follow_calls(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::CallBegin { index, .. } => self.open_call = Some(*index),
                Event::CallEnd { .. } | Event::CallAbandoned { .. } => self.open_call = None,
                Event::CallArguments { .. } | Event::Content(_) | Event::Reasoning { .. } => {}
            }
        }
    }

    fn abandon_open_call(&mut self, events: &mut Vec<Event>) {
        let open = self.open_call.take();
        events.extend(open.map(|index| Event::CallAbandoned {
            index,
            raw: String::new(),
        }));
    }
}
