//! The root file system of a sandbox: mounted, filled with `/proc`, `/sys` and `/dev`, and entered.
//!
//! Every mount point is looked up inside the new root with `openat2` and mounted on through its file descriptor, so that no
//! link in an image leads a mount elsewhere.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind,
        mount_bind_recursive, mount_change, mount_remount, move_mount, unmount,
    },
};

use crate::{Mount, Network, Privilege, Root, SandboxError, Spec, privilege};

/// Hidden behind nothing: what the kernel tells there is none of a container's business. As Docker has it.
const MASKED: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/firmware",
];
const MASKED_ALSO: [&str; 1] = ["sys/devices/virtual/powercap"];

/// Readable only. As Docker has it.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

type Result<T> = std::result::Result<T, SandboxError>;

/// Mounts everything and makes it the root directory of this process.
pub(crate) fn enter(spec: &Spec) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(SandboxError::setup("making mounts private"))?;
    let root = NewRoot::mount(&spec.root)?;
    root.kernel_file_systems(spec)?;
    root.devices(spec)?;
    root.identity(spec)?;
    for mount in &spec.mounts {
        root.apply(mount)?;
    }
    root.protect()?;
    root.pivot()
}

struct NewRoot {
    path: PathBuf,
    fd: OwnedFd,
}

impl NewRoot {
    /// Mounts the root over one of its own directories, which nobody else sees changed: the mount namespace is ours.
    fn mount(root: &Root) -> Result<Self> {
        let path = match root {
            Root::Overlay { lowers, upper, work, userxattr } => {
                overlay(lowers, Some((upper, work)), *userxattr, upper)?;
                upper.clone()
            }
            Root::ReadOnlyOverlay { lowers, userxattr } => {
                let place = lowers.first().ok_or_else(|| invalid("the root has no layers"))?;
                overlay(lowers, None, *userxattr, place)?;
                place.clone()
            }
            Root::Dir(path) => {
                mount_bind_recursive(path, path)
                    .map_err(SandboxError::setup(format!("mounting {}", path.display())))?;
                path.clone()
            }
        };
        let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(SandboxError::setup("opening the new root"))?;
        Ok(Self { path, fd })
    }

