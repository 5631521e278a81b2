//! Looking into an image's tree: paths resolved inside it, small files read from it.
//!
//! The tree comes from elsewhere and may hold symbolic links to anywhere; none of them is followed out of its root.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use otoshi_oci::contents::parts;

use crate::EngineError;

/// Follows symbolic links in `path` as a process would that has `root` as its root directory.
///
/// The result is relative to `root` and may name something that is not there.
pub(crate) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, EngineError> {
    let mut todo: Vec<PathBuf> = components(path);
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == Path::new("..") {
            done.pop();
            continue;
        }
        done.push(&part);
        let here = root.join(&done);
        let Ok(meta) = fs::symlink_metadata(&here) else { continue };
        if meta.file_type().is_symlink() {
            links += 1;
            if links > 40 {
                return Err(EngineError::invalid(format!("too many symbolic links in {}", path.display())));
            }
            let target = fs::read_link(&here).map_err(EngineError::io("reading the link", &here))?;
            done.pop();
            if target.is_absolute() {
                done = PathBuf::new();
            }
            todo.extend(components(&target));
        }
    }
    Ok(done)
}

/// The components of a path, the last first; `..` stands for itself, the root and `.` are left out.
fn components(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

/// Joins an absolute or relative path to a working directory, without looking at any disk.
pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    format!("/{}", parts(&joined).join("/"))
}

/// Reads a small file of the image; an absent one is empty.
pub(crate) fn read(root: &Path, path: &str) -> String {
    let Ok(found) = resolve(root, Path::new(path)) else { return String::new() };
    let path = root.join(found);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= 16 << 20 => {
            fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_never_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../../../../etc", root.join("etc/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(resolve(root, Path::new("/abs/passwd")).unwrap(), Path::new("etc/passwd"));
        assert_eq!(resolve(root, Path::new("etc/up/passwd")).unwrap(), Path::new("etc/passwd"));
        assert_eq!(resolve(root, Path::new("../../x")).unwrap(), Path::new("x"));
        assert!(resolve(root, Path::new("loop")).is_err());
    }

    #[test]
    fn working_directories_join() {
        assert_eq!(absolute("/a", "b/../c/."), "/a/c");
        assert_eq!(absolute("/a", "/b//c/"), "/b/c");
        assert_eq!(absolute("/", "../.."), "/");
    }
}
