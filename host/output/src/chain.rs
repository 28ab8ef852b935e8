//! One choice's way from tokens to the events a client sees: detokenizer, stop strings, reasoning, tools,
//! post-processors, in this order.
//!
//! Invariants: the fold of all events is the same under every chunking of the same text; events keep their order; after a
//! failure with [`OnError::Fail`] every further call answers the same error. It runs in the request's own task and does
//! not talk to the engine: the caller drops the engine's stream when [`OutputPipeline::stopped`] says so.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    call_id::CallIds,
    calls::{CallNumbering, ToolCallStreaming},
    detokenizer::Detokenizer,
    error::PluginError,
    event::{Event, FinishReason, Fragment},
    parser::{Parser, RequestContext, ToolChoice},
    parsing::ParserChain,
    post::PostChain,
    post_processor::PostProcessor,
    stop_strings::StopStrings,
    token_trace::{TokenTrace, TracedToken},
};

/// What follows a plugin's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The answer fails.
    #[default]
    Fail,
    /// The rest of the answer goes on as if the plugin were not there.
    Passthrough,
}

/// A plugin as a request uses it.
#[derive(Debug)]
pub struct Configured<P: ?Sized> {
    /// The factory of sessions.
    pub plugin: Arc<P>,
    /// What follows its failure.
    pub on_error: OnError,
}

impl<P: ?Sized> Configured<P> {
    /// A plugin and what follows its failure.
    pub fn new(plugin: Arc<P>, on_error: OnError) -> Self {
        Self { plugin, on_error }
    }
}

impl<P: ?Sized> Clone for Configured<P> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.plugin), self.on_error)
    }
}

/// What one choice's pipeline is made of. The default passes everything as content.
#[derive(Default)]
pub struct PipelineSpec {
    /// Decodes tokens; unused where the engine gives text.
    pub detokenizer: Detokenizer,
    /// Where the text ends early.
    pub stop_strings: StopStrings,
    /// The parser chosen for reasoning.
    pub reasoning: Option<Configured<dyn Parser>>,
    /// The parser chosen for tool calls; it stays out when the request offers no tools or its tool choice is none.
    pub tools: Option<Configured<dyn Parser>>,
    /// Looks for calls even if the request offers no tools; `weir parse` does, because its input may be bare text.
    pub parse_without_tools: bool,
    /// The post-processors in order.
    pub post: Vec<Configured<dyn PostProcessor>>,
    /// What sessions may know. `tool_markers` is filled in by the pipeline.
    pub context: RequestContext,
    /// How a call's arguments reach the client.
    pub tool_call_streaming: ToolCallStreaming,
    /// Where ids come from for calls that have none.
    pub call_ids: CallIds,
    /// Follows which tokens become content; see [`OutputPipeline::take_traced`].
    pub trace_tokens: bool,
}

/// One choice's pipeline.
pub struct OutputPipeline {
    detokenizer: Detokenizer,
    stop_strings: StopStrings,
    parsers: ParserChain,
    post: PostChain,
    numbering: CallNumbering,
    failed: Option<PluginError>,
    trace: Option<TokenTrace>,
}

impl OutputPipeline {
    /// Makes the sessions.
    ///
    /// # Errors
    /// When a plugin with [`OnError::Fail`] makes none.
    pub fn new(spec: PipelineSpec) -> Result<Self, PluginError> {
        let mut context = spec.context;
        let calls_wanted = context.tool_choice != ToolChoice::None
            && (spec.parse_without_tools || !context.tools.is_empty());
        if !calls_wanted {
            context.tool_choice = ToolChoice::None;
        }
        let call_ids = spec
            .tools
            .as_ref()
            .or(spec.reasoning.as_ref())
            .map(|parser| parser.plugin.info().call_ids)
            .unwrap_or_default();
        Ok(Self {
            detokenizer: spec.detokenizer,
            stop_strings: spec.stop_strings,
            parsers: ParserChain::new(
                spec.reasoning.as_ref(),
                spec.tools.as_ref(),
                calls_wanted,
                &context,
            )?,
            post: PostChain::new(&spec.post, &context, spec.tool_call_streaming)?,
            numbering: CallNumbering::new(spec.call_ids, call_ids),
            failed: None,
            trace: spec.trace_tokens.then(TokenTrace::default),
        })
    }

    /// Takes the next sampled token and appends what the client may see now. Ignored once stopped.
    ///
    /// # Errors
    /// When a plugin with [`OnError::Fail`] fails; `events` then holds what was certain before.
    pub fn push_token(
        &mut self,
        token_id: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let mut fragments = Vec::new();
        self.detokenizer.push(token_id, &mut fragments);
        if let Some(trace) = &mut self.trace {
            trace.push(!self.detokenizer.shows(token_id), &fragments);
        }
        let before = events.len();
        let result = self.push_fragments(fragments, events);
        if let Some(trace) = &mut self.trace {
            trace.settle(&events[before..], before);
        }
        result
    }

