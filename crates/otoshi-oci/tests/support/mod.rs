//! What the layer tests share: looking at a tree, and making archives entry by entry.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use otoshi_oci::layer::{Compression, Mtime, UnpackOptions, WriteOptions, unpack_layer, write_layer};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};
use otoshi_oci::{Digest, Layout};
use otoshi_test::{Missing, Need, require};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, llistxattr, lsetxattr, mknodat};

/// Everything that a layer keeps of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub content: Vec<u8>,
    pub device: u64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same file.
    pub first: Vec<u8>,
}

/// Looks at all of a tree, except its root. Whiteouts have neither owner nor time.
pub fn look(tree: &Path) -> BTreeMap<Vec<u8>, Seen> {
    fn walk(
        tree: &Path,
        directory: &Path,
        seen: &mut BTreeMap<Vec<u8>, Seen>,
        inodes: &mut HashMap<u64, Vec<u8>>,
    ) {
        let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(tree).unwrap().as_os_str().as_bytes().to_vec();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let whiteout = kind.is_char_device() && metadata.rdev() == 0;
            let (kind, content) = match kind {
                k if k.is_file() => ("file", fs::read(&path).unwrap()),
                k if k.is_dir() => ("directory", Vec::new()),
                k if k.is_symlink() => {
                    ("symlink", fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
                }
                k if k.is_char_device() => ("char", Vec::new()),
                k if k.is_block_device() => ("block", Vec::new()),
                k if k.is_fifo() => ("fifo", Vec::new()),
                _ => ("socket", Vec::new()),
            };
            let first = if kind == "directory" || whiteout {
                name.clone()
            } else {
                inodes.entry(metadata.ino()).or_insert(name.clone()).clone()
            };
            let entry = Seen {
                kind,
                mode: if whiteout { 0 } else { metadata.mode() & 0o7777 },
                owner: if whiteout { (0, 0) } else { (metadata.uid(), metadata.gid()) },
                mtime: if whiteout { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) },
                content,
                device: metadata.rdev(),
                xattrs: xattrs(&path),
                first,
            };
            seen.insert(name, entry);
            if kind == "directory" {
                walk(tree, &path, seen, inodes);
            }
        }
    }
    let mut seen = BTreeMap::new();
    walk(tree, tree, &mut seen, &mut HashMap::new());
    seen
}

pub fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names[..]).unwrap();
    names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty() && *name != b"security.selinux")
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub fn node(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), rustix::fs::makedev(major, minor)).unwrap();
}

pub fn layout(directory: &Path) -> Layout {
    Layout::create_or_open(directory.join("layout")).unwrap()
}

pub const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

pub fn keep() -> WriteOptions {
    WriteOptions { mtime: Mtime::Keep, ..WriteOptions::default() }
}

pub fn unpack(bytes: &[u8], options: &UnpackOptions) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    unpack_layer(bytes, dir.path(), options).unwrap();
    dir
}

pub fn round_trip(layout: &Layout, tree: &Path, options: &WriteOptions) -> tempfile::TempDir {
    let layer = write_layer(layout, tree, options).unwrap();
    let blob = layout.open_blob(&Digest::of(&layer.descriptor).unwrap()).unwrap();
    let into = tempfile::tempdir().unwrap();
    let unpacking = UnpackOptions { xattr_namespace: options.xattr_namespace, ..UnpackOptions::default() };
    assert_eq!(unpack_layer(blob, into.path(), &unpacking).unwrap().diff_id, layer.diff_id);
    into
}

/// A tree with one of everything.
pub fn sample() -> Result<tempfile::TempDir, Missing> {
    require(&[Need::Root])?;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::write(at("bin/su"), "#!").unwrap();
    chown(at("bin/su"), Some(12), Some(3_000_000)).unwrap();
    fs::set_permissions(at("bin/su"), fs::Permissions::from_mode(0o6755)).unwrap();
    // cap_net_raw=ep, as the kernel stores it.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::write(at("bin/ping"), "ping").unwrap();
    set_xattr(&at("bin/ping"), "security.capability", &capability);
    fs::create_dir(at("tmp")).unwrap();
    fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(at("bin/su"), at("hard")).unwrap();
    symlink("bin/su", at("soft")).unwrap();
    fs::hard_link(at("soft"), at("soft2")).unwrap();
    symlink("/nowhere/".repeat(40), at("dangling")).unwrap();
    node(&at("null"), FileType::CharacterDevice, 1, 3);
    node(&at("loop"), FileType::BlockDevice, 7, 300);
    node(&at("pipe"), FileType::Fifo, 0, 0);
    fs::write(at("empty"), "").unwrap();
    fs::create_dir(at("opaque")).unwrap();
    fs::write(at("opaque/new"), "new").unwrap();
    set_xattr(&at("opaque"), "trusted.overlay.opaque", b"y");
    set_xattr(&at("opaque"), "user.color", b"\0blue\n");
    node(&at("deleted"), FileType::CharacterDevice, 0, 0);
    let long = "long ".repeat(30);
    fs::create_dir_all(at(&format!("{long}/{long}"))).unwrap();
    fs::write(at(&format!("{long}/{long}/{long}")), "deep").unwrap();
    fs::write(dir.path().join(std::ffi::OsStr::new("caf\u{e9} ☕")), "utf-8").unwrap();
    let latin = std::os::unix::ffi::OsStrExt::from_bytes(&b"caf\xe9"[..]);
    fs::write(dir.path().join::<&std::ffi::OsStr>(latin), "latin-1").unwrap();
    let mut longer = vec![0xe9; 200];
    longer.push(b'\n');
    let longer: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&longer[..]);
    fs::write(dir.path().join(longer), "longer").unwrap();
    let data: Vec<u8> =
        (0..1_300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
    fs::write(at("big"), &data).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"data", 1 << 20).unwrap();
    sparse.set_len(3 << 20).unwrap();
    Ok(dir)
}

/// Makes an archive entry by entry.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, entry: &Entry, data: &[u8]) -> Self {
        write_header(&mut self.0, entry);
        self.0.extend_from_slice(data);
        write_padding(&mut self.0, data.len() as u64);
        self
    }

    pub fn file(self, name: impl Into<Vec<u8>>, content: &[u8]) -> Self {
        let mut entry = Entry::new(name, Kind::File, 0o644);
        entry.size = content.len() as u64;
        self.entry(&entry, content)
    }

    pub fn directory(self, name: &str) -> Self {
        self.entry(&Entry::new(name, Kind::Directory, 0o755), b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.link(name, target, Kind::Symlink)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(name, target, Kind::HardLink)
    }

    fn link(self, name: &str, target: &str, kind: Kind) -> Self {
        let mut entry = Entry::new(name, kind, 0o777);
        entry.link = target.into();
        self.entry(&entry, b"")
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&END);
        self.0
    }
}

/// A mounted overlay that is gone when this is.
pub struct Overlay(pub PathBuf);

impl Overlay {
    /// Mounts the lower directories, the topmost first, with `upper` on top.
    pub fn mount(dir: &Path, lower: &[&Path], upper: &str) -> Result<Self, Missing> {
        require(&[Need::Root])?;
        let at = |name: &str| dir.join(format!("{upper}-{name}"));
        for path in [dir.join(upper), at("work"), at("merged")] {
            fs::create_dir_all(path).unwrap();
        }
        let lower = lower.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(":");
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={},redirect_dir=off,metacopy=off",
            dir.join(upper).display(),
            at("work").display()
        );
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(at("merged"))
            .status();
        assert!(mounted.unwrap().success());
        Ok(Self(at("merged")))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
