//! Cases that are known to fail: `conformance/pending.txt`, one a line with the reason.

use std::{collections::BTreeMap, fs, path::Path};

use crate::failure::{Failure, Result};

/// Reads names and reasons; lines that are empty or start with `#` say nothing.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).map_err(Failure::file("reading", path))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once(": ") {
            Some((name, reason)) => Ok((name.to_owned(), reason.trim().to_owned())),
            None => Err(Failure::Wrong(format!("{}: {line:?} gives no reason", path.display()))),
        })
        .collect()
}
