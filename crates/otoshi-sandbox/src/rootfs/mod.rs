//! The root file system of a sandbox: mounted, filled, and made the root of this process.
//!
//! ```text
//! /tmp                    covered by the stage, a file system in memory that nobody else sees
//! ├── root/               the new root: merged layers, then /proc, /sys, /dev and all other mounts
//! ├── files/              what File mounts, /etc/hosts, /etc/hostname and /etc/resolv.conf show
//! ├── devices/            device files; only these can be used where nothing controls the use of devices
//! ├── given/              device files that this command is given besides
//! ├── empty/              covers directories
//! └── upper/, work/       take the mount points made in a read-only root
//! ```
//!
//! All of the host that is needed is opened before anything is covered; after `pivot_root` the rest of the host is gone.

mod given;
mod host;
mod kernel;
mod overlay;
mod place;
mod stage;

pub use overlay::{SELF_CONTAINED, STORE_HINT};

use std::os::fd::{AsFd, OwnedFd};

use host::{Host, RootSource, Source};
pub(crate) use kernel::Terminal;
use place::{Kept, Kind, Place, failed, fd_path};
use rustix::{
    fs::{Gid, Mode, Uid},
    mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount},
};
use stage::Stage;

use crate::{
    Limits, Mount, Privilege, SandboxError, Spec,
    control::Control,
    mounts::{attach, is_directory, new_mount, set_attributes},
    placeholder::{Area, Placeholder},
};

type Result<T> = std::result::Result<T, SandboxError>;

/// What was made for a command.
pub(crate) struct Entered {
    /// What was made in directories that stay.
    pub(crate) placeholders: Vec<Placeholder>,
    /// The terminal, if one was asked for.
    pub(crate) terminal: Option<Terminal>,
    /// Whether device files can be used that the command makes.
    pub(crate) controlled: bool,
}

/// Mounts everything and makes it the root directory of this process, whose mount namespace is its own and whose umask is 0.
///
/// `resolver` is `/etc/resolv.conf`; the host's when `None`.
pub(crate) fn enter(
    spec: &Spec,
    privilege: Privilege,
    resolver: Option<Vec<u8>>,
    control: Control,
) -> Result<Entered> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(SandboxError::setup("making mounts private"))?;
    let host = Host::open(spec, privilege, resolver)?;
    let stage = Stage::mount()?;
    let no_dev = no_dev(&stage, control)?;
    let mut place = mount_root(host.root, &stage, no_dev)?;
    kernel::proc_and_sys(&mut place)?;
    let terminal = kernel::devices(&mut place, &stage, host.devices, spec, no_dev)?;
    for (index, mounted) in spec.mounts.iter().zip(host.mounts).enumerate() {
        apply(&mut place, &stage, index, mounted, no_dev)?;
    }
    for (index, (device, source)) in spec.devices.iter().zip(host.given).enumerate() {
        given::put(&mut place, &stage, index, device, source)?;
    }
    for (target, content) in &host.identity {
        identity(&mut place, &stage, spec, target, content)?;
    }
    kernel::protect(&place, &stage)?;
    if host.read_only {
        set_attributes(place.fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)
            .map_err(SandboxError::setup("making the root read-only"))?;
    }
    let (root, placeholders) = place.into_made();
    pivot(&root)?;
    Ok(Entered { placeholders, terminal, controlled: no_dev.is_empty() })
}

/// The attribute that keeps device files from being used, or nothing where a list of what may be used is in force.
fn no_dev(stage: &Stage, control: Control) -> Result<MountAttrFlags> {
    let is_controlled = match control {
        Control::None => false,
        Control::All => true,
        // What was asked of the kernel is not believed, but tried: the machine's memory is in no list.
        Control::List => stage.refuses_memory()?,
    };
    Ok(if is_controlled { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV })
}

