//! One line of the input, and what it is to the pipeline.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use weir_corpus::case;
use weir_output::{FinishReason, Fragment, FragmentKind, RequestContext, Tool, ToolChoice};

use super::chunking::{Chunking, rechunk};

/// One line of the input.
#[derive(Deserialize, ToSchema)]
#[schema(as = ParseCase)]
pub(crate) struct Case {
    /// Comes back in the answer.
    #[serde(default)]
    id: Value,
    /// What the model wrote; else `chunks`.
    text: Option<String>,
    /// What the model wrote, piece by piece.
    chunks: Option<Vec<Chunk>>,
    /// The tools on offer, as OpenAI has them.
    #[serde(default)]
    tools: Vec<ToolInput>,
    /// `none`, `auto`, `required` or a function.
    tool_choice: Option<ToolChoiceInput>,
    /// The end of the rendered prompt.
    #[serde(default)]
    prompt: String,
    /// How the model ended.
    #[serde(default)]
    finish_reason: EndInput,
    /// `whole`, `chars:N` or `random:SEED`; as it stands where nothing is said.
    chunking: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a chunk is a string or {\"text\": string, \"control\": true or false}"
)]
#[schema(as = ParseChunk)]
enum Chunk {
    Text(String),
    Marked {
        text: String,
        #[serde(default)]
        control: bool,
    },
}

/// A tool in OpenAI's shape.
#[derive(Deserialize, ToSchema)]
#[schema(as = ParseTool)]
struct ToolInput {
    function: FunctionInput,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ParseFunction)]
struct FunctionInput {
    name: String,
    description: Option<String>,
    #[schema(value_type = Option<Object>)]
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "tool_choice is \"none\", \"auto\", \"required\" or {\"function\": {\"name\": string}}"
)]
#[schema(as = ParseToolChoice)]
enum ToolChoiceInput {
    Mode(ToolChoiceMode),
    Named { function: NamedFunction },
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ParseToolChoiceMode)]
#[serde(rename_all = "lowercase")]
enum ToolChoiceMode {
    None,
    Auto,
    Required,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ParseNamedFunction)]
struct NamedFunction {
    name: String,
}

/// How the model is to have ended.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = ParseEnd)]
#[serde(rename_all = "lowercase")]
enum EndInput {
    #[default]
    Stop,
    Length,
}

/// A case as it is run, however often.
pub(crate) struct Input {
    /// As the case has it.
    pub(crate) id: Value,
    /// What sessions know of the request.
    pub(crate) context: RequestContext,
    /// What comes, cut as the case says.
    pub(crate) fragments: Vec<Fragment>,
    /// How the model ended.
    pub(crate) ended: FinishReason,
}

impl Input {
    /// A line's.
    ///
    /// # Errors
    /// When the line has no text, or two; a chunking that is none.
    pub(crate) fn of(case: Case) -> Result<Self, String> {
        let fragments = fragments(case.text, case.chunks)?;
        let fragments = match &case.chunking {
            Some(chunking) => rechunk(fragments, Chunking::read(chunking)?),
            None => fragments,
        };
        let ended = match case.finish_reason {
            EndInput::Stop => FinishReason::Stop,
            EndInput::Length => FinishReason::Length,
        };
        let context = RequestContext {
            tools: case.tools.into_iter().map(read_tool).collect(),
            tool_choice: read_tool_choice(case.tool_choice),
            parallel_tool_calls: true,
            prompt_tail: case.prompt,
            ..RequestContext::default()
        };
        Ok(Self {
            id: case.id,
            context,
            fragments,
            ended,
        })
    }

    /// That of a corpus file, whose name is its id.
    ///
    /// # Errors
    /// When it cannot be read or is no case.
    pub(crate) fn of_file(path: &Path) -> Result<Self, case::CaseError> {
        let case = case::Case::read(path)?;
        Ok(Self {
            id: case.name().into(),
            context: case.context(),
            fragments: case.fragments(),
            ended: case.finish_reason,
        })
    }
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
