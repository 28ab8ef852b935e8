//! `cargo xtask remote-peer`: weir in front of llama.cpp's own server with the default model: the conformance script, greedy
//! text beside the local engine's, and what standing in front costs.
//!
//! The peer is started by tests/reference/serve_llama_cpp.py, the checks by tests/clients/conformance.py: Python with venv, and
//! PyPI once. What weir costs is measured in front of a second weir that replays texts: an engine that costs next to nothing,
//! so that what is measured is weir. Nothing else should run on the machine.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    peer, release, report,
    servers::{self, Server},
};

mod overhead;

const ROUNDS: u32 = 7;
const FOLDER: &str = "target/remote_peer";

const EXPLAINED: &str = "
Left out is what an engine elsewhere cannot be asked for, each with its reason; what a client is told there, other tests hold.

## Greedy text

Five prompts, 64 tokens each, as in `cargo xtask greedy-text`. Both rows are compared with llama.cpp asked directly: weir's own \
engine on the same file, and weir in front of that very llama.cpp. Where two texts part, the gap is how much likelier llama.cpp \
holds its own token; the noise is how far it is from itself when its flash attention is switched off. A gap below 0.05 is a tie.

";

#[derive(clap::Args)]
pub struct Arguments {
    /// Rounds of the measurement, in which the ways take turns
    #[arg(long, value_name = "N", default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Use this binary instead of building weir in the release profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Measure what this binary costs [default: the one that is checked]
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Measure what it costs and nothing else; no report is written
    #[arg(long)]
    overhead: bool,
}

/// Checks, measures, and writes tests/reports/remote_peer.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let weir = match &arguments.binary {
        Some(binary) => binary.canonicalize()?,
        None => release::weir(root)?,
    };
    let measured = match &arguments.measured {
        Some(binary) => binary.canonicalize()?,
        None => weir.clone(),
    };
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let model = release::default_model(&weir)?;
    let server = servers::llama_cpp(root, &model, "2", &folder.join("llama.log"))?;
    if arguments.overhead {
        let (table, _) = overhead::measure(&measured, &server, &model, &folder, arguments.rounds)?;
        print!("{table}");
        return Ok(());
    }
    let (conformance, conforms) = conformance(root, &weir, &server, &model)?;
    let (cost, cheap) = overhead::measure(&measured, &server, &model, &folder, arguments.rounds)?;
    drop(server);
    let (texts, same) = greedy(root, &weir, &model)?;
    let other = match &arguments.measured {
        Some(_) => {
            "\nThe binary that was measured is another build than the one that was checked.\n"
        }
        None => "",
    };
    let body = format!(
        "## Conformance\n\n{conformance}{EXPLAINED}{texts}\n## What it costs\n\n{cost}{other}"
    );
    print!("{body}");
    let mut command = "cargo xtask remote-peer".to_owned();
    if arguments.rounds != ROUNDS {
        let _ = write!(command, " --rounds {}", arguments.rounds);
    }
    for (flag, file) in [
        ("binary", &arguments.binary),
        ("measured", &arguments.measured),
    ] {
        if file.is_some() {
            let _ = write!(command, " --{flag} FILE");
        }
    }
    let title = "weir in front of llama.cpp's server";
    report::write(root, "remote_peer", title, &command, &body)?;
    ensure!(conforms, "a check of conformance failed");
    ensure!(same, "there are texts that part at no tie");
    ensure!(cheap, "not every bar is met");
    Ok(())
}

/// Runs the checks of tests/clients/conformance.py through weir; what passed, what was left out and why, and whether all is well.
fn conformance(root: &Path, weir: &Path, server: &Server, model: &str) -> Result<(String, bool)> {
    let python = clients_python(root)?;
    let output = Command::new(python)
        .arg("-u")
        .arg(root.join("tests/clients/conformance.py"))
        .arg(weir)
        .args(["--engine", &server.url, model])
        .stderr(Stdio::inherit())
        .output()
        .context("conformance.py")?;
    let said = String::from_utf8(output.stdout)?;
    eprint!("{said}");
    let count = said.lines().rev().find(|line| line.contains(" passed, "));
    let count = count.context("conformance.py came to no end")?;
    let peer = server.line.rsplit(", ").next().unwrap_or_default();
    let mut text =
        format!("tests/clients/conformance.py through weir in front of {peer}: **{count}**.\n\n");
    let left_out = said
        .lines()
        .filter_map(|line| line.strip_prefix("LEFT OUT\t"));
    let left_out: Vec<_> = left_out.filter_map(|line| line.split_once('\t')).collect();
    text += "| left out | because |\n|---|---|\n";
    for (name, reason) in &left_out {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{}` | {reason} |", name.replace('|', "\\|"));
    }
    for failed in said.lines().filter_map(|line| line.strip_prefix("FAIL ")) {
        let _ = writeln!(text, "\n**failed**: `{failed}`");
    }
    Ok((text, output.status.success()))
}

/// The Python that has what the client scripts import.
fn clients_python(root: &Path) -> Result<PathBuf> {
    let mut command = Command::new("python3");
    command
        .args([
            "-c",
            "import packages, sys; print(packages.venv(sys.argv[1]))",
        ])
        .arg(root.join("tests/clients/requirements.txt"))
        .current_dir(root.join("tests/reference"));
    Ok(PathBuf::from(peer::output(&mut command)?.trim()))
}

/// Greedy text of weir's own engine and of weir in front, both beside llama.cpp's; a table and whether they only part at ties.
fn greedy(root: &Path, weir: &Path, model: &str) -> Result<(String, bool)> {
    let mut table = String::from(
        "| weir | identical | where they part | gap | noise of the peer |\n|---|---|---|---|---|\n",
    );
    let mut same = true;
    for (way, flags) in [
        ("its own engine", &[][..]),
        ("in front of llama.cpp", &["--in-front"]),
    ] {
        let output = Command::new("python3")
            .arg(root.join("tests/reference/compare_greedy.py"))
            .args(["--table", "--weir"])
            .arg(weir)
            .args(["--model", model])
            .args(flags)
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("compare_greedy.py")?;
        let said = String::from_utf8(output.stdout)?;
        let row = said
            .lines()
            .nth(2)
            .context("compare_greedy.py came to no end")?;
        let cells = row.trim_start_matches("| ").split_once(" | ");
        let (_, cells) = cells.context("compare_greedy.py wrote no table")?;
        let _ = writeln!(table, "| {way} | {cells}");
        same &= output.status.success();
    }
    Ok((table, same))
}
