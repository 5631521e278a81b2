//! What is asked of the kernel about devices, addresses and routes. Format: `rtnetlink(7)`.
//!
//! ```text
//! message     length (u32) ‖ kind (u16) ‖ flags (u16) ‖ number (u32) ‖ 0 (u32) ‖ body ‖ attributes
//! attribute   length (u16) ‖ kind (u16) ‖ value, padded to four bytes
//! ```

use std::{io, net::IpAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

/// The number that the loopback device has in every namespace.
pub(super) const LOOPBACK: u32 = 1;

const HEADER: usize = 16;
const NEW_LINK: u16 = libc::RTM_NEWLINK;
const NEW_ADDRESS: u16 = libc::RTM_NEWADDR;
const NEW_ROUTE: u16 = libc::RTM_NEWROUTE;
const IPV4: u8 = libc::AF_INET as u8;
const IPV6: u8 = libc::AF_INET6 as u8;
const UP: u32 = libc::IFF_UP as u32;

/// Messages that are sent together.
#[derive(Debug, Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
    count: u32,
    /// The numbers of those that may fail.
    may_fail: Vec<u32>,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, body: Vec<u8>) -> Self {
        Self { kind, flags, body }
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.body.extend(attribute(kind, value));
        self
    }

    /// How large packets may be.
    pub(super) fn mtu(self, bytes: u32) -> Self {
        self.with(libc::IFLA_MTU, &bytes.to_ne_bytes())
    }

    /// Packets go to whoever is at the other end, who is not asked for.
    pub(super) fn without_neighbours(mut self) -> Self {
        let quiet = libc::IFF_NOARP as u32;
        self.body[8..16].copy_from_slice(&[quiet.to_ne_bytes(), quiet.to_ne_bytes()].concat());
        self
    }

    /// The kernel gives the device no IPv6 address of its own accord.
    pub(super) fn without_link_local(self) -> Self {
        /// `IFLA_INET6_ADDR_GEN_MODE`, of `linux/if_link.h`.
        const MODE: u16 = 8;
        const NONE: u8 = 1;
        let six = attribute(IPV6.into(), &attribute(MODE, &[NONE]));
        self.with(libc::IFLA_AF_SPEC, &six)
    }
}

/// A change of a device. Layout: `struct ifinfomsg`.
pub(super) fn link(index: u32) -> Message {
    Message::new(NEW_LINK, 0, change(index, 0, 0))
}

/// Two new devices, each the other's far end, with their names and addresses.
pub(super) fn pair(ends: [(&str, [u8; 6]); 2]) -> Message {
    /// `VETH_INFO_PEER`, of `linux/veth.h`.
    const PEER: u16 = 1;
    let named = |(name, address): (&str, [u8; 6])| {
        let name = attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        [name, attribute(libc::IFLA_ADDRESS, &address)].concat()
    };
    let [one, other] = ends.map(named);
    let peer = attribute(PEER, &[change(0, 0, 0), other].concat());
    let kind = attribute(libc::IFLA_INFO_KIND, b"veth");
    let info = [kind, attribute(libc::IFLA_INFO_DATA, &peer)].concat();
    let body = [change(0, 0, 0), one].concat();
    Message::new(NEW_LINK, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, body)
        .with(libc::IFLA_LINKINFO, &info)
}

fn change(index: u32, flags: u32, mask: u32) -> Vec<u8> {
    [0, index, flags, mask].into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(four) => (IPV4, four.octets().to_vec()),
        IpAddr::V6(six) => (IPV6, six.octets().to_vec()),
    }
}

impl Request {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a message.
    pub(super) fn add(&mut self, message: &Message) {
        self.count += 1;
        let length = u32::try_from(HEADER + message.body.len()).unwrap_or(u32::MAX);
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16 | message.flags;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(message.kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&message.body);
    }

    /// Adds a message that may be refused.
    pub(super) fn try_add(&mut self, message: &Message) {
        self.add(message);
        self.may_fail.push(self.count);
    }

    /// Brings a device up.
    pub(super) fn set_up(&mut self, index: u32) {
        self.add(&Message::new(NEW_LINK, 0, change(index, UP, UP)));
    }

    /// Gives a device an address. Layout: `struct ifaddrmsg`.
    pub(super) fn address(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let (family, octets) = octets(address);
        // Nobody else can have it.
        let flags = if family == IPV6 { libc::IFA_F_NODAD as u8 } else { 0 };
        let mut body = vec![family, prefix, flags, 0];
        body.extend(index.to_ne_bytes());
        let message = Message::new(NEW_ADDRESS, libc::NLM_F_CREATE as u16, body);
        self.add(&message.with(libc::IFA_LOCAL, &octets).with(libc::IFA_ADDRESS, &octets));
    }

    /// Leads everything else to a gateway. Layout: `struct rtmsg`.
    pub(super) fn default_route(&mut self, index: u32, gateway: IpAddr) {
        let (family, octets) = octets(gateway);
        let (table, origin, kind) = (libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RTN_UNICAST);
        let mut body = vec![family, 0, 0, 0, table, origin, libc::RT_SCOPE_UNIVERSE, kind];
        body.extend(0u32.to_ne_bytes());
        let message = Message::new(NEW_ROUTE, libc::NLM_F_CREATE as u16, body);
        self.add(&message.with(libc::RTA_GATEWAY, &octets).with(libc::RTA_OIF, &index.to_ne_bytes()));
    }

    /// Sends all messages; the first that is refused and may not be is the error.
    pub(super) fn send(&self) -> io::Result<()> {
        // The protocol with the number 0 is that of devices and routes.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::send(&socket, &self.bytes, SendFlags::empty())?;
        let mut answered = 0;
        let mut buffer = vec![0; 32 << 10];
        while answered < self.count {
            let (length, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((number, error)) = answer(&mut rest) {
                answered += 1;
                if error != 0 && !self.may_fail.contains(&number) {
                    return Err(io::Error::from_raw_os_error(error));
                }
            }
        }
        Ok(())
    }
}

/// The number of a message that was answered, and the error or 0. Layout: `struct nlmsgerr`.
fn answer(bytes: &mut &[u8]) -> Option<(u32, i32)> {
    let number = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let (length, about, error) = (number(0)?, number(8)?, number(HEADER)?);
    *bytes = bytes.get((length as usize).next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    Some((about, -error.cast_signed()))
}
