//! From a layer's blob to a tree that overlayfs can use.
//!
//! - `/` and `./` in front of names are dropped, `..` inside a name is followed as text; a name that climbs above the root is
//!   refused. Absolute link targets of hard links are below the root as well.
//! - A directory on the way that is a symbolic link is followed as if the root were `/`; one that is missing is made.
//! - Of two entries with one name the last counts; a directory that comes again keeps what is in it.
//! - A whiteout deletes what lies below the layer, never what the layer itself brings, in whatever order they come.
//! - Names that start with `.wh..wh.` (other than the opaque marker) are another tool's notes and are left out.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::decompress::{UnsupportedEncoding, with_stream};
use super::root::{self, Attributes, During, Found, Outcome, Problem, Root};
use super::{LayerError, OPAQUE, UnpackOptions, WHITEOUT, WHITEOUT_META, xattr};
use crate::digest::DiffId;
use crate::tar::{self, Entry, Kind, Reader, Segment, TarError, Time};

/// Runs of zeros of this length become holes.
const HOLE: usize = 64 << 10;

/// Says what was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the tar, to be compared with the image's config.
    pub diff_id: DiffId,
    /// Whether the archive has no entry for the root directory, which is then as below.
    pub implies_root: bool,
    /// Whether directories lead to entries that have none of their own: these are as below, or new.
    pub implies_parents: bool,
}

/// Unpacks a layer into an existing directory.
///
/// The compression is found out. The blob's own digest is not verified: the diff id says more. If this fails, the directory
/// holds a part of the layer, and nothing outside it was touched.
pub fn unpack_layer(
    reader: impl Read + Send,
    into: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, LayerError> {
    let root = Root::open(into, &options.lower, options.xattr_namespace)
        .map_err(|source| LayerError::Io { action: "open", path: into.to_owned(), source })?;
    let unpacker = Unpacker { root, options, times: HashMap::new(), has_root: false };
    match with_stream(reader, |stream| unpacker.unpack(stream).map_err(Failure::Layer)) {
        Ok(((implies_root, implies_parents), streamed)) => {
            Ok(Unpacked { diff_id: streamed.diff_id, implies_root, implies_parents })
        }
        Err(Failure::Layer(error)) => Err(error),
        Err(Failure::Stream(error)) => Err(stream_error(&options.layer_name, error)),
    }
}

enum Failure {
    Layer(LayerError),
    Stream(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Names the layer in an error of its stream.
pub(super) fn stream_error(layer: &str, error: io::Error) -> LayerError {
    let layer = layer.to_owned();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<UnsupportedEncoding>()) {
        Some(&source) => LayerError::Encoding { layer, source },
        None => LayerError::Archive { layer, source: TarError::Io(error) },
    }
}

/// Where an entry comes: a directory, and the name in it.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: &'a OwnedFd,
    name: &'a [u8],
}

struct Unpacker<'a> {
    root: Root,
    options: &'a UnpackOptions,
    /// Times of directories, set last: making an entry changes the time of its directory.
    times: HashMap<Vec<u8>, Time>,
    has_root: bool,
}

/// A name without `.`, `..` and superfluous slashes, split into directory and last part.
struct Name {
    path: Vec<u8>,
    split: usize,
}

impl Name {
    fn parse(raw: &[u8]) -> Outcome<Self> {
        if raw.contains(&0) {
            return Err(Problem::Refused("its name contains a NUL byte".to_owned()));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in raw.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    if parts.pop().is_none() {
                        return Err(Problem::Refused(
                            "its name points outside the root with `..`".to_owned(),
                        ));
                    }
                }
                part => parts.push(part),
            }
        }
        let path = parts.join(&b'/');
        let split = path.len() - parts.last().map_or(0, |last| last.len());
        Ok(Self { path, split })
    }

    fn directory(&self) -> &[u8] {
        self.path[..self.split].strip_suffix(b"/").unwrap_or_default()
    }

    fn last(&self) -> &[u8] {
        &self.path[self.split..]
    }
}

