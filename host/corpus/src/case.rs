//! The format of a corpus case: one TOML file, written by hand.
//!
//! `shows` says what the case is about; `points` names the policy points and the peers' bugs it stands for. The input is
//! `text`, or `chunks` where control tokens and a remote engine's text are told from text. `[expect]` is the message with
//! streamed calls; `[expect.complete]` is the message with whole calls, where that is another one. Expected values are
//! judged from the policy, never taken from a run. Unknown keys are refused.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;
use weir_output::{
    ChatFinishReason, FinishReason, Fragment, FragmentKind, RequestContext, ResponseFormat, Tool,
    ToolChoice,
};

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// A sentence that says what it shows.
    pub shows: String,
    /// Policy points (`"4"`) and bugs of other servers (`"vllm 48020"`) it stands for.
    #[serde(default)]
    pub points: Vec<String>,
    /// Where the shape of the input is known from: a format's definition, an issue thread, a peer's behaviour, our policy.
    pub source: String,
    /// Another parser of the chain beside the one whose folder the case is in.
    pub with: Option<String>,
    /// The end of the rendered prompt.
    #[serde(default)]
    pub prompt: String,
    /// How generation ended.
    #[serde(default = "stop")]
    pub finish_reason: FinishReason,
    /// Whether markers count as control fragments only.
    #[serde(default)]
    pub strict_markers: bool,
    /// What the model wrote, where it means the same with its markers as text and as control tokens.
    pub text: Option<String>,
    /// What the model wrote, control tokens told from text.
    #[serde(default)]
    pub chunks: Vec<Chunk>,
    /// The tools on offer.
    #[serde(default)]
    pub tools: Vec<OfferedTool>,
    /// What the request says about calling them: `"auto"` where nothing stands here.
    #[serde(default)]
    pub tool_choice: Choice,
    /// What the request says about the form of the content: any text where nothing stands here.
    #[serde(default)]
    pub response_format: Format,
    /// The configuration of the plugin whose folder the case is in.
    #[serde(default)]
    pub config: toml::Table,
    /// The message.
    pub expect: Expected,
}

/// A piece of the model's output.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Chunk {
    /// Text, which may be cut anywhere.
    Text(String),
    /// One control token.
    Control {
        /// Its text.
        control: String,
    },
    /// A remote engine's text, which may be cut anywhere.
    Unknown {
        /// It.
        unknown: String,
    },
}

/// What the request says about calling tools.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Choice {
    /// Without naming a tool.
    Mode(ChoiceMode),
    /// This tool.
    Named {
        /// Its name.
        name: String,
    },
}

/// What the request says about calling tools without naming one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChoiceMode {
    /// No calls.
    None,
    /// The model decides.
    Auto,
    /// At least one call.
    Required,
}

impl Default for Choice {
    fn default() -> Self {
        Self::Mode(ChoiceMode::Auto)
    }
}

/// What the request says about the form of the content.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that matches this schema, as text.
    JsonSchema(String),
}

/// A tool on offer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferedTool {
    /// Its name.
    pub name: String,
    /// JSON Schema of its arguments, as text.
    pub parameters: String,
    /// Whether arguments must match the schema.
    #[serde(default)]
    pub strict: bool,
}

/// What is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Text for the user.
    #[serde(default)]
    pub content: String,
    /// Reasoning.
    #[serde(default)]
    pub reasoning: String,
    /// Calls, those that were streamed and then abandoned too.
    #[serde(default)]
    pub calls: Vec<ExpectedCall>,
    /// As OpenAI's answers spell it.
    #[serde(default = "chat_stop")]
    pub finish_reason: ChatFinishReason,
    /// What is otherwise with whole calls; reasoning is as above.
    pub complete: Option<ExpectedComplete>,
}

/// What is expected with whole calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedComplete {
    /// Text for the user.
    #[serde(default)]
    pub content: String,
    /// Whole calls.
    #[serde(default)]
    pub calls: Vec<ExpectedCall>,
}

