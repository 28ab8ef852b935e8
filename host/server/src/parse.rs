//! `weir parse`: runs parsers and post-processors over model outputs given as JSON Lines, one case a line, one answer a
//! line, through the very pipeline that serves requests.
//!
//! Invariants: answers come in the order of the cases and are the same in every run (call ids are counted); a plugin's
//! failure stands in its case's `error` and ends nothing else; only unusable input ends the run. Keys it does not know
//! are ignored, so that corpus files can carry what they expect beside the input.

use std::io::{BufRead, Write};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use thiserror::Error;
use weir_output::{
    CallIds, ChatFinishReason, Configured, Event, FinishReason, FoldedCall, FoldedMessage,
    Fragment, FragmentKind, MessageFold, OutputPipeline, Parser, PipelineSpec, PluginError,
    PostProcessor, RequestContext, Tool, ToolCallStreaming, ToolChoice,
};

/// Which plugins run, and what is printed.
#[derive(Clone, Default)]
pub struct ParseOptions {
    /// The tool parser. It runs whether a case offers tools or not, unless its `tool_choice` is `none`.
    pub tools: Option<Configured<dyn Parser>>,
    /// The reasoning parser.
    pub reasoning: Option<Configured<dyn Parser>>,
    /// The post-processors in order.
    pub post: Vec<Configured<dyn PostProcessor>>,
    /// Incremental by default, as in a streamed answer: the calls of the answer are then what a client adds up from the
    /// deltas, cut calls included.
    pub tool_call_streaming: ToolCallStreaming,
    /// Whether the events are printed too.
    pub events: bool,
}

/// The input cannot be used, or the output not written.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: {message}")]
pub struct ParseInputError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Answers every case of `input` on `output`; blank lines are skipped.
///
/// # Errors
/// At the first line that is no usable case; the cases before it are answered.
pub fn run(
    input: impl BufRead,
    mut output: impl Write,
    options: &ParseOptions,
) -> Result<(), ParseInputError> {
    for (position, line) in input.lines().enumerate() {
        let unusable = |message: String| ParseInputError {
            line: position + 1,
            message,
        };
        let line = line.map_err(|error| unusable(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let case: Case =
            serde_json::from_str(&line).map_err(|error| unusable(error.to_string()))?;
        let answer = answer(case, options).map_err(unusable)?;
        let answer = serde_json::to_string(&answer).map_err(|error| unusable(error.to_string()))?;
        writeln!(output, "{answer}")
            .map_err(|error| unusable(format!("cannot write the answer: {error}")))?;
    }
    Ok(())
}

/// One line of the input.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    id: Value,
    text: Option<String>,
    chunks: Option<Vec<Chunk>>,
    #[serde(default)]
    tools: Vec<ToolInput>,
    tool_choice: Option<ToolChoiceInput>,
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    finish_reason: EndInput,
    chunking: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a chunk is a string or {\"text\": string, \"control\": true or false}"
)]
enum Chunk {
    Text(String),
    Marked {
        text: String,
        #[serde(default)]
        control: bool,
    },
}

/// A tool in OpenAI's shape.
#[derive(Deserialize)]
struct ToolInput {
    function: FunctionInput,
}

#[derive(Deserialize)]
struct FunctionInput {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "tool_choice is \"none\", \"auto\", \"required\" or {\"function\": {\"name\": string}}"
)]
enum ToolChoiceInput {
    Mode(ToolChoiceMode),
    Named { function: NamedFunction },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ToolChoiceMode {
    None,
    Auto,
    Required,
}

#[derive(Deserialize)]
struct NamedFunction {
    name: String,
}

/// How the model is to have ended.
#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum EndInput {
    #[default]
    Stop,
    Length,
}

/// One line of the output.
#[derive(Serialize)]
struct Answer {
    id: Value,
    message: AnswerMessage,
    /// None when a plugin's failure failed the answer.
    finish_reason: Option<ChatFinishReason>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Event>>,
}

#[derive(Serialize)]
struct AnswerMessage {
    content: Option<String>,
    reasoning_content: Option<String>,
    tool_calls: Vec<AnswerCall>,
}

#[derive(Serialize)]
struct AnswerCall {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: AnswerFunction,
}

#[derive(Serialize)]
struct AnswerFunction {
    name: String,
    arguments: String,
}

fn answer(case: Case, options: &ParseOptions) -> Result<Answer, String> {
    let fragments = fragments(case.text, case.chunks)?;
    let fragments = match &case.chunking {
        Some(chunking) => rechunk(fragments, Chunking::read(chunking)?),
        None => fragments,
    };
    let ended = match case.finish_reason {
        EndInput::Stop => FinishReason::Stop,
        EndInput::Length => FinishReason::Length,
    };
    let tool_choice = read_tool_choice(case.tool_choice);
    let context = RequestContext {
        tools: case.tools.into_iter().map(read_tool).collect(),
        tool_choice: tool_choice.clone(),
        parallel_tool_calls: true,
        prompt_tail: case.prompt,
        ..RequestContext::default()
    };
    let mut events = Vec::new();
    let (ended, error) = match push_all(context, fragments, ended, options, &mut events) {
        Ok((ended, error)) => (Some(ended), error),
        Err(error) => (None, Some(error)),
    };
    let mut fold = MessageFold::new();
    fold.extend(&events);
    Ok(Answer {
        id: case.id,
        finish_reason: ended.map(|ended| fold.finish_reason(ended, &tool_choice)),
        message: fold.into_message().into(),
        error: error.map(|error| error.to_string()),
        events: options.events.then_some(events),
    })
}

