//! Files of a project that change together: all of them, or none.
//!
//! New contents are written beside the files first and reach the disk; then each takes its file's place. Where one cannot,
//! those before it are put back. What somebody else changed since it was read is left alone.
//!
//! A machine that stops between two of them leaves the first new and the second old: the order says which half is harmless. With a new
//! `otoshi.toml` and an old `otoshi.lock`, the next build locks what is new.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use otoshi_tree::{Lasting, NewFile};

use crate::ProjectError;

/// A file that gets another content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The file.
    pub path: PathBuf,
    /// What it held when it was read; `None` where it was not there.
    pub old: Option<String>,
    /// What it is to hold.
    pub new: String,
}

/// Replaces files in their order; tells whether anything changed. Those whose content stays are not touched.
///
/// Fails where a file was changed in the meantime or cannot be written; all files are as they were then.
pub fn replace_all(replacements: &[Replacement]) -> Result<bool, ProjectError> {
    replace_by(replacements, |new| new.place(Lasting::Synced))
}

fn replace_by(
    replacements: &[Replacement],
    place: impl Fn(NewFile) -> std::io::Result<()>,
) -> Result<bool, ProjectError> {
    let changed = replacements.iter().filter(|one| one.old.as_deref() != Some(one.new.as_str()));
    let waiting = changed.map(wait).collect::<Result<Vec<_>, _>>()?;
    for one in replacements {
        if read(&one.path).map_err(failed("reading", &one.path))? != one.old {
            return Err(ProjectError::new(
                name(&one.path),
                "it was changed in the meantime, and was left as it is",
            )
            .with_hint("run the same command again"));
        }
    }
    let mut done: Vec<(&Replacement, PathBuf)> = Vec::new();
    for (replacement, new) in waiting {
        let target = new.path().to_owned();
        if let Err(error) = place(new) {
            for (replacement, target) in &done {
                put_back(replacement, target).map_err(failed("putting back", &replacement.path))?;
            }
            return Err(failed("writing", &replacement.path)(error));
        }
        done.push((replacement, target));
    }
    Ok(!done.is_empty())
}

/// Writes a new content beside its file, or what that is a link to.
fn wait(replacement: &Replacement) -> Result<(&Replacement, NewFile), ProjectError> {
    let path = &replacement.path;
    let target = path.canonicalize().unwrap_or_else(|_| path.clone());
    let new = beside(&target, &replacement.new).map_err(failed("writing", path))?;
    Ok((replacement, new))
}

/// Writes a content beside a file, with the file's mode. It is on disk: what has no room there fails before any file has changed.
fn beside(target: &Path, content: &str) -> std::io::Result<NewFile> {
    let mut new = NewFile::beside(target)?;
    if let Ok(meta) = fs::metadata(target) {
        new.file().set_permissions(meta.permissions())?;
    }
    new.write_all(content.as_bytes())?;
    new.file().sync_all()?;
    Ok(new)
}

fn put_back(replacement: &Replacement, target: &Path) -> std::io::Result<()> {
    match &replacement.old {
        None => fs::remove_file(target),
        Some(old) => beside(target, old)?.place(Lasting::Synced),
    }
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> ProjectError {
    let name = name(path);
    move |error| ProjectError::new(name.clone(), format!("{what} it: {error}"))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn replacement(path: &Path, old: Option<&str>, new: &str) -> Replacement {
        Replacement { path: path.to_owned(), old: old.map(Into::into), new: new.to_owned() }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn both_change_and_keep_modes_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, real) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("real"));
        fs::write(&real, "1").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &one).unwrap();
        assert!(replace_all(&[replacement(&one, Some("1"), "1a"), replacement(&two, None, "2a")]).unwrap());
        assert_eq!(fs::read_to_string(&real).unwrap() + &fs::read_to_string(&two).unwrap(), "1a2a");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(one.is_symlink());
        assert_eq!(names(dir.path()), ["one", "real", "two"]);
        assert!(!replace_all(&[replacement(&one, Some("1a"), "1a")]).unwrap());
    }

    #[test]
    fn where_one_cannot_change_none_does() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "1").unwrap();
        // Somebody changed the second meanwhile.
        fs::write(&two, "2, changed").unwrap();
        let changes = [replacement(&one, Some("1"), "1a"), replacement(&two, Some("2"), "2a")];
        assert!(
            replace_all(&changes).unwrap_err().to_string().contains("two: it was changed in the meantime")
        );
        assert_eq!(fs::read_to_string(&one).unwrap(), "1");
        // The third cannot be put in its place.
        let changes = [
            replacement(&one, Some("1"), "1a"),
            replacement(&dir.path().join("new"), None, "new"),
            replacement(&two, Some("2, changed"), "2a"),
        ];
        let full = |new: NewFile| {
            if new.path().ends_with("two") {
                Err(std::io::ErrorKind::StorageFull.into())
            } else {
                new.place(Lasting::Synced)
            }
        };
        assert!(replace_by(&changes, full).unwrap_err().to_string().starts_with("two: writing it: "));
        assert_eq!(fs::read_to_string(&one).unwrap(), "1");
        assert_eq!(names(dir.path()), ["one", "two"]);
    }
}
