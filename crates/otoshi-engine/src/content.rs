//! The content of a tree as one digest: names, types, modes, owners, extended attributes and bytes, but no times.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use otoshi_oci::{Digest, Fields, Hasher};
use otoshi_tree::Met;
use rayon::prelude::*;
use rustix::fs::{FileType, Mode, OFlags, readlinkat};

use crate::EngineError;

/// One file, directory or other object of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The path below the tree's root; empty for the root itself.
    pub(crate) path: PathBuf,
    /// Where it lies on disk.
    pub(crate) source: PathBuf,
    pub(crate) kind: ItemKind,
    /// Whether its extended attributes go with it: not those of somebody's working directory, which no builder takes.
    pub(crate) attributes: bool,
    /// Permission bits, set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Directory,
    File {
        size: u64,
    },
    /// A file with nothing in it, wherever that comes from.
    Empty,
    Symlink(PathBuf),
    /// Devices, pipes and overlayfs whiteouts: the file type bits and the device number.
    Special {
        format: u32,
        device: u64,
    },
}

impl ItemKind {
    pub(crate) fn of(path: &Path, meta: &Metadata) -> Result<Self, EngineError> {
        let kind = meta.file_type();
        Ok(if kind.is_dir() {
            Self::Directory
        } else if kind.is_file() {
            Self::File { size: meta.len() }
        } else if kind.is_symlink() {
            Self::Symlink(fs::read_link(path).map_err(EngineError::io("reading the link", path))?)
        } else {
            Self::Special { format: meta.mode() & 0o170_000, device: meta.rdev() }
        })
    }
}

impl Item {
    pub(crate) fn at(source: &Path, path: &Path) -> Result<Self, EngineError> {
        let meta = fs::symlink_metadata(source).map_err(EngineError::io("reading", source))?;
        Ok(Self {
            path: path.to_path_buf(),
            source: source.to_path_buf(),
            kind: ItemKind::of(source, &meta)?,
            attributes: true,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        })
    }

    /// Adds everything about this object but its place in the tree.
    fn hash_into(&self, hasher: &mut Hasher) -> Result<(), EngineError> {
        let (tag, detail): (u8, Vec<u8>) = match &self.kind {
            ItemKind::Directory => (b'd', Vec::new()),
            ItemKind::File { .. } => (b'f', hash_file(&self.source)?.as_str().as_bytes().to_vec()),
            ItemKind::Empty => (b'e', Vec::new()),
            ItemKind::Symlink(target) => (b'l', target.as_os_str().as_bytes().to_vec()),
            ItemKind::Special { format, device } => {
                (b's', [u64::from(*format), *device].map(u64::to_le_bytes).concat())
            }
        };
        // A link has no mode of its own.
        let mode = if tag == b'l' { 0o777 } else { self.mode };
        hasher.update(&[tag]);
        for number in [mode, self.uid, self.gid] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.field(&detail);
        for (name, value) in self.xattrs()? {
            hasher.field(name.as_bytes());
            hasher.field(&value);
        }
        Ok(())
    }

    /// The extended attributes that go with it.
    pub(crate) fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>, EngineError> {
        let has_some = self.attributes && !matches!(self.kind, ItemKind::Symlink(_) | ItemKind::Empty);
        if has_some { xattrs(&self.source) } else { Ok(Vec::new()) }
    }
}

/// Computes the digest of a file's bytes.
pub(crate) fn hash_file(path: &Path) -> Result<Digest, EngineError> {
    // Never wait for a pipe that took the file's place, nor follow a link.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let mut options = fs::File::options();
    let file = options.read(true).custom_flags(flags).open(path).map_err(EngineError::io("opening", path))?;
    Hasher::sha256().of_rest(file).map_err(EngineError::io("reading", path))
}

/// Lists everything at and below `root`, sorted by path, the root first.
pub(crate) fn walk(root: &Path) -> Result<Vec<Item>, EngineError> {
    walk_where(root, &|_| true)
}

