//! Compiled Python files of a context, which are valid as long as their sources have the time that they record.

use std::{fs::File, io::Read, path::Path};

use otoshi_oci::layer::pyc::{self, HEADER, Recorded};

use super::entry::{ContextEntry, EntryKind};

/// Notes at each source what the compiled files in the same context record of it.
pub(super) fn note(root: &Path, entries: &mut [ContextEntry]) {
    let compiled = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    let compiled = compiled.filter(|entry| pyc::is_compiled(entry.path.as_bytes()));
    let found: Vec<(usize, Recorded)> = compiled
        .filter_map(|entry| {
            let source = pyc::source_of(entry.path.as_bytes())?;
            let at = entries.binary_search_by(|entry| entry.path.as_bytes().cmp(&source)).ok()?;
            let mut header = [0; HEADER];
            // One that cannot be read is told when somebody wants it.
            File::open(entry.below(root)).ok()?.read_exact(&mut header).ok()?;
            Some((at, Recorded::read(&header)?))
        })
        .collect();
    for (at, recorded) in found {
        let source = &mut entries[at];
        let is_valid = recorded.is_of(source.stat.mtime.div_euclid(1_000_000_000), source.stat.size);
        source.bytecode.push((recorded.time, is_valid));
    }
}
