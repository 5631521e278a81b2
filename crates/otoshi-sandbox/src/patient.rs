//! Paths that change while they are looked up.

use rustix::io::Errno;

/// Looks a path up again when something was renamed anywhere on the machine while `..` was resolved, as `openat2` asks to.
pub(crate) fn patient<T>(
    mut look: impl FnMut() -> std::result::Result<T, Errno>,
) -> std::result::Result<T, Errno> {
    for _ in 0..1024 {
        match look() {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
    look()
}
