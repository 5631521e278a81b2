//! What is not for this room: handed on as it is.

use std::io;

use tokio::io::copy_bidirectional;

use crate::wire::Wire;

/// Hands everything on, both ways.
pub(crate) async fn hand_on(mut step: impl Wire, mut upstream: impl Wire) -> io::Result<()> {
    copy_bidirectional(&mut step, &mut upstream).await.map(drop)
}
