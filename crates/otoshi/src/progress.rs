//! What a build shows: a line when a step begins and one when it ends; a failing step's whole log.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Mutex, PoisonError},
};

use otoshi_engine::{Event, Events, StepId};

/// A step's log is kept up to this many bytes; beyond, the beginning is dropped.
const MOST: usize = 4 << 20;

/// Shows plain lines on standard error.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    verbose: bool,
    steps: Mutex<BTreeMap<StepId, Step>>,
}

#[derive(Debug, Default)]
struct Step {
    label: String,
    log: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }
}

impl Events for Lines {
    fn event(&self, event: Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { step, stage, place, instruction } => {
                let label = format!("[{stage} {}/{}]", place.0, place.1);
                let first = instruction.lines().next().unwrap_or_default();
                eprintln!("{label} {first}");
                steps.insert(step, Step { label, log: Vec::new() });
            }
            Event::Log { step, bytes } => {
                if self.verbose {
                    let _ = std::io::stderr().write_all(&bytes);
                } else if let Some(step) = steps.get_mut(&step) {
                    step.log.extend_from_slice(&bytes);
                    if step.log.len() > MOST {
                        let half = step.log.len() / 2;
                        step.log.drain(..half);
                    }
                }
            }
            Event::Done { step, cached, took } => {
                let label = steps.remove(&step).unwrap_or_default().label;
                if cached {
                    eprintln!("{label} cached");
                } else {
                    eprintln!("{label} done in {:.1} s", took.as_secs_f64());
                }
            }
            Event::Failed { step } => {
                let step = steps.remove(&step).unwrap_or_default();
                let _ = std::io::stderr().write_all(&step.log);
                eprintln!("{} failed", step.label);
            }
            Event::Warning(text) => eprintln!("warning: {text}"),
            Event::Work { what, bytes, took } => {
                eprintln!("{what}: {:.1} MB in {:.1} s", bytes as f64 / 1e6, took.as_secs_f64());
            }
        }
    }
}
