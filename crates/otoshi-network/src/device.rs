//! The device whose other end is in the step's network namespace: a packet for each read and write, in a frame of Ethernet or without.

use std::{
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;
use smoltcp::{
    phy::{self, Checksum, DeviceCapabilities, Medium},
    time::Instant,
};

use crate::MTU;

/// What is around packets where they have frames: the addresses are always the same.
#[derive(Debug)]
pub struct Frames;

impl Frames {
    /// The address of the step's end: a local one.
    pub const INSIDE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x64];
    /// The address of the far end.
    pub const OUTSIDE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
    const LENGTH: usize = 14;

    /// The header of a frame into the step: two addresses, and what kind of packet follows.
    fn header(packet: &[u8]) -> [u8; Self::LENGTH] {
        let mut header = [0; Self::LENGTH];
        header[..6].copy_from_slice(&Self::INSIDE);
        header[6..12].copy_from_slice(&Self::OUTSIDE);
        let is_six = packet.first().is_some_and(|first| first >> 4 == 6);
        header[12..].copy_from_slice(if is_six { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        header
    }
}

/// A device, as it is read and written.
#[derive(Debug)]
pub(crate) struct Device {
    end: End,
    /// Where packets are made.
    space: Vec<u8>,
}

#[derive(Debug)]
struct End {
    fd: OwnedFd,
    framed: bool,
}

impl Device {
    pub(crate) fn new(fd: OwnedFd, framed: bool) -> Self {
        Self { end: End { fd, framed }, space: vec![0; MTU.into()] }
    }

    /// Reads one packet; `None` when there is none.
    pub(crate) fn read<'b>(&self, buffer: &'b mut [u8]) -> rustix::io::Result<Option<&'b [u8]>> {
        match rustix::io::read(&self.end.fd, &mut *buffer) {
            Ok(length) if self.end.framed => {
                Ok(Some(buffer[..length].get(Frames::LENGTH..).unwrap_or_default()))
            }
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // The far end of a line says once that it was not up yet.
            Err(Errno::NETDOWN) if self.end.framed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a packet into the step; one that cannot be sent is lost, as packets are.
    pub(crate) fn write(&self, packet: &[u8]) {
        self.end.write(packet);
    }

    /// The device as the stack sees it, with at most one packet that came in.
    pub(crate) fn with<'d>(&'d mut self, packet: Option<&'d [u8]>) -> Link<'d> {
        Link { end: &self.end, space: &mut self.space, packet }
    }
}

impl End {
    fn write(&self, packet: &[u8]) {
        let written = if self.framed {
            rustix::io::writev(&self.fd, &[IoSlice::new(&Frames::header(packet)), IoSlice::new(packet)])
        } else {
            rustix::io::write(&self.fd, packet)
        };
        if let Err(error) = written {
            tracing::debug!(%error, length = packet.len(), "a packet is lost");
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd.as_fd()
    }
}

/// The device for as long as a packet is worked on.
pub(crate) struct Link<'d> {
    end: &'d End,
    space: &'d mut [u8],
    packet: Option<&'d [u8]>,
}

/// A packet that came in.
pub(crate) struct Incoming<'d>(&'d [u8]);

/// The room for one to go out.
pub(crate) struct Outgoing<'d> {
    end: &'d End,
    space: &'d mut [u8],
}

impl phy::Device for Link<'_> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let packet = self.packet.take()?;
        Some((Incoming(packet), Outgoing { end: self.end, space: self.space }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing { end: self.end, space: self.space })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU.into();
        // What comes was made by this machine's kernel, which may leave sums for a device to fill in.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let packet = &mut self.space[..length];
        let result = f(packet);
        self.end.write(packet);
        result
    }
}
