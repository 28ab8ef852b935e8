//! What is measured, by which tool of llama.cpp, and how much faster weir is to be.

use serde_json::Value;

/// A tool of llama.cpp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// One sequence.
    Bench,
    /// Several at once.
    BatchedBench,
}

impl Tool {
    pub fn program(self) -> &'static str {
        match self {
            Self::Bench => "llama-bench",
            Self::BatchedBench => "llama-batched-bench",
        }
    }

    /// One run behind the tool's own warm-up, KV in f16, the file mapped: the tools' defaults, said where they could change.
    pub fn arguments(self, flash_attention: bool) -> Vec<&'static str> {
        match self {
            Self::Bench => {
                let flash = if flash_attention { "1" } else { "0" };
                vec![
                    "-r", "1", "-o", "json", "-ctk", "f16", "-ctv", "f16", "-mmp", "1", "-fa",
                    flash,
                ]
            }
            Self::BatchedBench => {
                let flash = if flash_attention { "on" } else { "off" };
                vec![
                    "--output-format",
                    "jsonl",
                    "-ctk",
                    "f16",
                    "-ctv",
                    "f16",
                    "-fa",
                    flash,
                    "-c",
                    "8192",
                ]
            }
        }
    }

    pub fn tokens_per_second(self, printed: &str) -> Option<f64> {
        match self {
            Self::Bench => {
                let tests: Value = serde_json::from_str(printed).ok()?;
                tests[0]["avg_ts"].as_f64()
            }
            Self::BatchedBench => {
                let line = printed.lines().find(|line| line.starts_with('{'))?;
                let test: Value = serde_json::from_str(line).ok()?;
                test["speed_tg"].as_f64()
            }
        }
    }
}

/// What weir's share of a limit is judged by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Reading the weights from memory.
    Memory,
    /// Multiplying in int8.
    Int8,
}

/// One thing that both engines do.
pub struct Measure {
    pub name: &'static str,
    /// As host/cpu/examples/speed.rs calls it.
    pub weir: &'static str,
    pub tool: Tool,
    pub peer: &'static [&'static str],
    pub limit: Limit,
    /// Ratio to the peer and percent of the limit that the default model must reach, and those hoped for.
    pub wanted: Wanted,
    pub goal: Wanted,
    /// Ratio that every other model must reach.
    pub wanted_of_others: f64,
    /// Whether it is quick.
    pub quick: bool,
}

/// A ratio, and a percentage of a limit; 0 for none.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub ratio: f64,
    pub percent: f64,
}

const fn wanted(ratio: f64, percent: f64) -> Wanted {
    Wanted { ratio, percent }
}

/// llama-bench decodes behind 64 tokens, as weir and llama-batched-bench do.
pub const MEASURES: [Measure; 6] = [
    Measure {
        name: "prefill 512",
        weir: "prefill-512",
        tool: Tool::Bench,
        peer: &["-p", "512", "-n", "0"],
        limit: Limit::Int8,
        wanted: wanted(3.4, 0.0),
        goal: wanted(6.0, 0.0),
        wanted_of_others: 1.3,
        quick: true,
    },
    Measure {
        name: "prefill 1536",
        weir: "prefill-1536",
        tool: Tool::Bench,
        peer: &["-p", "1536", "-n", "0"],
        limit: Limit::Int8,
        wanted: wanted(1.0, 0.0),
        goal: wanted(0.0, 0.0),
        wanted_of_others: 1.3,
        quick: false,
    },
    Measure {
        name: "decode B=1",
        weir: "decode-1",
        tool: Tool::Bench,
        peer: &["-p", "0", "-n", "64", "-d", "64"],
        limit: Limit::Memory,
        wanted: wanted(1.4, 65.0),
        goal: wanted(0.0, 80.0),
        wanted_of_others: 1.0,
        quick: true,
    },
    Measure {
        name: "decode B=1, batched-bench",
        weir: "decode-1",
        tool: Tool::BatchedBench,
        peer: &["-npp", "64", "-ntg", "64", "-npl", "1"],
        limit: Limit::Memory,
        wanted: wanted(1.4, 0.0),
        goal: wanted(0.0, 0.0),
        wanted_of_others: 1.0,
        quick: false,
    },
    Measure {
        name: "decode B=8",
        weir: "decode-8",
        tool: Tool::BatchedBench,
        peer: &["-npp", "64", "-ntg", "64", "-npl", "8"],
        limit: Limit::Int8,
        wanted: wanted(1.3, 0.0),
        goal: wanted(0.0, 0.0),
        wanted_of_others: 1.3,
        quick: true,
    },
    Measure {
        name: "decode B=32",
        weir: "decode-32",
        tool: Tool::BatchedBench,
        peer: &["-npp", "64", "-ntg", "64", "-npl", "32"],
        limit: Limit::Int8,
        wanted: wanted(3.0, 0.0),
        goal: wanted(4.0, 0.0),
        wanted_of_others: 1.3,
        quick: false,
    },
];
