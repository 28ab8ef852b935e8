//! From the answers of a round to figures, from the figures of several rounds to their medians, and from two servers'
//! medians to ratios.
//!
//! A percentile is interpolated linearly between the two closest ranks: of n sorted values, p percent stand at rank
//! p/100 * (n - 1), counted from 0 (type 7 of Hyndman and Fan 1996, the default of numpy). So the 50th is the usual median,
//! and of one value all are that value. The names of the figures are those of `vllm bench serve`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::client::Answer;

/// A figure that may be missing: nothing was measured.
pub(super) type Figure = Option<f64>;

/// Percentiles of one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50: Figure,
    pub(super) p90: Figure,
    pub(super) p99: Figure,
}

/// What a level came to in one round, or the medians over its rounds, or the ratios of two servers. Times are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Seconds from the first request's start to the last one's end, without the one that went ahead.
    pub(super) duration: Figure,
    /// Good answers a second.
    pub(super) request_throughput: Figure,
    /// Tokens of all good answers a second.
    pub(super) output_throughput: Figure,
    /// The same with the prompts' tokens; missing where a server counts none.
    pub(super) total_token_throughput: Figure,
    /// Mean tokens of a prompt, as the server counted.
    pub(super) prompt_tokens: Figure,
    /// Mean tokens of an answer.
    pub(super) completion_tokens: Figure,
    /// Time to the first token of the request that computed the shared prefix.
    pub(super) cold_ttft_ms: Figure,
    /// Time to the first token: from sending to the first text.
    pub(super) ttft_ms: Spread,
    /// Inter-token latency: between the arrivals of two pieces of text, over all answers.
    pub(super) itl_ms: Spread,
    /// Time per output token: of each answer, what follows the first token by the number of tokens that follow.
    pub(super) tpot_ms: Spread,
    /// End-to-end latency: from sending to the stream's end.
    pub(super) e2el_ms: Spread,
}

/// What happened in a level in one round.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The request that went ahead to compute a shared prefix.
    pub(super) cold: Option<Result<Answer, String>>,
    pub(super) answers: Vec<Result<Answer, String>>,
    pub(super) duration: Duration,
}

impl Measured {
    fn all(&self) -> impl Iterator<Item = &Result<Answer, String>> {
        self.cold.iter().chain(&self.answers)
    }

    /// Requests sent.
    pub(super) fn requests(&self) -> usize {
        self.all().count()
    }

    /// How often each error came.
    pub(super) fn errors(&self) -> BTreeMap<&str, usize> {
        let mut errors = BTreeMap::new();
        for error in self.all().filter_map(|answer| answer.as_ref().err()) {
            *errors.entry(error.as_str()).or_default() += 1;
        }
        errors
    }

    /// Whether some good answer was counted by its pieces of text.
    pub(super) fn counted_pieces(&self) -> bool {
        self.all().flatten().any(|answer| answer.usage.is_none())
    }

    /// The figures of the good answers.
    pub(super) fn figures(&self) -> Figures {
        let good: Vec<&Answer> = self.answers.iter().flatten().collect();
        let cold = self.cold.as_ref().and_then(|cold| cold.as_ref().ok());
        let cold_ttft_ms = cold.map(|answer| milliseconds(answer.first));
        if good.is_empty() {
            return Figures {
                cold_ttft_ms,
                ..Figures::default()
            };
        }
        let seconds = self.duration.as_secs_f64();
        let output: u64 = good.iter().map(|answer| answer.output_tokens()).sum();
        let prompt: Option<u64> = good
            .iter()
            .map(|answer| Some(answer.usage?.prompt_tokens))
            .sum();
        let a_second = |count: f64| (seconds > 0.0).then(|| count / seconds);
        let count = good.len() as f64;
        let times = |time: fn(&Answer) -> Duration| {
            Spread::of(good.iter().map(|answer| milliseconds(time(answer))))
        };
        let gaps = good.iter().flat_map(|answer| &answer.gaps);
        let after_first = good.iter().filter_map(|answer| {
            let tokens = answer.output_tokens().checked_sub(1)?;
            let time = milliseconds(answer.total.saturating_sub(answer.first));
            (tokens > 0).then(|| time / tokens as f64)
        });
        Figures {
            duration: Some(seconds),
            request_throughput: a_second(count),
            output_throughput: a_second(output as f64),
            total_token_throughput: prompt.and_then(|prompt| a_second((prompt + output) as f64)),
            prompt_tokens: prompt.map(|prompt| prompt as f64 / count),
            completion_tokens: Some(output as f64 / count),
            cold_ttft_ms,
            ttft_ms: times(|answer| answer.first),
            itl_ms: Spread::of(gaps.copied().map(milliseconds)),
            tpot_ms: Spread::of(after_first),
            e2el_ms: times(|answer| answer.total),
        }
    }
}

impl Figures {
    /// Of each figure the median over these rounds, those left out where it is missing.
    pub(super) fn median(rounds: &[Self]) -> Self {
        Self::fold(rounds, &|values| percentile(values, 50.0))
    }

    /// Of each figure what `ours` is to `theirs`.
    pub(super) fn ratio(ours: &Self, theirs: &Self) -> Self {
        Self::fold(
            &[ours.clone(), theirs.clone()],
            &|values| match values.as_slice() {
                [ours, theirs] if *theirs != 0.0 => Some(ours / theirs),
                _ => None,
            },
        )
    }

