//! From a tree to a layer's blob.
//!
//! Directories are walked in the order of their names' bytes, a directory before what is in it. The first name of a file
//! with several is the file, the others are hard links to it. Sockets are left out, as everywhere: they are nothing without
//! their process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::image::Descriptor;
use otoshi_tree::Met;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, major, minor, openat, openat2, readlinkat, statat,
};

use super::compress::{self, CopyError, TarSink};
use super::root::{as_path, open_directory, path_through};
use super::{LayerError, Mtime, OPAQUE, WHITEOUT, WriteOptions, WrittenLayer, pyc, xattr};
use crate::digest::DiffId;
use crate::layout::Layout;
use crate::tar::{self, Entry, Kind, Time};

/// Whiteouts have this mode: they are not files, and nobody sees it.
const WHITEOUT_MODE: u32 = 0o600;

/// Writes a tree as a layer.
///
/// The tree is an overlayfs upper or lower directory, or any other: without whiteouts and opaque directories there is no
/// difference. The root directory itself is not an entry, unless `options.prefix` names it.
///
/// Fails where a name starts with `.wh.`, a file changes while it is read, or the tree was written with redirect_dir
/// or metacopy.
pub fn write_layer(layout: &Layout, tree: &Path, options: &WriteOptions) -> Result<WrittenLayer, LayerError> {
    let ((entries, depends_on_lower), stored) =
        compress::store(layout, options.compression, options.threads, |sink| walk(sink, tree, options))?;
    let descriptor = Descriptor::new(options.compression.media_type(), stored.size, stored.digest.to_oci());
    Ok(WrittenLayer {
        descriptor,
        diff_id: stored.diff_id,
        uncompressed_size: stored.uncompressed_size,
        entries,
        depends_on_lower,
    })
}

/// Writes a tree as an uncompressed tar, with the bytes that [`write_layer`] compresses, and returns their digest.
///
/// Of a mounted image this is its root filesystem, for tools that know nothing of layers.
///
/// Fails where a name starts with `.wh.`, a file changes while it is read, or the tree was written with redirect_dir
/// or metacopy.
pub fn write_tar(tree: &Path, out: &mut dyn Write, options: &WriteOptions) -> Result<DiffId, LayerError> {
    compress::stream(out, |sink| walk(sink, tree, options)).map(|(_, diff_id)| diff_id)
}

/// Writes all of a tree and returns how many entries that were, and whether they depend on the trees below.
fn walk(sink: &mut TarSink<'_>, tree: &Path, options: &WriteOptions) -> Result<(u64, bool), LayerError> {
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(rustix::fs::CWD, path, flags, Mode::empty()).map_err(|error| LayerError::Io {
            action: "open",
            path: path.to_owned(),
            source: error.into(),
        })
    };
    let root = open(tree)?;
    let lower = options.normalised_lower.iter().map(|(path, time)| Ok((open(path)?, *time)));
    let lower = lower.collect::<Result<_, LayerError>>()?;
    let mut walk = Walk {
        sink,
        options,
        tree,
        lower,
        prefix: Vec::new(),
        links: HashMap::new(),
        header: Vec::with_capacity(4096),
        entries: 0,
        depends_on_lower: false,
    };
    walk.prefix()?;
    walk.all(root)?;
    walk.emit_bytes(&tar::END, &[])?;
    Ok((walk.entries, walk.depends_on_lower))
}

struct Walk<'a, 'b> {
    sink: &'a mut TarSink<'b>,
    options: &'a WriteOptions,
    tree: &'a Path,
    /// Trees known to be below, the topmost first, and the time that their files have in layers.
    lower: Vec<(OwnedFd, i64)>,
    depends_on_lower: bool,
    /// What stands before every name: empty, or a directory and a slash.
    prefix: Vec<u8>,
    /// Files with several names: the first name, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    header: Vec<u8>,
    entries: u64,
}

impl Walk<'_, '_> {
    fn prefix(&mut self) -> Result<(), LayerError> {
        for directory in &self.options.prefix {
            let path = directory.path.as_os_str().as_bytes();
            let parts: Vec<&[u8]> =
                path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
            if parts.is_empty() || parts.contains(&&b".."[..]) {
                return Err(LayerError::Tree {
                    path: directory.path.clone(),
                    reason: "not a directory below the root".to_owned(),
                });
            }
            self.prefix = [&parts.join(&b'/')[..], b"/"].concat();
            let mut entry = Entry::new(self.prefix.clone(), Kind::Directory, directory.mode & 0o7777);
            (entry.uid, entry.gid) = (directory.uid, directory.gid);
            entry.mtime = self.time(Time::default());
            self.emit(&entry, &[])?;
        }
        Ok(())
    }

