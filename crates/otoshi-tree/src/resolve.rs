//! A path in a tree, as a process would take it whose root the tree is.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often a look-up is tried again when something was renamed meanwhile.
const TRIES: usize = 1024;

/// Opens what a path names below an open directory, which is its root: absolute links start there, and `..` stops there.
///
/// An empty path is the root itself. Fails as `openat2(2)` does; magic links, as `/proc` has them, are not followed.
pub fn in_root(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = match path.iter().position(|&byte| byte != b'/') {
        Some(start) => &path[start..],
        None => &b"."[..],
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = root.as_fd();
    patient(|| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// Looks a path up again when something was renamed anywhere on the machine while `..` was resolved, as `openat2` asks to.
///
/// Fails as `look` does; where renaming goes on for too long, with what it said last.
pub fn patient<T>(mut look: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..TRIES {
        match look() {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
    look()
}
