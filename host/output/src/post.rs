//! The room "post": events go through the post-processors in the order they were given.
//!
//! Invariants: a post-processor sees only the events it declared an interest in, in order; the others pass it by at once,
//! so they may overtake what it holds back (one that minds declares an interest in everything). A failing post-processor
//! with [`OnError::Passthrough`] is passed by from the failing event on. What it held back then is lost.
//!
//! One that wants calls sees them as the parser says them, abandoned ones too. In front of one that does not, and behind
//! the last, abandoned calls become what the mode says: text that turns into content is seen as content.

use crate::{
    calls::{CallHold, ToolCallStreaming},
    chain::{Configured, OnError},
    error::PluginError,
    event::{Event, FinishReason},
    parser::RequestContext,
    post_processor::{Action, Interests, PostProcessor, PostProcessorSession},
};

/// The post-processors of one choice.
pub(crate) struct PostChain {
    stages: Vec<PostStage>,
    last_hold: CallHold,
    stop_reason: Option<String>,
}

impl PostChain {
    pub(crate) fn new(
        post: &[Configured<dyn PostProcessor>],
        context: &RequestContext,
        streaming: ToolCallStreaming,
    ) -> Result<Self, PluginError> {
        let stages = post
            .iter()
            .map(|plugin| PostStage::new(plugin, context, streaming))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            stages,
            last_hold: CallHold::new(streaming),
            stop_reason: None,
        })
    }

    /// Takes the next events and appends what comes out. After a stop nothing goes in any more.
    pub(crate) fn push(
        &mut self,
        batch: Vec<Event>,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        if self.stop_reason.is_none() {
            self.run(batch, None, events)?;
        }
        Ok(())
    }

    /// Takes the last events and says that nothing more comes, stage by stage.
    pub(crate) fn finish(
        &mut self,
        batch: Vec<Event>,
        reason: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let batch = if self.stop_reason.is_none() {
            batch
        } else {
            Vec::new()
        };
        self.run(batch, Some(reason), events)
    }

    /// Why a post-processor ended the generation, if one did.
    pub(crate) fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }

    /// How the answer ends for the client if a post-processor ended the generation: a reason `stop`, perhaps with more
    /// after a colon, ends it as a stop string does; any other is a filter's.
    pub(crate) fn ended(&self) -> Option<FinishReason> {
        let reason = self.stop_reason.as_deref()?;
        let word = reason.split(':').next().unwrap_or(reason);
        Some(match word {
            "stop" => FinishReason::Stop,
            _ => FinishReason::ContentFilter,
        })
    }

    /// The first error of a session, whether it was passed over or not.
    pub(crate) fn error(&self) -> Option<&PluginError> {
        self.stages.iter().find_map(|stage| stage.error.as_ref())
    }

    fn run(
        &mut self,
        mut batch: Vec<Event>,
        finish: Option<FinishReason>,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let stages = self.stages.iter_mut();
        let holds = stages.filter_map(|stage| stage.hold.as_mut());
        for hold in holds.chain([&mut self.last_hold]) {
            finish.into_iter().for_each(|reason| hold.end(reason));
        }
        for stage in &mut self.stages {
            let mut next = Vec::with_capacity(batch.len());
            let mut stop = None;
            for event in stage.fold_calls(batch) {
                stop = stop.or(stage.push(event, &mut next)?);
            }
            if let Some(reason) = finish {
                stop = stop.or(stage.finish(reason, &mut next)?);
            }
            self.stop_reason = self.stop_reason.take().or(stop);
            batch = next;
        }
        for event in batch {
            self.last_hold.push(event, events);
        }
        Ok(())
    }
}

/// One post-processor's session.
struct PostStage {
    /// None once it failed or finished.
    session: Option<Box<dyn PostProcessorSession>>,
    interests: Interests,
    /// For one that does not want calls.
    hold: Option<CallHold>,
    on_error: OnError,
    error: Option<PluginError>,
    /// It ended the generation: whatever still comes is dropped here, so that every chunking ends at the same place.
    stopped: bool,
}

impl PostStage {
    fn new(
        plugin: &Configured<dyn PostProcessor>,
        context: &RequestContext,
        streaming: ToolCallStreaming,
    ) -> Result<Self, PluginError> {
        let interests = plugin.plugin.info().interests;
        let (session, error) = match (plugin.plugin.session(context), plugin.on_error) {
            (Ok(session), _) => (Some(session), None),
            (Err(error), OnError::Passthrough) => (None, Some(error)),
            (Err(error), OnError::Fail) => return Err(error),
        };
        Ok(Self {
            session,
            interests,
            hold: (!interests.calls).then(|| CallHold::new(streaming)),
            on_error: plugin.on_error,
            error,
            stopped: false,
        })
    }

    /// The events in which this post-processor finds what it wants.
    fn fold_calls(&mut self, batch: Vec<Event>) -> Vec<Event> {
        let Some(hold) = &mut self.hold else {
            return batch;
        };
        let mut events = Vec::with_capacity(batch.len());
        for event in batch {
            hold.push(event, &mut events);
        }
        events
    }

    /// Answers the reason when the post-processor ends the generation.
    fn push(
        &mut self,
        event: Event,
        events: &mut Vec<Event>,
    ) -> Result<Option<String>, PluginError> {
        if self.stopped {
            return Ok(None);
        }
        let Some(session) = self
            .session
            .as_mut()
            .filter(|_| wants(self.interests, &event))
        else {
            events.push(event);
            return Ok(None);
        };
        let mut actions = Vec::new();
        match session.push(&event, &mut actions) {
            Ok(()) => {
                let stop = perform(actions, events);
                self.stopped = stop.is_some();
                Ok(stop)
            }
            Err(error) => {
                self.fail(error)?;
                events.push(event);
                Ok(None)
            }
        }
    }

    fn finish(
        &mut self,
        reason: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<Option<String>, PluginError> {
        let Some(mut session) = self.session.take() else {
            return Ok(None);
        };
        let mut actions = Vec::new();
        match session.finish(reason, &mut actions) {
            Ok(()) => Ok(perform(actions, events)),
            Err(error) => self.fail(error).map(|()| None),
        }
    }

    fn fail(&mut self, error: PluginError) -> Result<(), PluginError> {
        self.session = None;
        self.error = Some(error.clone());
        match self.on_error {
            OnError::Fail => Err(error),
            OnError::Passthrough => Ok(()),
        }
    }
}

fn wants(interests: Interests, event: &Event) -> bool {
    match event {
        Event::Content(_) => interests.content,
        Event::Reasoning { .. } => interests.reasoning,
        Event::CallBegin { .. }
        | Event::CallArguments { .. }
        | Event::CallEnd { .. }
        | Event::CallAbandoned { .. } => interests.calls,
    }
}

/// Emits up to the first stop, whose reason is answered.
fn perform(actions: Vec<Action>, events: &mut Vec<Event>) -> Option<String> {
    for action in actions {
        match action {
            Action::Emit(event) => events.push(event),
            Action::Stop(reason) => return Some(reason),
        }
    }
    None
}
