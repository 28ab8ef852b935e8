//! Spreads executions over parsers and threads, and gathers what was found.

use std::{
    num::NonZero,
    panic,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use weir_corpus::fuzz::{Broken, Random, chunking, input, smallest};

use super::{
    execution::check,
    report::as_case,
    subject::{Subject, load},
};
use crate::Plugins;

/// Executions of one parser that a thread does at a time.
const BATCH: u64 = 200;

const PROGRESS: Duration = Duration::from_secs(10);

/// What to run.
pub struct Plan {
    /// The parsers.
    pub parsers: Vec<String>,
    /// How many executions, over all parsers.
    pub executions: u64,
    /// What the inputs are made from.
    pub seed: u64,
    /// Ends the run early.
    pub time: Option<Duration>,
    /// Says on stderr how far it is.
    pub progress: bool,
}

/// What came of one parser.
pub struct Outcome {
    /// Its name.
    pub parser: String,
    /// How many executions it had; one with a finding gets no more.
    pub executions: u64,
    /// Its finding, as a report with a case.
    pub finding: Option<String>,
}

/// Runs the plan, natively and with `wasm` as wasm too.
///
/// # Errors
/// When a parser cannot be loaded.
pub fn run(plan: &Plan, wasm: Option<&dyn Plugins>) -> anyhow::Result<Vec<Outcome>> {
    let load = |name: &String| load(name, wasm);
    let subjects: Vec<Subject> = plan
        .parsers
        .iter()
        .map(load)
        .collect::<anyhow::Result<_>>()?;
    let markers = subjects
        .iter()
        .flat_map(|subject| subject.material.markers.clone());
    let work = Work {
        plan,
        foreign: markers.collect(),
        lanes: subjects.into_iter().map(Lane::new).collect(),
        next: AtomicU64::new(0),
        started: Instant::now(),
        told: Mutex::new(Instant::now()),
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| work.run())).collect();
        for thread in threads {
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
    });
    Ok(work.lanes.into_iter().map(Lane::outcome).collect())
}

/// One parser's part of the work.
struct Lane {
    subject: Subject,
    executions: AtomicU64,
    over: AtomicBool,
    finding: Mutex<Option<String>>,
}

impl Lane {
    fn new(subject: Subject) -> Self {
        Self {
            subject,
            executions: AtomicU64::new(0),
            over: AtomicBool::new(false),
            finding: Mutex::new(None),
        }
    }

    fn outcome(self) -> Outcome {
        Outcome {
            parser: self.subject.name,
            executions: self.executions.into_inner(),
            finding: self
                .finding
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }
}

struct Work<'a> {
    plan: &'a Plan,
    /// The markers of all parsers.
    foreign: Vec<String>,
    lanes: Vec<Lane>,
    /// The next batch; batches go round the lanes.
    next: AtomicU64,
    started: Instant,
    told: Mutex<Instant>,
}

impl Work<'_> {
    fn run(&self) {
        let lanes = self.lanes.len() as u64;
        let each = self.plan.executions.div_ceil(lanes.max(1));
        loop {
            let batch = self.next.fetch_add(1, Ordering::Relaxed);
            let first = batch / lanes.max(1) * BATCH;
            let timed_out = self
                .plan
                .time
                .is_some_and(|time| self.started.elapsed() > time);
            if first >= each || timed_out || lanes == 0 {
                return;
            }
            let lane = &self.lanes[(batch % lanes) as usize];
            for number in first..each.min(first + BATCH) {
                if lane.over.load(Ordering::Relaxed) {
                    break;
                }
                self.execute(lane, number);
            }
            self.tell();
        }
    }

    fn execute(&self, lane: &Lane, number: u64) {
        let Lane { subject, .. } = lane;
        let mut random = Random::new(self.plan.seed, &subject.name, number);
        let input = input(&subject.material, &self.foreign, &mut random);
        let cuts = chunking(&input.fragments, &mut random);
        lane.executions.fetch_add(1, Ordering::Relaxed);
        let Err(finding) = check(subject, &input, &cuts) else {
            return;
        };
        if lane.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let broken = Broken {
            input,
            cuts,
            finding,
        };
        let origin = format!("fuzzing, seed {}, execution {number}", self.plan.seed);
        let check = |input: &_, cuts: &[_]| check(subject, input, cuts);
        let smallest = smallest(&check, subject.plainest(), broken);
        let report = as_case(subject, &smallest, &origin);
        *lock(&lane.finding) = Some(report);
    }

    fn tell(&self) {
        let mut told = lock(&self.told);
        if !self.plan.progress || told.elapsed() < PROGRESS {
            return;
        }
        *told = Instant::now();
        let done = |lane: &Lane| lane.executions.load(Ordering::Relaxed);
        let done: u64 = self.lanes.iter().map(done).sum();
        let speed = done as f64 / self.started.elapsed().as_secs_f64();
        let found = self
            .lanes
            .iter()
            .filter(|lane| lane.over.load(Ordering::Relaxed));
        eprintln!(
            "{done} executions, {speed:.0} a second, {} parsers with a finding",
            found.count()
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
