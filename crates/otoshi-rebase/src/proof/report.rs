//! Findings while they are gathered.

use std::collections::BTreeMap;

use otoshi_oci::tar;

use super::finding::{Finding, Kind};

/// Where something is that an application needs.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The application's file that needs it; empty where none does.
    pub(super) file: &'a [u8],
    /// Where the old base has it.
    pub(super) was: Option<&'a [u8]>,
}

/// Findings so far, each subject once.
#[derive(Default)]
pub(super) struct Report {
    pub(super) found: BTreeMap<(Kind, String), Finding>,
}

impl Report {
    pub(super) fn add(
        &mut self,
        kind: Kind,
        subject: impl Into<String>,
        Seen { file, was }: Seen<'_>,
        text: String,
    ) {
        let subject = subject.into();
        let file = if file.is_empty() { String::new() } else { absolute(file) };
        self.found
            .entry((kind, subject.clone()))
            .and_modify(|finding| finding.more += usize::from(finding.file != file))
            .or_insert_with(|| Finding { kind, subject, file, more: 0, was: was.map(absolute), text });
    }

    pub(super) fn has(&self, kind: Kind, subject: &str) -> bool {
        self.found.contains_key(&(kind, subject.to_owned()))
    }
}

/// A path for people.
pub(super) fn absolute(path: &[u8]) -> String {
    format!("/{}", tar::display(path))
}
