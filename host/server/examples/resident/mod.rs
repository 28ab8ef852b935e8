//! What a soak says of memory: how much was resident behind the warm-up and at the end, from samples in the order of time.

/// Resident bytes over a soak.
pub struct Resident {
    /// Median of the first quarter of the samples.
    pub first: u64,
    /// Median of the last quarter.
    pub last: u64,
    /// The largest of all.
    pub most: u64,
}

impl Resident {
    /// Of these samples.
    pub fn of(samples: &[u64]) -> Self {
        let quarter = samples.len() / 4;
        Self {
            first: median(&samples[..quarter]),
            last: median(&samples[samples.len() - quarter..]),
            most: samples.iter().max().copied().unwrap_or_default(),
        }
    }

    /// How much more was resident in the end, as a share of the beginning.
    pub fn growth(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "memory is below 2^52 bytes")]
        let ratio = self.last as f64 / self.first as f64;
        ratio - 1.0
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
