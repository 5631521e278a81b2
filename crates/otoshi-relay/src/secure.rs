//! HTTPS of steps that may be looked into: this process speaks with the server as the step would, and with the step as the server.
//!
//! ```text
//! step ◀── TLS, a certificate by this process's authority ── relay ── TLS, as the step trusts ──▶ server
//! ```
//!
//! The server comes first. What cannot be done for the step is left to it, and its first bytes are handed on as they came: a hello
//! without a name or without HTTP/1.1, a server that the step would not trust, one that asks for a certificate of the step, and a host
//! for which a step has not trusted this process before.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::ServerName,
    server::{Acceptor, ClientHello},
    sign::CertifiedKey,
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    conversation, raw,
    shared::Shared,
    upstream::{Secure, Upstream},
    visit::{Inspection, Visit},
    wire::{Begun, HTTP_1},
};

/// What a connection with TLS begins with: a record of the handshake (RFC 8446, section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;
/// The longest hello, in bytes; longer ones are handed on.
const LONGEST: usize = 64 << 10;
/// How long a server and a step have for their handshakes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries one connection that begins with a hello.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    visit: Arc<Visit>,
    mut step: TcpStream,
    upstream: TcpStream,
    place: SocketAddr,
) -> io::Result<()> {
    let Some(inspection) = &visit.inspection else { return raw::hand_on(step, upstream).await };
    let hello = Hello::read(&mut step).await?;
    let Some(host) = hello.host.filter(|host| !shared.is_distrusted(host)) else {
        return raw::hand_on(Begun::new(hello.bytes, step), upstream).await;
    };
    let Some((secure, first)) = as_the_step(inspection, &host, upstream).await else {
        let upstream = TcpStream::connect(place).await?;
        return raw::hand_on(Begun::new(hello.bytes, step), upstream).await;
    };
    let acceptor = TlsAcceptor::from(inspection.authority.speak_as(&host)?);
    let accepted = timeout(PATIENCE, acceptor.accept(Begun::new(hello.bytes, step))).await;
    let step = match accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten() {
        Ok(step) => step,
        Err(error) => {
            visit.refused(&host);
            shared.distrust(&host);
            return Err(error);
        }
    };
    let upstream = Upstream::new(place, Some(secure), first).await?;
    let asked = AtomicBool::new(false);
    let held = conversation::hold(&shared, Box::new(step), upstream, &asked).await;
    visit.ended(&host, asked.load(Ordering::Relaxed));
    held
}

/// Speaks with a server as the step would; `None` where the step is to hear itself what comes of it.
async fn as_the_step(
    inspection: &Inspection,
    host: &str,
    upstream: TcpStream,
) -> Option<(Secure, tokio_rustls::client::TlsStream<TcpStream>)> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let asked_who = Arc::new(AskedWho::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(Arc::clone(&inspection.anchors));
    let mut config = config.with_client_cert_resolver(Arc::<AskedWho>::clone(&asked_who));
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let secured = timeout(PATIENCE, connector.connect(name.clone(), upstream)).await.ok()?;
    let secured = secured.map_err(|error| tracing::debug!(%error, host, "left to the step")).ok()?;
    let other = secured.get_ref().1.alpn_protocol().is_some_and(|protocol| protocol != HTTP_1);
    let secure = Secure { connector, name, trust: inspection.trust };
    (!asked_who.0.load(Ordering::Relaxed) && !other).then_some((secure, secured))
}

/// Has no certificate, and notes that one was asked for.
#[derive(Debug, Default)]
struct AskedWho(AtomicBool);

impl ResolvesClientCert for AskedWho {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a step says first.
struct Hello {
    bytes: Vec<u8>,
    /// The host that it names, where it can be spoken for.
    host: Option<String>,
}

impl Hello {
    async fn read(step: &mut TcpStream) -> io::Result<Self> {
        let (mut bytes, mut acceptor) = (Vec::new(), Acceptor::default());
        let mut seen = 0;
        loop {
            let count = timeout(PATIENCE, step.read_buf(&mut bytes)).await;
            let count = count.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if count == 0 || bytes.len() > LONGEST {
                return Ok(Self { bytes, host: None });
            }
            while seen < bytes.len() {
                seen += acceptor.read_tls(&mut &bytes[seen..])?;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let host = host_of(&accepted.client_hello());
                    return Ok(Self { bytes, host });
                }
                // Not a hello that can be understood.
                Err(_) => return Ok(Self { bytes, host: None }),
            }
        }
    }
}

/// The host of a hello that takes HTTP/1.1, or says nothing of what it takes.
fn host_of(hello: &ClientHello<'_>) -> Option<String> {
    let takes_it = match hello.alpn() {
        Some(mut offered) => offered.any(|protocol| protocol == HTTP_1),
        None => true,
    };
    hello.server_name().filter(|_| takes_it).map(str::to_ascii_lowercase)
}
