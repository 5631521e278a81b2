//! What a step never reaches, whatever asks for it: the host itself by its loopback, the link, and clouds' services for machines.
//!
//! The host's other addresses are reached, as they are over a bridge; so are private networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tells whether an address is that of a cloud's service for the machines in it, though it is not on their link.
pub fn is_service_of_cloud(address: IpAddr) -> bool {
    SERVICES.contains(&address)
}

/// Clouds' services for machines that are not on the link: Alibaba's, Azure's, Oracle's, Amazon's and Google's.
const SERVICES: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Tells whether a step does not reach an address.
pub fn is_refused(address: IpAddr) -> bool {
    let here = match address {
        IpAddr::V4(four) => is_refused_v4(four),
        IpAddr::V6(six) => is_refused_v6(six),
    };
    here || is_service_of_cloud(address)
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    // 0.0.0.0/8 is this host; from 224.0.0.0 on are groups, and numbers for nobody.
    first == 0 || address.is_loopback() || address.is_link_local() || first >= 224
}

fn is_refused_v6(address: Ipv6Addr) -> bool {
    let part = address.segments();
    let within = match part {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) have an IPv4 address in them.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    let within = within.map(|(high, low)| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    // What begins with zeros is this host, or an IPv4 address in the clothes of IPv6.
    part[..5] == [0; 5]
        || address.is_unicast_link_local()
        || address.is_multicast()
        || within.is_some_and(|four| is_refused(four.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_its_cloud_are_told_from_the_outside() {
        for (address, refused) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("192.0.0.192", true),
            ("224.0.0.251", true),
            ("255.255.255.255", true),
            ("240.0.0.1", true),
            ("::", true),
            ("::1", true),
            ("::127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("64:ff9b::127.0.0.1", true),
            ("64:ff9b::169.254.169.254", true),
            ("64:ff9b::100.100.100.200", true),
            ("2002:7f00:1::", true),
            ("2002:a9fe:a9fe::1", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("ff02::fb", true),
            ("fd00:ec2::254", true),
            ("fd20:ce::254", true),
            ("10.0.0.1", false),
            ("172.17.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("151.101.2.132", false),
            ("64:ff9b::151.101.2.132", false),
            ("2002:9765:284::1", false),
            ("fd00::2", false),
            ("2a04:4e42::644", false),
        ] {
            assert_eq!(is_refused(address.parse().unwrap()), refused, "{address}");
        }
    }
}
