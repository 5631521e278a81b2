//! The network of a step: packets from a device in its network namespace, carried out through ordinary sockets of this process.
//!
//! ```text
//! step's network namespace                    this process, in the host's network
//!   program ── kernel's TCP and UDP ── eth0 ══ Stack ── one socket for each connection ── outside
//!   10.0.2.100, fd6f:…::100                     10.0.2.2    the gateway: answers echoes, and nothing else
//!                                               10.0.2.3…   stand for nameservers that a step cannot reach itself
//! ```
//!
//! No right is needed for it, and nothing of the host changes: for the outside, the connections are this process's. TCP ends here and
//! begins anew outside; a connection is accepted once its outer half stands, so that a step hears of a refusal as it would outside.
//! What a step reaches is what [`is_refused`] lets through. Packets are hostile input: what cannot be understood is dropped.

mod datagram;
mod device;
mod packet;
mod plan;
mod reach;
mod relay;
mod stack;
mod tcp;

pub use device::Frames;
pub use plan::{Nameserver, Plan};
pub use reach::{is_refused, is_service_of_cloud};
pub use relay::Relay;
pub use stack::Stack;

/// The most bytes of one packet: what every device takes at once, so that large transfers are few packets.
pub const MTU: u16 = 65520;
