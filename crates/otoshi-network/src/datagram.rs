//! Datagrams of UDP, and echoes of ICMP, between two places: each pair has a socket outside for as long as something comes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto,
        socket_with,
    },
};
use smoltcp::wire::IpProtocol;

use crate::{
    device::Device,
    packet::{self, Packet, Unreachable},
};

/// How long nothing may come before a pair is forgotten.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same for questions to nameservers, each of which comes from a port of its own.
const PATIENCE_FOR_NAMES: Duration = Duration::from_secs(15);
/// At most this many datagrams come in before others have their turn.
const BATCH: usize = 64;
/// What an error quotes: the headers of IP, and the ports.
const QUOTED: usize = 48;

/// Where two places know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) protocol: IpProtocol,
    /// The step's; with an echo's identifier for a port.
    pub(crate) inside: SocketAddr,
    /// As the step knows it.
    pub(crate) outside: SocketAddr,
}

/// Opens a socket that can reach a place, and never waits.
pub(crate) fn socket_for(
    place: SocketAddr,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> rustix::io::Result<OwnedFd> {
    let family = if place.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)
}

/// What passes between two places.
#[derive(Debug)]
pub(crate) struct Exchange {
    ends: Ends,
    outside: OwnedFd,
    /// How the last packet of the step begins: an error that comes later is about it.
    last: Vec<u8>,
}

impl Exchange {
    /// Opens a socket whose only peer is the place outside.
    pub(crate) fn open(ends: Ends, place: SocketAddr) -> rustix::io::Result<Self> {
        let protocol = match ends.protocol {
            IpProtocol::Icmp => Some(ipproto::ICMP),
            IpProtocol::Icmpv6 => Some(ipproto::ICMPV6),
            _ => None,
        };
        let outside = socket_for(place, SocketType::DGRAM, protocol)?;
        let any: IpAddr =
            if place.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        bind(&outside, &SocketAddr::new(any, 0))?;
        connect(&outside, &place)?;
        Ok(Self { ends, outside, last: Vec::new() })
    }

    /// How long to wait for more.
    pub(crate) fn patience(&self) -> Duration {
        if self.ends.outside.port() == 53 { PATIENCE_FOR_NAMES } else { PATIENCE }
    }

    /// Sends what a packet of the step carries.
    pub(crate) fn send(&mut self, device: &Device, packet: &Packet<'_>) {
        let data = match self.ends.protocol {
            IpProtocol::Udp => packet.datagram(),
            _ => packet.echo().map(|(_, message)| message),
        };
        let Some(data) = data else { return };
        // An error that is waiting is told once, in place of the sending.
        for _ in 0..2 {
            match rustix::net::send(&self.outside, data, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(error) if why(error).is_some() => self.tell(device, error),
                Err(error) => {
                    tracing::debug!(%error, "a datagram is lost");
                    break;
                }
                Ok(_) => break,
            }
        }
        self.last.clear();
        self.last.extend_from_slice(&packet.whole[..packet.whole.len().min(QUOTED)]);
    }

    /// Hands on what came from outside.
    pub(crate) fn receive(&mut self, device: &Device, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match rustix::net::recv(&self.outside, &mut *buffer, RecvFlags::empty()) {
                Ok((length, _)) => self.hand_on(device, &buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    self.tell(device, error);
                    return;
                }
            }
        }
    }

    fn hand_on(&self, device: &Device, data: &[u8]) {
        let Ends { protocol, inside, outside } = self.ends;
        let made = match protocol {
            IpProtocol::Udp => packet::udp(outside, inside, data),
            _ => packet::echo_reply(outside.ip(), inside.ip(), inside.port(), data),
        };
        if let Some(packet) = made {
            device.write(&packet);
        } else {
            tracing::debug!(length = data.len(), "a datagram is too long for the step");
        }
    }

    /// Says to the step what became of its last packet.
    fn tell(&self, device: &Device, error: Errno) {
        if let (Some(why), false) = (why(error), self.last.is_empty()) {
            device.write(&packet::unreachable(
                &self.last,
                self.ends.inside.ip(),
                self.ends.outside.ip(),
                why,
            ));
        }
    }
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outside.as_fd()
    }
}

/// What the step hears of an error outside.
pub(crate) fn why(error: Errno) -> Option<Unreachable> {
    match error {
        Errno::CONNREFUSED => Some(Unreachable::Port),
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Unreachable::Host),
        Errno::NETUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            Some(Unreachable::Network)
        }
        Errno::ACCESS | Errno::PERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}
