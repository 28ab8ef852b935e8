//! Many schemas and grammars, one after the other, in processes of their own: a process that aborts or hangs is seen, told
//! with the seed it was at, and the next one goes on behind it.
//!
//! What must hold of each: it is refused or enforced within [`SLOW`]; every mask comes within [`SLOW_MASK`]; only text is
//! allowed and never nothing; nothing panics; and what a walk wrote to its end within a schema is valid.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    panic::{self, AssertUnwindSafe},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Bytes, Wanted, junk::Junk, keywords};

/// A second to compile, and what a busy machine adds.
const SLOW: Duration = Duration::from_secs(3);
/// A mask on a busy machine.
const SLOW_MASK: Duration = Duration::from_secs(1);
/// A process that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(20);
/// Tokens of a walk.
const STEPS: usize = 60;
/// Address space of a process, in KiB: what asks for more dies, and is seen.
const MEMORY_KIB: u64 = 6 << 20;
/// Findings of a kind that are shown whole.
const SHOWN: usize = 5;

/// What a process says of a seed, a line each.
#[derive(Serialize, Deserialize)]
enum Line {
    /// It begins with this one.
    Begin(u64),
    /// It is through.
    End(Run),
    /// No seeds are left; its largest memory in KiB.
    Last(u64),
}

/// What came of a seed.
#[derive(Serialize, Deserialize)]
struct Run {
    kind: String,
    taken: bool,
    /// Whether a walk came to its end.
    ended: bool,
    compile: Duration,
    /// The longest step of the walk.
    step: Duration,
    finding: Option<String>,
}

/// What came of all.
#[derive(Default)]
pub struct Outcome {
    /// By kind of input.
    pub kinds: BTreeMap<String, Counts>,
    /// With their seeds.
    pub findings: Vec<String>,
    /// The largest memory of a process, in KiB.
    pub memory: u64,
}

/// How often what came, and how long it took.
#[derive(Default)]
pub struct Counts {
    /// All.
    pub executions: u64,
    /// Those that were enforced.
    pub taken: u64,
    /// Walks that ended.
    pub ended: u64,
    /// The longest compilation.
    pub compile: Duration,
    /// The longest step of a walk.
    pub step: Duration,
}

