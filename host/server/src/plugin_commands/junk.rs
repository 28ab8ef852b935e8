//! Junk for `weir plugin check`: made-up inputs of the plugin's own markers and cases, and what must hold of them.
//!
//! The inputs are the same in every run; how many fit into the time is not, as a guest of a slow language gets fewer.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use weir_corpus::{
    chunking::{Cut, apply},
    compare::as_chunks,
    fold::{Folded, Runner},
    fuzz::{Broken, Finding, Input, Material, Random, Rule, chunking, input, smallest, text},
};
use weir_output::{Event, Fragment, FragmentKind, Parser, ParserInfo, ToolChoice, is_json_object};

use super::check::Plugin;

/// The parser whose events a post-processor gets.
pub(super) const COMPANION: &str = "qwen25";

/// Markers of other formats, which mean nothing here.
const FOREIGN: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "[TOOL_CALLS]",
    "<|im_end|>",
    "<|python_tag|>",
];

const INPUTS: u64 = 3000;
const TIME: Duration = Duration::from_secs(10);
const SEED: u64 = 1;

/// The plugin in its setups, and what its inputs are made of.
pub(super) struct Subject {
    setups: Vec<Setup>,
    pub(super) material: Material,
}

struct Setup {
    plugin: Plugin,
    with: Option<Arc<dyn Parser>>,
}

impl Subject {
    /// With the plugin alone as its first setup.
    pub(super) fn new(plugin: Plugin) -> Self {
        let mut subject = Self {
            setups: Vec::new(),
            material: Material::default(),
        };
        subject.setup(plugin, None);
        subject
    }

    /// Adds a setup, and the markers of what is in it, and returns its number.
    pub(super) fn setup(&mut self, plugin: Plugin, with: Option<Arc<dyn Parser>>) -> usize {
        let own = match &plugin {
            Plugin::Parser(parser) => Some(parser),
            Plugin::PostProcessor(_) => None,
        };
        let mut markers: BTreeSet<String> = self.material.markers.drain(..).collect();
        for parser in own.into_iter().chain(&with) {
            let info = parser.info();
            let texts = [&info.markers, &info.special_tokens, &info.stop_tokens];
            markers.extend(texts.into_iter().flatten().cloned());
        }
        markers.remove("");
        self.material.markers = markers.into_iter().collect();
        self.setups.push(Setup { plugin, with });
        self.material.setups = self.setups.len();
        self.setups.len() - 1
    }

    fn runner(&self, input: &Input) -> Runner {
        let setup = &self.setups[input.setup];
        let runner = Runner::new(input.context.clone(), input.ended);
        let runner = setup.plugin.join(runner);
        match &setup.with {
            Some(parser) => runner.with_parser(Arc::clone(parser)),
            None => runner,
        }
    }

    /// The parser that is under check with nothing beside it.
    fn parser_alone(&self, input: &Input) -> Option<&Arc<dyn Parser>> {
        match &self.setups[input.setup] {
            Setup {
                plugin: Plugin::Parser(parser),
                with: None,
            } => Some(parser),
            _ => None,
        }
    }
}