    /// Writes all that is in the tree.
    fn all(&mut self, root: OwnedFd) -> Result<(), LayerError> {
        let mut walk = otoshi_tree::Walk::new(root).map_err(|e| self.io("list", &[], e))?;
        loop {
            let met = walk.next().map_err(|e| self.io("read", walk.path(), e))?;
            match met {
                None => return Ok(()),
                Some(Met::End(_)) => {}
                Some(Met::Entry(name, stat)) => {
                    if self.named(walk.directory(), walk.path(), &name, &stat)? {
                        walk.enter().map_err(|e| self.io("open", &[walk.path(), &name].concat(), e))?;
                    }
                }
            }
        }
    }

    /// Writes what has a name in the directory `parent`, whose path ends with a slash unless it is the tree; says whether it is
    /// a directory with more in it.
    fn named(
        &mut self,
        directory: BorrowedFd<'_>,
        parent: &[u8],
        name: &[u8],
        stat: &Stat,
    ) -> Result<bool, LayerError> {
        let path = [parent, name].concat();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return self.marker(parent, &[WHITEOUT, name].concat()).map(|()| false);
        }
        if name.starts_with(WHITEOUT) {
            return Err(self.refuse(&path, "a name that starts with `.wh.` would delete another one"));
        }
        if kind == FileType::Directory {
            return self.subdirectory(directory, stat, path, name).map(|()| true);
        }
        if kind == FileType::Socket {
            tracing::debug!(path = tar::display(&path), "socket left out of the layer");
            return Ok(false);
        }

