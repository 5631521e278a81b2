//! Connections to the address that a step asked for.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{hosts::name_and_port, kept::Keep, request::Get, shared::Shared, wire::Wire};

type Sender = SendRequest<Empty<Bytes>>;

/// The connections of one conversation; each has one request at a time.
pub(crate) struct Upstream {
    place: SocketAddr,
    secure: Option<Secure>,
    idle: Mutex<Vec<Sender>>,
}

/// How a server is spoken with by TLS.
pub(crate) struct Secure {
    pub(crate) connector: TlsConnector,
    /// The host that it has shown to be, in lower case.
    pub(crate) name: ServerName<'static>,
    /// By which set of authorities, as a digest.
    pub(crate) trust: [u8; 32],
}

/// An answer, and the connection that is free again when its body has been read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: Sender,
}

impl Upstream {
    pub(crate) async fn new(
        place: SocketAddr,
        secure: Option<Secure>,
        first: impl Wire + 'static,
    ) -> io::Result<Self> {
        let sender = shake(first).await?;
        Ok(Self { place, secure, idle: Mutex::new(vec![sender]) })
    }

    /// The name under which the answer to a request may be kept; `None` where it would not be anybody's, or the server not the host's
    /// that the request names.
    pub(crate) async fn key(&self, shared: &Shared, get: &Get) -> Option<String> {
        let host = get.host().filter(|_| get.is_anybodys())?.to_ascii_lowercase();
        let path = get.target.path().as_bytes();
        let Some(Secure { name, trust, .. }) = &self.secure else {
            let is_its = shared.hosts.has(&host, self.place).await;
            return is_its.then(|| Keep::key(&[host.as_bytes(), path]));
        };
        let is_its = name_and_port(&host, 443) == (&*name.to_str(), Some(self.place.port()));
        is_its.then(|| Keep::key(&[b"https", trust, host.as_bytes(), path]))
    }

    /// Sends a request; once more, over a new connection, where the server had closed the one that was idle.
    pub(crate) async fn send(&self, request: &Request<()>) -> io::Result<Answered> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(sender) = idle
            && let Ok(answered) = ask(sender, request).await
        {
            return Ok(answered);
        }
        ask(shake(self.connect().await?).await?, request).await
    }

    /// Takes a connection back, whose answer has been read.
    pub(crate) fn give_back(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }

    /// A connection on which nothing has been said.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(self.place).await?;
        let _ = stream.set_nodelay(true);
        match &self.secure {
            None => Ok(Box::new(stream)),
            Some(Secure { connector, name, .. }) => {
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
        }
    }
}

async fn shake(stream: impl Wire + 'static) -> io::Result<Sender> {
    let shaken = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection upstream ended");
        }
    });
    Ok(sender)
}

async fn ask(mut sender: Sender, request: &Request<()>) -> io::Result<Answered> {
    sender.ready().await.map_err(io::Error::other)?;
    let (parts, ()) = request.clone().into_parts();
    let response =
        sender.send_request(Request::from_parts(parts, Empty::new())).await.map_err(io::Error::other)?;
    Ok(Answered { response, sender })
}
