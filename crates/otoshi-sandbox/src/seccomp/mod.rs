//! The system calls that a command may make: Docker's default profile for a container with the default capabilities.
//!
//! - What is not listed gives EPERM; a number beyond all that this table knows gives ENOSYS, so that programs fall back.
//! - `clone3` gives ENOSYS: C libraries then use `clone`, whose flags a filter can look at. No new namespaces.
//! - `socket` makes no sockets that leave the sandbox (`AF_VSOCK`), reach into the kernel's cryptography (`AF_ALG`), or
//!   are of families that are gone. `personality` changes nothing dangerous.
//! - On x86-64, 32-bit x86 programs run under the same rules; their `socketcall`, which cannot be looked into, gives ENOSYS. Programs of any
//!   other architecture, such as 32-bit ARM on aarch64, are ended by SIGSYS.
//!
//! Facts: <https://docs.docker.com/engine/security/seccomp/>, <https://github.com/moby/profiles/tree/main/seccomp>

mod filter;

use std::sync::OnceLock;

use filter::{Ranges, Verdict};

use crate::{SandboxError, sys};

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Allowed on every architecture, whatever the arguments.
const ALLOWED: &[i64] = calls!(
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_chroot SYS_clock_adjtime
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_connect SYS_copy_file_range SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group
    SYS_faccessat SYS_fadvise64 SYS_fallocate SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat
    SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups
    SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid
    SYS_getresuid SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid
    SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel
    SYS_ioctl SYS_io_destroy SYS_io_getevents SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill
    SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise
    SYS_membarrier SYS_memfd_create SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap
    SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap
    SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at
    SYS_nanosleep SYS_newfstatat SYS_openat SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl
    SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6 SYS_ptrace
    SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg
    SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2 SYS_restart_syscall SYS_rseq
    SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getscheduler SYS_sched_rr_get_interval
    SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp
    SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid
    SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid
    SYS_setresuid SYS_setreuid SYS_set_robust_list SYS_setsid SYS_setsockopt SYS_set_tid_address SYS_setuid
    SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair
    SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill
    SYS_timer_create SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
    SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat
    SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
);

/// What not every architecture has, or has under a name: older calls, then `io_pgetevents` and `uretprobe` by number.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = calls!(
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_getrlimit SYS_get_thread_area
    SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe SYS_poll
    SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_setrlimit SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink SYS_sync_file_range SYS_time SYS_unlink
    SYS_utime SYS_utimes SYS_vfork
);
#[cfg(target_arch = "x86_64")]
const NUMBERS_HERE: &[u32] = &[333, 335];
/// `renameat`, `sync_file_range`, `getrlimit`, `setrlimit` and `io_pgetevents`, by number.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[i64] = &[];
#[cfg(target_arch = "aarch64")]
const NUMBERS_HERE: &[u32] = &[38, 84, 163, 164, 292];

/// Calls since Linux 5.1 have one number on all architectures. Left out: io_uring, the mount calls, `clone3`,
/// `pidfd_getfd`, `process_madvise`, `quotactl_fd`, `set_mempolicy_home_node`, the security modules' calls.
const ALLOWED_SINCE_5_1: [(u32, u32); 9] = [
    (424, 424),
    (434, 434),
    (436, 437),
    (439, 439),
    (441, 441),
    (444, 449),
    (451, 458),
    (462, 462),
    (463, 466),
];

/// The last number that this table knows; the ones after it are newer than it.
const LAST_KNOWN: u32 = 466;

/// The same for 32-bit x86 programs, by number. Source: `asm/unistd_32.h`.
#[cfg(target_arch = "x86_64")]
const ALLOWED_I386: [(u32, u32); 51] = [
    (0, 16),
    (19, 20),
    (23, 24),
    (26, 27),
    (29, 30),
    (33, 33),
    (36, 43),
    (45, 47),
    (49, 50),
    (54, 55),
    (57, 57),
    (60, 61),
    (63, 66),
    (70, 71),
    (75, 78),
    (80, 83),
    (85, 85),
    (90, 97),
    (99, 100),
    (104, 108),
    (114, 114),
    (116, 119),
    (122, 126),
    (132, 133),
    (138, 148),
    (150, 165),
    (168, 168),
    (170, 187),
    (190, 216),
    (218, 221),
    (224, 250),
    (252, 252),
    (254, 263),
    (265, 272),
    (277, 282),
    (284, 284),
    (289, 293),
    (295, 309),
    (311, 316),
    (318, 335),
    (337, 337),
    (339, 341),
    (343, 345),
    (347, 348),
    (351, 356),
    (358, 358),
    (360, 373),
    (375, 386),
    (393, 403),
    (405, 414),
    (416, 423),
];

/// The one call for all socket calls that 32-bit x86 had first.
#[cfg(target_arch = "x86_64")]
const SOCKETCALL_I386: u32 = 102;

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u32 = 0x7E02_0000;