    /// The tokens that content came from, in order, since the last time this was asked; `event` counts in the list of events
    /// that the last push or finish appended to. Nothing unless [`PipelineSpec::trace_tokens`] is set.
    pub fn take_traced(&mut self) -> Vec<TracedToken> {
        self.trace
            .as_mut()
            .map(TokenTrace::take)
            .unwrap_or_default()
    }

    /// Takes the next piece of text, for engines that give no tokens, and appends what the client may see now. Ignored
    /// once stopped.
    ///
    /// # Errors
    /// As for [`Self::push_token`].
    pub fn push_fragment(
        &mut self,
        fragment: Fragment,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        self.push_fragments(vec![fragment], events)
    }

    /// Says how generation ended, appends everything held back, and answers how it ended for the client: a stop string
    /// is `Stop`, a plugin's stop what its reason says. Called once, after the last push, stopped or not.
    ///
    /// # Errors
    /// As for [`Self::push_token`].
    pub fn finish(
        &mut self,
        ended: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<FinishReason, PluginError> {
        let mut fragments = Vec::new();
        self.detokenizer.finish(&mut fragments);
        if let Some(trace) = &mut self.trace {
            trace.flush(&fragments);
        }
        let before = events.len();
        self.push_fragments(fragments, events)?;
        let result = self.finish_rooms(ended, events);
        self.numbering.finish(events);
        let cut = self.stopped();
        if let Some(trace) = &mut self.trace {
            trace.settle(&events[before..], before);
            trace.end(cut);
        }
        self.remember(result)
    }

    /// Whether generation should end now: a stop string matched or a post-processor asked for it.
    pub fn stopped(&self) -> bool {
        self.stop_strings.matched().is_some() || self.post.stop_reason().is_some()
    }

    /// The stop string that ended the text.
    pub fn stop_string(&self) -> Option<&str> {
        self.stop_strings.matched()
    }

    /// Why a post-processor ended the generation; for the log.
    pub fn stop_reason(&self) -> Option<&str> {
        self.post.stop_reason()
    }

    /// The first plugin error of this choice in chain order, also one that was passed over.
    pub fn error(&self) -> Option<&PluginError> {
        self.failed
            .as_ref()
            .or(self.parsers.error())
            .or(self.post.error())
    }

    fn push_fragments(
        &mut self,
        fragments: Vec<Fragment>,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.stopped() {
            return Ok(());
        }
        let mut raw = Vec::new();
        for fragment in fragments
            .into_iter()
            .filter(|fragment| !fragment.text.is_empty())
        {
            if self.stop_strings.push(fragment, &mut raw) {
                break;
            }
        }
        let mut parsed = Vec::new();
        let result = self
            .parse(raw, &mut parsed)
            .and(self.deliver(parsed, None, events));
        self.remember(result)
    }

    fn finish_rooms(
        &mut self,
        ended: FinishReason,
        events: &mut Vec<Event>,
    ) -> Result<FinishReason, PluginError> {
        if let Some(ended) = self.post.ended() {
            self.deliver(Vec::new(), Some(ended), events)?;
            return Ok(ended);
        }
        let ended = if self.stop_strings.matched().is_some() {
            FinishReason::Stop
        } else {
            ended
        };
        let mut raw = Vec::new();
        self.stop_strings.finish(&mut raw);
        let mut parsed = Vec::new();
        let result = self
            .parse(raw, &mut parsed)
            .and_then(|()| self.parsers.finish(ended, &mut parsed));
        result.and(self.deliver(parsed, Some(ended), events))?;
        Ok(self.post.ended().unwrap_or(ended))
    }

    fn parse(
        &mut self,
        fragments: Vec<Fragment>,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        fragments
            .into_iter()
            .try_for_each(|fragment| self.parsers.push(fragment, events))
    }

    /// From parsed events to the client's: post-processors, whole calls where asked for, numbers and ids.
    fn deliver(
        &mut self,
        parsed: Vec<Event>,
        finish: Option<FinishReason>,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let mut processed = Vec::new();
        let result = match finish {
            None => self.post.push(parsed, &mut processed),
            Some(reason) => self.post.finish(parsed, reason, &mut processed),
        };
        for event in processed {
            self.numbering.push(event, events);
        }
        result
    }

    fn remember<T>(&mut self, result: Result<T, PluginError>) -> Result<T, PluginError> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}
