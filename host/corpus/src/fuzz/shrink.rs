//! From an input that breaks a rule to the smallest one that still breaks it.

use std::time::{Duration, Instant};

use weir_output::{FinishReason, Fragment, FragmentKind, ToolCallStreaming, ToolChoice};

use super::{
    finding::{Finding, Rule},
    generate::Input,
    pieces::{joined, length, split},
};
use crate::chunking::{Cut, chunkings, cuts, smallest_failing};

/// What was smallest by then is reported.
const TIME: Duration = Duration::from_secs(60);

/// Of a long text, so many ways to cut it are tried each time.
const CHUNKINGS: usize = 300;

/// Runs an input, cut at these places, and says what is wrong with what came.
pub type Check<'a> = &'a dyn Fn(&Input, &[Cut]) -> Result<(), Finding>;

/// An input that breaks a rule when it is cut like this.
pub struct Broken {
    /// The input.
    pub input: Input,
    /// The cuts.
    pub cuts: Vec<Cut>,
    /// The rule, and how.
    pub finding: Finding,
}

/// The smallest input found that breaks the same rule; `plainest` is the setup that is tried in place of its own.
pub fn smallest(check: Check<'_>, plainest: Option<usize>, broken: Broken) -> Broken {
    let mut search = Search {
        check,
        plainest,
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
    check: Check<'a>,
    plainest: Option<usize>,
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
            if let Err(finding) = (self.check)(&input, cuts)
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
        let steps: [fn(&mut Input, Option<usize>); 7] = [
            |input, _| input.context.tools.clear(),
            |input, _| input.context.tool_choice = ToolChoice::Auto,
            |input, _| input.context.prompt_tail.clear(),
            |input, _| input.context.strict_markers = false,
            |input, _| input.ended = FinishReason::Stop,
            |input, _| input.mode = ToolCallStreaming::Incremental,
            |input, plainest| input.setup = plainest.unwrap_or(input.setup),
        ];
        for step in steps {
            let mut input = self.best.input.clone();
            step(&mut input, self.plainest);
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
        let fails = |cuts: &[Cut]| matches!((self.check)(&self.best.input, cuts), Err(finding) if finding.rule == self.rule);
        let cuts = smallest_failing(self.best.cuts.clone(), fails);
        if let Err(finding) = (self.check)(&self.best.input, &cuts) {
            self.best.cuts = cuts;
            self.best.finding = finding;
        }
    }
}