/// Runs junk and answers with a line for each thing that must hold: the first finding, made small, or how many inputs kept
/// to it.
pub(super) fn run(subject: &Subject) -> Vec<(&'static str, Result<String, String>)> {
    let foreign: Vec<String> = FOREIGN.iter().map(|&marker| marker.to_owned()).collect();
    let check = |input: &Input, cuts: &[Cut]| check(subject, input, cuts);
    let until = Instant::now() + TIME;
    let mut count = 0;
    let mut found = None;
    while count < INPUTS && Instant::now() < until && found.is_none() {
        let mut random = Random::new(SEED, "", count);
        let input = input(&subject.material, &foreign, &mut random);
        let cuts = chunking(&input.fragments, &mut random);
        count += 1;
        found = check(&input, &cuts).err().map(|finding| Broken {
            input,
            cuts,
            finding,
        });
    }
    let found = found.map(|broken| {
        let broken = smallest(&check, Some(0), broken);
        (broken.finding.rule, told(&broken))
    });
    let groups: [(&'static str, &[Rule], &str); 4] = [
        ("failures", &[Rule::NoPluginError], "none"),
        ("chunking", &[Rule::OneFold], "the same whole and cut"),
        ("arguments", &[Rule::ArgumentsAreAnObject], "JSON objects"),
        ("markers", &[Rule::NoMarkerLeaks], "none leaked"),
    ];
    // What comes of a post-processor is not its input's alone: a parser made the calls.
    let held_to = match subject.setups[0].plugin {
        Plugin::Parser(_) => groups.len(),
        Plugin::PostProcessor(_) => 2,
    };
    let groups = groups
        .into_iter()
        .take(held_to)
        .map(|(label, rules, held)| {
            let said = match &found {
                Some((rule, told)) if rules.contains(rule) => Err(told.clone()),
                _ => Ok(format!("{held}, in {count} made-up inputs")),
            };
            (label, said)
        });
    groups.collect()
}

fn told(broken: &Broken) -> String {
    let Broken { input, finding, .. } = broken;
    let mut text = format!(
        "chunks = {}, generation ended by {:?}, calls {:?}, strict_markers = {}",
        as_chunks(&input.fragments),
        input.ended,
        input.mode,
        input.context.strict_markers,
    );
    if !input.context.prompt_tail.is_empty() {
        text.push_str(&format!(", prompt = {:?}", input.context.prompt_tail));
    }
    for tool in &input.context.tools {
        text.push_str(&format!(", a tool {} {}", tool.name, tool.parameters));
    }
    format!("{text}\n {}", finding.how)
}

fn broken(rule: Rule, how: impl Into<String>) -> Result<(), Finding> {
    let how = how.into();
    Err(Finding { rule, how })
}

/// What a client had of a run.
struct Seen {
    events: Vec<Event>,
    folded: Folded,
}

fn check(subject: &Subject, input: &Input, cuts: &[Cut]) -> Result<(), Finding> {
    let runner = subject.runner(input);
    let see = |fragments| {
        let failed = |error: weir_output::PluginError| Finding {
            rule: Rule::NoPluginError,
            how: error.to_string(),
        };
        let (events, ended) = runner.events(fragments, input.mode).map_err(failed)?;
        let folded = runner.fold(&events, ended);
        Ok(Seen { events, folded })
    };
    let whole = see(input.fragments.clone())?;
    let pieces = apply(&input.fragments, cuts);
    let cut = see(pieces.clone())?;
    if whole.folded != cut.folded {
        let (pieces, whole, cut) = (as_chunks(&pieces), whole.folded, cut.folded);
        let how = format!("cut as {pieces}\n whole\n{whole} cut\n{cut}");
        return broken(Rule::OneFold, how);
    }
    match subject.parser_alone(input) {
        Some(parser) => check_parser(parser.as_ref(), input, &whole),
        None => Ok(()),
    }
}

fn check_parser(parser: &dyn Parser, input: &Input, seen: &Seen) -> Result<(), Finding> {
    let mut closed = seen.folded.calls.iter().filter(|call| call.complete);
    if closed.any(|call| !is_json_object(&call.arguments)) {
        return broken(Rule::ArgumentsAreAnObject, seen.folded.to_string());
    }
    let info = parser.info();
    let written = readings(&text(&input.fragments), info);
    let more = |marker: &&String| {
        let count = |text: &str| text.matches(marker.as_str()).count();
        let quoted: usize = written.iter().map(|text| count(text)).sum();
        !marker.is_empty() && count(&seen.folded.content) > quoted
    };
    // What stood around a call that was taken out may be a marker now.
    let calls_taken = seen
        .events
        .iter()
        .any(|event| !matches!(event, Event::Content(_) | Event::Reasoning { .. }));
    if let Some(marker) = info.markers.iter().find(more).filter(|_| !calls_taken) {
        let how = format!("{marker:?} more often than it was written\n{}", seen.folded);
        return broken(Rule::NoMarkerLeaks, how);
    }
    // A control token of a call format is markup, wherever it stands; of a reasoning format it may be a later one, and in
    // quotes it may be data.
    let calls = info.roles.tools && !info.roles.reasoning;
    let in_quotes = text(&input.fragments).contains(['"', '\'']);
    if !calls || in_quotes || input.context.tool_choice == ToolChoice::None {
        return Ok(());
    }
    let leaked = |fragment: &Fragment| {
        fragment.kind == FragmentKind::Control
            && info.special_tokens.contains(&fragment.text)
            && !is_part_of_a_marker(&fragment.text, info)
    };
    let leak = seen
        .events
        .iter()
        .any(|event| matches!(event, Event::Content(fragment) if leaked(fragment)));
    if leak {
        let how = format!("a control token is content\n{}", seen.folded);
        return broken(Rule::NoMarkerLeaks, how);
    }
    Ok(())
}

/// A special token that is a marker only together with text around it says nothing by itself.
fn is_part_of_a_marker(token: &str, info: &ParserInfo) -> bool {
    let whole = |marker: &String| marker.len() > token.len() && marker.contains(token);
    info.markers.iter().any(whole)
}

/// The text, and what is left of it when its markers are taken out, again and again: `<ca<end>ll>` holds a `<call>` too.
fn readings(written: &str, info: &ParserInfo) -> Vec<String> {
    let known = [&info.markers, &info.special_tokens, &info.stop_tokens];
    let known = known.into_iter().flatten();
    let known: Vec<&String> = known.filter(|marker| !marker.is_empty()).collect();
    let mut readings = vec![written.to_owned()];
    loop {
        let before = readings.len();
        for marker in &known {
            let last = readings.last().map_or("", String::as_str);
            if last.contains(marker.as_str()) {
                readings.push(last.replace(marker.as_str(), ""));
            }
        }
        if readings.len() == before {
            return readings;
        }
    }
}
