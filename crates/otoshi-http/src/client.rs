//! Clients: how a host is reached, and where it may lead.
//!
//! - Redirects are not followed unless it is asked for, then at most so many, never from HTTPS to HTTP, and never with what let
//!   the first request in to another host, port or scheme.
//! - The machine's own authorities are trusted (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and those that are added.
//! - The proxies are those that the environment names, and those that are added; this machine itself is asked directly.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, Url};

use crate::error::HttpError;
use crate::url::host_in;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Sets a client up.
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder(reqwest::ClientBuilder);

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientBuilder {
    /// Begins with a client that follows no redirects, and waits 15 seconds for a connection and 90 for each part of an answer.
    pub fn new() -> Self {
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self(
            Client::builder()
                .user_agent(concat!("otoshi/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .http2_adaptive_window(true),
        )
    }

    /// Waits as long for each part of an answer.
    pub fn read_timeout(self, timeout: Duration) -> Self {
        Self(self.0.read_timeout(timeout))
    }

    /// Follows up to `most` redirects, but to no place that `refused` has a reason against.
    pub fn redirects(
        self,
        most: usize,
        refused: impl Fn(&Url) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self(self.0.redirect(Policy::custom(move |attempt| {
            let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
            if attempt.previous().len() > most {
                attempt.error(format!("too many redirects (more than {most})"))
            } else if was_secure && attempt.url().scheme() != "https" {
                attempt.error("it redirects away from https")
            } else if let Some(refused) = refused(attempt.url()) {
                attempt.error(refused)
            } else {
                attempt.follow()
            }
        })))
    }

    /// Trusts the authorities of a bundle in PEM form, too; `whose` says of what they are, for an error.
    ///
    /// Fails where the bundle is malformed.
    pub fn authorities(self, pem: &[u8], whose: &str) -> Result<Self, HttpError> {
        let failed = || HttpError::setup(format!("with the certificate authorities of {whose}"));
        let certificates = Certificate::from_pem_bundle(pem).map_err(failed())?;
        Ok(Self(self.0.tls_certs_merge(certificates)))
    }

    /// Asks addresses of a scheme, `http` or `https`, through a proxy; `setting` says who names it, for an error.
    ///
    /// Fails where the address is none.
    pub fn proxy(self, scheme: &str, address: &str, setting: &str) -> Result<Self, HttpError> {
        let make = if scheme == "https" { Proxy::https } else { Proxy::http };
        // The address may hold a password, and is not shown.
        let proxy = make(address).map_err(HttpError::setup(format!("with the proxy of {setting}")))?;
        Ok(Self(self.0.proxy(proxy)))
    }

    /// Uses no proxy, whatever the environment says.
    pub fn direct(self) -> Self {
        Self(self.0.no_proxy())
    }

    /// Finds the addresses of names in another way than the system does.
    pub fn resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self(self.0.dns_resolver(resolver))
    }

    /// Makes the client.
    ///
    /// Fails where the machine's certificate authorities cannot be loaded.
    pub fn build(self) -> Result<Client, HttpError> {
        self.0.build().map_err(HttpError::setup("with the certificate authorities of this machine"))
    }
}

/// Whether a host, with or without a port, is this machine.
pub fn is_loopback(host: &str) -> bool {
    let is_own = |name: &str| name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let name = host_in(host);
    name.eq_ignore_ascii_case("localhost") || is_own(name) || is_own(host)
}

/// The host of an address, and its port where it names one.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_however_it_is_written() {
        for host in
            ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]", "::1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "localhost.test", "10.0.0.1", "registry.test:5000", "[::2]", "::2", "127.0.0.1.test"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_is_no_authority_or_proxy_is_an_error_without_a_password() {
        let error =
            ClientBuilder::new().authorities(b"-----BEGIN CERTIFICATE-----\n!", "r.test").unwrap_err();
        assert!(error.to_string().contains("with the certificate authorities of r.test: "), "{error}");
        let error =
            ClientBuilder::new().proxy("http", "http://me:s3cret@[", "Acquire::http::Proxy").unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(shown.contains("Acquire::http::Proxy") && !shown.contains("s3cret"), "{shown}");
        }
    }
}
