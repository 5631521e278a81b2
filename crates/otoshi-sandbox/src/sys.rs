//! The calls that neither the standard library nor `rustix` offers as safe ones. The only module with unsafe code.
#![allow(unsafe_code, reason = "each use says why it is sound")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{process::Pid, thread::UnshareFlags};

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// Forks this process, which must have one thread only.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: callers are the sandbox's init, which never starts a thread, and `enter_namespace`, which has checked that
    // there is one; so the child may do anything that the parent may.
    let result = unsafe { libc::fork() };
    match Pid::from_raw(check(result)?) {
        None => Ok(Fork::Child),
        Some(pid) => Ok(Fork::Parent(pid)),
    }
}

/// Forks this process, which must have one thread only, into a control group of the unified hierarchy.
///
/// In this way alone does it not have to wait until no process of the machine is starting or ending.
pub(crate) fn fork_into(group: BorrowedFd<'_>) -> io::Result<Fork> {
    /// `CLONE_INTO_CGROUP`, which does not fit in the type that the C library's constant has.
    const INTO_GROUP: u64 = 0x2_0000_0000;
    // SAFETY: all-zero is a valid `struct clone_args`: nothing is shared but what `fork` shares.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = INTO_GROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = group.as_raw_fd() as u64;
    // SAFETY: pointer and size describe one structure that lives through the call; without a stack the child goes on with a
    // copy of this one. The only caller is the sandbox's init, which never starts a thread, so that no lock is held.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match Pid::from_raw(check(result)? as i32) {
        None => Ok(Fork::Child),
        Some(pid) => Ok(Fork::Parent(pid)),
    }
}

/// One instruction of a BPF program. Layout: `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct BpfInstruction {
    pub(crate) code: u8,
    /// The destination in the lower four bits, the source in the others.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) value: i32,
}

/// The members of `union bpf_attr` that BPF_PROG_LOAD reads here.
#[repr(C)]
struct BpfLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
}

/// Those that BPF_PROG_ATTACH reads.
#[repr(C)]
struct BpfAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program that says which devices may be used; it needs `CAP_BPF` and `CAP_NET_ADMIN`, or `CAP_SYS_ADMIN`.
pub(crate) fn load_device_program(instructions: &[BpfInstruction]) -> io::Result<OwnedFd> {
    const LOAD: c_int = 5;
    const CGROUP_DEVICE: u32 = 15;
    let order = BpfLoad {
        kind: CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: instructions.as_ptr() as u64,
        licence: c"MIT".as_ptr() as u64,
    };
    // SAFETY: `BpfInstruction` has the layout of `bpf_insn`; count and pointer describe one slice, which the kernel only reads, and
    // which outlives the call, as the structure does; what it lacks of the union counts as zero. The descriptor is new.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_bpf, LOAD, &raw const order, size_of_val(&order)))?;
        Ok(OwnedFd::from_raw_fd(fd as c_int))
    }
}

/// Puts such a program in force in a control group of the unified hierarchy, besides those of the groups above.
pub(crate) fn attach_device_program(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    const ATTACH: c_int = 8;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let order = BpfAttach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: pointer and size describe one structure that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const order, size_of_val(&order)) };
    check(result).map(drop)
}

/// Leaves the namespaces of the parent; `flags` must hold namespaces only.
pub(crate) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWCGROUP
        | UnshareFlags::NEWUSER;
    // SAFETY: the call is unsafe because of CLONE_FILES, which would split the table of descriptors between threads; only
    // namespaces pass.
    unsafe { rustix::thread::unshare_unsafe(flags & namespaces) }
}

/// Makes every file descriptor from 3 on close at exec.
pub(crate) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: with CLOEXEC the call changes flags only; no owned descriptor is closed under anybody's feet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result).map(drop)
}

/// Sets attributes (`MOUNT_ATTR_*`) of a mount, and of those below it when `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a terminated string, and pointer and size describe one structure that lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    check(result).map(drop)
}

/// Blocks every signal that can be handed on, and gives a descriptor from which they are read.
pub(crate) fn take_signals() -> io::Result<OwnedFd> {
    // SAFETY: sigfillset initialises the set before anything reads it; blocking signals has no effect on memory; the
    // descriptor is new and nobody else's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        // Raised by a fault of this very process: blocking them would hide a bug.
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGCHLD] {
            libc::sigdelset(&raw mut set, signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Unblocks all signals and lets each do what it does by default, as a new program expects it.
pub(crate) fn reset_signals() {
    // `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, an empty mask.
    let default = [0usize; 4];
    let set_size = size_of::<u64>();
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the pointer is to a structure of the kernel's size that lives through the call; no handler is installed,
        // only taken away. Not through the C library, which keeps two signals to itself; numbers that cannot be changed
        // are refused, which is what we want for them.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<c_void>(),
                set_size,
            )
        };
    }
    // SAFETY: sigemptyset initialises the set before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Sends a signal by its number to a child that was not waited for.
pub(crate) fn kill(pid: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: a system call without memory arguments.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }).map(drop)
}

/// Sends a signal by its number to the process that the descriptor stands for.
pub(crate) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: the pointer to further information may be null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<c_void>(),
            0u32,
        )
    };
    check(result).map(drop)
}

/// Replaces this program by another one; returns only when that fails.
pub(crate) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    fn pointers(strings: &[CString]) -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    }
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and hold pointers to terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// One instruction of a seccomp filter. Layout: `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) value: u32,
}

/// Loads a filter into this process, for good; it needs `CAP_SYS_ADMIN` or `no_new_privs`.
pub(crate) fn load_filter(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `Instruction` has the layout of `sock_filter`; length and pointer describe one slice, which the kernel only
    // reads, and which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0u32, &raw const filter) };
    check(result).map(drop)
}

/// Leaves the session's keyring for a new, empty one.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for a keyring without one.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) };
    check(result).map(drop)
}

/// Makes a device for packets of IP in this process's network namespace; the open file is its other end, and stays until the
/// namespace ends, so that closing the file waits for nothing.
pub(crate) fn make_tun(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    // SAFETY: all-zero is a valid request; the name stays terminated, as it is shorter than its field; the flags are the member
    // of the union that TUNSETIFF reads; TUNSETPERSIST takes a number.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (at, byte) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
            *at = byte as c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        check(libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request))?;
        check(libc::ioctl(tun.as_raw_fd(), libc::TUNSETPERSIST as _, 1)).map(drop)
    }
}

/// Opens a socket that has every frame which comes to a network device of this process's namespace.
pub(crate) fn frames_of(index: u32) -> io::Result<OwnedFd> {
    let everything = (libc::ETH_P_ALL as u16).to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let (ignore_outgoing, on): (c_int, c_int) = (23, 1);
    // SAFETY: the descriptor is new and nobody else's; all-zero is a valid address of this family, and pointers and sizes describe
    // values that live through the calls.
    unsafe {
        // Nothing is heard before it is bound.
        let socket = OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, kind, 0))?);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = everything;
        address.sll_ifindex = index.cast_signed();
        let length = size_of_val(&address) as libc::socklen_t;
        check(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length))?;
        let length = size_of_val(&on) as libc::socklen_t;
        let value = (&raw const on).cast();
        // Of PACKET_IGNORE_OUTGOING; what is sent here is dropped elsewhere in any case.
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, ignore_outgoing, value, length);
        Ok(socket)
    }
}

/// Turns the kernel's −1 into the error that it stands for.
fn check<T: PartialEq + From<i8>>(result: T) -> io::Result<T> {
    if result == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(result) }
}