/// A call that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedCall {
    /// The tool's name.
    pub name: String,
    /// The bytes of the arguments.
    pub arguments: String,
    /// The id the model wrote, for formats that have one; any id otherwise.
    pub id: Option<String>,
    /// Whether it closed.
    #[serde(default = "yes")]
    pub complete: bool,
}

fn stop() -> FinishReason {
    FinishReason::Stop
}

fn chat_stop() -> ChatFinishReason {
    ChatFinishReason::Stop
}

fn yes() -> bool {
    true
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// When the file cannot be read or is no case.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let text = fs::read_to_string(path).map_err(|error| CaseError::new(path, error))?;
        let mut case: Case = toml::from_str(&text).map_err(|error| CaseError::new(path, error))?;
        if case.text.is_some() != case.chunks.is_empty() {
            return Err(CaseError::new(path, "either text or chunks"));
        }
        case.path = path.to_owned();
        Ok(case)
    }

    /// What its sessions know of the request.
    pub fn context(&self) -> RequestContext {
        RequestContext {
            tools: self.offered(),
            tool_choice: self.choice(),
            response_format: self.response_format(),
            parallel_tool_calls: true,
            prompt_tail: self.prompt.clone(),
            strict_markers: self.strict_markers,
            ..RequestContext::default()
        }
    }

    /// What the model wrote: a stretch of text in one piece, each control token for itself.
    pub fn fragments(&self) -> Vec<Fragment> {
        let text = self.text.iter().map(|text| (text, FragmentKind::Text));
        let chunks = self.chunks.iter().map(|chunk| match chunk {
            Chunk::Text(text) => (text, FragmentKind::Text),
            Chunk::Control { control } => (control, FragmentKind::Control),
            Chunk::Unknown { unknown } => (unknown, FragmentKind::Unknown),
        });
        text.chain(chunks)
            .filter(|(text, _)| !text.is_empty())
            .map(|(text, kind)| Fragment {
                text: text.clone(),
                kind,
            })
            .collect()
    }

    /// The tools on offer, as a request gives them.
    pub fn offered(&self) -> Vec<Tool> {
        let offer = |tool: &OfferedTool| Tool {
            name: tool.name.clone(),
            description: None,
            parameters: tool.parameters.clone(),
            strict: tool.strict,
        };
        self.tools.iter().map(offer).collect()
    }

    /// What the request says about calling them.
    pub fn choice(&self) -> ToolChoice {
        match &self.tool_choice {
            Choice::Mode(ChoiceMode::None) => ToolChoice::None,
            Choice::Mode(ChoiceMode::Auto) => ToolChoice::Auto,
            Choice::Mode(ChoiceMode::Required) => ToolChoice::Required,
            Choice::Named { name } => ToolChoice::Named(name.clone()),
        }
    }

    /// What the request says about the form of the content.
    pub fn response_format(&self) -> ResponseFormat {
        match &self.response_format {
            Format::Text => ResponseFormat::Text,
            Format::JsonObject => ResponseFormat::JsonObject,
            Format::JsonSchema(schema) => ResponseFormat::JsonSchema(schema.clone()),
        }
    }

    /// Its file's name, which names it within its folder.
    pub fn name(&self) -> &str {
        let stem = self.path.file_stem();
        stem.and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The folder it is in: the plugin it is for.
    pub fn plugin(&self) -> &str {
        let folder = self.path.parent().and_then(Path::file_name);
        folder.and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// The cases of a folder, which is one plugin's, by their names.
///
/// # Errors
/// When the folder or a case cannot be read.
pub fn read_folder(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let in_folder = |error| CaseError::new(folder, error);
    let mut paths = Vec::new();
    for file in fs::read_dir(folder).map_err(in_folder)? {
        paths.push(file.map_err(in_folder)?.path());
    }
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

/// A file is no case.
#[derive(Debug, Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct CaseError {
    path: PathBuf,
    reason: String,
}

impl CaseError {
    fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
