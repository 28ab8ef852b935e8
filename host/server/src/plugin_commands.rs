//! `weir plugin list | inspect | check | bench | pack`: what plugin users and authors ask from a shell.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use thiserror::Error;
use weir_output::{
    FinishReason, Fragment, FragmentKind, ParserInfo, PluginError, PostProcessorInfo,
};
use weir_plugin_host::{PluginHostError, PluginKind, Registry};
use wit_component::ComponentEncoder;

use crate::{
    cli::{PluginCommand, PluginFlags},
    plugin_bench,
    wiring::{self, PluginSources, WiringError},
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
    /// A file.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Does what was asked and returns what to print.
///
/// # Errors
/// See [`PluginCommandError`].
pub fn run(command: &PluginCommand, sources: &PluginFlags) -> Result<String, PluginCommandError> {
    let registry = |checked: Option<String>| {
        let mut sources = PluginSources::from(sources);
        sources.files.extend(checked);
        wiring::registry(&sources)
    };
    match command {
        PluginCommand::List => Ok(list(&registry(None)?)),
        PluginCommand::Inspect { name } => inspect(&registry(None)?, name),
        PluginCommand::Check { file } => {
            let file = file.display();
            let registry = registry(Some(format!("{CHECKED}={file}")))?;
            let described = inspect(&registry, CHECKED)?;
            exercise(&registry)?;
            Ok(format!("{file} keeps the contract\n{described}"))
        }
        PluginCommand::Bench { name } => {
            let parser = registry(None)?.parser(name)?;
            Ok(plugin_bench::run(parser.as_ref())?)
        }
        PluginCommand::Pack { module, output } => pack(module, output),
    }
}

/// The name under which a file is loaded to be checked.
const CHECKED: &str = "checked";

fn list(registry: &Registry) -> String {
    let mut text = String::new();
    for kind in [PluginKind::Parser, PluginKind::PostProcessor] {
        for name in registry.names(kind) {
            let _ = write!(text, "{name:<20} {}", what(registry, name, kind));
            let aliases = registry.aliases(name);
            if !aliases.is_empty() {
                let _ = write!(text, " (also {})", aliases.join(", "));
            }
            text.push('\n');
        }
    }
    text
}

/// What it is for, in the words of the flags. One that does not load is still listed; `inspect` says why.
fn what(registry: &Registry, name: &str, kind: PluginKind) -> String {
    let roles = match kind {
        PluginKind::PostProcessor => return kind.to_string(),
        PluginKind::Parser => registry.parser(name).map(|parser| parser.info().roles),
    };
    match roles {
        Ok(roles) if roles.tools && roles.reasoning => "tool-call and reasoning parser".to_owned(),
        Ok(roles) if roles.tools => "tool-call parser".to_owned(),
        Ok(_) => "reasoning parser".to_owned(),
        Err(_) => format!("{kind} that does not load"),
    }
}

fn inspect(registry: &Registry, name: &str) -> Result<String, PluginCommandError> {
    match registry.parser(name) {
        Ok(parser) => Ok(describe_parser(parser.info())),
        Err(PluginHostError::WrongKind { .. }) => Ok(describe_post_processor(
            registry.post_processor(name)?.info(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Runs every function of a parser once: that it loads says nothing of them.
fn exercise(registry: &Registry) -> Result<(), PluginCommandError> {
    let parser = match registry.parser(CHECKED) {
        Err(PluginHostError::WrongKind { .. }) => return Ok(()),
        parser => parser?,
    };
    let context = plugin_bench::forced_call();
    parser.grammar(&context)?;
    let mut session = parser.session(&context)?;
    let word = Fragment {
        text: "word".to_owned(),
        kind: FragmentKind::Text,
    };
    session.push(&word, &mut Vec::new())?;
    session.finish(FinishReason::Stop, &mut Vec::new())?;
    Ok(())
}

fn describe_parser(info: &ParserInfo) -> String {
    let roles: Vec<&str> = [
        (info.roles.reasoning, "reasoning"),
        (info.roles.tools, "tools"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect();
    let mut text = format!(
        "name: {} {}\nroles: {}\n",
        info.name,
        info.version,
        roles.join(", ")
    );
    let lists = [
        ("aliases", &info.aliases),
        ("markers", &info.markers),
        ("special tokens", &info.special_tokens),
        ("stop tokens", &info.stop_tokens),
    ];
    for (label, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
        let _ = writeln!(text, "{label}: {}", values.join(" "));
    }
    let template = info
        .chat_template
        .as_ref()
        .map_or("none", |_| "recommended");
    let _ = writeln!(text, "chat template: {template}");
    if !info.default_config.is_empty() {
        let _ = writeln!(text, "default configuration: {}", info.default_config);
    }
    text
}

fn describe_post_processor(info: &PostProcessorInfo) -> String {
    let interests = &info.interests;
    let wanted: Vec<&str> = [
        (interests.content, "content"),
        (interests.reasoning, "reasoning"),
        (interests.calls, "calls"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect();
    let mut text = format!(
        "name: {} {}\ninterests: {}\n",
        info.name,
        info.version,
        wanted.join(", ")
    );
    if !info.default_config.is_empty() {
        let _ = writeln!(text, "default configuration: {}", info.default_config);
    }
    text
}

/// The component of a core module. The SDK's macro has put the contract's types into the module.
fn pack(module: &Path, output: &Path) -> Result<String, PluginCommandError> {
    let at = |path: &Path, reason: String| PluginCommandError::File {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(module).map_err(|error| at(module, error.to_string()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| at(module, format!("{error:#}")))?;
    std::fs::write(output, &component).map_err(|error| at(output, error.to_string()))?;
    Ok(format!("{}: {} bytes\n", output.display(), component.len()))
}
