//! COPY and ADD: what is copied where, and the directory that the copying leaves, in overlayfs form.
//!
//! The result holds the copied objects and the directories that lead to them, and nothing of what lies below. So it
//! depends on the layers below only through the few facts in [`Destination`]: where links in the destination lead, and
//! the modes and owners of directories that are there. When the layers below move and those facts stay, the result
//! of an earlier copying is used again.
//!
//! As with `docker build`, sources are copied one after the other; a directory's content goes into the destination, which
//! keeps its mode and owner when it is there and else is new (mode 0755 or what an octal `--chmod` has of it, the owner of `--chown`, or root); directories
//! inside take those of the source; and a file goes into a destination that is a directory by then, else it becomes
//! the destination.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use otoshi_oci::{Digest, Fields};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

use super::{chmod::Chmod, rootfs};
use crate::{
    EngineError,
    content::{Item, ItemKind, xattrs},
    data,
};

/// One source of a COPY: its last name, and what it consists of, the root first (with an empty path).
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: PathBuf,
    pub(crate) items: Vec<Item>,
}

impl Source {
    fn is_directory(&self) -> bool {
        self.items.first().is_some_and(|root| root.kind == ItemKind::Directory)
    }
}

/// How copied objects are owned and what may be done with them, where an instruction says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<Chmod>,
}

/// What the layers below say about the place to copy to.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Relative to the root directory, links followed.
    pub(crate) path: PathBuf,
    /// Whether it is written as a directory, with a slash at its end.
    slash: bool,
    /// Whether there is a directory already.
    directory: bool,
    /// Whether there is something else.
    occupied: bool,
    /// The directories on the way that are there already, the outermost first, with the destination itself.
    parents: Vec<Item>,
}

impl Destination {
    /// Looks at the tree below, mounted at `root`; `text` is absolute and as written, with its trailing slash.
    pub(crate) fn look(root: &Path, text: &str) -> Result<Self, EngineError> {
        let path = rootfs::resolve(root, Path::new(text))?;
        let there = fs::symlink_metadata(root.join(&path)).ok().map(|meta| meta.is_dir());
        let (directory, occupied) = (there == Some(true), there == Some(false));
        let mut parents = Vec::new();
        let ancestors: Vec<&Path> = path.ancestors().filter(|a| !a.as_os_str().is_empty()).collect();
        for ancestor in ancestors.into_iter().rev() {
            match Item::at(&root.join(ancestor), ancestor) {
                Ok(item) if item.kind == ItemKind::Directory => parents.push(item),
                Ok(_) if ancestor == path => break,
                Ok(_) => {
                    return Err(EngineError::invalid(format!(
                        "cannot copy to {text}: /{} is not a directory",
                        ancestor.display()
                    )));
                }
                Err(_) => break,
            }
        }
        Ok(Self { path, slash: text.ends_with('/'), directory, occupied, parents })
    }

    /// Everything about the layers below that the result depends on.
    pub(crate) fn facts(&self) -> Result<Digest, EngineError> {
        let mut fields = Fields::new("destination 2").text(self.path.as_os_str().as_encoded_bytes());
        fields = fields.flag(self.directory).flag(self.occupied).number(self.parents.len() as u64);
        for parent in &self.parents {
            fields = fields.text(parent.path.as_os_str().as_encoded_bytes());
            fields = fields.number(parent.mode).number(parent.uid).number(parent.gid);
            let attributes = xattrs(&parent.source)?;
            fields = fields.number(attributes.len() as u64);
            for (name, value) in attributes {
                fields = fields.text(name.as_encoded_bytes()).text(value);
            }
        }
        Ok(fields.digest())
    }
}

/// Fails where a directory would take the place of something else that lies below, or something else that of a directory.
///
/// What was copied before onto other layers may be used again only where this does not fail.
pub(crate) fn check_below(
    below: &Path,
    sources: &[Source],
    destination: &Destination,
) -> Result<(), EngineError> {
    if !destination.directory {
        return Ok(());
    }
    for source in sources {
        // The directories of the source that are below as well, by their paths from its root.
        let mut shared: HashSet<&Path> = HashSet::from([Path::new("")]);
        let is_directory = source.is_directory();
        for item in &source.items[usize::from(is_directory).min(source.items.len())..] {
            let parent = item.path.parent().unwrap_or(Path::new(""));
            if !shared.contains(parent) {
                continue;
            }
            let place = destination.path.join(if is_directory { &item.path } else { &source.name });
            let Ok(meta) = fs::symlink_metadata(below.join(&place)) else { continue };
            conflict(&place, &meta, item.kind == ItemKind::Directory)?;
            if meta.is_dir() {
                shared.insert(&item.path);
            }
        }
    }
    Ok(())
}

