//! Whole outputs, compared with files in `tests/snapshots`. What differs from one run or machine to the next stands there as a word.
//!
//! `INSTA_UPDATE=always cargo test -p otoshi --test NAME` writes them anew.

#![allow(dead_code, reason = "each test file uses a part")]

use std::process::Output;

/// What is another each time, as regular expressions, and the words that stand for it.
const WORDS: &[(&str, &str)] = &[
    (r"sha256:[0-9a-f]{8,64}…?", "sha256:DIGEST"),
    (r"\b(phase|step)-[0-9a-f]{64}\b", "$1-KEY"),
    (r"\bsha256/[0-9a-f]{64}\b", "sha256/DIGEST"),
    (r"(otoshi\.invalid/packages/\w+:[\w.]+)-[0-9a-f]{12}\b", "$1-KEY"),
    (r"localhost:\d{5}", "REGISTRY"),
    (r"127\.0\.0\.1[: ]\d{5}", "ADDRESS"),
    (r"/tmp/\.tmp\w+", "TEMPORARY"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b20\d\d-\d\d-\d\d\b", "DATE"),
    (r"\d+ days ago", "DAYS ago"),
    (r"\d+(\.\d+)? (ms|s|min)\b", "DURATION"),
    (r"(\d+(\.\d+)? of )?\d+(\.\d+)? [kMG]?B\b", "SIZE"),
    (r"linux/(amd64|arm64)", "linux/ARCHITECTURE"),
    (r"read \d+ blobs, \d+ records, \d+ snapshots", "read COUNT blobs, COUNT records, COUNT snapshots"),
    (r"\d+ blobs downloaded, \d+ requests", "COUNT blobs downloaded, COUNT requests"),
    (r"line 1 column \d+", "line 1 column COLUMN"),
    (r"\d+ of \d+ packages have security updates.*?: there is", "PACKAGES have security updates: there is"),
];

/// Compares the exit code of a command and all that it said with the snapshot of this name, without the lines of steps that begin and
/// end, since those that run at the same time come in any order.
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
    assert_written(name, &text);
}

/// Does the same, with words for texts that are others each time.
pub(crate) fn assert_said_of(name: &str, mut output: Output, words: &[(&str, &str)]) {
    for said in [&mut output.stdout, &mut output.stderr] {
        let mut text = String::from_utf8(std::mem::take(said)).unwrap();
        for (from, to) in words {
            text = text.replace(from, to);
        }
        *said = text.into_bytes();
    }
    assert_said(name, &output);
}

/// Compares a text that the program wrote with the snapshot of this name, without what is told only where it takes long.
pub(crate) fn assert_written(name: &str, text: &str) {
    let text: String = text.split_inclusive('\n').filter(|line| !is_of_work(line)).collect();
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

/// Whether a line says how long something large took, as in `writing a layer: 12.3 MB in 0.4 s`, or that it moved, as in
/// `f392e78fde96 1.2 MB downloaded`.
fn is_of_work(line: &str) -> bool {
    let is_moved = matches!(line.split(' ').collect::<Vec<_>>()[..], [digest, _, "kB" | "MB" | "GB", ..] if is_short(digest));
    if is_moved {
        return true;
    }
    let what = line.trim_end().rsplit_once(": ").map(|(_, what)| what.split(' ').collect::<Vec<_>>());
    what.is_some_and(|words| matches!(words[..], [_, "MB", "in", _, "s"]))
}

/// Whether a word is the beginning of a digest.
fn is_short(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}