    /// Makes one of each figure's values, those that are there.
    fn fold(all: &[Self], by: &dyn Fn(Vec<f64>) -> Figure) -> Self {
        let figure = |figure: fn(&Self) -> Figure| by(all.iter().filter_map(figure).collect());
        let spread = |spread: fn(&Self) -> Spread| {
            let part = |part: fn(&Spread) -> Figure| {
                by(all.iter().filter_map(|one| part(&spread(one))).collect())
            };
            Spread {
                p50: part(|spread| spread.p50),
                p90: part(|spread| spread.p90),
                p99: part(|spread| spread.p99),
            }
        };
        Self {
            duration: figure(|one| one.duration),
            request_throughput: figure(|one| one.request_throughput),
            output_throughput: figure(|one| one.output_throughput),
            total_token_throughput: figure(|one| one.total_token_throughput),
            prompt_tokens: figure(|one| one.prompt_tokens),
            completion_tokens: figure(|one| one.completion_tokens),
            cold_ttft_ms: figure(|one| one.cold_ttft_ms),
            ttft_ms: spread(|one| one.ttft_ms),
            itl_ms: spread(|one| one.itl_ms),
            tpot_ms: spread(|one| one.tpot_ms),
            e2el_ms: spread(|one| one.e2el_ms),
        }
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self {
            p50: percentile(values.clone(), 50.0),
            p90: percentile(values.clone(), 90.0),
            p99: percentile(values, 99.0),
        }
    }
}

/// The p-th percentile, 0 to 100, by the definition at the top of this file; none of nothing.
fn percentile(mut values: Vec<f64>, p: f64) -> Figure {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let rank = p / 100.0 * last as f64;
    let below = values[rank.floor() as usize];
    let above = values[rank.ceil() as usize];
    Some(below + (above - below) * rank.fract())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::chunk::Usage;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn answer(first: u64, gaps: &[u64], usage: Option<(u64, u64)>) -> Result<Answer, String> {
        Ok(Answer {
            first: ms(first),
            gaps: gaps.iter().copied().map(ms).collect(),
            total: ms(first + gaps.iter().sum::<u64>()),
            usage: usage.map(|(prompt_tokens, completion_tokens)| Usage {
                prompt_tokens,
                completion_tokens,
            }),
        })
    }

    fn near(figure: Figure, expected: f64) {
        let figure = figure.expect("a figure");
        assert!((figure - expected).abs() < 1e-9, "{figure}, not {expected}");
    }

    #[test]
    fn percentiles_are_interpolated() {
        // What numpy.percentile says of the same values.
        let values = vec![15.0, 20.0, 35.0, 40.0, 50.0];
        near(percentile(values.clone(), 0.0), 15.0);
        near(percentile(values.clone(), 40.0), 29.0);
        near(percentile(values.clone(), 50.0), 35.0);
        near(percentile(values.clone(), 90.0), 46.0);
        near(percentile(values.clone(), 99.0), 49.6);
        near(percentile(values, 100.0), 50.0);
        near(percentile(vec![2.0, 1.0], 50.0), 1.5);
        near(percentile(vec![7.0], 99.0), 7.0);
        assert_eq!(percentile(Vec::new(), 50.0), None);
    }

    #[test]
    fn figures_of_a_round() {
        let measured = Measured {
            cold: Some(answer(900, &[], Some((1000, 1)))),
            answers: vec![
                answer(100, &[10, 30], Some((200, 5))),
                answer(200, &[20], Some((100, 3))),
                Err("no".to_owned()),
            ],
            duration: ms(2000),
        };
        let figures = measured.figures();
        near(figures.duration, 2.0);
        near(figures.request_throughput, 1.0);
        near(figures.output_throughput, 4.0);
        near(figures.total_token_throughput, 154.0);
        near(figures.prompt_tokens, 150.0);
        near(figures.completion_tokens, 4.0);
        near(figures.cold_ttft_ms, 900.0);
        near(figures.ttft_ms.p50, 150.0);
        near(figures.ttft_ms.p90, 190.0);
        near(figures.itl_ms.p50, 20.0);
        near(figures.itl_ms.p99, 29.8);
        // 40 ms by 4 tokens and 20 ms by 2.
        near(figures.tpot_ms.p99, 10.0);
        near(figures.e2el_ms.p50, 180.0);
        assert_eq!(measured.errors(), BTreeMap::from([("no", 1)]));
        assert_eq!((measured.requests(), measured.counted_pieces()), (4, false));
    }

    #[test]
    fn without_usage_pieces_count() {
        let measured = Measured {
            cold: None,
            answers: vec![answer(100, &[10, 30], None), answer(1, &[], Some((9, 4)))],
            duration: ms(1000),
        };
        let figures = measured.figures();
        near(figures.output_throughput, 7.0);
        assert_eq!(figures.total_token_throughput, None);
        assert!(measured.counted_pieces());
    }

    #[test]
    fn nothing_good_has_no_figures() {
        let measured = Measured {
            answers: vec![Err("no".to_owned()), Err("no".to_owned())],
            ..Measured::default()
        };
        assert_eq!(measured.figures(), Figures::default());
        assert_eq!(measured.errors(), BTreeMap::from([("no", 2)]));
    }

    #[test]
    fn medians_leave_missing_rounds_out_and_ratios_need_both() {
        let round = |output: Figure| Figures {
            output_throughput: output,
            ..Figures::default()
        };
        let rounds = [round(Some(30.0)), round(None), round(Some(10.0))];
        let median = Figures::median(&rounds);
        near(median.output_throughput, 20.0);
        near(
            Figures::ratio(&median, &round(Some(10.0))).output_throughput,
            2.0,
        );
        assert_eq!(Figures::ratio(&median, &round(None)), Figures::default());
        assert_eq!(
            Figures::ratio(&median, &round(Some(0.0))),
            Figures::default()
        );
    }
}
