//! What `weir bench` found out, as a table to read and as JSON to keep. The JSON's figures are documented at `Figures`; the
//! table shows some of them.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{Figure, Figures, Measured, Spread};
use crate::table::table;

/// The whole run.
#[derive(Serialize)]
pub(super) struct Report {
    /// The version of this program.
    pub(super) weir: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) seed: u64,
    pub(super) rounds: u32,
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) shared_prefix_tokens: u32,
    pub(super) temperature: f64,
    pub(super) ignore_eos: bool,
    pub(super) server: Asked,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) against: Option<Asked>,
    pub(super) levels: Vec<Level>,
}

/// A server and what it was asked for.
#[derive(Default, Serialize)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) model: String,
}

/// One level.
#[derive(Serialize)]
pub(super) struct Level {
    pub(super) concurrency: u32,
    /// Of each round, without the one that goes ahead.
    pub(super) requests: u32,
    pub(super) server: Side,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) against: Option<Side>,
    /// The first server's median figures to the second's: more is better for throughput, less for times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratios: Option<Figures>,
}

/// One server's part of a level.
#[derive(Serialize)]
pub(super) struct Side {
    /// Requests of all rounds, those that went ahead among them.
    sent: usize,
    failed: usize,
    errors: Vec<ErrorCount>,
    /// `usage` where the server counted the tokens, `chunks` where each piece of text of some answer counted as one.
    tokens_counted_by: &'static str,
    median: Figures,
    rounds: Vec<Figures>,
}

#[derive(Serialize)]
struct ErrorCount {
    message: String,
    count: usize,
}

impl Level {
    /// Sums a level up; there is another server or there is none.
    pub(super) fn new(
        (concurrency, requests): (u32, u32),
        server: &[Measured],
        against: Option<&[Measured]>,
    ) -> Self {
        let server = Side::new(server);
        let against = against.map(Side::new);
        let ratios = against
            .as_ref()
            .map(|against| Figures::ratio(&server.median, &against.median));
        Self {
            concurrency,
            requests,
            server,
            against,
            ratios,
        }
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.server].into_iter().chain(&self.against)
    }
}

impl Side {
    fn new(rounds: &[Measured]) -> Self {
        let mut errors: Vec<ErrorCount> = Vec::new();
        for (message, count) in rounds.iter().flat_map(Measured::errors) {
            match errors.iter_mut().find(|error| error.message == message) {
                Some(error) => error.count += count,
                None => errors.push(ErrorCount {
                    message: message.to_owned(),
                    count,
                }),
            }
        }
        let counted_pieces = rounds.iter().any(Measured::counted_pieces);
        let rounds_figures: Vec<Figures> = rounds.iter().map(Measured::figures).collect();
        Self {
            sent: rounds.iter().map(Measured::requests).sum(),
            failed: errors.iter().map(|error| error.count).sum(),
            errors,
            tokens_counted_by: if counted_pieces { "chunks" } else { "usage" },
            median: Figures::median(&rounds_figures),
            rounds: rounds_figures,
        }
    }
}

const HEAD: [&str; 9] = [
    "server",
    "clients",
    "failed",
    "output tok/s",
    "total tok/s",
    "TTFT ms p50 / p90 / p99",
    "ITL ms p50 / p90 / p99",
    "E2E ms p50 / p90 / p99",
    "tokens in / out",
];

impl Report {
    /// Whether every server answered a request well.
    pub(super) fn all_answer(&self) -> bool {
        let answers = |index| {
            let mut sides = self
                .levels
                .iter()
                .filter_map(|level| level.sides().nth(index));
            sides.any(|side| side.failed < side.sent)
        };
        (0..self.asked().count()).all(answers)
    }

    /// As JSON.
    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// As a table with what must be said beside it.
    pub(super) fn to_table(&self) -> String {
        let rows: Vec<_> = self
            .levels
            .iter()
            .flat_map(|level| self.rows(level))
            .collect();
        let mut text = table(HEAD, &rows);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", self.conditions());
        for level in &self.levels {
            for (side, asked) in level.sides().zip(self.asked()) {
                for ErrorCount { message, count } in &side.errors {
                    let (name, clients) = (name(&asked.url), level.concurrency);
                    let _ = writeln!(text, "{name}, {clients} clients: {count} x {message}");
                }
            }
        }
        for (index, asked) in self.asked().enumerate() {
            let mut sides = self
                .levels
                .iter()
                .filter_map(|level| level.sides().nth(index));
            if sides.any(|side| side.tokens_counted_by == "chunks") {
                let name = name(&asked.url);
                let _ = writeln!(
                    text,
                    "{name} counts no tokens: a piece of text counts as one"
                );
            }
        }
        text
    }

    fn asked(&self) -> impl Iterator<Item = &Asked> {
        [&self.server].into_iter().chain(&self.against)
    }

    fn conditions(&self) -> String {
        let rounds = match self.rounds {
            1 => "1 round".to_owned(),
            rounds => format!("medians over {rounds} rounds"),
        };
        let ratio = match self.against {
            Some(_) => "; a ratio is the first server's figure to the second's",
            None => "",
        };
        let Self { endpoint, seed, .. } = self;
        format!("{endpoint}, {rounds}, seed {seed}{ratio}")
    }

    /// The rows of a level: of each server and of their ratio, and before those the same of the request that went ahead.
    fn rows(&self, level: &Level) -> Vec<[String; HEAD.len()]> {
        let shared = self.shared_prefix_tokens > 0;
        let sides = level.sides().zip(self.asked());
        let named: Vec<(String, String, &Figures)> = sides
            .map(|(side, asked)| {
                let failed = format!("{} of {}", side.failed, side.sent);
                (name(&asked.url), failed, &side.median)
            })
            .chain(
                level
                    .ratios
                    .iter()
                    .map(|ratios| ("ratio".to_owned(), "-".to_owned(), ratios)),
            )
            .collect();
        let mut rows = Vec::new();
        if shared {
            rows.extend(named.iter().map(|(name, _, figures)| {
                let mut row = HEAD.map(|_| "-".to_owned());
                row[0].clone_from(name);
                row[1] = "1, cold".to_owned();
                row[5] = number(figures.cold_ttft_ms);
                row
            }));
        }
        rows.extend(named.into_iter().map(|(name, failed, figures)| {
            let warm = if shared { ", warm" } else { "" };
            let tokens = [figures.prompt_tokens, figures.completion_tokens];
            [
                name,
                format!("{}{warm}", level.concurrency),
                failed,
                number(figures.output_throughput),
                number(figures.total_token_throughput),
                spread(figures.ttft_ms),
                spread(figures.itl_ms),
                spread(figures.e2el_ms),
                tokens.map(count).join(" / "),
            ]
        }));
        rows
    }
}

/// A server's address as rows begin with it.
fn name(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    address.trim_end_matches("/v1").to_owned()
}

fn spread(spread: Spread) -> String {
    [spread.p50, spread.p90, spread.p99].map(number).join(" / ")
}

/// Three digits or more that say something.
fn number(figure: Figure) -> String {
    match figure {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// The same of what mostly is a whole number.
fn count(figure: Figure) -> String {
    let text = number(figure);
    let whole = text.strip_suffix(".00").or(text.strip_suffix(".0"));
    whole.map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
