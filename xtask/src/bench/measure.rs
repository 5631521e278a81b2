//! How long and how much: measurements in turns, and what is said of them.

use std::{
    fmt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, Result},
    process::{self, Running},
};

/// The most memory that a command has, in megabytes.
pub(super) fn peak_memory(command: &mut Command) -> Result<u64> {
    let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let mut most = 0;
    running.watch(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or_default());
    })?;
    Ok(most * 1024 / 1_000_000)
}

/// Several measurements of one thing.
pub(super) struct Times(pub(super) Vec<Duration>);

impl Times {
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
    }

    /// Round by round, the difference to another series, divided.
    pub(super) fn less(&self, other: &Self, by: u32) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(more, less)| more.saturating_sub(*less) / by).collect())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds: Vec<f64> = self.0.iter().map(Duration::as_secs_f64).collect();
        let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = seconds.iter().copied().fold(0.0, f64::max);
        let (unit, factor) = if self.median() < 1.0 { ("ms", 1000.0) } else { ("s", 1.0) };
        write!(f, "{:.1} {unit} ({:.1} to {:.1})", self.median() * factor, least * factor, most * factor)
    }
}

pub(super) fn row(what: &str, ours: &Times, theirs: &Times) {
    println!("| {what} | {ours} | {theirs} | {:.3} |", ours.median() / theirs.median());
}

pub(super) fn in_turns(
    rounds: usize,
    warm_up: usize,
    mut ours: impl FnMut() -> Result,
    mut theirs: impl FnMut() -> Result,
) -> Result<(Times, Times)> {
    let timed = |call: &mut dyn FnMut() -> Result| {
        let started = Instant::now();
        call().map(|()| started.elapsed())
    };
    timed_in_turns(rounds, warm_up, || timed(&mut ours), || timed(&mut theirs))
}

pub(super) fn timed_in_turns(
    rounds: usize,
    warm_up: usize,
    mut ours: impl FnMut() -> Result<Duration>,
    mut theirs: impl FnMut() -> Result<Duration>,
) -> Result<(Times, Times)> {
    let (mut first, mut second) = (Times(Vec::new()), Times(Vec::new()));
    for round in 0..rounds + warm_up {
        let (one, two) = (ours()?, theirs()?);
        if round >= warm_up {
            first.0.push(one);
            second.0.push(two);
        }
    }
    if first.0.is_empty() {
        Err(Failure::Wrong("nothing was measured: ask for at least one round".into()))
    } else {
        Ok((first, second))
    }
}

/// Runs a command and throws its output away, unless it fails.
pub(super) fn quiet(command: &mut Command) -> Result {
    process::read(command).map(drop)
}
