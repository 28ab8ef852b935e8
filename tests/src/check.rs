//! Checks a case under every chunking in both modes, explains the smallest failure, and rewrites expectations on demand.
//!
//! `BLESS=1` rewrites `[expect]` of a case whose chunkings all agree with each other and not with it. It is for changes of
//! the policy, and what it wrote is to be judged line by line: expectations come from the policy, not from the parsers.

use std::{env, fs};

use anyhow::Context;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use weir_output::{ChatFinishReason, Fragment, ToolCallStreaming};

use crate::{
    Plugins,
    case::Case,
    chunking::{Cut, apply, chunkings, cuts, smallest_failing},
    fold::{Folded, Runner},
};

const MODES: [ToolCallStreaming; 2] = [ToolCallStreaming::Incremental, ToolCallStreaming::Complete];

/// Runs all cases and gathers what failed.
///
/// # Errors
/// The report of every case that failed.
pub fn check_all(
    plugins: &dyn Plugins,
    cases: &[Case],
    post_processor: bool,
) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for case in cases {
        let failure = match Runner::new(plugins, case, post_processor) {
            Ok(runner) => check(&runner, case).err(),
            Err(error) => Some(format!("  {error:#}\n")),
        };
        if let Some(failure) = failure {
            let name = case
                .path
                .strip_prefix(crate::case::corpora())
                .unwrap_or(&case.path);
            reports.push(format!(
                "{} ({})\n  {}\n{failure}",
                name.display(),
                plugins.label(),
                case.shows
            ));
        }
    }
    anyhow::ensure!(
        reports.is_empty(),
        "{} of {} cases failed:\n\n{}",
        reports.len(),
        cases.len(),
        reports.join("\n")
    );
    Ok(())
}

fn check(runner: &Runner, case: &Case) -> Result<(), String> {
    let fragments = case.fragments();
    let all = cuts(&fragments);
    let run = |cuts: &[Cut], mode| {
        runner
            .run(apply(&fragments, cuts), mode)
            .map_err(|error| format!("{error:#}"))
    };
    let mut wholes = Vec::new();
    for mode in MODES {
        let whole = run(&[], mode);
        for chunking in chunkings(&all) {
            if run(&chunking, mode) != whole {
                let smallest = smallest_failing(chunking, |cuts| run(cuts, mode) != whole);
                let pieces = apply(&fragments, &smallest);
                return Err(disagreement(mode, &pieces, &whole, &run(&smallest, mode)));
            }
        }
        wholes.push((mode, whole?));
    }
    if wholes
        .iter()
        .all(|(mode, whole)| *whole == Folded::expected(case, *mode))
    {
        return Ok(());
    }
    if env::var_os("BLESS").is_some_and(|bless| bless == "1") {
        return bless(case, &wholes[0].1, &wholes[1].1).map_err(|error| format!("{error:#}"));
    }
    let differing = wholes
        .iter()
        .filter(|(mode, whole)| *whole != Folded::expected(case, *mode));
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
    let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
    format!(
        " {mode:?} mode, cut as {texts:?}\n whole\n{} cut\n{}",
        show(whole),
        show(cut)
    )
}

fn bless(case: &Case, incremental: &Folded, complete: &Folded) -> anyhow::Result<()> {
    let text = fs::read_to_string(&case.path)?;
    let mut document: DocumentMut = text.parse().context("a case")?;
    let mut expect = folded_table(incremental);
    if !incremental.reasoning.is_empty() {
        expect["reasoning"] = value(&incremental.reasoning);
    }
    if incremental.finish_reason != ChatFinishReason::Stop {
        expect["finish_reason"] = value(incremental.finish_reason.as_str());
    }
    if (&incremental.content, &incremental.calls) != (&complete.content, &complete.calls) {
        expect["complete"] = Item::Table(folded_table(complete));
    }
    document["expect"] = Item::Table(expect);
    fs::write(&case.path, document.to_string())?;
    Ok(())
}

fn folded_table(folded: &Folded) -> Table {
    let mut table = Table::new();
    if !folded.content.is_empty() {
        table["content"] = value(&folded.content);
    }
    let mut calls = ArrayOfTables::new();
    for call in &folded.calls {
        let mut entry = Table::new();
        entry["name"] = value(&call.name);
        entry["arguments"] = value(&call.arguments);
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
