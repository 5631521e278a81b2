//! Which addresses are asked for an image's sake. What an image names is a stranger's word: it must not make this machine ask itself, or
//! the services that are there for machines in a cloud alone.
//!
//! | | images that only the store has | images from registries |
//! | --- | --- | --- |
//! | this machine (`127.0.0.0/8`, `::1`) | asked | never |
//! | the link itself, and clouds' services for machines | never | never |
//! | any other, private networks too: mirrors are there | asked | asked |
//!
//! Whoever is named by this machine's own apt, or by the project, is asked in any case. A name counts by the addresses that it
//! has when it is asked.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use otoshi_http::dns::{Addrs, Name, Resolve, Resolving};
use otoshi_http::{Url, authority_of};
use otoshi_network::is_service_of_cloud;

/// Whose word it is that an address is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// That of somebody who works here: of an image that only the store has.
    Own,
    /// That of whoever made an image in a registry.
    Others,
}

impl Reach {
    /// Says why an address is never asked, where that is so.
    pub(super) fn refuses(self, address: IpAddr) -> Option<&'static str> {
        let address = match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
            four @ IpAddr::V4(_) => four,
        };
        if address.is_loopback() {
            return (self == Self::Others).then_some("is this machine itself");
        }
        is_special(address).then_some("is a link-local or cloud address, not a repository's")
    }
}

/// Whether an address is one that only means something on a link, in a cloud, or nowhere.
fn is_special(address: IpAddr) -> bool {
    let on_link = match address {
        IpAddr::V4(four) => four.is_link_local() || four.octets()[0] == 0 || four.is_broadcast(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    on_link || address.is_unspecified() || address.is_multicast() || is_service_of_cloud(address)
}

/// Why a host that is an address is never asked, where that is so.
pub(super) fn refused(url: &Url, reach: Reach) -> Option<String> {
    let host = url.host_str()?;
    let address: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    reach.refuses(address).map(|why| told(host, why))
}

fn told(host: &str, why: &str) -> String {
    format!(
        "{host} {why}; Otoshi does not contact it for an image unless [check] local-repositories names it"
    )
}

/// Hosts that may be asked in any case, each with its port or for any.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed(BTreeSet<String>);

impl Allowed {
    /// Adds hosts, or whole addresses of repositories.
    pub(super) fn add<'a>(&mut self, hosts: impl IntoIterator<Item = &'a str>) {
        for host in hosts {
            let host = authority_of(host);
            if !host.is_empty() {
                self.0.insert(host.to_ascii_lowercase());
            }
        }
    }

    /// Says whether an address is that of one of them.
    pub(super) fn has(&self, url: &Url) -> bool {
        let (Some(host), port) = (url.host_str(), url.port_or_known_default()) else { return false };
        self.0.contains(host) || port.is_some_and(|port| self.0.contains(&format!("{host}:{port}")))
    }
}

/// Finds the addresses of names, without those that are never asked.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) reach: Reach,
    /// Proxies, which the user names.
    pub(super) proxies: Arc<BTreeSet<String>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, proxies) = (self.reach, Arc::clone(&self.proxies));
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if proxies.contains(&host) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let first = found.iter().find_map(|address| reach.refuses(address.ip()));
            let asked: Vec<_> =
                found.into_iter().filter(|address| reach.refuses(address.ip()).is_none()).collect();
            match first {
                Some(why) if asked.is_empty() => Err(io::Error::other(told(&host, why)).into()),
                _ => Ok(Box::new(asked.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_cloud_are_told_from_repositories() {
        for (address, own, others) in [
            ("127.0.0.1", true, false),
            ("127.8.9.1", true, false),
            ("::1", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("fd20:ce::254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("10.0.0.1", true, true),
            ("192.168.1.1", true, true),
            ("151.101.2.132", true, true),
            ("2a04:4e42::644", true, true),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            let asks = |reach: Reach| reach.refuses(parsed).is_none();
            assert_eq!((asks(Reach::Own), asks(Reach::Others)), (own, others), "{address}");
        }
        // Whatever way a number is written.
        for url in [
            "http://2130706433/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://[::1]/",
            "http://0177.0.0.1:80/x",
        ] {
            assert!(refused(&url.parse().unwrap(), Reach::Others).is_some(), "{url}");
            assert!(refused(&url.parse().unwrap(), Reach::Own).is_none(), "{url}");
        }
        assert!(
            refused(&"http://localhost/".parse().unwrap(), Reach::Others).is_none(),
            "a name is looked up"
        );
    }

    #[test]
    fn whoever_the_user_names_is_asked() {
        let mut allowed = Allowed::default();
        allowed.add(["localhost:3142", "http://me:secret@Mirror.test/debian", "127.0.0.1"]);
        let has = |url: &str| allowed.has(&url.parse().unwrap());
        assert!(has("http://localhost:3142/x") && has("http://mirror.test/") && has("http://127.0.0.1:99/"));
        assert!(!has("http://localhost/") && !has("http://mirror.test.evil/"));
    }
}
