//! Makes inputs: junk of the format's own pieces, and corpus cases changed in a few places.
//!
//! Nothing here knows a format: its markers come from what the parser says of itself, its habits from its corpus.

use weir_output::{
    FinishReason, Fragment, FragmentKind, RequestContext, Tool, ToolCallStreaming, ToolChoice,
};

use super::{
    pieces::{joined, length, split, text},
    random::Random,
    words,
};
use crate::{
    case::Case,
    chunking::{Cut, cuts},
};

/// Texts beyond this are cut off: long ones find nothing that short ones do not, and cost more.
const MOST_BYTES: usize = 6000;

/// What inputs for one plugin are made of.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// In how many setups (chains, configurations) inputs are run; at least one.
    pub setups: usize,
    /// Its corpus, each case with its setup.
    pub cases: Vec<(Case, usize)>,
    /// The corpora of its companions.
    pub neighbours: Vec<Case>,
    /// The texts that mean something to it or its companions.
    pub markers: Vec<String>,
}

/// What one execution is about.
#[derive(Debug, Clone)]
pub struct Input {
    /// The setup, by its number.
    pub setup: usize,
    /// What the model writes, whole.
    pub fragments: Vec<Fragment>,
    /// What the sessions know.
    pub context: RequestContext,
    /// How generation ends.
    pub ended: FinishReason,
    /// How calls reach the client.
    pub mode: ToolCallStreaming,
}

/// How an engine tells what it sends.
#[derive(Clone, Copy)]
enum Engine {
    /// Control tokens from text.
    Local,
    /// It does not.
    Remote,
    /// It cannot be, and must do no harm.
    Mixed,
}

/// An input of this material; `foreign` are markers of other formats, perhaps of none.
pub fn input(material: &Material, foreign: &[String], random: &mut Random) -> Input {
    let engine = match random.below(20) {
        0..15 => Engine::Local,
        15..18 => Engine::Remote,
        _ => Engine::Mixed,
    };
    let maker = Maker {
        material,
        foreign,
        engine,
    };
    let mut input = if material.cases.is_empty() || random.percent(45) {
        maker.junk(random)
    } else {
        maker.changed_case(random)
    };
    input.fragments = joined(split(&input.fragments, MOST_BYTES).0);
    input
}

/// A way to cut it: from every character to hardly anywhere.
pub fn chunking(fragments: &[Fragment], random: &mut Random) -> Vec<Cut> {
    let all = cuts(fragments);
    let percent = match random.below(8) {
        0 | 1 => return all,
        2 if !all.is_empty() => return vec![*random.pick(&all)],
        3 => 2,
        4 => 10,
        5 => 50,
        _ => 25,
    };
    all.into_iter()
        .filter(|_| random.percent(percent))
        .collect()
}

struct Maker<'a> {
    material: &'a Material,
    foreign: &'a [String],
    engine: Engine,
}

