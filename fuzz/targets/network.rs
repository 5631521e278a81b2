//! Packets of a command, as they come from its network: two bytes for the length of each, then its bytes.
//!
//! The first byte says whether they are in Ethernet frames. Nothing leaves: the stack runs in a network namespace of its own, where
//! every connection outwards fails.
#![no_main]

use std::{
    os::fd::OwnedFd,
    sync::Once,
};

use libfuzzer_sys::fuzz_target;
use otoshi_network::{Plan, Stack};
use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    thread::{UnshareFlags, unshare_unsafe},
};

static APART: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // SAFETY: no file descriptor table is parted from other threads.
    APART.call_once(|| unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace needs root"));
    let Some((framed, mut rest)) = bytes.split_first() else { return };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (device, step): (OwnedFd, OwnedFd) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("making a pair of sockets");
    let mut stack = Stack::new(device, framed & 1 == 1, Plan::of_host()).expect("making a stack");
    let mut answer = [0; 65_600];
    while let Some((length, after)) = rest.split_at_checked(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]])).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        if !packet.is_empty() && send(&step, packet, SendFlags::NOSIGNAL).is_err() {
            break;
        }
        stack.turn().expect("the device is there");
        while recv(&step, &mut answer[..], RecvFlags::empty()).is_ok_and(|(_, length)| length > 0) {}
    }
});
