//! What a build shows on standard error: live lines on a terminal, plain ones elsewhere; a failing step's whole log.
//!
//! Plain lines say when a step begins and when it ends. On a terminal a step has a line of its own while it runs, with its
//! time and the last line that its command wrote; when it ends, that line is replaced by one that stays.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use otoshi_engine::{Event, Events, StepId};

use crate::remedy::words;

/// A step's log is kept up to this many bytes; beyond, the beginning is dropped, and the log says so.
const MOST: usize = 4 << 20;

/// How often a running step's line is drawn again.
const TICK: Duration = Duration::from_millis(100);

/// Chooses how to show events: live when standard error is a terminal that can move its cursor and no CI service reads it.
pub(crate) fn to_standard_error(verbose: bool) -> Box<dyn Events> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none() {
        Box::new(Live::new(verbose))
    } else {
        Box::new(Lines::new(verbose))
    }
}

/// What a step wrote, as far as it is kept.
#[derive(Debug, Default)]
struct Log {
    kept: Vec<u8>,
    dropped: usize,
}

impl Log {
    fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > MOST {
            let half = self.kept.len() / 2;
            self.kept.drain(..half);
            self.dropped += half;
        }
    }

    /// All of it, for people, ended by a line break.
    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.dropped > 0 {
            let megabytes = self.dropped as f64 / 1e6;
            text.extend_from_slice(
                format!("(the first {megabytes:.1} MB of the output are left out)\n").as_bytes(),
            );
        }
        text.extend_from_slice(&self.kept);
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        text
    }

    /// The last line that says something, without control characters.
    fn last_line(&self) -> String {
        let end = self.kept.len().saturating_sub(4096);
        let text = String::from_utf8_lossy(&self.kept[end..]);
        let mut lines = text.split(['\n', '\r']).map(console::strip_ansi_codes);
        let line = lines.rfind(|line| !line.trim().is_empty());
        line.map(|line| line.chars().filter(|c| !c.is_control()).collect()).unwrap_or_default()
    }
}

fn label(stage: &str, place: (usize, usize)) -> String {
    format!("[{stage} {}/{}]", place.0, place.1)
}

fn first_line(instruction: &str) -> &str {
    instruction.lines().next().unwrap_or_default()
}

/// Says what was worked on, where it is worth a line.
fn work(what: &str, bytes: u64, took: Duration) -> Option<String> {
    let worth = bytes >= 1_000_000 || took >= Duration::from_millis(100);
    worth.then(|| format!("{what}: {:.1} MB in {:.1} s", bytes as f64 / 1e6, took.as_secs_f64()))
}

/// Shows plain lines.
#[derive(Debug, Default)]
struct Lines {
    verbose: bool,
    steps: Mutex<BTreeMap<StepId, (String, Log)>>,
}

impl Lines {
    fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }
}

impl Events for Lines {
    fn event(&self, event: Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { step, stage, place, instruction } => {
                let label = label(&stage, place);
                errln!("{label} {}", first_line(&instruction));
                steps.insert(step, (label, Log::default()));
            }
            Event::Log { step, bytes } => {
                if self.verbose {
                    let _ = std::io::stderr().write_all(&bytes);
                } else if let Some((_, log)) = steps.get_mut(&step) {
                    log.push(&bytes);
                }
            }
            Event::Done { step, cached, took } => {
                let (label, _) = steps.remove(&step).unwrap_or_default();
                if cached {
                    errln!("{label} cached");
                } else {
                    errln!("{label} done in {:.1} s", took.as_secs_f64());
                }
            }
            Event::Failed { step } => {
                let (label, log) = steps.remove(&step).unwrap_or_default();
                let _ = std::io::stderr().write_all(&log.text());
                errln!("{label} failed");
            }
            Event::Warning(text) => errln!("warning: {text}"),
            Event::UnreachedProxy(proxy) => errln!("warning: {proxy}; {}", words(&proxy.remedy())),
            Event::Work { what, bytes, took } => {
                if let Some(line) = work(&what, bytes, took) {
                    errln!("{line}");
                }
            }
        }
    }
}

/// Shows a line for each running step.
#[derive(Debug)]
struct Live {
    verbose: bool,
    lines: MultiProgress,
    steps: Mutex<BTreeMap<StepId, Running>>,
}

#[derive(Debug)]
struct Running {
    label: String,
    instruction: String,
    bar: ProgressBar,
    /// What was not shown yet.
    log: Log,
}

/// How a running step's line looks.
fn moving() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Live {
    fn new(verbose: bool) -> Self {
        Self {
            verbose,
            lines: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            steps: Mutex::default(),
        }
    }

    /// Writes lines that stay, above those that move.
    fn keep(&self, text: &str) {
        self.lines.suspend(|| errln!("{text}"));
    }
}

impl Events for Live {
    fn event(&self, event: Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { step, stage, place, instruction } => {
                let (label, instruction) = (label(&stage, place), first_line(&instruction).to_owned());
                let bar = ProgressBar::new_spinner().with_style(moving());
                let bar = bar.with_prefix(label.clone()).with_message(instruction.clone());
                let bar = self.lines.add(bar);
                bar.enable_steady_tick(TICK);
                steps.insert(step, Running { label, instruction, bar, log: Log::default() });
            }
            Event::Log { step, bytes } => {
                let Some(running) = steps.get_mut(&step) else { return };
                running.log.push(&bytes);
                if self.verbose {
                    // Whole lines only; what is left waits for its end.
                    if let Some(end) = running.log.kept.iter().rposition(|byte| *byte == b'\n') {
                        let lines: Vec<u8> = running.log.kept.drain(..=end).collect();
                        self.keep(&String::from_utf8_lossy(&lines[..end]));
                    }
                } else {
                    running.bar.set_message(format!("{}: {}", running.instruction, running.log.last_line()));
                }
            }
            Event::Done { step, cached, took } => {
                let Some(running) = steps.remove(&step) else { return };
                running.bar.finish_and_clear();
                if self.verbose && !running.log.kept.is_empty() {
                    self.keep(&String::from_utf8_lossy(&running.log.kept));
                }
                let end = if cached { "cached".to_owned() } else { format!("{:.1} s", took.as_secs_f64()) };
                self.keep(&format!("{} {} ({end})", running.label, running.instruction));
            }
            Event::Failed { step } => {
                let Some(running) = steps.remove(&step) else { return };
                running.bar.finish_and_clear();
                self.lines.suspend(|| {
                    let _ = std::io::stderr().write_all(&running.log.text());
                    errln!("{} {} (failed)", running.label, running.instruction);
                });
            }
            Event::Warning(text) => self.keep(&format!("warning: {text}")),
            Event::UnreachedProxy(proxy) => {
                self.keep(&format!("warning: {proxy}; {}", words(&proxy.remedy())));
            }
            Event::Work { what, bytes, took } => {
                if let Some(line) = work(&what, bytes, took) {
                    self.keep(&line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, MOST};

    #[test]
    fn a_log_says_what_it_left_out() {
        let mut log = Log::default();
        log.push(&vec![b'x'; MOST]);
        log.push(b"the end");
        let text = String::from_utf8(log.text()).unwrap();
        assert!(text.starts_with("(the first 2.1 MB of the output are left out)\nxx"), "{}", &text[..60]);
        assert!(text.ends_with("the end\n"));
    }

    #[test]
    fn the_last_line_moves_no_cursor() {
        let mut log = Log::default();
        log.push(b"first\n\x1b[31mred\x1b[0m\x07 line\r\n\n");
        assert_eq!(log.last_line(), "red line");
    }
}
