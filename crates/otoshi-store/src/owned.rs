//! The caller's surroundings kept out of the store: umask, access control lists and set-group-id directories above it.
//!
//! What is made below a directory takes over its default access control list, and its group where it has the set-group-id
//! bit. A store's directories have neither, whatever lies above them, so that an image's files are the same in every store.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::Path,
};

use rustix::{
    fs::{lgetxattr, lremovexattr},
    process::{getegid, geteuid},
};

use crate::StoreError;

/// The mode of a directory that only its owner may enter.
const CLOSED: u32 = 0o700;
/// The access control lists of a directory: its own, and what files made in it get. Source: acl(5).
const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Makes a directory that nobody else may enter, and what leads there; one that is there stays as it is.
pub(crate) fn create_closed(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(CLOSED).create(directory).map_err(StoreError::io("creating", directory))
}

/// Closes a directory of the store to everybody but its owner, and to what it would take over from above.
///
/// Fails where it is another user's, and open to others.
pub(crate) fn close(directory: &Path) -> Result<(), StoreError> {
    settle(directory, CLOSED)
}

/// Gives a new directory the mode and the owner that the root directory of an image has where nothing says otherwise.
pub(crate) fn open_to_all(directory: &Path) -> Result<(), StoreError> {
    settle(directory, 0o755)
}

fn settle(directory: &Path, mode: u32) -> Result<(), StoreError> {
    for list in LISTS {
        // Nothing is written where nothing is there to be removed, as on a disk that is read-only.
        if lgetxattr(directory, list, &mut [0_u8; 0]).is_ok() {
            lremovexattr(directory, list)
                .map_err(StoreError::io("removing the access control list of", directory))?;
        }
    }
    let meta = fs::symlink_metadata(directory).map_err(StoreError::io("reading", directory))?;
    let group = getegid().as_raw();
    if meta.gid() != group && meta.uid() == geteuid().as_raw() {
        chown(directory, None, Some(group)).map_err(StoreError::io("setting the group of", directory))?;
    }
    if meta.mode() & 0o7777 != mode {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode))
            .map_err(StoreError::io("setting the mode of", directory))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use otoshi_test::{Missing, pass_over};

    use super::*;
    use crate::Home;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    /// An access control list that gives user 12345 everything, as in `setfacl -d -m u:12345:rwx`. Source: acl(5), its form on disk.
    fn everything_for_one() -> Vec<u8> {
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in
            [(1_u16, 7_u16, u32::MAX), (2, 7, 12345), (4, 7, u32::MAX), (16, 7, u32::MAX), (32, 7, u32::MAX)]
        {
            list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn a_store_is_closed_to_others_also_one_that_was_open() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/store");
        for _ in 0..2 {
            Home::open(&root).unwrap();
            assert_eq!(mode(&root), 0o700);
            let entries: Vec<_> = fs::read_dir(&root).unwrap().flatten().collect();
            let directories = entries.iter().filter(|entry| entry.path().is_dir());
            assert!(directories.clone().count() >= 6);
            for directory in directories {
                assert_eq!(mode(&directory.path()), 0o700, "{}", directory.path().display());
                fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            }
            fs::set_permissions(&root, fs::Permissions::from_mode(0o2775)).unwrap();
        }
    }

    #[test]
    fn a_directory_with_other_things_keeps_its_mode_and_the_store_in_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(dir.path().join("somebody's"), "file").unwrap();
        Home::open(dir.path()).unwrap();
        assert_eq!((mode(dir.path()), mode(&dir.path().join("snapshots"))), (0o1777, 0o700));
    }

    #[test]
    fn what_lies_above_a_store_does_not_reach_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let list = everything_for_one();
        match rustix::fs::lsetxattr(dir.path(), LISTS[1], &list, rustix::fs::XattrFlags::empty()) {
            // A file system without lists has none to take over.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                pass_over(&Missing::new("a file system with access control lists", "set TMPDIR to one"));
            }
            other => other.unwrap(),
        }
        let is_root = geteuid().is_root();
        if is_root {
            chown(dir.path(), None, Some(4711)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2770)).unwrap();
        let home = Home::open(&dir.path().join("store")).unwrap();
        let draft = home.snapshots().draft().unwrap();
        let file = draft.tree().join("file");
        fs::write(&file, "").unwrap();
        symlink("x", draft.tree().join("link")).unwrap();
        for path in [draft.tree(), file.clone()] {
            let meta = fs::symlink_metadata(&path).unwrap();
            assert_eq!(meta.gid(), getegid().as_raw(), "{}", path.display());
            assert!(LISTS.iter().all(|list| lgetxattr(&path, *list, &mut [0_u8; 0]).is_err()));
        }
        assert_eq!(mode(&draft.tree()), 0o755);
    }
}