impl Unpacker<'_> {
    /// Says whether the root directory, and whether others are implied.
    fn unpack(mut self, stream: impl BufRead) -> Result<(bool, bool), LayerError> {
        let layer = &self.options.layer_name;
        let mut reader = Reader::new(stream);
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => {
                    self.entry(&entry, &mut reader).map_err(|problem| named(problem, layer, &entry.name))?;
                }
                Ok(None) => break,
                Err(source) => return Err(LayerError::Archive { layer: layer.clone(), source }),
            }
        }
        self.set_times()
    }

    fn entry(&mut self, entry: &Entry, reader: &mut Reader<impl BufRead>) -> Outcome<()> {
        let name = Name::parse(&entry.name)?;
        if name.path.is_empty() {
            self.has_root |= entry.kind == Kind::Directory;
            return self.root_entry(entry);
        }
        if self.options.whiteouts {
            for part in name.directory().split(|&byte| byte == b'/') {
                if part.starts_with(WHITEOUT_META) {
                    return Ok(());
                }
                if part.starts_with(WHITEOUT) {
                    let part = tar::display(part);
                    return Err(Problem::Refused(format!(
                        "{part:?} is a whiteout; it cannot be a directory"
                    )));
                }
            }
            if let Some(deleted) = name.last().strip_prefix(WHITEOUT) {
                return self.whiteout(&name, deleted);
            }
        }
        let parent = self.parent(&name)?;
        let last = name.last();
        if self.options.keep_directories {
            match entry.kind {
                Kind::Directory if self.root.existing(&name.path).is_ok() => return Ok(()),
                Kind::Directory => {}
                kind if root::look(&parent, last)? == Found::Directory => {
                    return match kind {
                        Kind::Symlink => Ok(()),
                        _ => Err(Problem::Refused("a directory is in its place".to_owned())),
                    };
                }
                _ => {}
            }
        }
        let (uid, gid) = self.options.owner.unwrap_or((entry.uid, entry.gid));
        let attributes = Attributes { mode: entry.mode, uid, gid };
        if entry.kind != Kind::Directory {
            self.times.remove(&name.path);
        }
        let here = Place { parent: &parent, name: last };
        match entry.kind {
            Kind::File => self.file(entry, here, attributes, reader),
            Kind::Directory => {
                let directory = self.directory(&parent, last)?;
                root::set_owner_and_mode(&directory, attributes)?;
                self.set_xattrs(entry, |name, value| xattr::set_on_file(&directory, name, value))?;
                self.times.insert(name.path, entry.mtime);
                Ok(())
            }
            Kind::HardLink => self.hard_link(entry, here),
            Kind::Symlink => {
                self.place(here, "make the symbolic link", || {
                    root::make_symlink(&entry.link, here.parent, here.name)
                })?;
                self.finish_at(entry, here, attributes)
            }
            Kind::Char { major: 0, minor: 0 } => {
                if self.options.whiteouts {
                    return self.whiteout(&name, last);
                }
                Err(Problem::Refused("on disk, a character device 0:0 is a whiteout".to_owned()))
            }
            // No user namespace lets anybody make one; and whoever runs the image brings a /dev of their own.
            Kind::Char { .. } | Kind::Block { .. } if self.options.in_userns && is_in_dev(&entry.name) => {
                tracing::debug!(
                    layer = self.options.layer_name,
                    entry = entry.display_name(),
                    "device left out"
                );
                Ok(())
            }
            Kind::Char { major, minor } => {
                self.node(entry, here, attributes, (FileType::CharacterDevice, major, minor))
            }
            Kind::Block { major, minor } => {
                self.node(entry, here, attributes, (FileType::BlockDevice, major, minor))
            }
            Kind::Fifo => self.node(entry, here, attributes, (FileType::Fifo, 0, 0)),
        }
    }

    fn parent(&mut self, name: &Name) -> Outcome<Rc<OwnedFd>> {
        self.root.parent(name.directory())
    }

    /// The entry `./`: the attributes of the root directory.
    fn root_entry(&mut self, entry: &Entry) -> Outcome<()> {
        if entry.kind != Kind::Directory {
            return Err(Problem::Refused("it would replace the root directory".to_owned()));
        }
        if !self.options.whiteouts {
            return Ok(());
        }
        let directory = self.root.itself()?;
        root::set_owner_and_mode(
            &directory,
            Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid },
        )?;
        self.set_xattrs(entry, |name, value| xattr::set_on_file(&directory, name, value))?;
        self.times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    /// Makes an entry; if its name is taken, makes way and tries again.
    fn place<T>(
        &mut self,
        here: Place<'_>,
        action: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Outcome<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.root.clear(here.parent, here.name)?;
                make().during(action)
            }
            other => other.during(action),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        here: Place<'_>,
        attributes: Attributes,
        reader: &mut Reader<impl BufRead>,
    ) -> Outcome<()> {
        let file = self.place(here, "make the file", || root::create(here.parent, here.name))?;
        let whole = [Segment { offset: 0, length: entry.size }];
        let mut end = 0;
        for segment in entry.sparse.as_deref().unwrap_or(&whole) {
            end = copy(reader, &file, *segment, end)?;
        }
        if end < entry.size {
            file.set_len(entry.size).during("write the file")?;
        }
        root::set_owner_and_mode(&file, attributes)?;
        self.set_xattrs(entry, |name, value| xattr::set_on_file(&file, name, value))?;
        root::set_time(&file, entry.mtime)
    }

    /// Makes a directory, or takes the one that is there.
    fn directory(&mut self, parent: &OwnedFd, name: &[u8]) -> Outcome<OwnedFd> {
        const MAKE: &str = "make the directory";
        let mut was_deleted = false;
        match root::make_directory(parent, name) {
            Ok(()) => {}
            Err(Errno::EXIST) => match root::look(parent, name)? {
                Found::Directory => {}
                found => {
                    was_deleted = found == Found::Whiteout;
                    self.root.clear(parent, name)?;
                    root::make_directory(parent, name).during(MAKE)?;
                }
            },
            Err(error) => return Err(error).during(MAKE),
        }
        let directory = root::open_directory(parent, name).during(MAKE)?;
        if was_deleted {
            self.root.make_opaque(&directory)?;
        }
        Ok(directory)
    }

    fn hard_link(&mut self, entry: &Entry, here: Place<'_>) -> Outcome<()> {
        const LINK: &str = "make the hard link";
        let shown = || tar::display(&entry.link);
        let target = match Name::parse(&entry.link) {
            Ok(target) if !target.path.is_empty() => target,
            _ => {
                return Err(Problem::Refused(format!(
                    "its hard link target {:?} points outside the root",
                    shown()
                )));
            }
        };
        let missing = || Problem::Refused(format!("its hard link target {:?} is not in this layer", shown()));
        let directory = match self.root.existing(target.directory()) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(error).during(LINK),
        };
        match root::look(&directory, target.last())? {
            Found::Nothing | Found::Whiteout => return Err(missing()),
            Found::Directory => {
                return Err(Problem::Refused(format!("its hard link target {:?} is a directory", shown())));
            }
            Found::Symlink | Found::Other => {}
        }
        let (old, new) = ((&directory, target.last()), (here.parent, here.name));
        if root::same(old, new) {
            return Ok(());
        }
        self.place(here, LINK, || root::make_link(old, new))
    }

    fn node(
        &mut self,
        entry: &Entry,
        here: Place<'_>,
        attributes: Attributes,
        (kind, major, minor): (FileType, u32, u32),
    ) -> Outcome<()> {
        let action = if kind == FileType::Fifo { "make the named pipe" } else { root::MAKE_DEVICE };
        self.place(here, action, || root::make_node(here.parent, here.name, kind, (major, minor)))?;
        self.finish_at(entry, here, attributes)
    }

    /// Sets the attributes of what cannot be opened: links, devices, pipes.
    fn finish_at(&mut self, entry: &Entry, here: Place<'_>, attributes: Attributes) -> Outcome<()> {
        let Place { parent, name } = here;
        root::set_owner_at(parent, name, attributes)?;
        if entry.kind != Kind::Symlink {
            root::set_mode_at(parent, name, attributes.mode)?;
        }
        if !entry.xattrs.is_empty() {
            let path = root::path_through(parent, name);
            self.set_xattrs(entry, |name, value| xattr::set_on_path(&path, name, value))?;
        }
        root::set_time_at(parent, name, entry.mtime)
    }

    /// Deletes, in the form that overlayfs knows.
    fn whiteout(&mut self, name: &Name, deleted: &[u8]) -> Outcome<()> {
        if name.last() == OPAQUE {
            let parent = self.parent(name)?;
            let directory = root::open_directory(&parent, b".").during("open the parent directory")?;
            return self.root.make_opaque(&directory);
        }
        if name.last().starts_with(WHITEOUT_META) {
            return Ok(());
        }
        if matches!(deleted, b"" | b"." | b"..") {
            return Err(Problem::Refused("it is a whiteout without a name".to_owned()));
        }
        let parent = self.parent(name)?;
        match root::look(&parent, deleted)? {
            Found::Nothing => root::make_whiteout(&parent, deleted).during("make the whiteout"),
            Found::Directory => {
                let directory = root::open_directory(&parent, deleted).during("open the directory")?;
                self.root.make_opaque(&directory)
            }
            // Whatever is there hides what lies below.
            Found::Symlink | Found::Whiteout | Found::Other => Ok(()),
        }
    }

    fn set_xattrs(&self, entry: &Entry, set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>) -> Outcome<()> {
        for (name, value) in &entry.xattrs {
            // An archive has no say in how overlayfs reads the tree.
            if xattr::is_overlay(name) {
                continue;
            }
            let capability = name == b"security.capability";
            let privileged = name.starts_with(b"trusted.") || (name.starts_with(b"security.") && !capability);
            match set(name, value) {
                Ok(()) => {}
                // Other systems' attributes, security modules that are not here, and what only the real root may set.
                Err(error @ (Errno::OPNOTSUPP | Errno::PERM))
                    if (error == Errno::OPNOTSUPP && !capability)
                        || (error == Errno::PERM && privileged && self.options.in_userns) =>
                {
                    tracing::warn!(
                        layer = self.options.layer_name,
                        entry = entry.display_name(),
                        attribute = tar::display(name),
                        "extended attribute left out: {error}"
                    );
                }
                Err(error) => {
                    tracing::debug!(attribute = tar::display(name), "extended attribute refused");
                    return Err(error).during("set an extended attribute");
                }
            }
        }
        Ok(())
    }

    fn set_times(mut self) -> Result<(bool, bool), LayerError> {
        let implied = self.root.take_implied();
        let implies_parents = implied.iter().any(|(path, _)| !self.times.contains_key(path));
        // What the layer says goes over what it implies.
        for (path, time) in implied.iter().map(|(path, time)| (path, time)).chain(&self.times) {
            let outcome = match self.root.existing(path) {
                Ok(directory) => root::set_time_at(&directory, b".", *time),
                // It was replaced by something else later on.
                Err(_) => Ok(()),
            };
            outcome.map_err(|problem| named(problem, &self.options.layer_name, path))?;
        }
        Ok((!self.has_root, implies_parents))
    }
}

