//! Who used the processors, from Linux's /proc (proc(5)).

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, Result};

/// Processor seconds since some beginning, and when that was read.
pub struct ProcessorTime {
    at: Instant,
    server_user: f64,
    server_system: f64,
    client: f64,
    /// Everybody, interrupts included.
    machine: f64,
    /// Interrupts, hard and soft, where the system counts them by themselves.
    interrupts: f64,
}

/// Processor seconds of one measurement.
#[derive(Clone, Copy)]
pub struct Spent {
    pub wall: f64,
    pub server_user: f64,
    pub server_system: f64,
    pub client: f64,
    pub interrupts: f64,
    pub others: f64,
}

impl ProcessorTime {
    /// As of now, of a server's process, this one and the machine.
    pub fn now(server: u32) -> Result<Self> {
        let ticks = ticks_per_second()?;
        let (server_user, server_system) = process(&format!("/proc/{server}/stat"))?;
        let (user, system) = process("/proc/self/stat")?;
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("a line")?;
        let fields: Vec<f64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq
        let [user_all, nice, system_all, _, _, irq, softirq, ..] = fields[..] else {
            anyhow::bail!("/proc/stat begins with `{line}`");
        };
        Ok(Self {
            at: Instant::now(),
            server_user: server_user / ticks,
            server_system: server_system / ticks,
            client: (user + system) / ticks,
            machine: (user_all + nice + system_all + irq + softirq) / ticks,
            interrupts: (irq + softirq) / ticks,
        })
    }

    /// What was used since an earlier time.
    pub fn since(&self, before: &Self) -> Spent {
        let server_user = self.server_user - before.server_user;
        let server_system = self.server_system - before.server_system;
        let client = self.client - before.client;
        let interrupts = self.interrupts - before.interrupts;
        let known = server_user + server_system + client + interrupts;
        Spent {
            wall: self.at.duration_since(before.at).as_secs_f64(),
            server_user,
            server_system,
            client,
            interrupts,
            others: (self.machine - before.machine - known).max(0.0),
        }
    }
}

/// User and system time of a process, in ticks; the fields behind the name, which may hold anything.
fn process(path: &str) -> Result<(f64, f64)> {
    let stat = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let (_, rest) = stat.rsplit_once(')').with_context(|| stat.clone())?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse().ok());
    next()
        .zip(next())
        .with_context(|| format!("{path}: {stat}"))
}

fn ticks_per_second() -> Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    let text = String::from_utf8(output.stdout)?;
    text.trim()
        .parse()
        .with_context(|| format!("CLK_TCK is `{text}`"))
}
