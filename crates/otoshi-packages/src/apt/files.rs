//! The files that apt is configured by: which of a directory of parts count, and how they are read from a root on disk.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};

use crate::files::Files;

/// The most that is read of one file, in bytes.
const LIMIT: u64 = 16 << 20;

/// What apt's configuration consists of, besides keys that a source has elsewhere: files, and directories with what is below them.
pub const PATHS: [&str; 8] = [
    "etc/apt",
    "etc/crypto-policies/back-ends",
    "etc/machine-id",
    "usr/share/apt/default-sequoia.config",
    "usr/share/keyrings",
    "var/lib/crypto-config/profiles/current",
    "var/lib/dpkg/arch",
    "var/lib/dpkg/status",
];

/// Returns the files of a directory of parts that count, in the order they are read in.
///
/// apt takes names of letters, digits, `_`, `-`, `:` and `.` that end with one of `endings` (an empty one: with none).
pub(crate) fn parts<'a>(files: &'a Files, directory: &str, endings: &[&str]) -> Vec<(String, &'a [u8])> {
    let mut found = parts_of_any_name(files, directory, endings);
    found.retain(|(path, _)| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte));
        plain && !name.starts_with('.')
    });
    found
}

/// Returns the files of a directory whose names have one of some endings, in the order they are read in.
pub(crate) fn parts_of_any_name<'a>(
    files: &'a Files,
    directory: &str,
    endings: &[&str],
) -> Vec<(String, &'a [u8])> {
    let mut found = files.list(directory);
    found.retain(|(path, _)| {
        let name = path.rsplit('/').next().unwrap_or_default();
        endings.contains(&name.rsplit_once('.').map_or("", |(_, ending)| ending))
    });
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

/// Reads the files of apt's configuration from a root directory, such as this machine's own.
///
/// Nothing outside the root is read; links are kept as links. Files that are larger than 16 MiB are left out.
///
/// Fails where the root, or a file that is in it, cannot be read.
pub fn read_root(root: &Path) -> io::Result<Files> {
    let root = fs::File::open(root)?;
    let mut files = Files::new();
    for path in PATHS {
        read_below(&root, path, &mut files, 0)?;
    }
    Ok(files)
}

/// Reads one more file of a root, such as a key that a source names; it is no error when there is none.
///
/// Fails where the root or the file cannot be read.
pub fn read_more(root: &Path, path: &str, files: &mut Files) -> io::Result<()> {
    read_below(&fs::File::open(root)?, path.trim_start_matches('/'), files, 0)
}

fn read_below(root: &fs::File, path: &str, files: &mut Files, depth: usize) -> io::Result<()> {
    let open = |flags| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
    let place = match open(OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(place) => place,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match FileType::from_raw_mode(statat(&place, "", rustix::fs::AtFlags::EMPTY_PATH)?.st_mode) {
        FileType::Symlink => {
            let target = readlinkat(&place, "", Vec::new())?;
            files.insert_link(path, &target.to_string_lossy());
        }
        FileType::Directory if depth < 4 => {
            let mut names = Vec::new();
            for entry in Dir::read_from(open(OFlags::RDONLY | OFlags::DIRECTORY)?)? {
                names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
            }
            for name in names.iter().filter(|name| !matches!(name.as_str(), "." | "..")) {
                read_below(root, &format!("{path}/{name}"), files, depth + 1)?;
            }
        }
        FileType::RegularFile => {
            let mut bytes = Vec::new();
            fs::File::from(open(OFlags::RDONLY | OFlags::NOFOLLOW)?)
                .take(LIMIT + 1)
                .read_to_end(&mut bytes)?;
            if bytes.len() as u64 <= LIMIT {
                files.insert(path, bytes);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_by_their_names_and_read_in_order() {
        let mut files = Files::new();
        for name in
            ["b.list", "a.list", "a:b.list", "a.list.save", ".list", "deep/c.list", "what is.list", "plain"]
        {
            files.insert(&format!("etc/parts/{name}"), Vec::new());
        }
        let names = |endings: &[&str]| {
            parts(&files, "etc/parts", endings).into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(names(&["list"]), ["etc/parts/a.list", "etc/parts/a:b.list", "etc/parts/b.list"]);
        assert_eq!(names(&[""]), ["etc/parts/plain"]);
    }

    #[test]
    fn a_root_is_read_without_following_links_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("etc/apt/sources.list.d")).unwrap();
        fs::write(root.join("etc/apt/sources.list"), "deb").unwrap();
        fs::write(root.join("etc/apt/sources.list.d/a.list"), "deb").unwrap();
        std::os::unix::fs::symlink("../../../../secret", root.join("etc/apt/auth.conf")).unwrap();
        std::os::unix::fs::symlink("/etc/apt/sources.list", root.join("etc/apt/link")).unwrap();
        let files = read_root(&root).unwrap();
        assert_eq!(files.get("etc/apt/auth.conf"), None);
        assert_eq!(files.get("etc/apt/link"), Some(&b"deb"[..]));
        assert_eq!(files.list("etc/apt/sources.list.d").len(), 1);
    }
}
