//! Packets read and made: IP (RFC 791, RFC 8200) with UDP (RFC 768) and ICMP (RFC 792, RFC 4443) in it.
//!
//! Checksums: RFC 1071; the pseudo-header of IPv6: RFC 8200, section 8.1.

use std::net::{IpAddr, SocketAddr};

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv6DstUnreachable, Icmpv6Message, Icmpv6Packet,
        IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv6Packet, UDP_HEADER_LEN, UdpPacket, UdpRepr,
    },
};

/// How far packets go that are made here.
const HOPS: u8 = 64;
/// The longest error of ICMP: what every path takes at once.
const LONGEST_ERROR: usize = 576;
const ECHO_HEADER: usize = 8;

/// A whole packet that came from the step, as far as it was understood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'p> {
    pub(crate) whole: &'p [u8],
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) payload: &'p [u8],
}

impl<'p> Packet<'p> {
    /// Reads a packet; `None` for what is damaged, in fragments, or has extension headers.
    pub(crate) fn parse(whole: &'p [u8]) -> Option<Self> {
        if whole.is_empty() {
            return None;
        }
        match IpVersion::of_packet(whole).ok()? {
            IpVersion::Ipv4 => {
                let packet = Ipv4Packet::new_checked(whole).ok()?;
                if packet.more_frags() || packet.frag_offset() != 0 {
                    return None;
                }
                let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
                Some(Self { whole, from, to, protocol: packet.next_header(), payload: packet.payload() })
            }
            IpVersion::Ipv6 => {
                let packet = Ipv6Packet::new_checked(whole).ok()?;
                let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
                Some(Self { whole, from, to, protocol: packet.next_header(), payload: packet.payload() })
            }
        }
    }

    /// The ports of TCP or UDP, which stand at the same place.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        let [a, b, c, d, ..] = *self.payload else { return None };
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// What a datagram of UDP carries.
    pub(crate) fn datagram(&self) -> Option<&'p [u8]> {
        Some(UdpPacket::new_checked(self.payload).ok()?.payload())
    }

    /// The identifier of an echo request, and what follows the header.
    pub(crate) fn echo(&self) -> Option<(u16, &'p [u8])> {
        let is_request = match self.protocol {
            IpProtocol::Icmp => self.payload.first() == Some(&Icmpv4Message::EchoRequest.into()),
            IpProtocol::Icmpv6 => self.payload.first() == Some(&Icmpv6Message::EchoRequest.into()),
            _ => false,
        };
        if !is_request {
            return None;
        }
        let [_, _, _, _, a, b, ..] = *self.payload else { return None };
        (self.payload.len() >= ECHO_HEADER).then_some((u16::from_be_bytes([a, b]), self.payload))
    }
}

/// Why a packet does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// It must not.
    Prohibited,
    /// No way leads there.
    Network,
    /// Nobody is there.
    Host,
    /// Nobody listens there.
    Port,
    /// Nobody here knows the protocol.
    Protocol,
}

impl Unreachable {
    fn v4(self) -> Icmpv4DstUnreachable {
        match self {
            Self::Prohibited => Icmpv4DstUnreachable::CommProhibited,
            Self::Network => Icmpv4DstUnreachable::NetUnreachable,
            Self::Host => Icmpv4DstUnreachable::HostUnreachable,
            Self::Port => Icmpv4DstUnreachable::PortUnreachable,
            Self::Protocol => Icmpv4DstUnreachable::ProtoUnreachable,
        }
    }

    fn v6(self) -> Icmpv6DstUnreachable {
        match self {
            Self::Prohibited | Self::Protocol => Icmpv6DstUnreachable::AdminProhibit,
            Self::Network => Icmpv6DstUnreachable::NoRoute,
            Self::Host => Icmpv6DstUnreachable::AddrUnreachable,
            Self::Port => Icmpv6DstUnreachable::PortUnreachable,
        }
    }
}

/// Makes a packet whose payload is filled in afterwards; returns it and where the payload begins.
fn packet(from: IpAddr, to: IpAddr, protocol: IpProtocol, length: usize) -> (Vec<u8>, usize) {
    let header = IpRepr::new(from.into(), to.into(), protocol, length, HOPS);
    let mut packet = vec![0; header.buffer_len()];
    let start = packet.len() - length;
    header.emit(&mut packet, &ChecksumCapabilities::default());
    (packet, start)
}

/// Makes a datagram of UDP; `None` when it is longer than a packet may be.
pub(crate) fn udp(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let length = UDP_HEADER_LEN + data.len();
    if length + 40 > crate::MTU.into() {
        return None;
    }
    let (mut whole, start) = packet(from.ip(), to.ip(), IpProtocol::Udp, length);
    let header = UdpRepr { src_port: from.port(), dst_port: to.port() };
    header.emit(
        &mut UdpPacket::new_unchecked(&mut whole[start..]),
        &from.ip().into(),
        &to.ip().into(),
        data.len(),
        |space| space.copy_from_slice(data),
        &ChecksumCapabilities::default(),
    );
    Some(whole)
}

