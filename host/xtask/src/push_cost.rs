//! `cargo xtask push-cost`: what a push costs, as a table that is kept.
//!
//! It is measured by an example of the plugin host's crate, since it needs that crate and a parser; here it is run.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{example, report};

/// Runs it and writes tests/reports/push_cost.md.
pub fn run(root: &Path) -> Result<()> {
    let table = measure(root, "push_cost")?;
    let all = measure(root, "push_cost_all")?;
    let body = format!(
        "{table}\nThe stream is qwen25's (hermes) in deltas of 4 characters, the host's path and epoch interruption \
         included. The machine shares its cores with others, and everything is at times twice as slow: the best tenth of \
         the blocks of 50 pushes is what a core of one's own gives. The subjects take turns.\n\n{all}\nEvery tool and \
         reasoning parser as a component: plain text, and 2,000 characters of a string argument.\n"
    );
    report::write(
        root,
        "push_cost",
        "What a push costs",
        "cargo xtask push-cost",
        &body,
    )
}

/// The table that an example of the plugin host's crate prints.
fn measure(root: &Path, name: &str) -> Result<String> {
    let output = example::output(root, "weir-plugin-host", name)?;
    ensure!(output.status.success(), "the measurement failed");
    let table = String::from_utf8(output.stdout)?;
    print!("{table}");
    Ok(table)
}