impl Maker<'_> {
    fn junk(&self, random: &mut Random) -> Input {
        let most = if random.percent(20) { 60 } else { 16 };
        let count = random.below(most);
        Input {
            setup: random.below(self.material.setups),
            fragments: (0..count).flat_map(|_| self.part(random)).collect(),
            context: self.context(random),
            ended: ended(random),
            mode: mode(random),
        }
    }

    fn changed_case(&self, random: &mut Random) -> Input {
        let (case, setup) = random.pick(&self.material.cases);
        let mut input = Input {
            setup: *setup,
            fragments: case.fragments(),
            context: case.context(),
            ended: case.finish_reason,
            mode: mode(random),
        };
        if random.percent(25) {
            input.setup = random.below(self.material.setups);
        }
        if random.percent(25) {
            input.context = self.context(random);
        }
        if random.percent(25) {
            input.ended = ended(random);
        }
        for _ in 0..random.few(8) {
            input.fragments = self.change(&input.fragments, random);
        }
        input
    }

    /// The fragments with one change.
    fn change(&self, fragments: &[Fragment], random: &mut Random) -> Vec<Fragment> {
        let places = length(fragments);
        let start = random.below(places + 1);
        let span = match random.below(3) {
            0 => random.below(4),
            1 => random.below(40),
            _ => random.below(places + 1),
        };
        let (before, rest) = split(fragments, start);
        let (middle, after) = split(&rest, span);
        let parts: Vec<Vec<Fragment>> = match random.below(12) {
            0 | 1 => vec![before, after],
            2 => vec![before, middle.clone(), middle, after],
            3 => vec![before],
            4 => vec![before, after, middle],
            5 => vec![before, self.cut_of_a_case(random), after],
            6 => {
                let other = self.cut_of_a_case(random);
                vec![before, other]
            }
            7 => vec![before, self.told_apart(&middle, random), after],
            8 => vec![before, vec![self.fragment(random)], after],
            _ => vec![before, vec![self.fragment(random)], middle, after],
        };
        joined(parts.into_iter().flatten())
    }

    /// The same text in other kinds: markers as control tokens, or all of it as text.
    fn told_apart(&self, fragments: &[Fragment], random: &mut Random) -> Vec<Fragment> {
        let text = text(fragments);
        let marker =
            (random.percent(70) && !self.foreign.is_empty()).then(|| random.pick(self.foreign));
        let Some((before, rest)) = marker.and_then(|marker| text.split_once(marker.as_str()))
        else {
            return vec![self.text(text, random)];
        };
        let marker = &text[before.len()..text.len() - rest.len()];
        vec![
            self.text(before.to_owned(), random),
            self.control(marker.to_owned()),
            self.text(rest.to_owned(), random),
        ]
    }

    fn cut_of_a_case(&self, random: &mut Random) -> Vec<Fragment> {
        let Material {
            cases, neighbours, ..
        } = self.material;
        let fragments = if cases.is_empty() || (!neighbours.is_empty() && random.percent(25)) {
            random.pick(neighbours).fragments()
        } else {
            random.pick(cases).0.fragments()
        };
        let rest = split(&fragments, random.below(length(&fragments) + 1)).1;
        split(&rest, random.below(length(&rest) + 1)).0
    }

    fn part(&self, random: &mut Random) -> Vec<Fragment> {
        let any = !self.material.cases.is_empty() || !self.material.neighbours.is_empty();
        if any && random.percent(4) {
            return self.cut_of_a_case(random);
        }
        vec![self.fragment(random)]
    }

    fn fragment(&self, random: &mut Random) -> Fragment {
        if self.material.markers.is_empty() || random.percent(60) {
            let piece = words::piece(random);
            return self.text(piece, random);
        }
        let marker = random.pick(&self.material.markers).clone();
        match random.below(20) {
            0..8 => self.text(marker, random),
            8..16 => self.control(marker),
            16 if !self.foreign.is_empty() => self.control(random.pick(self.foreign).clone()),
            17 if !self.foreign.is_empty() => self.text(random.pick(self.foreign).clone(), random),
            _ => {
                let at = random.place(&marker);
                let (start, end) = marker.split_at(at);
                self.text(
                    if random.percent(70) { start } else { end }.to_owned(),
                    random,
                )
            }
        }
    }

    fn text(&self, text: String, random: &mut Random) -> Fragment {
        let kind = match self.engine {
            Engine::Local => FragmentKind::Text,
            Engine::Remote => FragmentKind::Unknown,
            Engine::Mixed => *random.pick(&[FragmentKind::Text, FragmentKind::Unknown]),
        };
        Fragment { text, kind }
    }

    fn control(&self, text: String) -> Fragment {
        let kind = match self.engine {
            Engine::Local | Engine::Mixed => FragmentKind::Control,
            Engine::Remote => FragmentKind::Unknown,
        };
        Fragment { text, kind }
    }

    fn context(&self, random: &mut Random) -> RequestContext {
        let schemas = [
            "{}",
            r#"{"type": "object", "properties": {"a": {"type": "string"}, "city": {"type": "integer"}}}"#,
            "not JSON",
        ];
        let tool = |random: &mut Random| Tool {
            name: (*random.pick(words::NAMES)).to_owned(),
            description: None,
            parameters: (*random.pick(&schemas)).to_owned(),
            strict: random.percent(20),
        };
        let strict = match self.engine {
            Engine::Local => 40,
            Engine::Remote | Engine::Mixed => 10,
        };
        RequestContext {
            tools: (0..random.few(3)).map(|_| tool(random)).collect(),
            tool_choice: match random.below(20) {
                0 => ToolChoice::None,
                1 => ToolChoice::Required,
                2 => ToolChoice::Named((*random.pick(words::NAMES)).to_owned()),
                _ => ToolChoice::Auto,
            },
            parallel_tool_calls: random.percent(90),
            prompt_tail: self.prompt(random),
            strict_markers: random.percent(strict),
            ..RequestContext::default()
        }
    }

    fn prompt(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 if !self.material.cases.is_empty() => {
                random.pick(&self.material.cases).0.prompt.clone()
            }
            1 => (0..random.few(6))
                .map(|_| self.fragment(random).text)
                .collect(),
            _ => String::new(),
        }
    }
}

fn ended(random: &mut Random) -> FinishReason {
    *random.pick(&[
        FinishReason::Stop,
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::ContentFilter,
    ])
}

fn mode(random: &mut Random) -> ToolCallStreaming {
    *random.pick(&[ToolCallStreaming::Incremental, ToolCallStreaming::Complete])
}