/// Says to the sender of a packet, which is here in whole or begins so, why it did not arrive.
pub(crate) fn unreachable(original: &[u8], from: IpAddr, to: IpAddr, why: Unreachable) -> Vec<u8> {
    // The answer comes from where the packet went.
    let (from, to) = (to, from);
    let quoted = &original[..original.len().min(LONGEST_ERROR - 48)];
    let length = ECHO_HEADER + quoted.len();
    let protocol = if from.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    let (mut whole, start) = packet(from, to, protocol, length);
    let message = &mut whole[start..];
    message[ECHO_HEADER..].copy_from_slice(quoted);
    match from {
        IpAddr::V4(_) => {
            let mut message = Icmpv4Packet::new_unchecked(message);
            message.set_msg_type(Icmpv4Message::DstUnreachable);
            message.set_msg_code(why.v4().into());
        }
        IpAddr::V6(_) => {
            let mut message = Icmpv6Packet::new_unchecked(message);
            message.set_msg_type(Icmpv6Message::DstUnreachable);
            message.set_msg_code(why.v6().into());
        }
    }
    sum(&mut whole[start..], from, to);
    whole
}

/// Makes an echo reply of a message of ICMP: a request, or a reply with another identifier.
pub(crate) fn echo_reply(from: IpAddr, to: IpAddr, identifier: u16, message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < ECHO_HEADER || message.len() + 40 > crate::MTU.into() {
        return None;
    }
    let (protocol, kind): (_, u8) = match from {
        IpAddr::V4(_) => (IpProtocol::Icmp, Icmpv4Message::EchoReply.into()),
        IpAddr::V6(_) => (IpProtocol::Icmpv6, Icmpv6Message::EchoReply.into()),
    };
    let (mut whole, start) = packet(from, to, protocol, message.len());
    let reply = &mut whole[start..];
    reply.copy_from_slice(message);
    reply[..2].copy_from_slice(&[kind, 0]);
    reply[4..6].copy_from_slice(&identifier.to_be_bytes());
    sum(reply, from, to);
    Some(whole)
}

/// Fills in the checksum of a message of ICMP.
fn sum(message: &mut [u8], from: IpAddr, to: IpAddr) {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => Icmpv6Packet::new_unchecked(message).fill_checksum(&from, &to),
        _ => Icmpv4Packet::new_unchecked(message).fill_checksum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_read_as_it_was_made() {
        for (from, to) in [("10.0.2.2:53", "10.0.2.100:4000"), ("[fd00::2]:53", "[fd00::100]:4000")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let whole = udp(from, to, b"hello").unwrap();
            let packet = Packet::parse(&whole).unwrap();
            assert_eq!((packet.from, packet.to), (from.ip(), to.ip()));
            assert_eq!(packet.ports(), Some((53, 4000)));
            assert_eq!(packet.datagram(), Some(&b"hello"[..]));
            assert_eq!(packet.echo(), None);
            assert!(
                UdpPacket::new_checked(packet.payload)
                    .unwrap()
                    .verify_checksum(&from.ip().into(), &to.ip().into())
            );
            let error = unreachable(&whole, from.ip(), to.ip(), Unreachable::Port);
            let error = Packet::parse(&error).unwrap();
            assert_eq!((error.from, error.to), (to.ip(), from.ip()));
            assert_eq!(&error.payload[8..], whole);
            assert_eq!(udp(from, to, &vec![0; 65500]), None);
        }
    }

    #[test]
    fn what_cannot_be_understood_is_no_packet() {
        let whole = udp("10.0.2.2:53".parse().unwrap(), "10.0.2.100:9".parse().unwrap(), b"x").unwrap();
        for length in 0..whole.len() {
            assert!(Packet::parse(&whole[..length]).is_none(), "{length}");
        }
        let mut fragment = whole.clone();
        fragment[6] = 0x20;
        assert!(Packet::parse(&fragment).is_none());
        // A header that says it is longer than all there is.
        let mut long = whole;
        long[0] = 0x4f;
        assert!(Packet::parse(&long).is_none());
        assert!(Packet::parse(&[0x60; 41]).is_none() && Packet::parse(&[0x10; 60]).is_none());
    }

    #[test]
    fn an_echo_is_answered_with_its_identifier() {
        let (step, gateway): (IpAddr, IpAddr) = ("10.0.2.100".parse().unwrap(), "10.0.2.2".parse().unwrap());
        let request = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a'];
        let reply = echo_reply(gateway, step, 0x1234, &request).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.payload[0], &reply.payload[4..]), (0, &request[4..]));
        assert!(Icmpv4Packet::new_checked(reply.payload).unwrap().verify_checksum());
        assert_eq!(reply.echo(), None, "it is no request");
        assert!(echo_reply(gateway, step, 1, &request[..7]).is_none());
    }
}