fn mount_root(source: RootSource, stage: &Stage, no_dev: MountAttrFlags) -> Result<Place> {
    let below = stage.directory("root")?;
    let (area, upper) = match source {
        RootSource::Overlay(mut layers) => {
            if layers.lowers.is_empty() {
                layers.lowers.push(stage.directory("empty")?);
            }
            layers.mount(below.as_fd(), "the root", no_dev)?;
            (Some(Area::Root), layers.writable.map(|(upper, _)| upper))
        }
        RootSource::Temporary(mut layers) => {
            let (upper, work) = (stage.make_directory("upper")?, stage.make_directory("work")?);
            if let Some(top) = layers.lowers.first() {
                copy_attributes(top, &upper)
                    .map_err(SandboxError::setup("copying the attributes of the root directory"))?;
            }
            layers.writable = Some((upper, work));
            layers.mount(below.as_fd(), "the root", no_dev)?;
            (None, None)
        }
        RootSource::Tree(tree) => {
            set_attributes(tree.as_fd(), no_dev, true)
                .map_err(SandboxError::setup("setting what the root is mounted with"))?;
            attach(&tree, below.as_fd(), "the root")?;
            (Some(Area::Root), None)
        }
    };
    Place::new(stage.directory("root")?, area, upper)
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let to = fd_path(to);
    rustix::fs::chown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::chmod(&to, Mode::from_raw_mode(stat.st_mode))
}

/// Mounts one of the mounts that were asked for.
fn apply(
    place: &mut Place,
    stage: &Stage,
    index: usize,
    (mount, source): (&Mount, Source),
    no_dev: MountAttrFlags,
) -> Result<()> {
    let target = mount.target();
    let kind = match &source {
        Source::Tree(tree) if !is_directory(tree) => Kind::File,
        Source::Tree(_) | Source::Layers(_) => Kind::Directory,
        Source::None => match mount {
            Mount::File { .. } => Kind::File,
            _ => Kind::Directory,
        },
    };
    let point = place.mount_point(target, kind).map_err(failed(target))?;
    let at = place.path_for_mount(&point, target)?;
    let (mut area, mut upper) = (None, None);
    match (source, mount) {
        (Source::Tree(tree), mount) => {
            if let Mount::Bind { limits: Limits { no_dev: false, .. }, .. } = mount {
                set_attributes(tree.as_fd(), no_dev, true)
                    .map_err(SandboxError::setup(format!("mounting at {target}")))?;
            }
            attach(&tree, point.as_fd(), target)?;
            let writable = !matches!(mount, Mount::Bind { limits: Limits { read_only: true, .. }, .. });
            area = writable.then_some(Area::Mount(index));
        }
        (Source::Layers(layers), _) => {
            layers.mount(point.as_fd(), target, no_dev)?;
            upper = layers.writable.map(|(upper, _)| upper);
            area = Some(Area::Mount(index));
        }
        (Source::None, Mount::Tmpfs { size, mode, .. }) => {
            let (mode, size) = (format!("{mode:o}"), size.map(|size| size.to_string()));
            let size = size.as_deref().map(|size| ("size", size));
            let options: Vec<_> = [("mode", mode.as_str())].into_iter().chain(size).collect();
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | no_dev;
            attach(&new_mount("tmpfs", &options, attributes)?, point.as_fd(), target)?;
        }
        (Source::None, Mount::File { content, mode, uid, gid, .. }) => {
            let name = index.to_string();
            let file = stage
                .file(&name, content, *mode, (*uid, *gid))
                .and_then(|file| {
                    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
                    set_attributes(file.as_fd(), attributes, false)?;
                    Ok(file)
                })
                .map_err(SandboxError::setup(format!("making the file {target}")))?;
            attach(&file, point.as_fd(), target)?;
        }
        (Source::None, Mount::Bind { .. } | Mount::OverlayView { .. }) => {}
    }
    place.covered(Kept { at, area, upper });
    Ok(())
}

/// Mounts a file over what the image has at one of the places that tell a command who and where it is.
fn identity(place: &mut Place, stage: &Stage, spec: &Spec, target: &str, content: &[u8]) -> Result<()> {
    if spec.mounts.iter().any(|mount| mount.target().trim_matches('/') == target) {
        return Ok(());
    }
    let point = match place.mount_point(target, Kind::File) {
        // A caller's mount covers /etc, and nothing can be made there.
        Err(rustix::io::Errno::ROFS) => return Ok(()),
        other => other.map_err(failed(target))?,
    };
    let name = target.replace('/', "-");
    let file = stage
        .file(&name, content, 0o644, (0, 0))
        .map_err(SandboxError::setup(format!("making /{target}")))?;
    attach(&file, point.as_fd(), target)
}

fn pivot(root: &OwnedFd) -> Result<()> {
    let failed = || SandboxError::setup::<rustix::io::Errno>("changing the root directory");
    rustix::process::fchdir(root).map_err(failed())?;
    // The old root ends up on top of the new one, where it is taken off.
    rustix::process::pivot_root(".", ".").map_err(failed())?;
    unmount(".", UnmountFlags::DETACH).map_err(failed())?;
    rustix::process::chdir("/").map_err(failed())
}