/// Fails when one of both is a directory and the other is not.
fn conflict(place: &Path, below: &fs::Metadata, is_directory: bool) -> Result<(), EngineError> {
    if below.is_dir() == is_directory {
        return Ok(());
    }
    let kind = if below.is_dir() { "a directory" } else { "not a directory" };
    Err(EngineError::invalid(format!("cannot copy to /{}: it is {kind}", place.display())))
}

/// Finds the file in a snapshot that a merged view shows, so that it can be linked instead of copied.
pub(crate) type Locate<'a> = dyn Fn(&Path) -> Option<PathBuf> + 'a;

/// Copies into an empty directory.
pub(crate) struct Copier<'a> {
    /// The directory to fill: what will be a snapshot.
    pub(crate) tree: &'a Path,
    /// The merged layers below.
    pub(crate) below: &'a Path,
    pub(crate) overrides: Overrides,
    pub(crate) locate: &'a Locate<'a>,
    linked: HashSet<(u64, u64)>,
    made: BTreeSet<PathBuf>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(tree: &'a Path, below: &'a Path, overrides: Overrides, locate: &'a Locate<'a>) -> Self {
        Self { tree, below, overrides, locate, linked: HashSet::new(), made: BTreeSet::new() }
    }

    /// Copies one source to the destination.
    pub(crate) fn copy(&mut self, source: &Source, destination: &Destination) -> Result<(), EngineError> {
        let parent = |path: &Path| path.parent().unwrap_or(Path::new("")).to_path_buf();
        let ensured = if destination.slash { destination.path.clone() } else { parent(&destination.path) };
        self.parent_directories(&ensured)?;
        if source.is_directory() {
            // The root of what is copied only says that it is a directory.
            self.parent_directories(&destination.path)?;
            for item in source.items.iter().skip(1) {
                self.place(item, &destination.path.join(&item.path))?;
            }
            return Ok(());
        }
        let target = if self.is_directory(&destination.path) {
            destination.path.join(&source.name)
        } else {
            destination.path.clone()
        };
        self.parent_directories(&parent(&target))?;
        source.items.first().map_or(Ok(()), |item| self.place(item, &target))
    }

    /// Whether there is a directory by now, made by this copying or below.
    fn is_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty()
            || match fs::symlink_metadata(self.tree.join(path)) {
                Ok(meta) => meta.is_dir(),
                Err(_) => fs::symlink_metadata(self.below.join(path)).is_ok_and(|meta| meta.is_dir()),
            }
    }

    /// Makes a directory and those that lead to it, as they are below, or new ones with what an octal `--chmod` has
    /// of 0755, else 0755.
    pub(crate) fn parent_directories(&mut self, path: &Path) -> Result<(), EngineError> {
        let ancestors: Vec<&Path> = path.ancestors().filter(|a| !a.as_os_str().is_empty()).collect();
        for ancestor in ancestors.into_iter().rev() {
            if self.made.contains(ancestor) {
                continue;
            }
            let target = self.tree.join(ancestor);
            let refused = || {
                EngineError::invalid(format!("cannot copy to /{}: it is not a directory", ancestor.display()))
            };
            let there = fs::symlink_metadata(&target).ok();
            if there.as_ref().is_some_and(|meta| !meta.is_dir()) {
                return Err(refused());
            }
            self.made.insert(ancestor.to_path_buf());
            if there.is_some() {
                continue;
            }
            match Item::at(&self.below.join(ancestor), ancestor) {
                Ok(below) if below.kind == ItemKind::Directory => {
                    fs::create_dir(&target).map_err(EngineError::io("creating", &target))?;
                    finish(&below, &target, &Overrides::default())?;
                }
                Ok(_) => return Err(refused()),
                Err(_) => {
                    fs::create_dir(&target).map_err(EngineError::io("creating", &target))?;
                    let owner = self.overrides.owner.unwrap_or((0, 0));
                    lchown(&target, Some(owner.0), Some(owner.1))
                        .map_err(EngineError::io("owning", &target))?;
                    set_mode(
                        &target,
                        self.overrides.mode.as_ref().and_then(Chmod::of_new_directories).unwrap_or(0o755),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// The same for what an archive is unpacked into: a mode is for files that are copied, and not for these.
    pub(crate) fn directories_for_archive(&mut self, path: &Path) -> Result<(), EngineError> {
        let mode = self.overrides.mode.take();
        let made = self.parent_directories(path);
        self.overrides.mode = mode;
        made
    }

    fn place(&mut self, item: &Item, place: &Path) -> Result<(), EngineError> {
        let target = self.tree.join(place);
        let below = fs::symlink_metadata(self.below.join(place))
            .ok()
            .filter(|meta| !crate::content::is_whiteout(meta));
        let is_directory = item.kind == ItemKind::Directory;
        if let Some(meta) = below {
            conflict(place, &meta, is_directory)?;
        }
        if let Ok(meta) = fs::symlink_metadata(&target) {
            if meta.is_dir() != is_directory {
                return Err(EngineError::invalid(format!(
                    "two sources of different types for /{}",
                    place.display()
                )));
            }
            if !is_directory {
                fs::remove_file(&target).map_err(EngineError::io("replacing", &target))?;
            }
        }
        match &item.kind {
            ItemKind::Directory => {
                if self.made.insert(place.to_path_buf()) {
                    fs::create_dir(&target).map_err(EngineError::io("creating", &target))?;
                }
            }
            ItemKind::Symlink(link) => {
                std::os::unix::fs::symlink(link, &target).map_err(EngineError::io("linking", &target))?;
            }
            ItemKind::Special { format, device } => {
                let kind = rustix::fs::FileType::from_raw_mode(*format);
                if kind == rustix::fs::FileType::Socket {
                    return Ok(());
                }
                rustix::fs::mknodat(CWD, &target, kind, rustix::fs::Mode::from_raw_mode(0o600), *device)
                    .map_err(EngineError::io("creating the special file", &target))?;
            }
            ItemKind::File { .. } => {
                if self.overrides == Overrides::default() && self.link(item, &target)? {
                    return Ok(());
                }
                data::copy(&item.source, &target)?;
            }
            ItemKind::Empty => {
                fs::File::create_new(&target).map_err(EngineError::io("creating", &target))?;
            }
        }
        finish(item, &target, &self.overrides)
    }

    /// Links a file of a snapshot instead of copying it; each at most once, since two names are two files.
    fn link(&mut self, item: &Item, target: &Path) -> Result<bool, EngineError> {
        let Some(kept) = (self.locate)(&item.source) else { return Ok(false) };
        let meta = fs::symlink_metadata(&kept).map_err(EngineError::io("reading", &kept))?;
        Ok(meta.is_file()
            && self.linked.insert((meta.dev(), meta.ino()))
            && fs::hard_link(&kept, target).is_ok())
    }
}

/// Gives a copied object the owner, mode, attributes and time of its source, or those that the instruction says.
fn finish(item: &Item, target: &Path, overrides: &Overrides) -> Result<(), EngineError> {
    let (uid, gid) = overrides.owner.unwrap_or((item.uid, item.gid));
    lchown(target, Some(uid), Some(gid)).map_err(EngineError::io("owning", target))?;
    if !matches!(item.kind, ItemKind::Symlink(_)) {
        let is_directory = item.kind == ItemKind::Directory;
        let change = overrides.mode.as_ref();
        set_mode(target, change.map_or(item.mode, |change| change.apply(item.mode, is_directory)))?;
        for (name, value) in item.xattrs()? {
            if name != "overlay.opaque" {
                rustix::fs::lsetxattr(target, &name, &value, XattrFlags::empty())
                    .map_err(EngineError::io("setting an attribute of", target))?;
            }
        }
    }
    let meta = fs::symlink_metadata(&item.source).map_err(EngineError::io("reading", &item.source))?;
    let time = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(EngineError::io("setting the time of", target))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), EngineError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(EngineError::io("setting the mode of", path))
}
