//! What a remote engine is doing and has done, as whoever sends requests to it sees it.

use crate::histogram::HistogramSnapshot;

/// Whether a remote engine gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamState {
    /// It does.
    #[default]
    Up,
    /// It says that it takes none now; those it has go on.
    Draining,
    /// It does not answer, or failed too often.
    Down,
}

impl UpstreamState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Up, Self::Draining, Self::Down];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

/// One remote engine's figures at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFigures {
    /// Its address, as the operator wrote it.
    pub name: String,
    /// Whether it gets requests.
    pub state: UpstreamState,
    /// Sequences it is computing for us.
    pub streams: usize,
    /// Prompt and answer tokens that are still to come of them.
    pub outstanding_tokens: usize,
    /// Sequences that ended as they should.
    pub finished: u64,
    /// Sequences whose readers left before the end.
    pub cancelled: u64,
    /// Sequences that it refused as wrong requests.
    pub refused: u64,
    /// Sequences that it lost before their first token.
    pub lost: u64,
    /// Sequences that it broke off behind their first token.
    pub broken: u64,
    /// Health checks that were not answered as they should be.
    pub failed_checks: u64,
    /// Times that it was taken out of service.
    pub taken_out: u64,
    /// Times that it came back into service.
    pub taken_back: u64,
    /// Nanoseconds from sending a request to its first token.
    pub first_token: HistogramSnapshot,
}
