//! The addresses of a step's network, chosen so that nothing of the host's is hidden.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use crate::{Relay, is_refused};

/// Networks of 256 addresses to choose from, in order; which one it is has no meaning.
const CHOICES: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 0, 2, 0),
    Ipv4Addr::new(172, 30, 254, 0),
    Ipv4Addr::new(192, 168, 254, 0),
    Ipv4Addr::new(10, 254, 254, 0),
    Ipv4Addr::new(100, 127, 254, 0),
    // For benchmarks of network devices (RFC 2544): where all else is taken.
    Ipv4Addr::new(198, 19, 254, 0),
];

/// A unique local prefix (RFC 4193) that no site has by chance.
const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd6f, 0x746f, 0x7368, 0x6900, 0, 0, 0, 0);

/// How many nameservers programs look at (`resolv.conf(5)`).
const MOST_NAMESERVERS: usize = 3;

/// The addresses of a step's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The network's lowest address; it has a prefix of 24 bits.
    network: Ipv4Addr,
    /// Whether the step has IPv6, which it has where the host has it.
    six: bool,
    /// The nameservers that the step reaches only through the gateway.
    pub nameservers: Vec<Nameserver>,
    /// The step's `/etc/resolv.conf`.
    pub resolver: Vec<u8>,
    /// What carries connections to one port, if not this process itself.
    pub relay: Option<Relay>,
}

/// A nameserver that a step cannot reach itself, as it is on the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nameserver {
    /// The address that the step knows.
    pub inside: IpAddr,
    /// Where it is.
    pub outside: SocketAddr,
}

impl Plan {
    /// The plan for a step on this host, as it is now.
    pub fn of_host() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let resolver = fs::read("/etc/resolv.conf").unwrap_or_default();
        Self::new(&read("/proc/net/route"), &read("/proc/net/if_inet6"), &String::from_utf8_lossy(&resolver))
    }

    /// The plan for a host with these routes, IPv6 addresses and nameservers.
    fn new(routes: &str, addresses: &str, resolver: &str) -> Self {
        let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).collect();
        let named: Vec<IpAddr> =
            resolver.lines().filter_map(nameserver).map(|address| address.ip()).collect();
        let is_free = |network: &&Ipv4Addr| {
            let (first, mask) = (network.to_bits(), 0xffff_ff00);
            let is_hidden = |address: &IpAddr| match address {
                IpAddr::V4(four) => four.to_bits() & mask == first,
                IpAddr::V6(_) => false,
            };
            !taken.iter().any(|(to, of)| (to ^ first) & of & mask == 0) && !named.iter().any(is_hidden)
        };
        let network = *CHOICES.iter().find(is_free).unwrap_or(&CHOICES[0]);
        let mut plan = Self {
            network,
            six: addresses.lines().any(is_global),
            nameservers: Vec::new(),
            resolver: Vec::new(),
            relay: None,
        };
        plan.resolver = plan.resolver_of(resolver).into_bytes();
        plan
    }

    /// The host's `resolv.conf` with nameservers that the step reaches; those that it does not reach are noted.
    fn resolver_of(&mut self, host: &str) -> String {
        let mut text = String::new();
        let mut count = 0;
        let stand_in = |plan: &mut Self, outside: SocketAddr| {
            let number = 3 + u32::try_from(plan.nameservers.len()).unwrap_or(0);
            let inside = IpAddr::V4(Ipv4Addr::from_bits(plan.network.to_bits() + number));
            plan.nameservers.push(Nameserver { inside, outside });
            inside
        };
        for line in host.lines() {
            let Some(address) = nameserver(line) else {
                text += line;
                text.push('\n');
                continue;
            };
            count += 1;
            if count > MOST_NAMESERVERS {
                continue;
            }
            let reached = !is_refused(address.ip()) && (self.six || address.is_ipv4());
            let shown = if reached { address.ip() } else { stand_in(self, address) };
            text += &format!("nameserver {shown}\n");
        }
        if count == 0 {
            // This host's own, then.
            let shown = stand_in(self, SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
            text += &format!("nameserver {shown}\n");
        }
        text
    }

    /// The step's IPv4 address; the length of its prefix is 24.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 100)
    }

    /// The IPv4 address of the way out.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 2)
    }

    /// The step's IPv6 address, if it has one; the length of its prefix is 64.
    pub fn address_v6(&self) -> Option<Ipv6Addr> {
        self.six.then(|| Ipv6Addr::from_bits(PREFIX.to_bits() + 0x100))
    }

    /// The IPv6 address of the way out.
    pub fn gateway_v6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(PREFIX.to_bits() + 2)
    }

    /// Tells whether an address is the step's.
    pub(crate) fn is_steps(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(four) => four == self.address(),
            IpAddr::V6(six) => self.address_v6() == Some(six),
        }
    }

    /// Tells whether an address is of the network between the step and the way out.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(four) => four.to_bits() & 0xffff_ff00 == self.network.to_bits(),
            IpAddr::V6(six) => six.segments()[..4] == PREFIX.segments()[..4],
        }
    }

    /// Tells whether an address answers echoes itself.
    pub(crate) fn answers(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.gateway())
            || address == IpAddr::V6(self.gateway_v6())
            || self.nameservers.iter().any(|nameserver| nameserver.inside == address)
    }
}

