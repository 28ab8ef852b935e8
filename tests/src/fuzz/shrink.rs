//! From an input that breaks a rule to the smallest one that still breaks it, written as a corpus case.

use std::time::{Duration, Instant};

use weir_output::{FinishReason, Fragment, FragmentKind, ToolCallStreaming, ToolChoice};

use super::{
    execution::{Finding, Rule, check},
    generate::Input,
    pieces::{joined, length, split},
    subject::Subject,
};
use crate::{
    check::{as_chunks, expectation},
    chunking::{Cut, chunkings, cuts, smallest_failing},
    fold::Runner,
};

/// What was smallest by then is reported.
const TIME: Duration = Duration::from_secs(60);

/// Of a long text, so many ways to cut it are tried each time.
const CHUNKINGS: usize = 300;

/// An input that breaks a rule when it is cut like this.
pub struct Broken {
    /// The input.
    pub input: Input,
    /// The cuts.
    pub cuts: Vec<Cut>,
    /// The rule, and how.
    pub finding: Finding,
}

/// The smallest input found that breaks the same rule.
pub fn smallest(subject: &Subject, broken: Broken) -> Broken {
    let mut search = Search {
        subject,
        rule: broken.finding.rule,
        until: Instant::now() + TIME,
        best: broken,
    };
    loop {
        let before = search.best.size();
        search.simplify();
        search.cut_away();
        if search.best.size() == before || search.over() {
            break;
        }
    }
    search.fewest_cuts();
    search.best
}

impl Broken {
    /// What the search makes smaller: text, then fragments.
    fn size(&self) -> (usize, usize) {
        let bytes = self.input.fragments.iter().map(|part| part.text.len());
        (bytes.sum(), self.input.fragments.len())
    }
}

struct Search<'a> {
    subject: &'a Subject,
    rule: Rule,
    until: Instant,
    best: Broken,
}

impl Search<'_> {
    fn over(&self) -> bool {
        Instant::now() > self.until
    }

    /// Takes this input if it breaks the rule under some chunking.
    fn take(&mut self, input: Input) -> bool {
        let all = chunkings(&cuts(&input.fragments));
        // The last one cuts everywhere; single cuts are first and many.
        let tried = all.iter().rev().take(CHUNKINGS).chain(all.first());
        for cuts in tried {
            if self.over() {
                return false;
            }
            if let Err(finding) = check(self.subject, &input, cuts)
                && finding.rule == self.rule
            {
                let cuts = cuts.clone();
                self.best = Broken {
                    input,
                    cuts,
                    finding,
                };
                return true;
            }
        }
        false
    }

    /// The same with all that is around the text as plain as it gets.
    fn simplify(&mut self) {
        let steps: [fn(&mut Input, &Subject); 7] = [
            |input, _| input.context.tools.clear(),
            |input, _| input.context.tool_choice = ToolChoice::Auto,
            |input, _| input.context.prompt_tail.clear(),
            |input, _| input.context.strict_markers = false,
            |input, _| input.ended = FinishReason::Stop,
            |input, _| input.mode = ToolCallStreaming::Incremental,
            |input, subject| {
                let alone =
                    |setup: &super::subject::Setup| setup.with.is_none() && setup.config.is_empty();
                input.setup = subject.setups.iter().position(alone).unwrap_or(input.setup);
            },
        ];
        for step in steps {
            let mut input = self.best.input.clone();
            step(&mut input, self.subject);
            self.take(input);
        }
        let as_text = |fragment: &mut Fragment| fragment.kind = FragmentKind::Text;
        let mut input = self.best.input.clone();
        input.fragments.iter_mut().for_each(as_text);
        input.fragments = joined(input.fragments);
        self.take(input);
    }

    /// Leaves out stretches of the text, long ones first.
    fn cut_away(&mut self) {
        let mut span = length(&self.best.input.fragments).max(1);
        loop {
            let mut at = 0;
            while at < length(&self.best.input.fragments) && !self.over() {
                let (before, rest) = split(&self.best.input.fragments, at);
                let after = split(&rest, span).1;
                let mut input = self.best.input.clone();
                input.fragments = joined(before.into_iter().chain(after));
                let smaller = length(&input.fragments) < length(&self.best.input.fragments);
                if !smaller || !self.take(input) {
                    at += span;
                }
            }
            if span == 1 {
                return;
            }
            span = span.div_ceil(2);
        }
    }

    fn fewest_cuts(&mut self) {
        let fails = |cuts: &[Cut]| matches!(check(self.subject, &self.best.input, cuts), Err(finding) if finding.rule == self.rule);
        let cuts = smallest_failing(self.best.cuts.clone(), fails);
        if let Err(finding) = check(self.subject, &self.best.input, &cuts) {
            self.best.cuts = cuts;
            self.best.finding = finding;
        }
    }
}

/// The report: how the rule was broken, and the input as a case whose expectation is still to be judged.
pub fn as_case(subject: &Subject, broken: &Broken, origin: &str) -> String {
    let Broken { input, finding, .. } = broken;
    let setup = &subject.setups[input.setup];
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut case = format!(
        "{:?} ({:?} mode): {}\n\n# tests/corpora/parsers/{}/\nshows = \"\"\npoints = [\"0\"]\nsource = {}\n",
        finding.rule,
        input.mode,
        finding.how,
        subject.name,
        quoted(origin)
    );
    let mut line = |key: &str, value: String| case.push_str(&format!("{key} = {value}\n"));
    if let Some(with) = &setup.with {
        line("with", quoted(with));
    }
    if !input.context.prompt_tail.is_empty() {
        line("prompt", quoted(&input.context.prompt_tail));
    }
    match input.ended {
        FinishReason::Stop => {}
        FinishReason::Length => line("finish_reason", quoted("length")),
        FinishReason::ContentFilter => line("finish_reason", quoted("content_filter")),
    }
    if input.context.strict_markers {
        line("strict_markers", "true".to_owned());
    }
    match &input.context.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => line("tool_choice", quoted("none")),
        ToolChoice::Required => line("tool_choice", quoted("required")),
        ToolChoice::Named(name) => line("tool_choice", format!("{{ name = {} }}", quoted(name))),
    }
    line("chunks", as_chunks(&input.fragments));
    for tool in &input.context.tools {
        let (name, parameters) = (quoted(&tool.name), quoted(&tool.parameters));
        case.push_str(&format!(
            "\n[[tools]]\nname = {name}\nparameters = {parameters}\n"
        ));
    }
    if !setup.config.is_empty() {
        case.push_str(&format!("\n[config]\n{}", setup.config));
    }
    case.push_str(&expected(subject, input).unwrap_or_default());
    case
}

/// What comes now of the whole text; none if that fails.
fn expected(subject: &Subject, input: &Input) -> Option<String> {
    let fold = |mode| {
        let parsers = &subject.setups[input.setup].native;
        let runner = Runner::of_parsers(parsers, input.context.clone(), input.ended);
        let run = || runner.run(input.fragments.clone(), mode).ok();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .ok()
            .flatten()
    };
    let incremental = fold(ToolCallStreaming::Incremental)?;
    let complete = fold(ToolCallStreaming::Complete)?;
    let mut document = toml_edit::DocumentMut::new();
    document["expect"] =
        toml_edit::Item::Table(expectation(&incremental, &complete, &input.fragments));
    Some(format!(
        "\n# what comes now, to be judged from the policy\n{document}"
    ))
}