/// Answers how the case ended and the plugin error that was passed over, if any.
fn push_all(
    context: RequestContext,
    fragments: Vec<Fragment>,
    ended: FinishReason,
    options: &ParseOptions,
    events: &mut Vec<Event>,
) -> Result<(FinishReason, Option<PluginError>), PluginError> {
    let options = options.clone();
    let mut pipeline = OutputPipeline::new(PipelineSpec {
        reasoning: options.reasoning,
        tools: options.tools,
        parse_without_tools: true,
        post: options.post,
        context,
        tool_call_streaming: options.tool_call_streaming,
        call_ids: CallIds::Counting(0),
        ..PipelineSpec::default()
    })?;
    for fragment in fragments {
        if pipeline.stopped() {
            break;
        }
        pipeline.push_fragment(fragment, events)?;
    }
    let ended = pipeline.finish(ended, events)?;
    Ok((ended, pipeline.error().cloned()))
}

fn fragments(text: Option<String>, chunks: Option<Vec<Chunk>>) -> Result<Vec<Fragment>, String> {
    match (text, chunks) {
        (Some(text), None) => Ok(vec![Fragment {
            text,
            kind: FragmentKind::Text,
        }]),
        (None, Some(chunks)) => Ok(chunks.into_iter().map(read_chunk).collect()),
        _ => Err("a case has either `text` or `chunks`".to_owned()),
    }
}

fn read_chunk(chunk: Chunk) -> Fragment {
    match chunk {
        Chunk::Marked {
            text,
            control: true,
        } => Fragment {
            text,
            kind: FragmentKind::Control,
        },
        Chunk::Text(text) | Chunk::Marked { text, .. } => Fragment {
            text,
            kind: FragmentKind::Text,
        },
    }
}

fn read_tool(tool: ToolInput) -> Tool {
    let FunctionInput {
        name,
        description,
        parameters,
        strict,
    } = tool.function;
    let parameters = parameters.map_or_else(|| "{}".to_owned(), |schema| schema.get().to_owned());
    Tool {
        name,
        description,
        parameters,
        strict: strict.unwrap_or(false),
    }
}

fn read_tool_choice(choice: Option<ToolChoiceInput>) -> ToolChoice {
    match choice {
        Some(ToolChoiceInput::Mode(ToolChoiceMode::None)) => ToolChoice::None,
        None | Some(ToolChoiceInput::Mode(ToolChoiceMode::Auto)) => ToolChoice::Auto,
        Some(ToolChoiceInput::Mode(ToolChoiceMode::Required)) => ToolChoice::Required,
        Some(ToolChoiceInput::Named { function }) => ToolChoice::Named(function.name),
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

/// How text is cut before it is pushed. Control chunks are one token and stay whole.
#[derive(Clone, Copy)]
enum Chunking {
    /// Neighbouring texts are joined.
    Whole,
    /// That many characters each.
    Chars(usize),
    /// Groups of 1 to [`LONGEST_RANDOM_GROUP`] characters, the same for the same seed.
    Random(u64),
}

/// Longer than most markers, so that groups both cut them and hold them whole.
const LONGEST_RANDOM_GROUP: u32 = 24;

impl Chunking {
    fn read(text: &str) -> Result<Self, String> {
        let chunking = match text.split_once(':') {
            None if text == "whole" => Some(Self::Whole),
            Some(("chars", count)) => count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Chars),
            Some(("random", seed)) => seed.parse().ok().map(Self::Random),
            _ => None,
        };
        chunking
            .ok_or_else(|| format!("chunking is `whole`, `chars:N` or `random:SEED`, not `{text}`"))
    }
}

fn rechunk(fragments: Vec<Fragment>, chunking: Chunking) -> Vec<Fragment> {
    let mut joined: Vec<Fragment> = Vec::new();
    for fragment in fragments {
        match joined.last_mut() {
            Some(last)
                if last.kind == FragmentKind::Text && fragment.kind == FragmentKind::Text =>
            {
                last.text.push_str(&fragment.text);
            }
            _ => joined.push(fragment),
        }
    }
    match chunking {
        Chunking::Whole => joined,
        Chunking::Chars(count) => cut(joined, || count),
        Chunking::Random(seed) => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            cut(joined, || {
                1 + (random.next_u32() % LONGEST_RANDOM_GROUP) as usize
            })
        }
    }
}

/// `length` says how many characters the next piece has.
fn cut(fragments: Vec<Fragment>, mut length: impl FnMut() -> usize) -> Vec<Fragment> {
    let mut pieces = Vec::new();
    for fragment in fragments {
        if fragment.kind == FragmentKind::Control {
            pieces.push(fragment);
            continue;
        }
        let mut rest = fragment.text.as_str();
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .nth(length())
                .map_or(rest.len(), |(end, _)| end);
            let (piece, after) = rest.split_at(end);
            pieces.push(Fragment {
                text: piece.to_owned(),
                kind: fragment.kind,
            });
            rest = after;
        }
    }
    pieces
}

#[cfg(test)]
mod tests;
