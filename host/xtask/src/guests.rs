//! `cargo xtask guests`: what `weir plugin new` writes, in every language and of every kind that it has, built with the words of its own
//! README and checked; and what guests of each language cost, as a table that is kept.
//!
//! It needs the network (PyPI, npm, crates.io), a Python, a Node.js, a clang and a wasm32 Rust, so it is no part of `cargo
//! test`. Everything goes into target/guests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{plugins::toolchain::Toolchain, release, report};

const LANGUAGES: &[&str] = &["rust", "c", "javascript", "python"];

#[derive(clap::Args)]
pub struct Arguments {
    /// Only this language; may be given again. No report is written then
    #[arg(long = "lang", value_name = "LANG")]
    languages: Vec<String>,
    /// A `weir` that is built already [default: a release build of this checkout]
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
}

/// Builds and checks the projects, and writes tests/reports/guests.md.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let folder = root.join("target/guests");
    fs::create_dir_all(&folder)?;
    let guests = Guests {
        folder,
        weir: match &arguments.weir {
            Some(weir) => weir.canonicalize()?,
            None => release::weir(root)?,
        },
        heading: match Toolchain::find(root) {
            Ok(Toolchain::Debian) => "## Build with Debian's packages",
            _ => "## Build",
        },
    };
    let all = arguments.languages.is_empty();
    let mut rows = String::new();
    for language in LANGUAGES {
        if all || arguments.languages.iter().any(|named| named == language) {
            guests.make(language, "post-processor")?;
            if *language == "rust" {
                guests.make(language, "request-processor")?;
            }
            rows.push_str(&guests.measure(language)?);
        }
    }
    let table = format!(
        "| | component | build | first load | later loads | start of a session | push | memory of a live session |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n{rows}"
    );
    print!("{table}");
    if !all {
        return Ok(());
    }
    let body = format!(
        "{table}\nThe same parser in each language: the project that `weir plugin new` writes, built as its README says. The \
         build includes downloads; the first load compiles, later ones take the compiled component from the cache; a push is \
         one of 4 characters of plain text. Both kinds of plugin passed `weir plugin check --corpus`. The machine shares its \
         cores with others.\n"
    );
    let title = "Plugins in other languages";
    let command = match &arguments.weir {
        Some(weir) => format!("cargo xtask guests --weir {}", weir.display()),
        None => "cargo xtask guests".to_owned(),
    };
    report::write(root, "guests", title, &command, &body)
}

struct Guests {
    folder: PathBuf,
    weir: PathBuf,
    /// Where the README says how to build with the Rust that is here.
    heading: &'static str,
}

impl Guests {
    /// A project of this language and kind: made anew, built and checked. Answers with the component and the build's time.
    fn make(&self, language: &str, kind: &str) -> Result<(PathBuf, Duration)> {
        let name = format!("{language}_{}", kind.replace('-', "_"));
        let project = self.folder.join(&name);
        if project.exists() {
            fs::remove_dir_all(&project)?;
        }
        let new = ["plugin", "new", &name, "--lang", language, "--kind", kind];
        self.shell(&self.folder, &format!("weir {}", new.join(" ")))?;
        let readme = fs::read_to_string(project.join("README.md"))?;
        let heading = if language == "rust" {
            self.heading
        } else {
            "## Build"
        };
        let begun = Instant::now();
        self.shell(&project, &block(&readme, heading)?)?;
        let built = begun.elapsed();
        self.shell(&project, &block(&readme, "## Check")?)?;
        Ok((project.join(format!("{name}.wasm")), built))
    }

    /// The row of a language's parser.
    fn measure(&self, language: &str) -> Result<String> {
        let (wasm, built) = self.make(language, "parser")?;
        let cache = self.folder.join("cache");
        if cache.exists() {
            fs::remove_dir_all(&cache)?;
        }
        let at = |what: &str| format!("weir plugin {what} --plugin it={}", wasm.display());
        let first = self.timed(&at("inspect it"))?;
        let later = self.timed(&at("inspect it"))?;
        let bench = self.shell(&self.folder, &at("bench it"))?;
        let cost = |label: &str| {
            let line = bench.lines().find_map(|line| line.strip_prefix(label));
            line.map(str::trim).unwrap_or("?").to_owned()
        };
        let kilobytes = fs::metadata(&wasm)?.len() / 1000;
        Ok(format!(
            "| {language} | {kilobytes} kB | {:.0} s | {:.2} s | {:.2} s | {} | {} | {} |\n",
            built.as_secs_f64(),
            first.as_secs_f64(),
            later.as_secs_f64(),
            cost("start of a session"),
            cost("push of plain text"),
            cost("memory of a live session"),
        ))
    }

    fn timed(&self, command: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.shell(&self.folder, command)?;
        Ok(begun.elapsed())
    }

    /// Runs this with `weir` at hand and a cache of its own, shows it, and returns what it printed.
    fn shell(&self, folder: &Path, command: &str) -> Result<String> {
        println!("$ {command}");
        let tools = self.weir.parent().context("a file has a folder")?;
        let path = format!(
            "{}:{}",
            tools.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let clang = if Path::new("/usr/bin/clang").exists() {
            "clang"
        } else {
            "clang-19"
        };
        let mut shell = Command::new("sh");
        // What cargo sets for this program is not meant for other compilers.
        for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
            shell.env_remove(variable);
        }
        let output = shell
            .args(["-ec", command])
            .current_dir(folder)
            .env("PATH", path)
            .env("CC", clang)
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{text}");
        ensure!(output.status.success(), "`{command}` failed");
        Ok(text)
    }
}

/// The first block of commands behind a heading.
fn block(readme: &str, heading: &str) -> Result<String> {
    let mut lines = readme.lines().skip_while(|line| *line != heading);
    lines
        .by_ref()
        .find(|line| *line == "```sh")
        .with_context(|| format!("no commands behind `{heading}`"))?;
    let commands: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    Ok(commands.join("\n"))
}
