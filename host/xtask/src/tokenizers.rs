//! `cargo xtask tokenizers`: weir's token ids, decoded and streamed texts against the reference tokenizers, as a table that
//! is kept.
//!
//! It needs the network once (npm, PyPI) and a Python with venv, so it is no part of `cargo test`; the hashes it writes
//! under tests/corpora/tokenizers are. The environment is target/tokenizers-venv, the vocabularies lie in weir's cache.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use crate::report;

const EXPLAINED: &str = "\
The strings are tests/corpora/tokenizers/strings.jsonl; those of a family called `listed` are the ones that llama.cpp is \
tested with, and their ids what the model's own tokenizer gave its authors. `ids` are those of a text in which special tokens \
may be written, where the reference reads them there; `plain` those where they are text. Decoded and streamed are the ids of \
each string, and 500 lists of ids that no text has: random ones, bytes of characters apart, special tokens among them. Ids \
that only an embedding model has are not decoded.

Excused are strings with a literal low line `▁` beside spaces, which Gemma's tokenizer.json keeps apart and SentencePiece, whose \
pieces a GGUF file holds, cannot: there weir's ids are those of the `sentencepiece` library on the same pieces, which is checked.
";

#[derive(clap::Args)]
pub struct Arguments {
    /// Only these families, as tests/reference/token_families.py names them. No report is written then
    names: Vec<String>,
}

/// Compares every family in every form and writes tests/reports/tokenizers.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let venv = root.join("target/tokenizers-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        shell(root, "python3 -m venv target/tokenizers-venv")?;
    }
    shell(
        root,
        "target/tokenizers-venv/bin/python -m pip install --quiet --disable-pip-version-check \
         -r tests/reference/token_ids.txt",
    )?;
    shell(
        root,
        "cargo build --quiet -p weir-prompt --example tokenize",
    )?;
    let output = Command::new(python)
        .args([
            "tests/reference/token_ids.py",
            "target/debug/examples/tokenize",
            "--write",
        ])
        .args(&arguments.names)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    if arguments.names.is_empty() {
        let body = format!("{table}\n{EXPLAINED}");
        let title = "Token ids against the reference tokenizers";
        report::write(root, "tokenizers", title, "cargo xtask tokenizers", &body)?;
    }
    ensure!(output.status.success(), "not all strings are equal");
    Ok(())
}

fn shell(root: &Path, command: &str) -> Result<()> {
    let status = Command::new("sh")
        .args(["-ec", command])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "`{command}` failed");
    Ok(())
}
