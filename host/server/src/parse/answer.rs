//! A case run through the pipeline, and one line of the output.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_output::{
    CallIds, ChatFinishReason, Event, FinishReason, FoldedCall, FoldedMessage, Fragment,
    MessageFold, OutputPipeline, PipelineSpec, PluginError, RequestContext,
};

use super::{Input, ParseOptions};

/// What a run may take; nothing is bounded where nothing is said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// When it is given up.
    pub(crate) until: Option<Instant>,
    /// Bytes of text in its events.
    pub(crate) bytes: Option<usize>,
}

impl Bounds {
    /// From now on.
    pub(crate) fn new(time: Duration, bytes: usize) -> Self {
        Self {
            until: Some(Instant::now() + time),
            bytes: Some(bytes),
        }
    }

    /// Whether its time is over.
    pub(crate) fn over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// How a run ended.
pub(crate) enum End {
    /// With the model, maybe with a plugin error that was passed over.
    Finished(FinishReason, Option<PluginError>),
    /// A plugin failed.
    Failed(PluginError),
    /// It was given up; why.
    GivenUp(&'static str),
}

/// What came of fragments.
pub(crate) struct Run {
    pub(crate) events: Vec<Event>,
    /// How many events there were after each fragment.
    pub(crate) after: Vec<usize>,
    pub(crate) end: End,
}

/// Pushes fragments through a chain of its own.
pub(crate) fn run(
    context: &RequestContext,
    fragments: &[Fragment],
    ended: FinishReason,
    options: &ParseOptions,
    bounds: Bounds,
) -> Run {
    let mut run = Run {
        events: Vec::new(),
        after: Vec::with_capacity(fragments.len()),
        end: End::Finished(ended, None),
    };
    run.end = match run.push_all(context, fragments, ended, options, bounds) {
        Ok(end) => end,
        Err(error) => End::Failed(error),
    };
    run
}

impl Run {
    fn push_all(
        &mut self,
        context: &RequestContext,
        fragments: &[Fragment],
        ended: FinishReason,
        options: &ParseOptions,
        bounds: Bounds,
    ) -> Result<End, PluginError> {
        let options = options.clone();
        let mut pipeline = OutputPipeline::new(PipelineSpec {
            reasoning: options.reasoning,
            tools: options.tools,
            parse_without_tools: true,
            post: options.post,
            context: context.clone(),
            tool_call_streaming: options.tool_call_streaming,
            call_ids: CallIds::Counting(0),
            ..PipelineSpec::default()
        })?;
        let mut bytes = 0;
        for fragment in fragments {
            if pipeline.stopped() {
                break;
            }
            if bounds.over() {
                return Ok(End::GivenUp("it takes longer than a run may take here"));
            }
            pipeline.push_fragment(fragment.clone(), &mut self.events)?;
            let before = self.after.last().copied().unwrap_or(0);
            bytes += self.events[before..].iter().map(size).sum::<usize>();
            if bounds.bytes.is_some_and(|most| bytes > most) {
                return Ok(End::GivenUp("it says more than a run may say here"));
            }
            self.after.push(self.events.len());
        }
        let ended = pipeline.finish(ended, &mut self.events)?;
        Ok(End::Finished(ended, pipeline.error().cloned()))
    }
}

/// The texts of an event, in bytes.
fn size(event: &Event) -> usize {
    match event {
        Event::Content(fragment) => fragment.text.len(),
        Event::Reasoning { text } => text.len(),
        Event::CallBegin { name, id, .. } => name.len() + id.as_ref().map_or(0, String::len),
        Event::CallArguments { delta, .. } => delta.len(),
        Event::CallEnd { .. } => 0,
        Event::CallAbandoned { raw, .. } => raw.len(),
    }
}

/// One line of the output.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ParsedCase)]
pub(crate) struct Answer {
    /// The case's.
    id: Value,
    /// What a client would have.
    message: AnswerMessage,
    /// None when a plugin's failure failed the answer.
    #[schema(value_type = Option<String>)]
    finish_reason: Option<ChatFinishReason>,
    /// A plugin's failure, with its name.
    error: Option<String>,
    /// What the parsers said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Event>>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ParsedMessage)]
struct AnswerMessage {
    content: Option<String>,
    reasoning_content: Option<String>,
    tool_calls: Vec<AnswerCall>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ParsedCall)]
struct AnswerCall {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: AnswerFunction,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ParsedFunction)]
struct AnswerFunction {
    name: String,
    arguments: String,
}

impl Answer {
    /// The answer to a case that is run as it is.
    pub(crate) fn to(input: Input, options: &ParseOptions) -> Self {
        let Input {
            id,
            context,
            fragments,
            ended,
        } = input;
        let run = run(&context, &fragments, ended, options, Bounds::default());
        Self::of(id, &context, run, options.events)
    }

    /// The answer to a case that was run.
    pub(crate) fn of(id: Value, context: &RequestContext, run: Run, with_events: bool) -> Self {
        let mut fold = MessageFold::new();
        fold.extend(&run.events);
        let (finish_reason, error) = match run.end {
            End::Finished(ended, error) => {
                let reason = fold.finish_reason(ended, &context.tool_choice);
                (Some(reason), error.map(|error| error.to_string()))
            }
            End::Failed(error) => (None, Some(error.to_string())),
            End::GivenUp(why) => (None, Some(why.to_owned())),
        };
        Self {
            id,
            finish_reason,
            message: fold.into_message().into(),
            error,
            events: with_events.then_some(run.events),
        }
    }
}

impl From<FoldedMessage> for AnswerMessage {
    fn from(message: FoldedMessage) -> Self {
        Self {
            content: message.content,
            reasoning_content: message.reasoning,
            tool_calls: message
                .tool_calls
                .into_iter()
                .map(AnswerCall::from)
                .collect(),
        }
    }
}

impl From<FoldedCall> for AnswerCall {
    fn from(call: FoldedCall) -> Self {
        let function = AnswerFunction {
            name: call.name,
            arguments: call.arguments,
        };
        Self {
            id: call.id,
            kind: "function",
            function,
        }
    }
}
