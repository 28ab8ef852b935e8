//! Checks a case under every chunking in both modes, explains the smallest failure, and rewrites expectations on demand.
//!
//! `BLESS=1` rewrites `[expect]` of a case whose chunkings all agree with each other and not with it. It is for changes of
//! the policy, and what it wrote is to be judged line by line: expectations come from the policy, not from the parsers.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::Context;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use weir_output::{ChatFinishReason, Fragment, FragmentKind, ToolCallStreaming};

use crate::{
    Plugins,
    boundaries::Boundaries,
    case::Case,
    chunking::{Cut, apply, chunkings, cuts, smallest_failing},
    fold::{Folded, Runner},
};

const MODES: [ToolCallStreaming; 2] = [ToolCallStreaming::Incremental, ToolCallStreaming::Complete];

/// Runs all cases, on as many threads as there are cores, and gathers what failed.
///
/// # Errors
/// The report of every case that failed.
pub fn check_all(
    plugins: &dyn Plugins,
    cases: &[Case],
    post_processor: bool,
) -> anyhow::Result<()> {
    let boundaries = read_boundaries(cases)?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut reports = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else {
                return reports;
            };
            let boundaries = boundaries.get(case.plugin()).and_then(Option::as_ref);
            let checked = panic::catch_unwind(AssertUnwindSafe(|| {
                let runner = Runner::new(plugins, case, post_processor);
                check(
                    &runner.map_err(|error| format!("  {error:#}\n"))?,
                    case,
                    boundaries,
                )
            }));
            let failure = checked
                .unwrap_or_else(|_| Err("  a panic\n".to_owned()))
                .err();
            reports.extend(failure.map(|failure| (number, report(plugins, case, &failure))));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut reports: Vec<(usize, String)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let reports = threads.into_iter().map(|thread| thread.join());
        reports
            .flat_map(|reports| reports.unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    });
    reports.sort();
    let texts: Vec<&str> = reports.iter().map(|(_, text)| text.as_str()).collect();
    anyhow::ensure!(
        texts.is_empty(),
        "{} of {} cases failed:\n\n{}",
        texts.len(),
        cases.len(),
        texts.join("\n")
    );
    Ok(())
}

fn read_boundaries(cases: &[Case]) -> anyhow::Result<BTreeMap<&str, Option<Boundaries>>> {
    let folders: BTreeSet<&str> = cases.iter().map(Case::plugin).collect();
    let read = |folder| Boundaries::read(folder).with_context(|| format!("boundaries/{folder}"));
    folders
        .into_iter()
        .map(|folder| Ok((folder, read(folder)?)))
        .collect()
}

fn report(plugins: &dyn Plugins, case: &Case, failure: &str) -> String {
    let name = case
        .path
        .strip_prefix(crate::case::corpora())
        .unwrap_or(&case.path);
    format!(
        "{} ({})\n  {}\n{failure}",
        name.display(),
        plugins.label(),
        case.shows
    )
}

/// Fragments, and the ways to cut them.
type Cuttings = (Vec<Fragment>, Vec<Vec<Cut>>);

fn check(runner: &Runner, case: &Case, boundaries: Option<&Boundaries>) -> Result<(), String> {
    let fragments = case.fragments();
    let chunkings = chunkings(&cuts(&fragments));
    let mut cuttings: Vec<Cuttings> = vec![(fragments, chunkings)];
    if let Some(boundaries) = boundaries {
        let (tokens, cuts) = boundaries.tokens(case)?;
        cuttings.push((tokens, vec![cuts]));
    }
    let mut wholes = Vec::new();
    for mode in MODES {
        let run = |fragments: &[Fragment], cuts: &[Cut]| {
            runner
                .run(apply(fragments, cuts), mode)
                .map_err(|error| format!("{error:#}"))
        };
        let whole = run(&cuttings[0].0, &[]);
        for (fragments, chunkings) in &cuttings {
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
        wholes.push((mode, whole?));
    }
    if wholes
        .iter()
        .all(|(mode, whole)| whole.meets(&Folded::expected(case, *mode)))
    {
        return Ok(());
    }
    if env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        return bless(case, &wholes[0].1, &wholes[1].1).map_err(|error| format!("{error:#}"));
    }
    let differing = wholes
        .iter()
        .filter(|(mode, whole)| !whole.meets(&Folded::expected(case, *mode)));
    Err(differing
        .map(|(mode, whole)| {
            let expected = Folded::expected(case, *mode);
            format!(" {mode:?} mode, every chunking\n expected\n{expected} got\n{whole}")
        })
        .collect())
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

fn bless(case: &Case, incremental: &Folded, complete: &Folded) -> anyhow::Result<()> {
    let text = fs::read_to_string(&case.path)?;
    let mut document: DocumentMut = text.parse().context("a case")?;
    let expect = expectation(incremental, complete, &case.fragments());
    document["expect"] = Item::Table(expect);
    fs::write(&case.path, document.to_string())?;
    Ok(())
}

/// The `[expect]` of a case that folds like this in the two modes.
pub fn expectation(incremental: &Folded, complete: &Folded, input: &[Fragment]) -> Table {
    let input: String = input.iter().map(|part| part.text.as_str()).collect();
    let mut expect = folded_table(incremental, &input);
    if !incremental.reasoning.is_empty() {
        expect["reasoning"] = value(&incremental.reasoning);
    }
    if incremental.finish_reason != ChatFinishReason::Stop {
        expect["finish_reason"] = value(incremental.finish_reason.as_str());
    }
    if (&incremental.content, &incremental.calls) != (&complete.content, &complete.calls) {
        expect["complete"] = Item::Table(folded_table(complete, &input));
    }
    expect
}

/// Ids are the model's if they stand in its `input`.
fn folded_table(folded: &Folded, input: &str) -> Table {
    let mut table = Table::new();
    if !folded.content.is_empty() {
        table["content"] = value(&folded.content);
    }
    let mut calls = ArrayOfTables::new();
    for call in &folded.calls {
        let mut entry = Table::new();
        entry["name"] = value(&call.name);
        entry["arguments"] = value(&call.arguments);
        if let Some(id) = call.id.as_ref().filter(|id| input.contains(*id)) {
            entry["id"] = value(id);
        }
        if !call.complete {
            entry["complete"] = value(false);
        }
        calls.push(entry);
    }
    if !calls.is_empty() {
        table["calls"] = Item::ArrayOfTables(calls);
    }
    table
}