/// Linux, a 2.6 version number, 32-bit addresses, both, and "tell me".
const PERSONALITIES: [u32; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The address families from `AF_UNIX` on that a socket may have: without DECnet, Econet, ATM SVC, IrDA, wanpipe, ISDN,
/// CAIF, `AF_ALG` and `AF_VSOCK`.
const SOCKET_FAMILIES: [(u32, u32); 8] =
    [(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

/// Loads the profile into this process, for good.
pub(crate) fn load() -> Result<(), SandboxError> {
    sys::load_filter(program()).map_err(SandboxError::setup("loading the seccomp profile"))
}

fn program() -> &'static [sys::Instruction] {
    static PROGRAM: OnceLock<Vec<sys::Instruction>> = OnceLock::new();
    PROGRAM.get_or_init(|| filter::program(&architectures()))
}

#[cfg(target_arch = "x86_64")]
fn architectures() -> [(u32, Ranges); 2] {
    // Numbers of `clone`, `socket` and `personality` for 32-bit x86.
    let i386 = ranges(ALLOWED_I386, 120, 359, 136);
    // It hides the family in memory; C libraries go on with `socket` where it is not there.
    let i386 = i386.with(SOCKETCALL_I386, SOCKETCALL_I386, Verdict::Errno(libc::ENOSYS));
    [(AUDIT_ARCH_X86_64, native()), (AUDIT_ARCH_I386, i386)]
}

#[cfg(target_arch = "aarch64")]
fn architectures() -> [(u32, Ranges); 1] {
    [(AUDIT_ARCH_AARCH64, native())]
}

/// `AUDIT_ARCH_*`: the ELF machine, little-endian, and whether it is a 64-bit one.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH_X86_64: u32 = 0x3E | 0xC000_0000;
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH_I386: u32 = 0x03 | 0x4000_0000;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH_AARCH64: u32 = 0xB7 | 0xC000_0000;

fn native() -> Ranges {
    let named = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| *call as u32);
    let allowed = named.chain(NUMBERS_HERE.iter().copied()).map(|number| (number, number));
    ranges(allowed, libc::SYS_clone as u32, libc::SYS_socket as u32, libc::SYS_personality as u32)
}

fn ranges(
    allowed: impl IntoIterator<Item = (u32, u32)>,
    clone: u32,
    socket: u32,
    personality: u32,
) -> Ranges {
    let only = |allowed: &[(u32, u32)]| Ranges::allow(allowed, &Verdict::Errno(libc::EPERM));
    let mut allowed: Vec<(u32, u32)> = allowed.into_iter().chain(ALLOWED_SINCE_5_1).collect();
    allowed.sort_unstable();
    let personalities = only(&PERSONALITIES.map(|number| (number, number)));
    let clone3 = libc::SYS_clone3 as u32;
    only(&allowed)
        .with(clone, clone, Verdict::WithoutBits(NEW_NAMESPACES))
        .with(clone3, clone3, Verdict::Errno(libc::ENOSYS))
        .with(socket, socket, Verdict::FirstArgument(only(&SOCKET_FAMILIES)))
        .with(personality, personality, Verdict::FirstArgument(personalities))
        .with(LAST_KNOWN + 1, u32::MAX, Verdict::Errno(libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native_answer(number: i64, argument: u32) -> u32 {
        filter::run(program(), architectures()[0].0, number as u32, argument)
    }

    const ALLOWED_ANSWER: u32 = libc::SECCOMP_RET_ALLOW;
    const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    #[test]
    fn everyday_calls_pass_and_powerful_ones_do_not() {
        for call in
            [libc::SYS_read, libc::SYS_execve, libc::SYS_chroot, libc::SYS_ptrace, libc::SYS_fchmodat2]
        {
            assert_eq!(native_answer(call, 0), ALLOWED_ANSWER, "{call}");
        }
        for call in [
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_userfaultfd,
            libc::SYS_open_by_handle_at,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_io_uring_setup,
            libc::SYS_pidfd_getfd,
            libc::SYS_mount_setattr,
        ] {
            assert_eq!(native_answer(call, 0), DENIED, "{call}");
        }
        assert_eq!(native_answer(libc::SYS_clone3, 0), UNKNOWN);
        assert_eq!(native_answer(600, 0), UNKNOWN);
    }

    #[test]
    fn arguments_decide_about_clone_socket_and_personality() {
        assert_eq!(native_answer(libc::SYS_clone, libc::SIGCHLD as u32), ALLOWED_ANSWER);
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWCGROUP] {
            assert_eq!(native_answer(libc::SYS_clone, flag as u32), DENIED);
        }
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET] {
            assert_eq!(native_answer(libc::SYS_socket, family as u32), ALLOWED_ANSWER);
        }
        for family in [libc::AF_VSOCK, libc::AF_ALG] {
            assert_eq!(native_answer(libc::SYS_socket, family as u32), DENIED);
        }
        assert_eq!(native_answer(libc::SYS_personality, 0xffff_ffff), ALLOWED_ANSWER);
        // ADDR_NO_RANDOMIZE
        assert_eq!(native_answer(libc::SYS_personality, 0x0004_0000), DENIED);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn programs_for_32_bit_x86_follow_the_same_rules() {
        let answer = |number, argument| filter::run(program(), AUDIT_ARCH_I386, number, argument);
        assert_eq!(answer(SOCKETCALL_I386, 1), UNKNOWN);
        // execve, clone of a process and of a user namespace, mount, unshare
        assert_eq!(answer(11, 0), ALLOWED_ANSWER);
        assert_eq!([answer(120, 17), answer(120, 0x1000_0000)], [ALLOWED_ANSWER, DENIED]);
        assert_eq!([answer(21, 0), answer(310, 0)], [DENIED, DENIED]);
        assert_eq!(filter::run(program(), 40, 0, 0), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn the_program_is_short() {
        assert!(program().len() < 600, "{} instructions", program().len());
    }
}
