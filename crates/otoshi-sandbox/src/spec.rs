//! What a sandbox is told.

use std::{net::IpAddr, path::PathBuf};

use otoshi_network::Relay;
use serde::{Deserialize, Serialize};

/// Everything about one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub root: Root,
    /// The program and its arguments; a program without a slash is looked up in the `PATH` of `env`, and nowhere without one.
    pub argv: Vec<String>,
    /// The whole environment, in order.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// Who runs the command.
    pub user: UserSpec,
    /// What is mounted over the root, in order.
    pub mounts: Vec<Mount>,
    /// Device files that the command is given besides those that every one has.
    pub devices: Vec<Device>,
    /// The host name that the command sees.
    pub hostname: String,
    /// Further lines of `/etc/hosts`: a name and its address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The network that the command sees.
    pub network: Network,
    /// What carries the command's plain HTTP, where its network is its own.
    pub relay: Option<Relay>,
    /// What root may do in the sandbox.
    pub capabilities: Capabilities,
    /// Whether the seccomp profile is loaded.
    pub seccomp: bool,
    /// Whether set-user-id programs and file capabilities give no privileges.
    pub no_new_privs: bool,
    /// Whether the root cannot be written; mounts over it can.
    pub readonly_rootfs: bool,
    /// Whether overlays forget about `fsync` and never flush when they are unmounted: much faster, and right for a result that
    /// is thrown away or synced as a whole by the caller.
    pub volatile: bool,
    /// Whether the command gets a terminal of its own as standard streams; its other end is `Running::terminal`.
    pub terminal: bool,
    /// How many processes and threads there may be at once; the limits of the host count as well.
    ///
    /// Needs Linux 6.14; with an earlier kernel there is no such limit.
    pub pids: u32,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Mounts overlays in the way that kernels before 6.8 know, even where the newer way is there.
    pub classic_overlay: bool,
}

impl Spec {
    /// A sandbox on this root that runs nothing yet, as root, in a network of its own.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            argv: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            user: UserSpec::default(),
            mounts: Vec::new(),
            devices: Vec::new(),
            hostname: "otoshi".into(),
            extra_hosts: Vec::new(),
            network: Network::Own,
            relay: None,
            capabilities: Capabilities::DockerDefault,
            seccomp: true,
            no_new_privs: false,
            readonly_rootfs: false,
            volatile: true,
            terminal: false,
            pids: 8192,
            shm_size: 64 << 20,
            classic_overlay: false,
        }
    }
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// Merged directories, with what the command writes going to `upper`.
    Overlay {
        /// The directories below, the topmost first.
        lowers: Vec<PathBuf>,
        /// Takes what is written.
        upper: PathBuf,
        /// An empty directory on the same file system, used once.
        work: PathBuf,
        /// Whether overlayfs keeps its marks in `user.*` attributes, as it must in a user namespace.
        userxattr: bool,
    },
    /// Merged directories that cannot be written.
    ReadOnlyOverlay {
        /// The directories, the topmost first.
        lowers: Vec<PathBuf>,
        /// As in [`Root::Overlay`].
        userxattr: bool,
    },
    /// A directory as it is.
    Dir(PathBuf),
}

/// Who runs a command, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub additional_gids: Vec<u32>,
}

/// Something mounted over the root; targets are resolved inside it, whatever links it holds.
///
/// A target that is not there is made for the time of the run; nothing of it is left in a layer or directory afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        /// The host's path.
        source: PathBuf,
        /// Where the command sees it.
        target: String,
        /// What cannot be done there.
        limits: Limits,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// At most this many bytes.
        size: Option<u64>,
        /// The mode of its root.
        mode: u32,
    },
    /// A copy-on-write view.
    OverlayView {
        /// The directories seen, the topmost first.
        lowers: Vec<PathBuf>,
        /// Takes what is written.
        upper: PathBuf,
        /// An empty directory on the same file system as `upper`, used once.
        work: PathBuf,
        /// Where the command sees it.
        target: String,
    },
    /// A file that is only in memory and cannot be written, such as a secret.
    File {
        /// Its content.
        content: Vec<u8>,
        /// Where.
        target: String,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Mount {
    /// Where the command sees it.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::OverlayView { target, .. }
            | Self::File { target, .. } => target,
        }
    }
}

/// What cannot be done in a mounted part of the host's tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-user-id programs and file capabilities give nothing.
    pub no_suid: bool,
    /// No program can be run.
    pub no_exec: bool,
    /// No device file can be used; where nothing controls the use of devices, that is always so.
    pub no_dev: bool,
    /// What is mounted below is not seen.
    pub shallow: bool,
}

impl Limits {
    /// Nothing can be written.
    pub const READ_ONLY: Self =
        Self { read_only: true, no_suid: false, no_exec: false, no_dev: false, shallow: false };
}

/// A device file that a command is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where the command sees it; what is there is covered, and what is made for it is taken away afterwards.
    pub target: String,
    /// The host's file, which is what the command gets in a user namespace, where none can be made.
    pub source: PathBuf,
    /// What it is.
    pub kind: DeviceKind,
    /// The mode of the file.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What the command may do with the device, whatever the mode says; only kept where something controls the use of devices.
    pub access: Access,
}

/// What a device file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A character device, by major and minor number.
    Character(u32, u32),
    /// A block device, by major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Making a file for it.
    pub make: bool,
}

/// The network that a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// One of its own, from which it reaches the outside, and neither the host's loopback nor its link.
    Own,
    /// The host's.
    Host,
    /// A loopback device only.
    None,
}

/// What root may do in a sandbox; another user may do nothing special, but for what set-user-id programs give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capabilities {
    /// Docker's default set, as far as this process has it.
    DockerDefault,
    /// All that this process has.
    All,
    /// Nothing.
    None,
}
