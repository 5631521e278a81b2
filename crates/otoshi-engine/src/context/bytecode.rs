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
            let source = source_of(&entry.path)?;
            let at = entries.binary_search_by(|entry| entry.path.as_str().cmp(&source)).ok()?;
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

/// Where the source of a compiled file is.
fn source_of(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (above, last) = directory.rsplit_once('/').unwrap_or(("", directory));
    let source = String::from_utf8(pyc::source_of(last.as_bytes(), name.as_bytes())?).ok()?;
    let (directory, source) = match source.strip_prefix("../") {
        Some(source) => (above, source),
        None => (directory, source.as_str()),
    };
    Some(if directory.is_empty() { source.to_owned() } else { format!("{directory}/{source}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_beside_compiled_files_or_above_them() {
        for (path, source) in [
            ("a.pyc", "a.py"),
            ("lib/a.pyc", "lib/a.py"),
            ("__pycache__/a.cpython-311.pyc", "a.py"),
            ("lib/x/__pycache__/a.cpython-311.opt-1.pyc", "lib/x/a.py"),
        ] {
            assert_eq!(source_of(path).as_deref(), Some(source), "{path}");
        }
    }
}
