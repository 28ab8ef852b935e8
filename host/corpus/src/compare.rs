//! Runs an input under every way to cut it, in both modes, and explains the smallest cut that changes the message.

use weir_output::{Fragment, FragmentKind, ToolCallStreaming};

use crate::{
    case::Case,
    chunking::{Cut, apply, chunkings, cuts, smallest_failing},
    fold::{Folded, Runner},
};

/// Fragments, and the ways to cut them.
pub struct Cutting {
    /// What comes, uncut.
    pub fragments: Vec<Fragment>,
    /// The ways.
    pub chunkings: Vec<Vec<Cut>>,
}

impl Cutting {
    /// These fragments, cut in every way that [`chunkings`] knows.
    pub fn every_way(fragments: Vec<Fragment>) -> Self {
        let chunkings = chunkings(&cuts(&fragments));
        Self {
            fragments,
            chunkings,
        }
    }
}

/// The message in either mode, the same however the text is cut.
#[derive(Debug, Clone)]
pub struct Wholes {
    /// With streamed calls.
    pub incremental: Folded,
    /// With whole calls.
    pub complete: Folded,
}

impl Wholes {
    fn modes(&self) -> [(ToolCallStreaming, &Folded); 2] {
        [
            (ToolCallStreaming::Incremental, &self.incremental),
            (ToolCallStreaming::Complete, &self.complete),
        ]
    }
}

/// The message of the first cutting's fragments, uncut, which all cuttings must give under all their chunkings.
///
/// # Errors
/// The smallest cut that gives another one, or the plugin's failure.
pub fn agree(runner: &Runner, cuttings: &[Cutting]) -> Result<Wholes, String> {
    Ok(Wholes {
        incremental: agree_in(runner, cuttings, ToolCallStreaming::Incremental)?,
        complete: agree_in(runner, cuttings, ToolCallStreaming::Complete)?,
    })
}

fn agree_in(
    runner: &Runner,
    cuttings: &[Cutting],
    mode: ToolCallStreaming,
) -> Result<Folded, String> {
    let run = |fragments: &[Fragment], cuts: &[Cut]| {
        runner
            .run(apply(fragments, cuts), mode)
            .map_err(|error| format!("{error:#}"))
    };
    let whole = run(&cuttings[0].fragments, &[]);
    for Cutting {
        fragments,
        chunkings,
    } in cuttings
    {
        for chunking in chunkings {
            if run(fragments, chunking) != whole {
                let fails = |cuts: &[Cut]| run(fragments, cuts) != whole;
                let smallest = smallest_failing(chunking.clone(), fails);
                let pieces = apply(fragments, &smallest);
                let cut = run(fragments, &smallest);
                return Err(disagreement(mode, &pieces, &whole, &cut));
            }
        }
    }
    whole
}

/// In which modes the case expects another message, and what came instead.
pub fn unexpected(case: &Case, wholes: &Wholes) -> Option<String> {
    let modes = wholes.modes().into_iter();
    let differing = modes.map(|(mode, whole)| (mode, whole, Folded::expected(case, mode)));
    let text: String = differing
        .filter(|(_, whole, expected)| !whole.meets(expected))
        .map(|(mode, whole, expected)| {
            format!(" {mode:?} mode, every chunking\n expected\n{expected} got\n{whole}")
        })
        .collect();
    Some(text).filter(|text| !text.is_empty())
}

fn disagreement(
    mode: ToolCallStreaming,
    pieces: &[Fragment],
    whole: &Result<Folded, String>,
    cut: &Result<Folded, String>,
) -> String {
    let show = |folded: &Result<Folded, String>| match folded {
        Ok(folded) => folded.to_string(),
        Err(error) => format!("  error: {error}\n"),
    };
    format!(
        " {mode:?} mode, cut as {}\n whole\n{} cut\n{}",
        as_chunks(pieces),
        show(whole),
        show(cut)
    )
}

/// Fragments as the `chunks` of a case.
pub fn as_chunks(fragments: &[Fragment]) -> String {
    let chunk = |fragment: &Fragment| {
        let text = toml::Value::from(fragment.text.as_str());
        match fragment.kind {
            FragmentKind::Text => text.to_string(),
            FragmentKind::Control => format!("{{ control = {text} }}"),
            FragmentKind::Unknown => format!("{{ unknown = {text} }}"),
        }
    };
    let chunks: Vec<String> = fragments.iter().map(chunk).collect();
    format!("[{}]", chunks.join(", "))
}
