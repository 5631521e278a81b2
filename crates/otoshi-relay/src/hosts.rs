//! Which addresses this machine's own resolver gives for a host.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer counts.
const AGE: Duration = Duration::from_secs(300);
/// How soon a host is asked for again where the address is none of those known.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    addresses: HashSet<IpAddr>,
    asked: Instant,
}

impl Hosts {
    /// Whether an address is one of a host's, which is named as in a request: with a port, if it is another than 80.
    pub(crate) async fn has(&self, host: &str, place: SocketAddr) -> bool {
        let (name, port) = name_and_port(host, 80);
        if port != Some(place.port()) {
            return false;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return address == place.ip();
        }
        match self.known(name, place.ip()) {
            Some(known) => known,
            None => self.ask(name, place).await,
        }
    }

    /// What is known without asking.
    fn known(&self, name: &str, address: IpAddr) -> Option<bool> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.get(name)?;
        let age = known.asked.elapsed();
        match known.addresses.contains(&address) {
            true if age < AGE => Some(true),
            false if age < AGAIN => Some(false),
            _ => None,
        }
    }

    async fn ask(&self, name: &str, place: SocketAddr) -> bool {
        let found: HashSet<IpAddr> = match tokio::net::lookup_host((name, place.port())).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => HashSet::new(),
        };
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts
            .entry(name.to_owned())
            .or_insert_with(|| Known { addresses: HashSet::new(), asked: Instant::now() });
        // Large servers give some of their addresses by turns.
        if known.asked.elapsed() > AGE {
            known.addresses.clear();
        }
        known.addresses.extend(found);
        known.asked = Instant::now();
        known.addresses.contains(&place.ip())
    }
}

/// What a request's `Host` names, and the port, which is `usual` where none is named; `None` for a number that is no port.
pub(crate) fn name_and_port(host: &str, usual: u16) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            (name, port.parse().ok())
        }
        _ => (host, Some(usual)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_a_hosts_if_this_machine_says_so() {
        let hosts = Hosts::default();
        let place = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(hosts.has("localhost", place("127.0.0.1:80")).await);
        assert!(hosts.has("localhost:8080", place("127.0.0.1:8080")).await);
        assert!(!hosts.has("localhost", place("127.0.0.1:8080")).await);
        assert!(!hosts.has("localhost", place("192.0.2.1:80")).await);
        assert!(!hosts.has("no-such-host.invalid", place("192.0.2.1:80")).await);
        assert!(hosts.has("192.0.2.1", place("192.0.2.1:80")).await);
        assert!(hosts.has("[::1]:8080", place("[::1]:8080")).await);
        assert!(!hosts.has("192.0.2.2", place("192.0.2.1:80")).await);
    }
}
