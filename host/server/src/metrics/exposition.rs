//! Prometheus' text format, version 0.0.4: families with HELP and TYPE, samples with labels.
//!
//! Invariant: a family is begun once and all its samples follow it. Which families there are is not its business.

use std::fmt::{Display, Write as _};

use weir_engine::HistogramSnapshot;

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// What the unit of a histogram's whole numbers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nanoseconds, shown as seconds.
    Time,
    /// As they are.
    Count,
}

impl Unit {
    fn show(self, value: u64) -> f64 {
        // Beyond 2^53 a sum loses its last digits, as every float in this format does.
        #[allow(clippy::cast_precision_loss)]
        let value = value as f64;
        match self {
            Self::Time => value / 1e9,
            Self::Count => value,
        }
    }
}

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family; the samples that follow are its.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A number of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A histogram of the family.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        unit: Unit,
        snapshot: &HistogramSnapshot,
    ) {
        let mut below = 0;
        let bounds = snapshot.bounds.iter();
        let bounds = bounds.map(|bound| unit.show(*bound).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&snapshot.counts) {
            below += count;
            self.line("_bucket", labels, Some(&bound), below);
        }
        self.line("_sum", labels, None, unit.show(snapshot.sum));
        self.line("_count", labels, None, below);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: impl Display,
    ) {
        let family = self.family;
        self.write(format_args!("{family}{suffix}"));
        let labels = labels.iter().copied();
        let all = labels.chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (name, value) in all {
            self.write(format_args!("{before}{name}=\""));
            self.write_escaped(value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write_escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A String takes everything.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::Histogram;

    #[test]
    fn families_samples_and_histograms_read_as_prometheus_wants() {
        let histogram = Histogram::new(&[5_000_000, 1_000_000_000]);
        for value in [1_000_000, 5_000_000, 2_500_000_000] {
            histogram.observe(value);
        }
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "Things.");
        text.sample(&[], 3);
        text.sample(&[("model", "C:\\x \"y\"\nz"), ("k", "v")], 4);
        text.family("b_seconds", Kind::Histogram, "Times.");
        text.histogram(&[("m", "x")], Unit::Time, &histogram.snapshot());
        let expected = r#"# HELP a_total Things.
# TYPE a_total counter
a_total 3
a_total{model="C:\\x \"y\"\nz",k="v"} 4
# HELP b_seconds Times.
# TYPE b_seconds histogram
b_seconds_bucket{m="x",le="0.005"} 2
b_seconds_bucket{m="x",le="1"} 2
b_seconds_bucket{m="x",le="+Inf"} 3
b_seconds_sum{m="x"} 2.506
b_seconds_count{m="x"} 3
"#;
        assert_eq!(text.into_text(), expected);
    }
}
