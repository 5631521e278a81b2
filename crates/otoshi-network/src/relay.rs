//! Another process that carries what is HTTP, and what it is told.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Where a relay takes connections.
///
/// Whoever connects sends the token, the length of a text in one byte, and the text: the address that is meant, as in `192.0.2.1:80`.
/// One byte comes back: [`Relay::OPEN`], or the number of the error with which the address cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Its address, on this machine's loopback.
    pub address: SocketAddr,
    /// What only this process and its sandboxes know.
    pub token: [u8; Relay::TOKEN],
    /// The port of HTTP, 80: connections to it go through the relay.
    pub http: u16,
    /// The port of HTTPS, 443, where connections to it do, too.
    pub https: Option<u16>,
}

impl Relay {
    /// How long a token is, in bytes.
    pub const TOKEN: usize = 32;
    /// The address accepted the connection.
    pub const OPEN: u8 = 0;
    /// The address refused it, or why is not known: `ECONNREFUSED`.
    pub const REFUSED: u8 = 111;

    /// Whether connections to a port go through it.
    pub fn takes(&self, port: u16) -> bool {
        port == self.http || Some(port) == self.https
    }

    /// What it is told about a connection to an address.
    pub fn asking(&self, place: SocketAddr) -> Vec<u8> {
        let text = place.to_string();
        let mut asking = self.token.to_vec();
        asking.push(u8::try_from(text.len()).unwrap_or(0));
        asking.extend_from_slice(text.as_bytes());
        asking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_told_the_token_and_the_address() {
        let relay = Relay { address: "127.0.0.1:9".parse().unwrap(), token: [7; 32], http: 80, https: None };
        let asking = relay.asking("[2001:db8::1]:80".parse().unwrap());
        assert_eq!(asking, [&[7; 32][..], &[16], b"[2001:db8::1]:80"].concat());
    }
}
