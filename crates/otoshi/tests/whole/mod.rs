//! Whole outputs, compared with files in `tests/snapshots`. What differs from one run or machine to the next stands there as a word.
//!
//! `INSTA_UPDATE=always cargo test -p otoshi --test NAME` writes them anew.

#![allow(dead_code, reason = "each test file uses a part")]

use std::process::Output;

/// What is another each time, as regular expressions, and the words that stand for it.
const WORDS: &[(&str, &str)] = &[
    (r"sha256:[0-9a-f]{8,64}…?", "sha256:DIGEST"),
    (r"\bphase-[0-9a-f]{64}\b", "phase-KEY"),
    (r"localhost:\d{5}", "REGISTRY"),
    (r"127\.0\.0\.1:\d{5}", "ADDRESS"),
    (r"/tmp/\.tmp\w+", "TEMPORARY"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b20\d\d-\d\d-\d\d\b", "DATE"),
    (r"\d+ days ago", "DAYS ago"),
    (r"\d+(\.\d+)? (ms|s|min)\b", "DURATION"),
    (r"(\d+(\.\d+)? of )?\d+(\.\d+)? [kMG]?B\b", "SIZE"),
    (r"linux/(amd64|arm64)", "linux/ARCHITECTURE"),
];

/// Compares the exit code of a command and all that it said with the snapshot of this name, without the lines of steps that begin and
/// end, since those that run at the same time come in any order, and without what is told only where it takes long.
pub(crate) fn assert_said(name: &str, output: &Output) {
    let mut text = format!("exit code {}\n", output.status.code().unwrap());
    for (title, bytes) in [("standard output", &output.stdout), ("standard error", &output.stderr)] {
        let said = String::from_utf8_lossy(bytes);
        let said: String =
            said.split_inclusive('\n').filter(|line| !is_of_a_step(line) && !is_of_work(line)).collect();
        if !said.is_empty() {
            text += &format!("--- {title}\n{said}");
        }
    }
    let mut settings = settings();
    for (pattern, word) in WORDS {
        settings.add_filter(pattern, *word);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares a text that is the same everywhere with the snapshot of this name.
pub(crate) fn assert_text(name: &str, text: &str) {
    settings().bind(|| insta::assert_snapshot!(name, text));
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::new();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings
}

/// Whether a line says that a step begins or how it ended, as in `[runner.Dockerfile 1/2] done in 0.1 s`.
fn is_of_a_step(line: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    inner.and_then(|(inner, _)| inner.rsplit_once(' ')).is_some_and(|(_, count)| {
        count
            .split_once('/')
            .is_some_and(|(one, all)| one.parse::<u32>().is_ok() && all.parse::<u32>().is_ok())
    })
}

/// Whether a line says how long something large took, as in `writing a layer: 12.3 MB in 0.4 s`.
fn is_of_work(line: &str) -> bool {
    let what = line.trim_end().rsplit_once(": ").map(|(_, what)| what.split(' ').collect::<Vec<_>>());
    what.is_some_and(|words| matches!(words[..], [_, "MB", "in", _, "s"]))
}
