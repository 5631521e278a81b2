//! What compiling wrote that the ignore file leaves out of the source: it comes into app images all the same, and is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use otoshi_dockerfile::Ignore;
use otoshi_tree::{Met, Walk};
use rustix::fs::{FileType, Mode, OFlags};

/// How many paths are named.
const NAMED: usize = 5;
/// Less than this is not worth a word, in bytes.
const LEAST: u64 = 64 << 10;

/// A warning, where a compiled output has paths that an ignore file names, with their sizes and what to write.
pub(crate) fn warning(tree: &Path, ignore: &Ignore) -> std::io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut walk = Walk::new(rustix::fs::open(tree, flags, Mode::empty())?)?;
    // Ignored paths with their sizes, and the others at the top.
    let (mut ignored, mut kept): (BTreeMap<String, u64>, BTreeSet<String>) = Default::default();
    let mut inside: Option<(usize, String)> = None;
    while let Some(met) = walk.next()? {
        let Met::Entry(name, stat) = met else {
            if inside.as_ref().is_some_and(|(depth, _)| walk.depth() <= *depth) {
                inside = None;
            }
            continue;
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let path = String::from_utf8_lossy(&[walk.path(), &name].concat()).into_owned();
        let size = if is_directory { 0 } else { stat.st_size.unsigned_abs() };
        match &inside {
            Some((_, root)) => *ignored.entry(root.clone()).or_default() += size,
            None if ignore.excludes(&path, is_directory) => {
                ignored.insert(path.clone(), size);
                if is_directory {
                    inside = Some((walk.depth(), path));
                }
            }
            None if !is_directory => {
                kept.insert(path.split('/').next().unwrap_or(&path).to_owned());
            }
            None => {}
        }
        walk.enter()?;
    }
    ignored.retain(|_, size| *size >= LEAST);
    if ignored.is_empty() {
        return Ok(None);
    }
    let mut largest: Vec<(&String, &u64)> = ignored.iter().collect();
    largest.sort_by(|a, b| b.1.cmp(a.1));
    let more = largest.len().saturating_sub(NAMED);
    largest.truncate(NAMED);
    let named: Vec<String> =
        largest.iter().map(|(path, size)| format!("{path} ({:.1} MB)", **size as f64 / 1e6)).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let outputs: Vec<String> = kept.iter().map(|name| format!("{name:?}")).collect();
    let exclude: Vec<String> = largest.iter().map(|(path, _)| format!("{path:?}")).collect();
    Ok(Some(format!(
        "compiling wrote {}{more}, which the ignore file excludes from the source but which goes into the app images; \
         to leave it out: [compile] exclude = [{}], or outputs = [{}]",
        named.join(", "),
        exclude.join(", "),
        outputs.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_ignored_and_was_written_is_told_with_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: usize| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![b'x'; bytes]).unwrap();
        };
        write("node_modules/a/b.js", 2_000_000);
        write("node_modules/c.js", 500_000);
        write("public/assets/app.js", 100);
        write("log/small.log", 10);
        let ignore = Ignore::parse("node_modules\nlog\n").unwrap();
        assert_eq!(
            warning(directory.path(), &ignore).unwrap().unwrap(),
            "compiling wrote node_modules (2.5 MB), which the ignore file excludes from the source but which goes into the \
             app images; to leave it out: [compile] exclude = [\"node_modules\"], or outputs = [\"public\"]"
        );
        assert_eq!(warning(directory.path(), &Ignore::parse("tmp").unwrap()).unwrap(), None);
    }
}
