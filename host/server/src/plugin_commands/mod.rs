//! `weir plugin list | inspect | new | check | bench | pack`: what plugin users and authors ask from a shell.

mod check;
mod check_requests;
mod describe;
mod junk;
mod list;
mod new;
mod pack;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use thiserror::Error;
use weir_corpus::case::CaseError;
use weir_output::PluginError;
use weir_plugin_host::{PluginHostError, PluginKind, Registry};

use crate::{
    cli::{PluginCommand, PluginFlags},
    plugin_bench,
    wiring::{self, WiringError},
};

/// Why a plugin command failed.
#[derive(Debug, Error)]
pub enum PluginCommandError {
    /// The plugins could not be gathered.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The plugin itself.
    #[error(transparent)]
    Plugin(#[from] PluginHostError),
    /// The plugin failed while it ran.
    #[error(transparent)]
    Failed(#[from] PluginError),
    /// A case of a corpus.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A name that no project can have.
    #[error(
        "`{0}` names no plugin: lower-case letters, digits and `_`, a letter first, no word of the language"
    )]
    Name(String),
    /// A kind that there is no project for in a language.
    #[error("a project for a request processor is written in Rust: leave --lang out")]
    Language,
    /// A configuration that is not JSON.
    #[error("--config is no JSON object: {0}")]
    Config(String),
    /// A file.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl PluginCommandError {
    fn file(path: &Path, reason: impl Display) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// What a command has to say.
#[derive(Debug)]
pub struct Answer {
    /// What to print.
    pub text: String,
    /// False when what was checked is not right.
    pub right: bool,
}

/// Does what was asked.
///
/// # Errors
/// See [`PluginCommandError`].
pub fn run(command: &PluginCommand, sources: &PluginFlags) -> Result<Answer, PluginCommandError> {
    let registry = || wiring::registry(&sources.into());
    let text = match command {
        PluginCommand::List => list::list(&registry()?),
        PluginCommand::Inspect { name } => inspect(&registry()?, name)?,
        PluginCommand::New { name, kind, lang } => new::new(Path::new(""), name, *kind, *lang)?,
        PluginCommand::Check {
            file,
            corpus,
            config,
        } => return check::check(file, corpus.as_deref(), config.as_deref(), sources),
        PluginCommand::Bench { name } => plugin_bench::run(registry()?.parser(name)?.as_ref())?,
        PluginCommand::Pack { module, output } => pack::pack(module, output)?,
    };
    Ok(Answer { text, right: true })
}

fn inspect(registry: &Registry, name: &str) -> Result<String, PluginCommandError> {
    Ok(match registry.kind(name)? {
        PluginKind::Parser => describe::parser(registry.parser(name)?.info()),
        PluginKind::PostProcessor => {
            describe::post_processor(registry.post_processor(name)?.info())
        }
        PluginKind::RequestProcessor => {
            describe::request_processor(registry.request_processor(name)?.as_ref())
        }
    })
}
