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
use weir_corpus::{
    case::Case,
    compare::{Cutting, Wholes, agree, unexpected},
    fold::{Folded, Runner},
};
use weir_output::{ChatFinishReason, Fragment};

use crate::{Plugins, boundaries::Boundaries, corpora::corpora, runner};

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
                let runner = runner(plugins, case, post_processor);
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
    let name = case.path.strip_prefix(corpora()).unwrap_or(&case.path);
    format!(
        "{} ({})\n  {}\n{failure}",
        name.display(),
        plugins.label(),
        case.shows
    )
}

fn check(runner: &Runner, case: &Case, boundaries: Option<&Boundaries>) -> Result<(), String> {
    let mut cuttings = vec![Cutting::every_way(case.fragments())];
    if let Some(boundaries) = boundaries {
        let (fragments, cuts) = boundaries.tokens(case)?;
        cuttings.push(Cutting {
            fragments,
            chunkings: vec![cuts],
        });
    }
    let wholes = agree(runner, &cuttings)?;
    let Some(difference) = unexpected(case, &wholes) else {
        return Ok(());
    };
    if env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        return bless(case, &wholes).map_err(|error| format!("{error:#}"));
    }
    Err(difference)
}

fn bless(case: &Case, wholes: &Wholes) -> anyhow::Result<()> {
    let text = fs::read_to_string(&case.path)?;
    let mut document: DocumentMut = text.parse().context("a case")?;
    let expect = expectation(wholes, &case.fragments());
    document["expect"] = Item::Table(expect);
    fs::write(&case.path, document.to_string())?;
    Ok(())
}

/// The `[expect]` of a case that folds like this in the two modes.
pub fn expectation(wholes: &Wholes, input: &[Fragment]) -> Table {
    let Wholes {
        incremental,
        complete,
    } = wholes;
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
