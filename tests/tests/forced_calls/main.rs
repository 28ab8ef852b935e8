//! What the grammar of every tool parser of plugins.toml forces, the same parser reads back as valid calls.
//!
//! Random walks through the mask write the answers, with the family's control tokens and without them, behind reasoning too.
//! `WALKS=2000 PARSER=qwen25 cargo test -p weir-tests --test forced_calls` walks more, for one parser.

mod tools;
mod walk;

use std::{collections::BTreeSet, env, fmt::Write as _, sync::Arc, thread};

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use weir_constrain::Answer;
use weir_corpus::fold::{Folded, Runner};
use weir_output::{
    FinishReason, Fragment, FragmentKind, Parser, RequestContext, Tool, ToolCallStreaming,
    ToolChoice,
};
use weir_tests::{Plugins, manifest::Manifest, native::NativePlugins};

use crate::walk::Words;

/// For each parser.
const WALKS: u64 = 24;

/// Stand in front of parsers of calls alone.
const REASONING: [&str; 3] = ["deepseek_r1", "qwen3", "marked_reasoning"];

fn parser(name: &str) -> Arc<dyn Parser> {
    let parser = NativePlugins.parser(name, &toml::Table::new());
    parser.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn tool_parsers() -> Vec<(String, Arc<dyn Parser>)> {
    let manifest = Manifest::read().expect("plugins.toml");
    let only = env::var("PARSER").ok();
    let names = manifest
        .0
        .iter()
        .filter(|(_, entry)| entry["kind"].as_str() == Some("parser"));
    let names = names.filter(|(name, _)| only.as_ref().is_none_or(|only| only == *name));
    let parsers = names.map(|(name, _)| (name.clone(), parser(name)));
    parsers
        .filter(|(_, parser)| parser.info().roles.tools)
        .collect()
}

#[test]
fn what_is_forced_is_read_back() {
    let walks = env::var("WALKS").map_or(WALKS, |walks| walks.parse().expect("a number"));
    let parsers = tool_parsers();
    let failures: Vec<String> = thread::scope(|scope| {
        let halves = parsers.chunks(parsers.len().div_ceil(2));
        let threads: Vec<_> = halves
            .map(|half| {
                scope.spawn(move || {
                    half.iter()
                        .filter_map(|(name, parser)| of_parser(name, parser, walks))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Walks for one parser: how many failed and the shortest answers that did.
fn of_parser(name: &str, parser: &Arc<dyn Parser>, walks: u64) -> Option<String> {
    let mut failures: Vec<(usize, String)> = Vec::new();
    let mut checked = 0;
    for seed in 0..walks {
        let case = Case::new(parser, seed);
        match case.check(seed) {
            Ok(forced) => checked += u64::from(forced),
            Err((length, failure)) => {
                failures.push((length, format!("{name}, seed {seed}: {failure}")))
            }
        }
    }
    if failures.is_empty() && checked < walks / 2 {
        return Some(format!("{name}: {checked} of {walks} walks were forced"));
    }
    failures.sort();
    let shown = if env::var("PARSER").is_ok() { 6 } else { 2 };
    let texts: Vec<_> = failures
        .iter()
        .take(shown)
        .map(|(_, failure)| failure.as_str())
        .collect();
    (!failures.is_empty())
        .then(|| format!("{} of {walks} failed\n{}", failures.len(), texts.join("\n")))
}

/// One request and the parsers of its answer.
struct Case {
    reasoning: Option<Arc<dyn Parser>>,
    tools: Arc<dyn Parser>,
    context: RequestContext,
    controls: Vec<String>,
}

impl Case {
    fn new(tools: &Arc<dyn Parser>, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut offered = tools::tools();
        offered.shuffle(&mut random);
        offered.truncate(random.random_range(1..5));
        let choice = match random.random_range(0..5) {
            0 => ToolChoice::Auto,
            1 => ToolChoice::Named(offered[0].name.clone()),
            _ => ToolChoice::Required,
        };
        let both = tools.info().roles.reasoning;
        let reasoning = (!both && random.random_bool(0.4))
            .then(|| parser(REASONING[random.random_range(0..REASONING.len())]));
        let infos = [Some(tools), reasoning.as_ref()];
        let infos = infos.into_iter().flatten().map(|parser| parser.info());
        let tokens = infos.flat_map(|info| info.special_tokens.iter().chain(&info.stop_tokens));
        let tokens: BTreeSet<String> = tokens.cloned().collect();
        let tails: Vec<&String> = tokens.iter().collect();
        let prompt_tail = match random.random_range(0..3) {
            0 if !tails.is_empty() && (both || reasoning.is_some()) => {
                tails[random.random_range(0..tails.len())].clone()
            }
            _ => String::new(),
        };
        let strict = random.random_bool(0.5);
        Self {
            context: RequestContext {
                tools: offered,
                tool_choice: choice,
                parallel_tool_calls: random.random_bool(0.5),
                prompt_tail,
                tool_markers: if reasoning.is_some() {
                    tools.info().markers.clone()
                } else {
                    Vec::new()
                },
                strict_markers: strict,
                ..RequestContext::default()
            },
            reasoning,
            tools: Arc::clone(tools),
            controls: if strict {
                tokens.into_iter().collect()
            } else {
                Vec::new()
            },
        }
    }

    /// Whether anything was forced; or the length of an answer that is not read back, and why.
    fn check(&self, seed: u64) -> Result<bool, (usize, String)> {
        let failed = |text: &str, why: String| {
            let mut shown = String::new();
            let context = &self.context;
            let _ = write!(
                shown,
                "{why}\n  {text:?}\n  choice {:?}, parallel {}, strict {}, tail {:?}, in front {:?}",
                context.tool_choice,
                context.parallel_tool_calls,
                context.strict_markers,
                context.prompt_tail,
                self.reasoning.as_ref().map(|parser| &parser.info().name)
            );
            (text.len(), shown)
        };
        let grammar = |parser: &Arc<dyn Parser>| {
            let grammar = parser.grammar(&self.context);
            grammar.expect("native parsers do not fail")
        };
        let Some(calls) = grammar(&self.tools) else {
            return Ok(false);
        };
        let (outer, answer) = match self.reasoning.as_ref().and_then(grammar) {
            Some(reasoning) => (reasoning, Answer::Segment(calls)),
            None => (calls, Answer::Free),
        };
        let inner = match &answer {
            Answer::Segment(calls) => calls,
            Answer::Free | Answer::Lark(_) => &outer,
        };
        let words = Words::new(&[&outer, inner], &self.controls);
        let walk = words.walk(&outer, &answer, seed);
        let fragments = walk.map_err(|why| failed("", why))?;
        let text: String = fragments.iter().map(|fragment| &*fragment.text).collect();
        let whole = self.fold(joined(&fragments));
        if let Err(why) = self.judge(&whole, &text) {
            return Err(failed(&text, format!("{why}\n{whole}")));
        }
        let cut = self.fold(cut(&fragments));
        if cut != whole {
            return Err(failed(
                &text,
                format!("read otherwise per character\n{whole}\n{cut}"),
            ));
        }
        Ok(true)
    }

    fn fold(&self, fragments: Vec<Fragment>) -> Folded {
        let mut runner = Runner::new(self.context.clone(), FinishReason::Stop)
            .with_parser(Arc::clone(&self.tools));
        if let Some(reasoning) = &self.reasoning {
            runner = runner.with_parser(Arc::clone(reasoning));
        }
        let fold = runner.run(fragments, ToolCallStreaming::Incremental);
        fold.expect("native parsers do not fail")
    }

    fn judge(&self, read: &Folded, text: &str) -> Result<(), String> {
        let context = &self.context;
        let answer = text.strip_prefix(read.reasoning.trim()).unwrap_or(text);
        let written: usize = context
            .tools
            .iter()
            .map(|tool| answer.matches(&tool.name).count())
            .sum();
        if written != read.calls.len() {
            return Err(format!("{} calls of {written}", read.calls.len()));
        }
        if !context.parallel_tool_calls && read.calls.len() > 1 {
            return Err("more than one call".into());
        }
        if context.tool_choice != ToolChoice::Auto {
            if read.calls.is_empty() {
                return Err("no call".into());
            }
            if !read.content.is_empty() {
                return Err("content beside calls".into());
            }
        }
        for call in &read.calls {
            if !call.complete {
                return Err(format!("a call of {} is not whole", call.name));
            }
            let named = match &context.tool_choice {
                ToolChoice::Named(name) => call.name == *name,
                _ => true,
            };
            let tool = context
                .tools
                .iter()
                .find(|tool| tool.name == call.name && named);
            let tool = tool.ok_or_else(|| format!("no tool {}", call.name))?;
            valid(tool, &call.arguments)?;
        }
        Ok(())
    }
}

/// Whether arguments are an object that the tool's schema takes.
fn valid(tool: &Tool, arguments: &str) -> Result<(), String> {
    let schema: Value = serde_json::from_str(&tool.parameters).expect("a schema");
    let arguments: Value = match serde_json::from_str(arguments) {
        Ok(arguments) => arguments,
        // JSON, but larger than this reader's numbers.
        Err(error) if error.to_string().contains("out of range") => return Ok(()),
        Err(error) => return Err(format!("arguments of {}: {error}", tool.name)),
    };
    if !arguments.is_object() {
        return Err(format!("arguments of {} are no object", tool.name));
    }
    jsonschema::validate(&schema, &arguments)
        .map_err(|error| format!("arguments of {}: {error}", tool.name))
}

/// Text as long as there is no control token in it.
fn joined(fragments: &[Fragment]) -> Vec<Fragment> {
    let mut joined: Vec<Fragment> = Vec::new();
    for fragment in fragments {
        match joined.last_mut() {
            Some(last) if last.kind == FragmentKind::Text && fragment.kind == last.kind => {
                last.text = format!("{}{}", last.text, fragment.text);
            }
            _ => joined.push(fragment.clone()),
        }
    }
    joined
}

/// A fragment a character; control tokens whole.
fn cut(fragments: &[Fragment]) -> Vec<Fragment> {
    let cut = fragments.iter().flat_map(|fragment| match fragment.kind {
        FragmentKind::Control => vec![fragment.clone()],
        kind => fragment
            .text
            .chars()
            .map(|c| Fragment {
                text: c.to_string(),
                kind,
            })
            .collect(),
    });
    cut.collect()
}