        let mut entry = self.entry(&path, stat);
        if stat.st_nlink > 1 && self.is_known(stat, &path, &mut entry) {
            return self.emit(&entry, &path).map(|()| false);
        }
        entry.kind = match kind {
            FileType::RegularFile => return self.file(directory, name, &path, entry).map(|()| false),
            FileType::Symlink => {
                let target = readlinkat(directory, name, Vec::new())
                    .map_err(|e| self.io("read the link", &path, e))?;
                entry.link = target.into_bytes();
                Kind::Symlink
            }
            FileType::CharacterDevice => {
                Kind::Char { major: major(stat.st_rdev), minor: minor(stat.st_rdev) }
            }
            FileType::BlockDevice => Kind::Block { major: major(stat.st_rdev), minor: minor(stat.st_rdev) },
            FileType::Fifo => Kind::Fifo,
            _ => return Err(self.refuse(&path, "it is of an unknown type")),
        };
        let attributes = xattr::of_path(&path_through(directory, name));
        self.take_xattrs(&mut entry, attributes, &path)?;
        self.emit(&entry, &path).map(|()| false)
    }

    fn subdirectory(
        &mut self,
        parent: BorrowedFd<'_>,
        stat: &Stat,
        mut path: Vec<u8>,
        name: &[u8],
    ) -> Result<(), LayerError> {
        let directory = open_directory(parent, name).map_err(|e| self.io("open", &path, e))?;
        path.push(b'/');
        let mut entry = self.entry(&path, stat);
        entry.kind = Kind::Directory;
        let is_opaque = self.take_xattrs(&mut entry, xattr::of_file(&directory), &path)?;
        self.emit(&entry, &path)?;
        if is_opaque {
            self.marker(&path, OPAQUE)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        mut entry: Entry,
    ) -> Result<(), LayerError> {
        // Never wait for a pipe that took the file's place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).map_err(|e| self.io("open", path, e))?;
        self.take_xattrs(&mut entry, xattr::of_file(&file), path)?;
        self.emit(&entry, path)?;

        let mut file = File::from(file);
        let mut start = 0;
        if pyc::is_compiled(name) && entry.size >= pyc::HEADER as u64 {
            let mut header = [0; pyc::HEADER];
            file.read_exact(&mut header).map_err(|e| self.io("read", path, e))?;
            if self.options.mtime != Mtime::Keep {
                self.correct(&mut header, directory, path, name);
            }
            self.emit_bytes(&header, path)?;
            start = pyc::HEADER as u64;
        }
        match self.sink.copy_exactly(&mut file, entry.size - start) {
            Ok(()) => {}
            Err(CopyError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.refuse(path, "it became shorter while it was read"));
            }
            Err(CopyError::Read(error)) => return Err(self.io("read", path, error)),
            Err(CopyError::Write(error)) => return Err(self.io("store", path, error)),
        }
        self.header.clear();
        tar::write_padding(&mut self.header, entry.size);
        let padding = std::mem::take(&mut self.header);
        let outcome = self.emit_bytes(&padding, path);
        self.header = padding;
        outcome
    }

    /// Corrects the time that a compiled Python file records, if its source is in this tree or in one known to be below.
    fn correct(&mut self, header: &mut [u8], directory: BorrowedFd<'_>, path: &[u8], name: &[u8]) {
        let Some(source) = pyc::source_of(path) else { return };
        // From the file's own directory; what is not beside it is one above.
        let beside = source.strip_prefix(&path[..path.len() - name.len()]);
        let above = || [b"../", source.rsplit(|&byte| byte == b'/').next().unwrap_or_default()].concat();
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let found = beside.map_or_else(above, <[u8]>::to_vec);
        if let Ok(stat) = statat(directory, &found[..], AtFlags::SYMLINK_NOFOLLOW) {
            if is_file(&stat) {
                let time = self.time(Time { seconds: stat.st_mtime, nanos: 0 });
                pyc::correct(header, stat.st_mtime, stat.st_size as u64, time.seconds);
            }
            return;
        }
        // Another source below, or none, may make another layer.
        self.depends_on_lower |= pyc::Recorded::read(header).is_some();
        for (lower, time) in &self.lower {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let Ok(fd) = openat2(lower, &source[..], flags, Mode::empty(), resolve) else { continue };
            if let Ok(stat) = rustix::fs::fstat(&fd)
                && is_file(&stat)
            {
                pyc::correct(header, stat.st_mtime, stat.st_size as u64, *time);
            }
            return;
        }
    }

    /// An entry with everything that the inode says, as a regular file.
    fn entry(&self, path: &[u8], stat: &Stat) -> Entry {
        let mut entry = Entry::new([&self.prefix, path].concat(), Kind::File, stat.st_mode & 0o7777);
        (entry.uid, entry.gid) = self.options.owner.unwrap_or((stat.st_uid, stat.st_gid));
        entry.mtime = self.time(Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 });
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            entry.size = stat.st_size as u64;
        }
        entry
    }

    fn time(&self, own: Time) -> Time {
        match self.options.mtime {
            Mtime::Set(seconds) => Time { seconds, nanos: 0 },
            // As BuildKit: what is earlier keeps its time, to the second.
            Mtime::Clamp(seconds) => Time { seconds: own.seconds.min(seconds), nanos: 0 },
            Mtime::Keep => own,
        }
    }

    /// Turns an entry into a hard link if its file was there under another name.
    fn is_known(&mut self, stat: &Stat, path: &[u8], entry: &mut Entry) -> bool {
        let id = (stat.st_dev, stat.st_ino);
        if let Some((first, left)) = self.links.get_mut(&id) {
            entry.kind = Kind::HardLink;
            entry.link.clone_from(first);
            entry.size = 0;
            *left -= 1;
            if *left == 0 {
                self.links.remove(&id);
            }
            return true;
        }
        let name = [&self.prefix, path].concat();
        #[allow(clippy::useless_conversion, reason = "some architectures have 32 bits here")]
        let more = u64::from(stat.st_nlink) - 1;
        self.links.insert(id, (name, more));
        false
    }

    /// Gives an entry its attributes, and says whether they make it an opaque directory.
    fn take_xattrs(
        &self,
        entry: &mut Entry,
        attributes: io::Result<xattr::Xattrs>,
        path: &[u8],
    ) -> Result<bool, LayerError> {
        let attributes = attributes.map_err(|e| self.io("read the attributes of", path, e))?;
        let mut is_opaque = false;
        for (name, value) in attributes {
            if xattr::is_overlay(&name) {
                is_opaque |= name == self.options.xattr_namespace.opaque().as_bytes() && value == b"y";
                // With these, the content is not here but in a directory below.
                if name.ends_with(b".redirect") || name.ends_with(b".metacopy") {
                    let reason =
                        "it was written with overlayfs's redirect_dir or metacopy, which must be off";
                    return Err(self.refuse(path, reason));
                }
            } else if xattr::belongs_to_layer(&name) {
                entry.xattrs.push((name, value));
            }
        }
        Ok(is_opaque)
    }

    /// Writes a whiteout or an opaque marker into the directory `parent`.
    fn marker(&mut self, parent: &[u8], name: &[u8]) -> Result<(), LayerError> {
        let path = [parent, name].concat();
        let mut entry = Entry::new([&self.prefix, &path[..]].concat(), Kind::File, WHITEOUT_MODE);
        (entry.uid, entry.gid) = self.options.owner.unwrap_or((0, 0));
        entry.mtime = self.time(Time::default());
        self.emit(&entry, &path)
    }

    fn emit(&mut self, entry: &Entry, path: &[u8]) -> Result<(), LayerError> {
        self.entries += 1;
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        tar::write_header(&mut header, entry);
        let outcome = self.emit_bytes(&header, path);
        self.header = header;
        outcome
    }

    fn emit_bytes(&mut self, bytes: &[u8], path: &[u8]) -> Result<(), LayerError> {
        self.sink.write_all(bytes).map_err(|error| self.io("store", path, error))
    }

    fn absolute(&self, path: &[u8]) -> PathBuf {
        self.tree.join(as_path(path))
    }

    fn io(&self, action: &'static str, path: &[u8], source: impl Into<io::Error>) -> LayerError {
        LayerError::Io { action, path: self.absolute(path), source: source.into() }
    }

    fn refuse(&self, path: &[u8], reason: &str) -> LayerError {
        LayerError::Tree { path: self.absolute(path), reason: reason.to_owned() }
    }
}
