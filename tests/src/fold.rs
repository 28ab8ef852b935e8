//! Runs a case through the output pipeline and folds the events into what a client would have.

use std::{fmt, sync::Arc};

use anyhow::Context;
use weir_output::{
    CallIds, ChatFinishReason, Configured, Event, FinishReason, Fragment, MessageFold, OnError,
    OutputPipeline, Parser, PipelineSpec, PostProcessor, RequestContext, ToolCallStreaming,
};

use crate::{
    Plugins,
    case::{Case, ExpectedCall},
};

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

/// A case with its plugins loaded.
pub struct Runner {
    reasoning: Option<Arc<dyn Parser>>,
    tools: Option<Arc<dyn Parser>>,
    post: Vec<Arc<dyn PostProcessor>>,
    context: RequestContext,
    ended: FinishReason,
}

impl Runner {
    /// Loads the plugins of a case: that of its folder, a parser or a post-processor, and the parser of `with`.
    ///
    /// # Errors
    /// When one cannot be loaded.
    pub fn new(plugins: &dyn Plugins, case: &Case, post_processor: bool) -> anyhow::Result<Self> {
        let mut runner = Self {
            reasoning: None,
            tools: None,
            post: Vec::new(),
            context: RequestContext {
                tools: case.offered(),
                tool_choice: case.choice(),
                response_format: case.response_format(),
                parallel_tool_calls: true,
                prompt_tail: case.prompt.clone(),
                strict_markers: case.strict_markers,
                ..RequestContext::default()
            },
            ended: case.finish_reason,
        };
        if post_processor {
            runner
                .post
                .push(plugins.post_processor(case.plugin(), &case.config)?);
        } else {
            runner.take_parser(plugins.parser(case.plugin(), &case.config)?);
        }
        if let Some(other) = &case.with {
            runner.take_parser(plugins.parser(other, &toml::Table::new())?);
        }
        Ok(runner)
    }

    /// The pipeline of these parsers, each in its roles.
    pub fn of_parsers<'a>(
        parsers: impl IntoIterator<Item = &'a Arc<dyn Parser>>,
        context: RequestContext,
        ended: FinishReason,
    ) -> Self {
        let mut runner = Self {
            reasoning: None,
            tools: None,
            post: Vec::new(),
            context,
            ended,
        };
        for parser in parsers {
            runner.take_parser(Arc::clone(parser));
        }
        runner
    }

    fn take_parser(&mut self, parser: Arc<dyn Parser>) {
        if parser.info().roles.reasoning {
            self.reasoning = Some(Arc::clone(&parser));
        }
        if parser.info().roles.tools {
            self.tools = Some(parser);
        }
    }

    /// The fold of these fragments.
    ///
    /// # Errors
    /// When a plugin fails.
    pub fn run(&self, fragments: Vec<Fragment>, mode: ToolCallStreaming) -> anyhow::Result<Folded> {
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
    ) -> anyhow::Result<(Vec<Event>, FinishReason)> {
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
        })
        .context("making the sessions")?;
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
