//! `cargo xtask page`: the page that the server has at `/`, in a headless browser, driven as people drive it.
//!
//! What is done and what must hold is written in tests/page; the browser is Debian's, what drives it comes from npm in pinned
//! versions, into weir's cache. A run of everything writes tests/reports/page.md and the pictures beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{release, report};

#[derive(clap::Args)]
pub struct Arguments {
    /// Only the tests whose names hold one of these words; no report is written then
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Show this binary's page instead of building weir in the dev profile
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What the browser's tests wrote.
#[derive(Deserialize)]
struct Outcome {
    browser: String,
    tests: Vec<Test>,
    /// Hosts other than the server.
    foreign: Vec<String>,
}

#[derive(Deserialize)]
struct Test {
    name: String,
    said: String,
    /// Empty where it held.
    wrong: String,
}

/// Runs the modules' own tests with Node.js, then the page in the browser.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let binary = match &arguments.binary {
        Some(binary) => binary.canonicalize()?,
        None => release::weir_with_assertions(root)?,
    };
    let modules = packages(root)?;
    let browser = browser()?;
    let units = units(root)?;
    let folder = root.join("target/page");
    fs::create_dir_all(&folder)?;
    let result = folder.join("result.json");
    // What an earlier run left must not pass for this one's.
    drop(fs::remove_file(&result));
    let all = arguments.words.is_empty();
    let pictures = match all {
        true => root.join("tests/reports/page"),
        false => folder.join("pictures"),
    };
    let mut node = Command::new("node");
    release::clean_environment(&mut node);
    let status = node
        .arg(root.join("tests/page/run.mjs"))
        .arg(&result)
        .args(&arguments.words)
        .env("PAGE_BINARY", &binary)
        .env("PAGE_MODEL", release::default_model(&binary)?)
        .env("PAGE_CHROMIUM", browser)
        .env("PAGE_MODULES", modules)
        .env("PAGE_ROOT", root)
        .env("PAGE_FOLDER", &folder)
        .env("PAGE_PICTURES", pictures)
        .status()
        .context("node")?;
    ensure!(status.success(), "the browser's tests came to no end");
    let outcome: Outcome = serde_json::from_str(&fs::read_to_string(&result)?)?;
    let failed = outcome.tests.iter().any(|test| !test.wrong.is_empty());
    if all {
        let command = match arguments.binary {
            Some(_) => "cargo xtask page --binary FILE",
            None => "cargo xtask page",
        };
        let title = "The page in a browser";
        report::write(root, "page", title, command, &body(&outcome, &units))?;
    }
    ensure!(
        !failed && outcome.foreign.is_empty(),
        "the page does not do what it should"
    );
    Ok(())
}

fn body(outcome: &Outcome, units: &str) -> String {
    let row = |test: &Test| {
        let verdict = match test.wrong.as_str() {
            "" => "yes".to_owned(),
            wrong => format!("**no**: {}", cell(wrong)),
        };
        format!(
            "| {} | {verdict} | {} |\n",
            cell(&test.name),
            cell(&test.said)
        )
    };
    let rows: String = outcome.tests.iter().map(row).collect();
    let foreign = match outcome.foreign.as_slice() {
        [] => "no host but the server's was asked".to_owned(),
        hosts => format!("**asked too: {}**", hosts.join(", ")),
    };
    format!(
        "Chromium {}, headless, the servers on the same machine, which others used too; {foreign}. A test also fails when the page \
         writes an error or a warning to the console, opens a window or a dialog. The modules' own tests in Node.js: {units}.\n\n\
         | what | holds | figures |\n|---|---|---|\n{rows}\n\
         The default model says what it says; where an answer must be known the model is a replay. The bad plugin is `tests/hostile`. \
         Pictures of the three views at 390, 820 and 1,440 pixels, light and dark, lie in [page](page).\n",
        outcome.browser
    )
}

/// Text that stands in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// The tests of the modules that need no browser; answers how many there were.
fn units(root: &Path) -> Result<String> {
    let output = Command::new("node")
        .args(["--test", "--test-reporter=tap", "tests/page/units/"])
        .current_dir(root)
        .output()
        .context("node")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}");
    let passed = text.lines().find_map(|line| line.strip_prefix("# pass "));
    let passed = passed.context("node counted no tests")?;
    Ok(format!("{passed} passed"))
}

/// Where npm's packages lie, in the versions of tests/page/package.json.
fn packages(root: &Path) -> Result<PathBuf> {
    let manifest = root.join("tests/page/package.json");
    let digest = Sha256::digest(fs::read(&manifest)?);
    let digits: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let place = release::cache_folder()
        .join("clients")
        .join(format!("page-{digits}"));
    let whole = place.join("whole");
    if !whole.exists() {
        fs::create_dir_all(&place)?;
        fs::copy(&manifest, place.join("package.json"))?;
        let status = Command::new("npm")
            .args(["install", "--silent", "--no-fund", "--no-audit"])
            .current_dir(&place)
            .status()
            .context("npm")?;
        ensure!(status.success(), "npm installs nothing");
        fs::write(whole, "")?;
    }
    Ok(place)
}

/// Debian's browser, installed if it is not there.
fn browser() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let find = || {
        env::split_paths(&path)
            .map(|folder| folder.join("chromium"))
            .find(|file| file.exists())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    for arguments in [
        &["update", "-qq"][..],
        &[
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "chromium",
        ],
    ] {
        let status = Command::new("apt-get").args(arguments).status();
        let status = status.context("no chromium, and no apt-get to install it")?;
        ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    }
    find().context("chromium was installed and is not there")
}
