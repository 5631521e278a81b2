//! Files that are there whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Whether what is written must outlast a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It is the user's: it is on disk before it has its name.
    Synced,
    /// It can be made or fetched again, and whoever reads it checks it.
    Cached,
}

/// Writes a file in place of what is there: whoever reads finds the old content or the new one, and never a part.
///
/// Directories above it are made. The content is written to a new file beside it, of this process alone, which then takes its name;
/// a symbolic link at the name is replaced, and not followed. Fails with the system's error, and leaves nothing of the new file then.
pub fn write_whole(path: &Path, bytes: &[u8], lasting: Lasting) -> io::Result<()> {
    let temporary = beside(path);
    let mut file = match File::create_new(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            File::create_new(&temporary)?
        }
        other => other?,
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| if lasting == Lasting::Synced { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&temporary, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// A name beside a file that nobody else has.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    // The nanosecond tells apart processes of namespaces that have the same number.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.subsec_nanos());
    name.push(format!(".{}-{}-{nanoseconds}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/file");
        write_whole(&path, b"1", Lasting::Cached).unwrap();
        write_whole(&path, b"2", Lasting::Synced).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");

        let link = directory.path().join("a/b/link");
        symlink("file", &link).unwrap();
        write_whole(&link, b"3", Lasting::Cached).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&link).unwrap()), (b"2".to_vec(), b"3".to_vec()));
        assert_eq!(names(path.parent().unwrap()), ["file", "link"]);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("is-a-directory");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write_whole(&path, b"1", Lasting::Cached).is_err());
        assert_eq!(names(directory.path()), ["is-a-directory"]);
    }
}