    /// Opens a path inside the root, whatever links it holds; makes what is missing when `create` says as what.
    fn open(&self, target: &str, create: Option<FileType>) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let relative = target.trim_start_matches('/');
        let failed = || SandboxError::setup::<rustix::io::Errno>(format!("opening {target} in the image"));
        let open = |path: &str| {
            rustix::fs::openat2(
                &self.fd,
                if path.is_empty() { "." } else { path },
                flags,
                Mode::empty(),
                resolve,
            )
        };
        match (open(relative), create) {
            (Err(rustix::io::Errno::NOENT), Some(kind)) => {
                let mut parent = open("").map_err(failed())?;
                let mut done = String::new();
                let parts: Vec<&str> =
                    relative.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
                for (index, part) in parts.iter().enumerate() {
                    done = format!("{done}/{part}");
                    let here = done.trim_start_matches('/').to_owned();
                    if let Ok(found) = open(&here) {
                        parent = found;
                        continue;
                    }
                    if *part == ".." {
                        return Err(invalid(&format!(
                            "the mount point {target} has .. in a part that is not there"
                        )));
                    }
                    let last = index + 1 == parts.len();
                    if last && kind == FileType::RegularFile {
                        let mode = Mode::from_raw_mode(0o644);
                        rustix::fs::openat(
                            &parent,
                            *part,
                            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
                            mode,
                        )
                        .map_err(failed())?;
                    } else {
                        rustix::fs::mkdirat(&parent, *part, Mode::from_raw_mode(0o755)).map_err(failed())?;
                    }
                    parent = open(&here).map_err(failed())?;
                }
                Ok(parent)
            }
            (result, _) => result.map_err(failed()),
        }
    }

    fn directory(&self, target: &str) -> Result<OwnedFd> {
        self.open(target, Some(FileType::Directory))
    }

    fn kernel_file_systems(&self, spec: &Spec) -> Result<()> {
        let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        let proc = new_mount("proc", &[], safe).map_err(|error| match error {
            SandboxError::Setup { action, reason } => SandboxError::NotSupported {
                action,
                reason,
                hint: "inside a container, /proc must not be masked (docker run --security-opt systempaths=unconfined)".into(),
            },
            other => other,
        })?;
        attach(&proc, &self.directory("proc")?, "/proc")?;
        let sys = self.directory("sys")?;
        match new_mount("sysfs", &[], safe | MountAttrFlags::MOUNT_ATTR_RDONLY) {
            Ok(mounted) => attach(&mounted, &sys, "/sys")?,
            // A user namespace may mount it only with a network namespace of its own: the host's, read-only, instead.
            Err(_) if spec.network == Network::Host => {
                mount_bind_recursive("/sys", fd_path(&sys)).map_err(SandboxError::setup("mounting /sys"))?;
                remount_read_only(&self.open("sys", None)?, "/sys")?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn devices(&self, spec: &Spec) -> Result<()> {
        let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let dev = new_mount("tmpfs", &[("mode", "755"), ("size", "65536k")], nosuid)?;
        attach(&dev, &self.directory("dev")?, "/dev")?;
        let directory = self.path.join("dev");
        let in_user_namespace = matches!(privilege(), Privilege::UserNamespace { .. });
        for (name, major, minor) in DEVICES {
            let path = directory.join(name);
            let failed = || SandboxError::setup::<std::io::Error>(format!("making /dev/{name}"));
            if in_user_namespace {
                File::create(&path).map_err(failed())?;
                mount_bind(format!("/dev/{name}"), &path).map_err(|error| failed()(error.into()))?;
            } else {
                let device = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(
                    CWD,
                    &path,
                    FileType::CharacterDevice,
                    Mode::from_raw_mode(0o666),
                    device,
                )
                .map_err(|error| failed()(error.into()))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(failed())?;
            }
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
            ("core", "/proc/kcore"),
        ] {
            symlink(target, directory.join(name))
                .map_err(SandboxError::setup(format!("making /dev/{name}")))?;
        }
        let safe = nosuid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
        // The group of terminals may be nobody here.
        let pts =
            new_mount("devpts", &terminals, safe).or_else(|_| new_mount("devpts", &terminals[..3], safe))?;
        attach(&pts, &self.directory("dev/pts")?, "/dev/pts")?;
        let size = spec.shm_size.to_string();
        let more = safe | MountAttrFlags::MOUNT_ATTR_NODEV;
        let shm = new_mount("tmpfs", &[("mode", "1777"), ("size", &size)], more)?;
        attach(&shm, &self.directory("dev/shm")?, "/dev/shm")?;
        if let Ok(queues) = new_mount("mqueue", &[], more) {
            attach(&queues, &self.directory("dev/mqueue")?, "/dev/mqueue")?;
        }
        Ok(())
    }

    /// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    fn identity(&self, spec: &Spec) -> Result<()> {
        let hosts = match spec.network {
            Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
            Network::None => String::new(),
        };
        let hosts = format!(
            "127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost\n{hosts}",
            name = spec.hostname
        );
        self.file("etc/hosts", hosts.as_bytes(), 0o644, 0, 0)?;
        self.file("etc/hostname", format!("{}\n", spec.hostname).as_bytes(), 0o644, 0, 0)?;
        let resolver = fs::read("/etc/resolv.conf").unwrap_or_default();
        self.file("etc/resolv.conf", &resolver, 0o644, 0, 0)
    }

    /// Mounts a file that lies in the memory of `/dev` only and has no name there.
    fn file(&self, target: &str, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<()> {
        let failed = || SandboxError::setup::<std::io::Error>(format!("mounting the file {target}"));
        let path = self.path.join("dev/.otoshi-file");
        let mut file = File::create(&path).map_err(failed())?;
        file.write_all(content).map_err(failed())?;
        chown(&path, Some(uid), Some(gid)).map_err(failed())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(failed())?;
        let place = self.open(target, Some(FileType::RegularFile))?;
        mount_bind(&path, fd_path(&place)).map_err(|error| failed()(error.into()))?;
        fs::remove_file(&path).map_err(failed())
    }

    fn apply(&self, mount: &Mount) -> Result<()> {
        let target = mount.target();
        match mount {
            Mount::Bind { source, read_only, .. } => {
                let kind = if source.is_dir() { FileType::Directory } else { FileType::RegularFile };
                let place = self.open(target, Some(kind))?;
                let failed = SandboxError::setup(format!("mounting {} at {target}", source.display()));
                mount_bind(source, fd_path(&place)).map_err(failed)?;
                if *read_only {
                    remount_read_only(&self.open(target, None)?, target)?;
                }
                Ok(())
            }
            Mount::Tmpfs { size, mode, .. } => {
                let (mode, size) = (format!("{mode:o}"), size.map(|size| size.to_string()));
                let options: Vec<(&str, &str)> = [("mode", mode.as_str())]
                    .into_iter()
                    .chain(size.as_deref().map(|size| ("size", size)))
                    .collect();
                let safe = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                attach(&new_mount("tmpfs", &options, safe)?, &self.directory(target)?, target)
            }
            Mount::OverlayView { lowers, upper, work, .. } => {
                let userxattr = matches!(privilege(), Privilege::UserNamespace { .. });
                let mounted = overlay_mount(lowers, Some((upper, work)), userxattr)?;
                attach(&mounted, &self.directory(target)?, target)
            }
            Mount::File { content, mode, uid, gid, .. } => self.file(target, content, *mode, *uid, *gid),
        }
    }

    fn protect(&self) -> Result<()> {
        for target in READ_ONLY {
            if let Ok(place) = self.open(target, None) {
                mount_bind_recursive(fd_path(&place), fd_path(&place))
                    .map_err(SandboxError::setup(format!("protecting /{target}")))?;
                remount_read_only(&self.open(target, None)?, target)?;
            }
        }
        for target in MASKED.into_iter().chain(MASKED_ALSO) {
            let Ok(place) = self.open(target, None) else { continue };
            let stat =
                rustix::fs::fstat(&place).map_err(SandboxError::setup(format!("looking at /{target}")))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let empty = new_mount("tmpfs", &[("size", "0")], MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                attach(&empty, &place, target)?;
            } else {
                mount_bind(self.path.join("dev/null"), fd_path(&place))
                    .map_err(SandboxError::setup(format!("masking /{target}")))?;
            }
        }
        Ok(())
    }

    fn pivot(self) -> Result<()> {
        let failed = || SandboxError::setup::<rustix::io::Errno>("changing the root directory");
        rustix::process::fchdir(&self.fd).map_err(failed())?;
        rustix::process::pivot_root(".", ".").map_err(failed())?;
        unmount(".", UnmountFlags::DETACH).map_err(failed())?;
        rustix::process::chdir("/").map_err(failed())
    }
}

fn invalid(reason: &str) -> SandboxError {
    SandboxError::Setup { action: "mounting".into(), reason: reason.into() }
}

fn fd_path(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Makes a mount that is attached nowhere yet.
fn new_mount(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let failed = || SandboxError::setup::<rustix::io::Errno>(format!("mounting {kind}"));
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    for (name, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *name).map_err(failed())?;
        } else {
            fsconfig_set_string(&context, *name, *value).map_err(failed())?;
        }
    }
    fsconfig_create(&context).map_err(failed())?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())
}

