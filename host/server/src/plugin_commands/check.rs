//! `weir plugin check`: everything that can be held against a component without knowing its format.
//!
//! One line a check. What keeps a plugin from loading is the last line; after that each check runs whatever the others
//! found. The runner of cases and the generator of junk are the project's own (`weir_corpus`).

use std::{
    collections::{BTreeMap, btree_map},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_corpus::{
    case::{Case, read_folder},
    compare::{Cutting, agree, unexpected},
    fold::Runner,
};
use weir_output::{
    Event, FinishReason, Fragment, FragmentKind, Parser, PluginError, PluginErrorKind,
    PostProcessor, RequestContext,
};
use weir_plugin_host::{AdHocPlugin, PluginHost, PluginHostError, PluginKind};

use super::{
    Answer, PluginCommandError, check_requests,
    junk::{self, Subject},
};
use crate::{
    cli::PluginFlags,
    plugin_bench,
    wiring::{self, WiringError},
};

/// The name under which the file is loaded.
pub(super) const CHECKED: &str = "checked";

pub(super) type Json = serde_json::Map<String, serde_json::Value>;

/// Checks a file.
///
/// # Errors
/// When it cannot be checked at all: the corpus or the configuration cannot be read. What is wrong with the plugin is part
/// of the answer.
pub(super) fn check(
    file: &Path,
    corpus: Option<&Path>,
    config: Option<&str>,
    sources: &PluginFlags,
) -> Result<Answer, PluginCommandError> {
    let config: Json = match config {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| PluginCommandError::Config(error.to_string()))?,
        None => Json::new(),
    };
    let cases = corpus.map(read_folder).transpose()?;
    let mut loader = Loader {
        host: wiring::plugin_host(0)?,
        sources,
        file,
        config,
        loaded: BTreeMap::new(),
    };
    let mut report = Report::default();
    let size = fs::metadata(file)
        .map_err(|error| PluginCommandError::file(file, error))?
        .len();
    let plugin = match loader.plugin(&toml::Table::new()) {
        Ok(plugin) => plugin,
        Err(WiringError::Plugin(PluginHostError::WrongKind {
            kind: PluginKind::RequestProcessor,
            ..
        })) => {
            let Loader { host, config, .. } = &loader;
            return check_requests::check(host, file, config, report, size);
        }
        Err(WiringError::Plugin(error)) => {
            report.wrong(kept_from(&error), &error.to_string());
            return Ok(report.answer());
        }
        Err(error) => return Err(error.into()),
    };
    report.ok("contract", &format!("{}, {size} bytes", plugin.title()));
    report.ok("imports", "none");
    report.say("functions", plugin.exercise().map_err(|e| e.to_string()));
    match &cases {
        Some(cases) => report.say("corpus", run_corpus(&mut loader, cases)?),
        None => report.skipped("corpus", "give a folder of cases with --corpus"),
    }
    let subject = subject(&mut loader, &plugin, cases.unwrap_or_default())?;
    for (label, said) in junk::run(&subject) {
        report.say(label, said);
    }
    report.say("cost", plugin.cost().map_err(|e| e.to_string()));
    Ok(report.answer())
}

/// Which check a plugin failed that did not load.
fn kept_from(error: &PluginHostError) -> &'static str {
    match error {
        PluginHostError::Imports { .. } => "imports",
        PluginHostError::Plugin(PluginError { kind, .. }) => match kind {
            PluginErrorKind::Memory { .. }
            | PluginErrorKind::Timeout { .. }
            | PluginErrorKind::Output { .. } => "limits",
            _ => "functions",
        },
        _ => "contract",
    }
}

/// The lines.
#[derive(Default)]
pub(super) struct Report {
    text: String,
    wrong: bool,
}

impl Report {
    fn line(&mut self, verdict: &str, label: &str, what: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{verdict:<6} {label:<10} {what}");
    }

    pub(super) fn ok(&mut self, label: &str, what: &str) {
        self.line("ok", label, what);
    }

    fn wrong(&mut self, label: &str, what: &str) {
        self.wrong = true;
        self.line("wrong", label, what.trim_end());
    }

    pub(super) fn skipped(&mut self, label: &str, what: &str) {
        self.line("-", label, what);
    }

    pub(super) fn say(&mut self, label: &str, said: Result<String, String>) {
        match said {
            Ok(what) => self.ok(label, &what),
            Err(what) => self.wrong(label, &what),
        }
    }

    pub(super) fn answer(self) -> Answer {
        Answer {
            text: self.text,
            right: !self.wrong,
        }
    }
}

/// The plugin under check, of either kind.
#[derive(Clone)]
pub(super) enum Plugin {
    Parser(Arc<dyn Parser>),
    PostProcessor(Arc<dyn PostProcessor>),
}

impl Plugin {
    fn title(&self) -> String {
        match self {
            Self::Parser(parser) => {
                let info = parser.info();
                let roles = match (info.roles.tools, info.roles.reasoning) {
                    (true, true) => "tool-call and reasoning parser",
                    (false, true) => "reasoning parser",
                    _ => "tool-call parser",
                };
                format!("{} {}, a {roles}", info.name, info.version)
            }
            Self::PostProcessor(post) => {
                let info = post.info();
                format!("{} {}, a post-processor", info.name, info.version)
            }
        }
    }

    /// The runner with this plugin in it.
    pub(super) fn join(&self, runner: Runner) -> Runner {
        match self {
            Self::Parser(parser) => runner.with_parser(Arc::clone(parser)),
            Self::PostProcessor(post) => runner.with_post_processor(Arc::clone(post)),
        }
    }

