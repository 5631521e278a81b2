//! A connection's beginning: who comes, where it is meant to go, and what it speaks.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use otoshi_network::Relay as Entrance;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{conversation, raw, secure, shared::Shared, upstream::Upstream, visit::Visit};

/// How long a step's network has to say where a connection goes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a request begins with that may be answered here.
const GET: &[u8] = b"GET ";
/// How long is waited for the rest of a word, and how often.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSES: usize = 100;

/// Carries one connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, mut step: TcpStream) -> io::Result<()> {
    let asked = timeout(PATIENCE, asked(&shared, &mut step)).await;
    let (visit, place) = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let upstream = match TcpStream::connect(place).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let number = error.raw_os_error().and_then(|number| u8::try_from(number).ok());
            return step.write_all(&[number.unwrap_or(Entrance::REFUSED)]).await;
        }
    };
    let _ = (step.set_nodelay(true), upstream.set_nodelay(true));
    step.write_all(&[Entrance::OPEN]).await?;
    match spoken(&step, &upstream).await? {
        Spoken::Http => {
            let upstream = Upstream::new(place, None, upstream).await?;
            conversation::hold(&shared, Box::new(step), upstream, &AtomicBool::new(false)).await
        }
        Spoken::Tls if visit.inspection.is_some() => {
            secure::serve(shared, visit, step, upstream, place).await
        }
        Spoken::Tls | Spoken::Other => raw::hand_on(step, upstream).await,
    }
}

/// What a step says first.
enum Spoken {
    Http,
    Tls,
    Other,
}

/// Reads who comes and where a connection goes; fails for whoever knows no token.
async fn asked(shared: &Shared, step: &mut TcpStream) -> io::Result<(Arc<Visit>, SocketAddr)> {
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let mut token = [0; Entrance::TOKEN];
    step.read_exact(&mut token).await?;
    let visit = shared.visit(&token).ok_or_else(denied)?;
    let mut text = vec![0; usize::from(step.read_u8().await?)];
    step.read_exact(&mut text).await?;
    let place = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    place.map(|place| (visit, place)).ok_or_else(denied)
}

/// What the step speaks, if it speaks first.
async fn spoken(step: &TcpStream, upstream: &TcpStream) -> io::Result<Spoken> {
    let mut first = [0; GET.len()];
    for _ in 0..PAUSES {
        let length = tokio::select! {
            length = step.peek(&mut first) => length?,
            ready = upstream.readable() => return ready.map(|()| Spoken::Other),
        };
        match &first[..length] {
            [secure::HANDSHAKE, ..] => return Ok(Spoken::Tls),
            GET => return Ok(Spoken::Http),
            [] => return Ok(Spoken::Other),
            begun if !GET.starts_with(begun) => return Ok(Spoken::Other),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(Spoken::Other)
}
