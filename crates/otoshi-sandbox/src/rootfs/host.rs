//! What a sandbox takes from the host, opened before the host's tree is changed.

use std::{
    fmt::Write,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{io::Errno, mount::MountAttrFlags};

use super::{
    given, kernel,
    overlay::{Layers, open_directories, open_directory},
};
use crate::{
    Limits, Mount, Privilege, Root, SandboxError, Spec,
    mounts::{clone_path, clone_shallow, set_attributes},
};

type Result<T> = std::result::Result<T, SandboxError>;

pub(super) struct Host {
    pub(super) root: RootSource,
    /// Whether the root is to be read-only once all is mounted.
    pub(super) read_only: bool,
    /// One for each of the spec's mounts.
    pub(super) mounts: Vec<Source>,
    /// The host's own device files, by name; made anew when `None`.
    pub(super) devices: Option<Vec<(&'static str, OwnedFd)>>,
    /// One for each of the devices that the command is given; made when it is put there where it is `None`.
    pub(super) given: Vec<Option<OwnedFd>>,
    /// `/etc/hosts` and its like: path and content.
    pub(super) identity: [(&'static str, Vec<u8>); 3],
}

pub(super) enum RootSource {
    Overlay(Layers),
    /// Merged directories under a writable one in memory.
    Temporary(Layers),
    Tree(OwnedFd),
}

/// What is mounted at a target.
pub(super) enum Source {
    Tree(OwnedFd),
    Layers(Layers),
    /// Made when it is mounted.
    None,
}

impl Host {
    pub(super) fn open(spec: &Spec, privilege: Privilege, resolver: Option<Vec<u8>>) -> Result<Self> {
        let root = match &spec.root {
            Root::Overlay { lowers, upper, work, userxattr } => {
                RootSource::Overlay(layers(spec, lowers, Some((upper, work)), *userxattr)?)
            }
            Root::ReadOnlyOverlay { lowers, userxattr } => {
                RootSource::Temporary(layers(spec, lowers, None, *userxattr)?)
            }
            Root::Dir(path) => RootSource::Tree(tree(path, Limits::default())?),
        };
        let read_only = spec.readonly_rootfs || matches!(spec.root, Root::ReadOnlyOverlay { .. });
        let mounts = spec.mounts.iter().map(|mount| source(spec, mount, privilege)).collect::<Result<_>>()?;
        let (devices, given) = match privilege {
            Privilege::Root => (None, spec.devices.iter().map(|_| None).collect()),
            Privilege::UserNamespace { .. } => {
                (Some(kernel::host_devices()?), given::of_host(&spec.devices)?)
            }
        };
        let resolver = resolver.unwrap_or_else(|| fs::read("/etc/resolv.conf").unwrap_or_default());
        let identity = [
            ("etc/hosts", hosts(spec).into_bytes()),
            ("etc/hostname", format!("{}\n", spec.hostname).into_bytes()),
            ("etc/resolv.conf", resolver),
        ];
        Ok(Self { root, read_only, mounts, devices, given, identity })
    }
}

fn layers(
    spec: &Spec,
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    userxattr: bool,
) -> Result<Layers> {
    let writable =
        writable.map(|(upper, work)| Ok((open_directory(upper)?, open_directory(work)?))).transpose()?;
    Ok(Layers {
        lowers: open_directories(lowers)?,
        writable,
        userxattr,
        volatile: spec.volatile,
        classic: spec.classic_overlay,
    })
}

fn source(spec: &Spec, mount: &Mount, privilege: Privilege) -> Result<Source> {
    match mount {
        Mount::Bind { source, limits, .. } => tree(source, *limits).map(Source::Tree),
        Mount::OverlayView { lowers, upper, work, .. } => {
            let userxattr = matches!(privilege, Privilege::UserNamespace { .. });
            layers(spec, lowers, Some((upper, work)), userxattr).map(Source::Layers)
        }
        Mount::Tmpfs { .. } | Mount::File { .. } => Ok(Source::None),
    }
}

/// A part of the host's tree, as a mount that is attached nowhere yet.
fn tree(path: &Path, limits: Limits) -> Result<OwnedFd> {
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, limits.read_only);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, limits.no_suid);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, limits.no_exec);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, limits.no_dev);
    let open = || -> std::result::Result<OwnedFd, Errno> {
        let tree = if limits.shallow { clone_shallow(path) } else { clone_path(path) }?;
        set_attributes(tree.as_fd(), attributes, true)?;
        Ok(tree)
    };
    open().map_err(SandboxError::setup(format!("opening {}", path.display())))
}

/// This sandbox's names, and those that were asked for; none that only the host knows.
fn hosts(spec: &Spec) -> String {
    let mut text = format!(
        "127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        name = spec.hostname
    );
    for (name, address) in &spec.extra_hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}