    /// Runs every function once: that it loads says nothing of them.
    fn exercise(&self) -> Result<String, PluginError> {
        let context = plugin_bench::forced_call();
        let word = Fragment {
            text: "word".to_owned(),
            kind: FragmentKind::Text,
        };
        match self {
            Self::Parser(parser) => {
                let forced = match parser.grammar(&context)? {
                    Some(_) => "it can be forced",
                    None => "it cannot be forced",
                };
                let mut session = parser.session(&context)?;
                session.push(&word, &mut Vec::new())?;
                session.finish(FinishReason::Stop, &mut Vec::new())?;
                Ok(format!("describe, grammar ({forced}), start, push, finish"))
            }
            Self::PostProcessor(post) => {
                let mut session = post.session(&context)?;
                session.push(&Event::Content(word), &mut Vec::new())?;
                session.finish(FinishReason::Stop, &mut Vec::new())?;
                Ok("describe, start, push, finish".to_owned())
            }
        }
    }

    fn cost(&self) -> Result<String, PluginError> {
        let context = RequestContext::default();
        let (session, push) = match self {
            Self::Parser(parser) => plugin_bench::parser_cost(parser.as_ref(), &context)?,
            Self::PostProcessor(post) => plugin_bench::post_cost(post.as_ref(), &context)?,
        };
        Ok(format!(
            "{:.1} us a push of 4 characters, {:.0} us to start a session",
            push.as_secs_f64() * 1e6,
            session.as_secs_f64() * 1e6
        ))
    }
}

/// Loads the plugin under check with the configurations that cases ask for, and the parsers beside it.
struct Loader<'a> {
    host: Arc<PluginHost>,
    sources: &'a PluginFlags,
    file: &'a Path,
    config: Json,
    loaded: BTreeMap<String, Plugin>,
}

impl Loader<'_> {
    /// The plugin with this configuration over that of the command line.
    fn plugin(&mut self, over: &toml::Table) -> Result<Plugin, WiringError> {
        let mut config = self.config.clone();
        if let Ok(serde_json::Value::Object(over)) = serde_json::to_value(over) {
            config.extend(over);
        }
        let config = serde_json::Value::Object(config).to_string();
        let vacant = match self.loaded.entry(config) {
            btree_map::Entry::Occupied(known) => return Ok(known.get().clone()),
            btree_map::Entry::Vacant(vacant) => vacant,
        };
        let plugin = AdHocPlugin {
            name: CHECKED.to_owned(),
            wasm: PathBuf::from(self.file),
        };
        let registry = weir_plugin_host::Registry::builder(&self.host)
            .ad_hoc_configured(&plugin, vacant.key())?
            .build()?;
        let plugin = match registry.parser(CHECKED) {
            Ok(parser) => Plugin::Parser(parser),
            Err(PluginHostError::WrongKind { .. }) => {
                Plugin::PostProcessor(registry.post_processor(CHECKED)?)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(vacant.insert(plugin).clone())
    }

    /// Another parser, by name.
    fn parser(&self, name: &str) -> Result<Arc<dyn Parser>, WiringError> {
        let sources = self.sources;
        let builder = wiring::registry_builder(&self.host, &sources.into())?;
        Ok(builder.build()?.parser(name)?)
    }
}

/// Every case under every chunking, up to the first that fails.
fn run_corpus(
    loader: &mut Loader<'_>,
    cases: &[Case],
) -> Result<Result<String, String>, PluginCommandError> {
    let mut ways = 0;
    for case in cases {
        let plugin = match loader.plugin(&case.config) {
            Ok(plugin) => plugin,
            Err(error) => return Ok(Err(of_case(case, &format!(" {error}\n")))),
        };
        let mut runner = plugin.join(Runner::of_case(case));
        if let Some(with) = &case.with {
            runner = runner.with_parser(loader.parser(with)?);
        }
        let cuttings = [Cutting::every_way(case.fragments())];
        ways += cuttings[0].chunkings.len();
        let failure = match agree(&runner, &cuttings) {
            Ok(wholes) => unexpected(case, &wholes),
            Err(disagreement) => Some(disagreement),
        };
        if let Some(failure) = failure {
            return Ok(Err(of_case(case, &failure)));
        }
    }
    let count = cases.len();
    Ok(Ok(format!(
        "{count} cases, cut in {ways} ways, in both modes"
    )))
}

fn of_case(case: &Case, failure: &str) -> String {
    format!("{}: {}\n{failure}", case.path.display(), case.shows)
}

/// What junk is made of: the plugin as the command line and each case configures it, with the parsers that cases put beside
/// it. A post-processor also gets what a parser of calls hands on.
fn subject(
    loader: &mut Loader<'_>,
    plugin: &Plugin,
    cases: Vec<Case>,
) -> Result<Subject, PluginCommandError> {
    let mut subject = Subject::new(plugin.clone());
    if let Plugin::PostProcessor(_) = plugin {
        let parser = loader.parser(junk::COMPANION)?;
        subject.setup(plugin.clone(), Some(parser));
    }
    for case in cases {
        // A case whose plugin or companion does not load was told of already.
        let with = case.with.as_deref().map(|with| loader.parser(with));
        if let (Ok(plugin), Ok(with)) = (loader.plugin(&case.config), with.transpose()) {
            let setup = subject.setup(plugin, with);
            subject.material.cases.push((case, setup));
        }
    }
    Ok(subject)
}
