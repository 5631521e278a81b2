//! What a sandbox is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything about one sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub root: Root,
    /// The program and its arguments; a program without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// Who runs the command.
    pub user: UserSpec,
    /// What is mounted over the root, in order.
    pub mounts: Vec<Mount>,
    /// The host name that the command sees.
    pub hostname: String,
    /// The network that the command sees.
    pub network: Network,
    /// Whether the seccomp profile is loaded.
    pub seccomp: bool,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
}

impl Spec {
    /// A sandbox on this root that runs nothing yet, as root, on the host's network.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            argv: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            user: UserSpec::default(),
            mounts: Vec::new(),
            hostname: "otoshi".into(),
            network: Network::Host,
            seccomp: true,
            shm_size: 64 << 20,
        }
    }
}

/// Where the root file system comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Root {
    /// Merged directories, with what the command writes going to `upper`.
    Overlay {
        /// The directories below, the topmost first.
        lowers: Vec<PathBuf>,
        /// Takes what is written.
        upper: PathBuf,
        /// An empty directory on the same file system; its parent must be ours as well.
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        /// The host's path.
        source: PathBuf,
        /// Where the command sees it.
        target: String,
        /// Whether it cannot be written.
        read_only: bool,
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
        /// An empty directory on the same file system as `upper`.
        work: PathBuf,
        /// Where the command sees it.
        target: String,
    },
    /// A file that is only in memory, such as a secret.
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
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::OverlayView { target, .. }
            | Self::File { target, .. } => target,
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        match self {
            Self::Bind { source, .. } => !source.is_dir(),
            Self::File { .. } => true,
            Self::Tmpfs { .. } | Self::OverlayView { .. } => false,
        }
    }
}

/// The network that a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// A loopback device only.
    None,
}
