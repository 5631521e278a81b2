//! A connection's beginning: who comes, where it is meant to go, and whether it speaks HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use otoshi_network::Relay as Entrance;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{conversation, raw, shared::Shared};

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
    let place = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let upstream = match TcpStream::connect(place).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let number = error.raw_os_error().and_then(|number| u8::try_from(number).ok());
            return step.write_all(&[number.unwrap_or(Entrance::REFUSED)]).await;
        }
    };
    let _ = (step.set_nodelay(true), upstream.set_nodelay(true));
    step.write_all(&[Entrance::OPEN]).await?;
    if speaks_http(&step, &upstream).await? {
        conversation::hold(shared, step, upstream, place).await
    } else {
        raw::hand_on(step, upstream).await
    }
}

/// Reads where a connection goes; fails for whoever does not know the token.
async fn asked(shared: &Shared, step: &mut TcpStream) -> io::Result<SocketAddr> {
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let mut token = [0; Entrance::TOKEN];
    step.read_exact(&mut token).await?;
    if token != shared.token {
        return Err(denied());
    }
    let mut text = vec![0; usize::from(step.read_u8().await?)];
    step.read_exact(&mut text).await?;
    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(denied)
}

/// Whether the step speaks first, and as HTTP does.
async fn speaks_http(step: &TcpStream, upstream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; GET.len()];
    for _ in 0..PAUSES {
        let length = tokio::select! {
            length = step.peek(&mut first) => length?,
            ready = upstream.readable() => return ready.map(|()| false),
        };
        if length == GET.len() || length == 0 || !GET.starts_with(&first[..length]) {
            return Ok(first[..length] == *GET);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}