fn attach(mounted: &OwnedFd, place: &OwnedFd, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mounted, "", place, "", flags).map_err(SandboxError::setup(format!("mounting at {name}")))
}

/// In a user namespace the flags that the mount has already must be repeated.
fn remount_read_only(place: &OwnedFd, name: &str) -> Result<()> {
    let base = MountFlags::BIND | MountFlags::RDONLY;
    let careful = base | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let path = fd_path(place);
    mount_remount(&path, base, "")
        .or_else(|_| mount_remount(&path, base | MountFlags::NOSUID | MountFlags::NODEV, ""))
        .or_else(|_| mount_remount(&path, careful, ""))
        .map_err(SandboxError::setup(format!("making {name} read-only")))
}

fn overlay(
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    userxattr: bool,
    place: &Path,
) -> Result<()> {
    let mounted = overlay_mount(lowers, writable, userxattr)?;
    let place_fd = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(SandboxError::setup(format!("opening {}", place.display())))?;
    attach(&mounted, &place_fd, "the new root")
}

fn overlay_mount(
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    userxattr: bool,
) -> Result<OwnedFd> {
    let failed = || SandboxError::setup::<rustix::io::Errno>("mounting the merged layers");
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    for lower in lowers {
        fsconfig_set_string(&context, "lowerdir+", lower)
            .map_err(SandboxError::setup(format!("merging {}", lower.display())))?;
    }
    if let Some((upper, work)) = writable {
        fsconfig_set_string(&context, "upperdir", upper).map_err(failed())?;
        fsconfig_set_string(&context, "workdir", work).map_err(failed())?;
    }
    // What is written must be whole: no references from one layer to another.
    for (name, value) in [("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off")] {
        let _ = fsconfig_set_string(&context, name, value);
    }
    if userxattr {
        fsconfig_set_flag(&context, "userxattr").map_err(failed())?;
    }
    fsconfig_create(&context).map_err(failed())?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(failed())
}
