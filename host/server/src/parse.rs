//! `weir parse`: runs parsers and post-processors over model outputs given as JSON Lines, one case a line, one answer a
//! line, through the very pipeline that serves requests.
//!
//! Invariants: answers come in the order of the cases and are the same in every run (call ids are counted); a plugin's
//! failure stands in its case's `error` and ends nothing else; only unusable input ends the run. Keys it does not know
//! are ignored, so that corpus files can carry what they expect beside the input.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
};

use thiserror::Error;
use weir_corpus::case::CaseError;
use weir_output::{Configured, Parser, PostProcessor, ToolCallStreaming};

mod answer;
mod chunking;
mod input;
mod splits;
mod steps;

pub(crate) use answer::{Answer, Bounds, run as run_case};
pub(crate) use input::{Case, Input};
pub(crate) use splits::Splits;
pub(crate) use steps::{Step, steps};

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

/// A corpus file cannot be used, or the output not written.
#[derive(Debug, Error)]
pub enum CaseFileError {
    /// The file, and what is wrong with it.
    #[error("{0}")]
    Case(String),
    /// The output.
    #[error("cannot write the answer: {0}")]
    Write(#[from] std::io::Error),
}

impl From<CaseError> for CaseFileError {
    /// In one line: what shows the place in the file is left out.
    fn from(error: CaseError) -> Self {
        let text = error.to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default();
        Self::Case(match lines.next_back() {
            Some(last) => format!("{first}: {last}"),
            None => first.to_owned(),
        })
    }
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
        let input = Input::of(case).map_err(unusable)?;
        let answer = Answer::to(input, options);
        let answer = serde_json::to_string(&answer).map_err(|error| unusable(error.to_string()))?;
        writeln!(output, "{answer}")
            .map_err(|error| unusable(format!("cannot write the answer: {error}")))?;
    }
    Ok(())
}

/// Answers corpus cases on `output`, a line each; a file's name is its id.
///
/// # Errors
/// At the first file that is no case; those before it are answered.
pub fn run_files(
    files: &[PathBuf],
    mut output: impl Write,
    options: &ParseOptions,
) -> Result<(), CaseFileError> {
    for file in files {
        let answer = Answer::to(Input::of_file(file)?, options);
        let answer = serde_json::to_string(&answer).map_err(std::io::Error::from)?;
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