/// Copies one run of data to its place, leaving holes for zeros; returns where the file ends by now.
fn copy(reader: &mut Reader<impl BufRead>, file: &std::fs::File, run: Segment, mut end: u64) -> Outcome<u64> {
    let mut at = run.offset;
    let stop = run.offset + run.length;
    while at < stop {
        let data = reader.data().during("read the data")?;
        if data.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).during("read the data");
        }
        let length = usize::try_from(stop - at).unwrap_or(usize::MAX).min(data.len()).min(HOLE);
        let piece = &data[..length];
        if length < HOLE || !is_zero(piece) {
            file.write_all_at(piece, at).during("write the file")?;
            end = at + length as u64;
        }
        reader.consume(length);
        at += length as u64;
    }
    Ok(end)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0)
        && bytes.last() == Some(&0)
        && bytes.chunks(32).all(|part| part.iter().all(|&b| b == 0))
}

/// Adds layer and entry to what went wrong.
fn named(problem: Problem, layer: &str, entry: &[u8]) -> LayerError {
    let (layer, entry) = (layer.to_owned(), tar::display(entry));
    match problem {
        Problem::Refused(reason) => LayerError::Refused { layer, entry, reason },
        Problem::Io { action, source } => LayerError::Entry { layer, entry, action, source },
    }
}

/// Whether a path lies below `/dev`.
fn is_in_dev(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']));
    parts.next() == Some(b"dev") && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        for (raw, directory, last) in [
            ("a", "", "a"),
            ("./a/b/", "a", "b"),
            ("/a//b/./c", "a/b", "c"),
            ("a/../b", "", "b"),
            ("a/b/../../c/d", "c", "d"),
            ("./", "", ""),
            ("/", "", ""),
        ] {
            let name = Name::parse(raw.as_bytes()).unwrap_or_else(|_| panic!("{raw}"));
            assert_eq!((name.directory(), name.last()), (directory.as_bytes(), last.as_bytes()), "{raw}");
        }
        for raw in ["..", "../a", "/../a", "a/../../b", "./..", "a/b/../../../c", "a\0b"] {
            assert!(Name::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
    }
}
