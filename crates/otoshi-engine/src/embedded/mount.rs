//! Merged views of several directories, through overlayfs.

use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use otoshi_sandbox::{Privilege, SandboxError};
use otoshi_store::{Draft, Home};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
    },
};

use crate::EngineError;

/// How many directories overlayfs merges, less two empty ones. Source: `OVL_MAX_STACK` in Linux.
pub(super) const MOST_LAYERS: usize = 498;

/// A mounted view; unmounted when dropped, and at the latest when the process's mount namespace ends.
#[derive(Debug)]
pub(crate) struct OverlayMount {
    target: PathBuf,
    /// Holds the mount point; dropped after the view is unmounted.
    _draft: Draft,
}

impl OverlayMount {
    /// Merges `lowers`, the topmost first; the view cannot be written.
    pub(crate) fn new(home: &Home, lowers: &[PathBuf]) -> Result<Self, EngineError> {
        Self::merge(home, lowers, None)
    }

    /// Merges `lowers`, the topmost first, with `upper` on top, which takes what is written to the view.
    pub(crate) fn writable(home: &Home, lowers: &[PathBuf], upper: &Path) -> Result<Self, EngineError> {
        Self::merge(home, lowers, Some(upper))
    }

    fn merge(home: &Home, lowers: &[PathBuf], upper: Option<&Path>) -> Result<Self, EngineError> {
        let draft = home.snapshots().draft()?;
        let target = draft.tree();
        // Overlayfs wants two lower directories at least when nothing is writable.
        // Two empty ones, since `FROM scratch` has none of its own.
        let empty = ["empty", "empty-too"].map(|name| draft.work().join(name));
        for directory in &empty {
            fs::create_dir(directory).map_err(EngineError::io("creating", directory))?;
        }
        let failed = || EngineError::io("mounting the merged layers at", &target);
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
        // Handed over as descriptors: however long a path is, its descriptor's is short. They are held until the view is made.
        let mut held = Vec::new();
        let mut set = |option: &str, directory: &Path| -> Result<(), EngineError> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(directory, flags, Mode::empty())
                .map_err(EngineError::io("opening", directory))?;
            let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
            held.push(opened);
            fsconfig_set_string(&context, option, path).map_err(|error| refused(directory, error))
        };
        for lower in lowers.iter().map(PathBuf::as_path).chain(empty.iter().map(PathBuf::as_path)) {
            set("lowerdir+", lower)?;
        }
        if let Some(upper) = upper {
            let work = draft.work().join("overlay");
            fs::create_dir(&work).map_err(EngineError::io("creating", &work))?;
            set("upperdir", upper)?;
            set("workdir", &work)?;
        }
        // What lies in a layer is that layer's own: no reference to others, whatever the machine's defaults are.
        for (option, value) in otoshi_sandbox::SELF_CONTAINED {
            fsconfig_set_string(&context, option, value).map_err(failed())?;
        }
        if in_user_namespace() {
            fsconfig_set_flag(&context, "userxattr").map_err(failed())?;
        }
        fsconfig_create(&context).map_err(failed())?;
        // Nothing in a view is run or used from outside.
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | if upper.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())?;
        move_mount(&mounted, "", rustix::fs::CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed())?;
        Ok(Self { target, _draft: draft })
    }

    /// Where the view is.
    pub(crate) fn path(&self) -> &Path {
        &self.target
    }
}

impl Drop for OverlayMount {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.target, UnmountFlags::DETACH) {
            tracing::warn!(target = %self.target.display(), %error, "could not unmount a view");
        }
    }
}

/// The kernel takes no directory of a file system that overlays cannot use.
fn refused(directory: &Path, error: Errno) -> EngineError {
    if error != Errno::INVAL {
        return EngineError::io("merging", directory)(error);
    }
    EngineError::Sandbox(SandboxError::NotSupported {
        action: format!("merging {}", directory.display()),
        reason: std::io::Error::from(error).to_string(),
        hint: otoshi_sandbox::STORE_HINT.to_owned(),
    })
}

/// Whether this process lives in a user namespace of its own, where overlayfs keeps its marks in `user.*` attributes.
pub(crate) fn in_user_namespace() -> bool {
    matches!(otoshi_sandbox::privilege(), Privilege::UserNamespace { .. })
}

#[cfg(test)]
mod tests {
    use otoshi_test::{Need, given, require};
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    /// The attributes of a mount, and the options of its file system.
    fn mounted(target: &Path) -> (Vec<String>, Vec<String>) {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let shown = format!(" {} ", target.display());
        let line = all.lines().find(|line| line.contains(&shown)).unwrap();
        let words = |list: &str| list.split(',').map(str::to_owned).collect();
        (words(line.split(' ').nth(5).unwrap()), words(line.rsplit(' ').next().unwrap()))
    }

    #[test]
    fn nothing_in_a_view_is_run_or_used_and_no_layer_refers_to_another() {
        given!(require(&[Need::Root]));
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(&directory.path().join("home")).unwrap();
        let layers = ["above", "below"].map(|name| directory.path().join(name));
        fs::create_dir_all(layers[0].join("shown")).unwrap();
        fs::create_dir_all(layers[1].join("hidden")).unwrap();
        fs::write(layers[1].join("hidden/file"), "x").unwrap();
        // As in an image that says that one of its directories was another one of the layer below.
        let link = layers[0].join("shown");
        setxattr(&link, "trusted.overlay.redirect", b"/hidden", XattrFlags::empty()).unwrap();
        let upper = directory.path().join("upper");
        fs::create_dir(&upper).unwrap();
        let read = OverlayMount::new(&home, &layers).unwrap();
        let written = OverlayMount::writable(&home, &layers, &upper).unwrap();
        for (view, is_writable) in [(&read, false), (&written, true)] {
            let (attributes, options) = mounted(view.path());
            for attribute in ["nodev", "nosuid", "noexec", if is_writable { "rw" } else { "ro" }] {
                assert!(attributes.iter().any(|found| found == attribute), "{attribute}: {attributes:?}");
            }
            // What is as the kernel has it by default is not shown.
            assert!(options.iter().any(|option| option == "redirect_dir=nofollow"), "{options:?}");
            for option in ["metacopy=on", "index=on", "xino=on", "xino=auto"] {
                assert!(!options.iter().any(|found| found == option), "{option}: {options:?}");
            }
            assert!(fs::read(view.path().join("hidden/file")).is_ok());
            assert!(!view.path().join("shown/file").exists(), "a layer led to a directory of another");
        }
        fs::write(written.path().join("new"), "x").unwrap();
        assert!(upper.join("new").exists());
    }
}
