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
use tokio::net::TcpStream;

type Sender = SendRequest<Empty<Bytes>>;

/// The connections of one conversation; each has one request at a time.
#[derive(Debug)]
pub(crate) struct Upstream {
    place: SocketAddr,
    idle: Mutex<Vec<Sender>>,
}

/// An answer, and the connection that is free again when its body has been read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: Sender,
}

impl Upstream {
    pub(crate) async fn new(place: SocketAddr, first: TcpStream) -> io::Result<Self> {
        let sender = shake(first).await?;
        Ok(Self { place, idle: Mutex::new(vec![sender]) })
    }

    /// Sends a request; once more, over a new connection, where the server had closed the one that was idle.
    pub(crate) async fn send(&self, request: &Request<()>) -> io::Result<Answered> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(sender) = idle
            && let Ok(answered) = ask(sender, request).await
        {
            return Ok(answered);
        }
        let stream = TcpStream::connect(self.place).await?;
        let _ = stream.set_nodelay(true);
        ask(shake(stream).await?, request).await
    }

    /// Takes a connection back, whose answer has been read.
    pub(crate) fn give_back(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }

    /// A connection on which nothing has been said.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.place).await
    }
}

async fn shake(stream: TcpStream) -> io::Result<Sender> {
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
