//! Holds a parser to the contract's order of events, natively too, where no plugin host does it.
//!
//! A second opinion on purpose: it is written from the contract, not shared with the plugin host's check.

use std::sync::Arc;

use weir_output::{
    Event, FinishReason, Fragment, Parser, ParserInfo, ParserSession, PluginError, PluginErrorKind,
    RequestContext,
};

/// A parser whose sessions fail when they break the contract.
pub fn checked(parser: Arc<dyn Parser>) -> Arc<dyn Parser> {
    Arc::new(CheckedParser(parser))
}

struct CheckedParser(Arc<dyn Parser>);

impl Parser for CheckedParser {
    fn info(&self) -> &ParserInfo {
        self.0.info()
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        Ok(Box::new(CheckedSession {
            session: self.0.session(context)?,
            plugin: self.0.info().name.clone(),
            calls: Calls::default(),
        }))
    }
}

struct CheckedSession {
    session: Box<dyn ParserSession>,
    plugin: String,
    calls: Calls,
}

impl CheckedSession {
    fn check(
        &mut self,
        call: &'static str,
        events: &[Event],
        last: bool,
    ) -> Result<(), PluginError> {
        let mut broken = events.iter().find(|event| !self.calls.take(event));
        broken = broken.or(if last && self.calls.open {
            events.last()
        } else {
            None
        });
        if broken.is_none() && !(last && self.calls.open) {
            return Ok(());
        }
        Err(PluginError {
            plugin: self.plugin.clone(),
            call,
            kind: PluginErrorKind::Contract(format!("{broken:?} out of order in {events:?}")),
        })
    }
}

impl ParserSession for CheckedSession {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let before = events.len();
        self.session.push(fragment, events)?;
        self.check("push", &events[before..], false)
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let before = events.len();
        self.session.finish(reason, events)?;
        self.check("finish", &events[before..], true)
    }
}

/// The call at hand: at most one is open, and calls count from 0.
#[derive(Default)]
struct Calls {
    open: bool,
    /// The open call, or the next one.
    index: u32,
}

impl Calls {
    /// Whether this event may come now.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Content(fragment) => !fragment.text.is_empty(),
            Event::Reasoning { .. } => true,
            Event::CallBegin { index, .. } => {
                *index == self.index && !std::mem::replace(&mut self.open, true)
            }
            Event::CallArguments { index, delta } => {
                self.open && *index == self.index && !delta.is_empty()
            }
            Event::CallEnd { index } => self.open && self.close(*index),
            Event::CallAbandoned { index, .. } if self.open => self.close(*index),
            Event::CallAbandoned { index, .. } => *index == self.index,
        }
    }

    fn close(&mut self, index: u32) -> bool {
        let right = index == self.index;
        self.open = false;
        self.index += 1;
        right
    }
}
