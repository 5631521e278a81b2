//! The calls that the standard library and `rustix` do not offer as safe ones.
#![allow(unsafe_code, reason = "each use says why it is sound")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    os::unix::process::CommandExt,
    process::Command,
};

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    /// With the child's process id.
    Parent(i32),
}

/// Forks this process, which must have one thread only.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller is the sandbox's init, which never starts a thread, so the child may do anything the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Lets a command inherit two file descriptors under their own numbers.
pub(crate) fn inherit(command: &mut Command, fds: [BorrowedFd<'_>; 2]) {
    let numbers: [RawFd; 2] = fds.map(|fd| fd.as_raw_fd());
    // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe, on numbers that the parent keeps open
    // until the spawn call returns.
    unsafe {
        command.pre_exec(move || {
            for number in numbers {
                if libc::fcntl(number, libc::F_SETFD, 0) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Makes every file descriptor from 3 on close at exec.
pub(crate) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: close_range with CLOEXEC changes flags only; no owned descriptor is closed under anybody's feet.
    match unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The signals that are handed on to the command.
const FORWARDED: [i32; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// Blocks the signals that [`forward_signals`] will take, and gives the set back.
pub(crate) fn block_signals() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before use; blocking signals has no memory effects.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in FORWARDED.into_iter().chain([libc::SIGCHLD]) {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    }
}

/// Unblocks the signals again.
pub(crate) fn unblock_signals(set: &libc::sigset_t) {
    // SAFETY: the set was initialised by `block_signals`.
    unsafe {
        libc::sigprocmask(libc::SIG_UNBLOCK, std::ptr::from_ref(set), std::ptr::null_mut());
    }
}

/// Waits for a child, handing on signals meanwhile; gives its wait status.
pub(crate) fn forward_signals(child: i32, set: &libc::sigset_t) -> io::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place to write to; the child is ours.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            _ => return Ok(status),
        }
        let mut signal = 0;
        // SAFETY: both point to valid memory; the signals of the set are blocked, as sigwait wants it.
        unsafe { libc::sigwait(std::ptr::from_ref(set), &raw mut signal) };
        if signal != libc::SIGCHLD {
            // SAFETY: sends a signal to our own child, which was not waited for yet.
            unsafe { libc::kill(child, signal) };
        }
    }
}

/// Splits a wait status into an exit code or a signal.
pub(crate) fn decode(status: i32) -> (Option<i32>, Option<i32>) {
    if libc::WIFEXITED(status) {
        (Some(libc::WEXITSTATUS(status)), None)
    } else {
        (None, Some(libc::WTERMSIG(status)))
    }
}

/// Sets the further groups of this process.
pub(crate) fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe one slice.
    match unsafe { libc::setgroups(groups.len(), groups.as_ptr()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets all group ids, then all user ids, of this process, which has one thread only.
pub(crate) fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system calls without memory arguments.
    if unsafe { libc::setresgid(gid, gid, gid) } == -1 || unsafe { libc::setresuid(uid, uid, uid) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Brings the loopback device up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: the request structure is zeroed and holds a terminated name; the socket is closed on every path.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket == -1 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request);
        let error = io::Error::last_os_error();
        libc::close(socket);
        if result == -1 { Err(error) } else { Ok(()) }
    }
}

/// Takes over a file descriptor that this process inherited.
pub(crate) fn take_fd(number: RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the number was handed to this process by its parent for this purpose, and is taken once.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(number) }
}

/// Leaves the namespaces of the parent.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: no flag that splits memory or descriptors between threads is used, and there is one thread only.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