/// Runs these seeds in this process; the parent reads what it says.
///
/// # Errors
/// When our data or standard output cannot be used.
pub fn run_here(first: u64, count: u64) -> Result<()> {
    let (junk, bytes) = (Junk::read()?, Bytes::default());
    let mut output = std::io::stdout().lock();
    let mut say = |line: &Line| -> Result<()> {
        writeln!(output, "{}", serde_json::to_string(line)?)?;
        Ok(output.flush()?)
    };
    panic::set_hook(Box::new(|_| {}));
    for seed in first..first + count {
        say(&Line::Begin(seed))?;
        say(&Line::End(execute(&bytes, &junk.wanted(seed), seed)))?;
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    say(&Line::Last(peak.context("VmHWM")?.trim().parse()?))
}

/// What is wrong with one input, run in this process.
pub fn finding(bytes: &Bytes, wanted: &Wanted, seed: u64) -> Option<String> {
    execute(bytes, wanted, seed).finding
}

/// Compiles and walks once.
fn execute(bytes: &Bytes, wanted: &Wanted, seed: u64) -> Run {
    let kind = match wanted {
        Wanted::Schema(_) => "schema",
        Wanted::Regex(_) => "regular expression",
        Wanted::Lark(_) => "grammar",
    };
    let mut run = Run {
        kind: kind.to_owned(),
        taken: false,
        ended: false,
        compile: Duration::ZERO,
        step: Duration::ZERO,
        finding: None,
    };
    let done = panic::catch_unwind(AssertUnwindSafe(|| {
        execute_into(&mut run, bytes, wanted, seed)
    }));
    if let Err(panic) = done {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        run.finding = Some(format!("panic: {}", why.unwrap_or("?")));
    }
    if let Some(finding) = &mut run.finding {
        finding.push_str(&format!("\n  {wanted:?}"));
    }
    run
}

fn execute_into(run: &mut Run, bytes: &Bytes, wanted: &Wanted, seed: u64) {
    let begun = Instant::now();
    let constraint = bytes.compile(wanted);
    run.compile = begun.elapsed();
    if run.compile > SLOW {
        run.finding = Some(format!("slow: {:?} to compile", run.compile));
    }
    let Ok(constraint) = constraint else {
        return;
    };
    run.taken = true;
    match bytes.walk(&*constraint, seed, STEPS, &mut run.step) {
        Err(why) if matches!(wanted, Wanted::Schema(_)) => {
            run.finding = Some(format!("stuck: {why}"))
        }
        // What an expression or a grammar asks for may be impossible.
        Err(_) => {}
        Ok(walk) => {
            run.ended = walk.ended;
            if let (true, Wanted::Schema(schema)) = (walk.ended, wanted) {
                run.finding = wrong(schema, &walk.text).or(run.finding.take());
            }
        }
    }
    if run.step > SLOW_MASK {
        run.finding = Some(format!("slow: {:?} for a mask", run.step));
    }
}

/// What is wrong with a walk within a schema. What the judge takes for no schema, such as a `required` that names a key twice,
/// it cannot judge.
fn wrong(schema: &str, text: &[u8]) -> Option<String> {
    let validator = keywords::validator(&serde_json::from_str(schema).ok()?).ok()?;
    Some(format!("invalid: {}", keywords::invalid(&validator, text)?))
}

/// Runs so many seeds in so many processes at once.
///
/// # Errors
/// When this program cannot be started again.
pub fn run(first: u64, count: u64, at_once: u64) -> Result<Outcome> {
    let outcome = Mutex::new(Outcome::default());
    let share = count.div_ceil(at_once.max(1));
    thread::scope(|scope| {
        let parts: Vec<_> = (0..at_once.max(1))
            .map(|part| {
                let from = (first + part * share).min(first + count);
                let to = (from + share).min(first + count);
                let outcome = &outcome;
                scope.spawn(move || run_part(from, to, outcome))
            })
            .collect();
        parts.into_iter().try_for_each(|part| {
            part.join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    })?;
    Ok(outcome
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// The seeds of one process after another, until none is left.
fn run_part(mut from: u64, to: u64, outcome: &Mutex<Outcome>) -> Result<()> {
    while from < to {
        // A process of its own for some thousands: what piles up in one would hide what an input needs.
        let count = (to - from).min(5_000);
        from = match run_process(from, count, outcome)? {
            None => from + count,
            Some((seed, how)) => {
                let wanted = Junk::read()?.wanted(seed);
                let finding = format!("seed {seed}: {how}\n  {wanted:?}");
                let mut outcome = outcome
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                eprintln!("{finding}");
                outcome.findings.push(finding);
                seed + 1
            }
        };
    }
    Ok(())
}

/// Runs these seeds; None when all are through, else the one that was the end of the process, and how it ended.
fn run_process(first: u64, count: u64, outcome: &Mutex<Outcome>) -> Result<Option<(u64, String)>> {
    let program = env::current_exe()?;
    let limited =
        format!("ulimit -v {MEMORY_KIB}; exec \"$0\" --here {first} --executions {count}");
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .arg(program)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let lines = lines_of(&mut child)?;
    let mut at = first;
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(Line::Begin(seed)) => at = seed,
            Ok(Line::End(run)) => note(outcome, at, run),
            Ok(Line::Last(memory)) => {
                let mut outcome = outcome
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                outcome.memory = outcome.memory.max(memory);
                child.wait()?;
                return Ok(None);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                return Ok(Some((
                    at,
                    format!("hang: silent for {} s", SILENCE.as_secs()),
                )));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                return Ok(Some((at, format!("abort: {status}"))));
            }
        }
    }
}

fn lines_of(child: &mut Child) -> Result<mpsc::Receiver<Line>> {
    let stdout = child.stdout.take().context("a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // A line cut by the process's end is none.
            let Ok(line) = serde_json::from_str(&line) else {
                return;
            };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn note(outcome: &Mutex<Outcome>, seed: u64, run: Run) {
    let mut outcome = outcome
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let counts = outcome.kinds.entry(run.kind).or_default();
    counts.executions += 1;
    counts.taken += u64::from(run.taken);
    counts.ended += u64::from(run.ended);
    counts.compile = counts.compile.max(run.compile);
    counts.step = counts.step.max(run.step);
    if let Some(finding) = run.finding {
        let finding = format!("seed {seed}: {finding}");
        if outcome.findings.len() < SHOWN * 20 {
            eprintln!("{finding}");
        }
        outcome.findings.push(finding);
    }
}