/// Where a route leads and which bits count, but for the one that is for all else. Format: `/proc/net/route`.
fn route(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let mut number = |skipped: usize| {
        let bits = u32::from_str_radix(fields.nth(skipped)?, 16).ok()?;
        // As the memory has it, which is in the order of the network.
        Some(u32::from_be_bytes(bits.to_ne_bytes()))
    };
    let (to, mask) = (number(1)?, number(5)?);
    (mask != 0).then_some((to, mask))
}

/// Whether an address leads out. Format: `/proc/net/if_inet6`, whose fourth field is the scope.
fn is_global(line: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    matches!(fields[..], [_, _, _, "00", _, device] if device != "lo")
}

/// The nameserver of a line. Format: `resolv.conf(5)`.
fn nameserver(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("nameserver") {
        return None;
    }
    let text = words.next()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, 53).into());
    }
    let (address, device) = text.split_once('%')?;
    let index = fs::read_to_string(format!("/sys/class/net/{device}/ifindex")).unwrap_or_default();
    let scope = device.parse().or_else(|_| index.trim().parse()).ok()?;
    Some(SocketAddrV6::new(address.parse().ok()?, 53, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn routed(routes: &[(&str, &str)]) -> String {
        let hexadecimal = |text: &str| {
            let address: Ipv4Addr = text.parse().unwrap();
            format!("{:08X}", u32::from_ne_bytes(address.octets()))
        };
        let line = |(to, mask): &(&str, &str)| {
            format!("eth0\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hexadecimal(to), hexadecimal(mask))
        };
        HEAD.to_owned() + &routes.iter().map(line).collect::<String>()
    }

    #[test]
    fn the_network_hides_none_of_the_hosts() {
        let address = |routes: &[(&str, &str)], resolver: &str| {
            Plan::new(&routed(routes), "", resolver).address().to_string()
        };
        let everything = ("0.0.0.0", "0.0.0.0");
        assert_eq!(address(&[everything], ""), "10.0.2.100");
        assert_eq!(address(&[everything, ("192.0.2.0", "255.255.255.0")], ""), "10.0.2.100");
        assert_eq!(address(&[("10.0.2.0", "255.255.255.0")], ""), "172.30.254.100");
        assert_eq!(address(&[("10.0.2.77", "255.255.255.255")], ""), "172.30.254.100");
        assert_eq!(
            address(&[("10.0.0.0", "255.0.0.0"), ("172.16.0.0", "255.240.0.0")], ""),
            "192.168.254.100"
        );
        assert_eq!(address(&[everything], "nameserver 10.0.2.3\n"), "172.30.254.100");
        assert_eq!(address(&[("128.0.0.0", "128.0.0.0"), ("0.0.0.0", "128.0.0.0")], ""), "10.0.2.100");
    }

    #[test]
    fn nameservers_are_those_of_the_host_by_addresses_that_a_step_reaches() {
        let plan = |resolver: &str| Plan::new(HEAD, "", resolver);
        let text = |plan: &Plan| String::from_utf8(plan.resolver.clone()).unwrap();
        let same = "search example.org\nnameserver 192.0.2.53\noptions edns0\n";
        assert_eq!((text(&plan(same)).as_str(), plan(same).nameservers.len()), (same, 0));
        let mixed = plan("nameserver 127.0.0.53\nnameserver 169.254.169.254\nnameserver 9.9.9.9\n");
        assert_eq!(text(&mixed), "nameserver 10.0.2.3\nnameserver 10.0.2.4\nnameserver 9.9.9.9\n");
        let outside: Vec<String> =
            mixed.nameservers.iter().map(|server| server.outside.to_string()).collect();
        assert_eq!(outside, ["127.0.0.53:53", "169.254.169.254:53"]);
        let none = plan("# nothing\nsearch example.org\n");
        assert_eq!(text(&none), "# nothing\nsearch example.org\nnameserver 10.0.2.3\n");
        assert_eq!(none.nameservers[0].outside, "127.0.0.1:53".parse().unwrap());
        // On the link, by a device's number; and by IPv6, which the step does not have.
        let six = plan("nameserver fe80::1%1\nnameserver fd00::53\nnameserver ::1\nnameserver 9.9.9.9\n");
        assert_eq!(text(&six), "nameserver 10.0.2.3\nnameserver 10.0.2.4\nnameserver 10.0.2.5\n");
        let outside: Vec<String> = six.nameservers.iter().map(|server| server.outside.to_string()).collect();
        assert_eq!(outside, ["[fe80::1%1]:53", "[fd00::53]:53", "[::1]:53"]);
    }

    #[test]
    fn there_is_ipv6_where_the_host_has_it() {
        let own = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n";
        let global = "fd000000000000000000000000000002 04 40 00 82     eth0\n";
        let six = |addresses: &str| Plan::new(HEAD, addresses, "").address_v6().is_some();
        assert!(!six("") && !six(own) && !six(&format!("{own}{link}")));
        assert!(six(&format!("{own}{link}{global}")));
    }
}