/// The same without what lies in directories that the test turns down, by their paths below the root.
pub(crate) fn walk_where(root: &Path, goes_into: &dyn Fn(&Path) -> bool) -> Result<Vec<Item>, EngineError> {
    let mut items = vec![Item::at(root, Path::new(""))?];
    if items[0].kind != ItemKind::Directory {
        return Ok(items);
    }
    let failed = |error: std::io::Error| EngineError::io("reading", root)(error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(root, flags, Mode::empty()).map_err(std::io::Error::from).map_err(failed)?;
    let mut walk = otoshi_tree::Walk::new(directory).map_err(failed)?;
    while let Some(met) = walk.next().map_err(failed)? {
        let Met::Entry(name, stat) = met else { continue };
        let path = PathBuf::from(OsString::from_vec([walk.path(), &name].concat()));
        let source = root.join(&path);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => ItemKind::Directory,
            FileType::RegularFile => ItemKind::File { size: stat.st_size as u64 },
            FileType::Symlink => {
                let target = readlinkat(walk.directory(), &name[..], Vec::new())
                    .map_err(EngineError::io("reading the link", &source))?;
                ItemKind::Symlink(OsString::from_vec(target.into_bytes()).into())
            }
            _ => ItemKind::Special { format: stat.st_mode & 0o170_000, device: stat.st_rdev },
        };
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let item = Item { path, source, kind, attributes: true, mode, uid, gid };
        let descend = item.kind == ItemKind::Directory && goes_into(&item.path);
        items.push(item);
        if descend {
            let source = items.last().map_or(root, |item| &item.source);
            walk.enter().map_err(EngineError::io("reading", source))?;
        }
    }
    Ok(items)
}

/// Computes the digest of everything at and below `root`.
///
/// Fails where something below `root` cannot be read.
pub fn hash_tree(root: &Path) -> Result<Digest, EngineError> {
    hash_items(&walk(root)?)
}

/// Computes the digest of listed objects, with their paths.
pub(crate) fn hash_items(items: &[Item]) -> Result<Digest, EngineError> {
    let digests: Vec<Digest> = items
        .par_iter()
        .map(|item| {
            let mut hasher = Hasher::sha256();
            hasher.field(item.path.as_os_str().as_bytes());
            item.hash_into(&mut hasher)?;
            Ok(hasher.finish())
        })
        .collect::<Result<_, EngineError>>()?;
    Ok(Fields::new("tree 2").list(digests.iter().map(Digest::as_str)).digest())
}

/// Reads the extended attributes that belong to the content, sorted by name.
///
/// Of overlayfs' own attributes only "opaque" says something about the content; its name is made the same for
/// privileged and unprivileged mounts.
pub(crate) fn xattrs(path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, EngineError> {
    let mut names = vec![0u8; 4096];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NODATA) => return Ok(Vec::new()),
        Err(error) => return Err(EngineError::io("reading the attributes of", path)(error)),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let text = name.to_vec();
        let overlay = name.strip_prefix(b"trusted.overlay.").or_else(|| name.strip_prefix(b"user.overlay."));
        let shown = match overlay {
            Some(b"opaque") => b"overlay.opaque".to_vec(),
            Some(_) => continue,
            None if name.starts_with(b"security.selinux") || name.starts_with(b"system.") => continue,
            None => text.clone(),
        };
        let mut value = vec![0u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path, OsString::from_vec(text), &mut value[..])
            .map_err(EngineError::io("reading an attribute of", path))?;
        value.truncate(length);
        found.push((OsString::from_vec(shown), value));
    }
    found.sort();
    Ok(found)
}

/// Tells whether this is an overlayfs whiteout: a character device 0:0.
pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn times_do_not_count_and_everything_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "x").unwrap();
        let first = hash_tree(dir.path()).unwrap();
        fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(hash_tree(dir.path()).unwrap(), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let second = hash_tree(dir.path()).unwrap();
        assert_ne!(second, first);
        fs::rename(&file, dir.path().join("b")).unwrap();
        assert_ne!(hash_tree(dir.path()).unwrap(), second);
    }
}
