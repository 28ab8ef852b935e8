//! Runs a case through the output pipeline and folds the events into what a client would have.

use std::{fmt, sync::Arc};

use weir_output::{
    CallIds, ChatFinishReason, Configured, Event, FinishReason, Fragment, MessageFold, OnError,
    OutputPipeline, Parser, PipelineSpec, PluginError, PostProcessor, RequestContext,
    ToolCallStreaming,
};

use crate::case::{Case, ExpectedCall};

/// What a client would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Text for the user.
    pub content: String,
    /// Reasoning.
    pub reasoning: String,
    /// Calls.
    pub calls: Vec<ExpectedCall>,
    /// As OpenAI's answers spell it.
    pub finish_reason: ChatFinishReason,
}

impl Folded {
    /// Whether it is what is expected; where no id is, any is right.
    pub fn meets(&self, expected: &Folded) -> bool {
        let mut ours = self.clone();
        for (call, expected) in ours.calls.iter_mut().zip(&expected.calls) {
            call.id = call.id.take().filter(|_| expected.id.is_some());
        }
        ours == *expected
    }

    /// What the case expects in this mode.
    pub fn expected(case: &Case, mode: ToolCallStreaming) -> Self {
        let expect = &case.expect;
        let (content, calls) = match (&expect.complete, mode) {
            (Some(complete), ToolCallStreaming::Complete) => (&complete.content, &complete.calls),
            _ => (&expect.content, &expect.calls),
        };
        Self {
            content: content.clone(),
            reasoning: expect.reasoning.clone(),
            calls: calls.clone(),
            finish_reason: expect.finish_reason,
        }
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  finish_reason  {}", self.finish_reason.as_str())?;
        writeln!(f, "  reasoning      {:?}", self.reasoning)?;
        writeln!(f, "  content        {:?}", self.content)?;
        for call in &self.calls {
            let state = if call.complete {
                "call          "
            } else {
                "abandoned call"
            };
            let id = call.id.as_deref().unwrap_or("any");
            writeln!(f, "  {state} {:?} {:?} id {id}", call.name, call.arguments)?;
        }
        Ok(())
    }
}

/// The plugins that text goes through, and what their sessions know of the request.
#[derive(Clone)]
pub struct Runner {
    reasoning: Option<Arc<dyn Parser>>,
    tools: Option<Arc<dyn Parser>>,
    post: Vec<Arc<dyn PostProcessor>>,
    context: RequestContext,
    ended: FinishReason,
}

impl Runner {
    /// One without plugins.
    pub fn new(context: RequestContext, ended: FinishReason) -> Self {
        Self {
            reasoning: None,
            tools: None,
            post: Vec::new(),
            context,
            ended,
        }
    }

    /// One that knows what the case says of its request.
    pub fn of_case(case: &Case) -> Self {
        Self::new(case.context(), case.finish_reason)
    }

    /// With this parser in its roles.
    #[must_use]
    pub fn with_parser(mut self, parser: Arc<dyn Parser>) -> Self {
        if parser.info().roles.reasoning {
            self.reasoning = Some(Arc::clone(&parser));
        }
        if parser.info().roles.tools {
            self.tools = Some(parser);
        }
        self
    }

    /// With this post-processor behind those it has.
    #[must_use]
    pub fn with_post_processor(mut self, post: Arc<dyn PostProcessor>) -> Self {
        self.post.push(post);
        self
    }

    /// The fold of these fragments.
    ///
    /// # Errors
    /// When a plugin fails.
    pub fn run(
        &self,
        fragments: Vec<Fragment>,
        mode: ToolCallStreaming,
    ) -> Result<Folded, PluginError> {
        let (events, ended) = self.events(fragments, mode)?;
        Ok(self.fold(&events, ended))
    }

    /// What a client sees of these fragments, and how generation ended for it.
    ///
    /// # Errors
    /// When a plugin fails.
    pub fn events(
        &self,
        fragments: Vec<Fragment>,
        mode: ToolCallStreaming,
    ) -> Result<(Vec<Event>, FinishReason), PluginError> {
        let parser = |parser: &Arc<dyn Parser>| Configured::new(Arc::clone(parser), OnError::Fail);
        let post = |post: &Arc<dyn PostProcessor>| Configured::new(Arc::clone(post), OnError::Fail);
        let mut pipeline = OutputPipeline::new(PipelineSpec {
            reasoning: self.reasoning.as_ref().map(parser),
            tools: self.tools.as_ref().map(parser),
            parse_without_tools: true,
            post: self.post.iter().map(post).collect(),
            context: self.context.clone(),
            tool_call_streaming: mode,
            call_ids: CallIds::Counting(0),
            ..PipelineSpec::default()
        })?;
        let mut events = Vec::new();
        for fragment in fragments {
            pipeline.push_fragment(fragment, &mut events)?;
        }
        let ended = pipeline.finish(self.ended, &mut events)?;
        Ok((events, ended))
    }

    /// What these events add up to.
    pub fn fold(&self, events: &[Event], ended: FinishReason) -> Folded {
        let mut fold = MessageFold::new();
        fold.extend(events);
        let finish_reason = fold.finish_reason(ended, &self.context.tool_choice);
        let message = fold.into_message();
        let call = |call: weir_output::FoldedCall| ExpectedCall {
            name: call.name,
            arguments: call.arguments,
            id: call.id,
            complete: call.complete,
        };
        Folded {
            content: message.content.unwrap_or_default(),
            reasoning: message.reasoning.unwrap_or_default(),
            calls: message.tool_calls.into_iter().map(call).collect(),
            finish_reason,
        }
    }
}
