//! What is not for this room: handed on as it is.

use std::io;

use tokio::{io::copy_bidirectional, net::TcpStream};

/// Hands everything on, both ways.
pub(crate) async fn hand_on(mut step: TcpStream, mut upstream: TcpStream) -> io::Result<()> {
    copy_bidirectional(&mut step, &mut upstream).await.map(drop)
}
