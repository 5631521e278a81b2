//! The network of a command: a namespace of its own, with a device whose other end the init holds.
//!
//! ```text
//! command's network namespace         init, in the host's
//!   lo, eth0 (a TUN device) ══════════ otoshi_network::Stack, asked whenever the init waits for something
//!   or eth0 ── outlet (veth)  ══════════ the same, on a packet socket
//! ```
//!
//! The device goes with the namespace, and the namespace with the last process in it: nothing waits for that.

mod netlink;

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
};

use netlink::{Request, link};
use otoshi_network::{Frames, MTU, Plan};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
    mount::MountAttrFlags,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{SandboxError, mounts, sys};

type Result<T> = std::result::Result<T, SandboxError>;

/// The name of the device, as in other containers.
const NAME: &str = "eth0";
/// The name of the far end of a line.
const FAR: &str = "outlet";
const DEVICE: &str = "/dev/net/tun";

/// Makes the network of this process's namespace, which is new; gives the other end of its device, and whether packets have frames
/// around them there.
///
/// Where there is no TUN device, two ends of a line take its place, and frames are read at the far one: slower, and for everybody.
pub(crate) fn make(plan: &Plan) -> Result<(OwnedFd, bool)> {
    let (device, framed) = match open() {
        Ok(device) => {
            sys::make_tun(device.as_fd(), NAME)
                .map_err(SandboxError::no_tun_device("making a network device"))?;
            (device, false)
        }
        Err(error) => {
            tracing::debug!(%error, "no TUN device");
            let line = make_line();
            (line.map_err(|_| SandboxError::no_tun_device(&format!("opening {DEVICE}"))(error))?, true)
        }
    };
    set_up(plan, framed).map_err(SandboxError::setup("setting up the network"))?;
    // Ports below 1024 are nobody else's here, and neither are echoes. As Docker has it; old kernels lack these settings.
    for (setting, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        let _ = fs::write(format!("/proc/sys/net/ipv4/{setting}"), value);
    }
    Ok((device, framed))
}

/// Makes a line with two ends, and opens the far one.
fn make_line() -> io::Result<OwnedFd> {
    let mut request = Request::new();
    request.add(&netlink::pair([(NAME, Frames::INSIDE), (FAR, Frames::OUTSIDE)]));
    request.send()?;
    let far = index_of(FAR)?;
    let mut request = Request::new();
    request.add(&link(far).mtu(MTU.into()));
    request.try_add(&link(far).without_link_local());
    request.set_up(far);
    request.send()?;
    sys::frames_of(far)
}

/// Makes a namespace usable that has no network: brings the loopback device up.
pub(crate) fn make_none() -> Result<()> {
    let up = || -> io::Result<()> {
        let mut request = Request::new();
        request.set_up(netlink::LOOPBACK);
        request.send()
    };
    up().map_err(SandboxError::setup("bringing the loopback device up"))
}

fn open() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(DEVICE, flags, Mode::empty()) {
        // In a container, where the device may be used and has no file.
        Err(Errno::NOENT) => {
            let made = || {
                let place = mounts::try_new_mount("tmpfs", &[("mode", "700")], MountAttrFlags::empty())?;
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(
                    &place,
                    "tun",
                    FileType::CharacterDevice,
                    mode,
                    rustix::fs::makedev(10, 200),
                )?;
                rustix::fs::openat(&place, "tun", flags, Mode::empty())
            };
            made().map_err(|_: Errno| Errno::NOENT)
        }
        other => other,
    }
}

fn index_of(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

fn set_up(plan: &Plan, framed: bool) -> io::Result<()> {
    let index = index_of(NAME)?;
    let mut request = Request::new();
    request.set_up(netlink::LOOPBACK);
    let device = link(index).mtu(MTU.into());
    request.add(&if framed { device.without_neighbours() } else { device });
    // No address on a link that nobody else is on; without IPv6 in the kernel there is none anyway.
    request.try_add(&link(index).without_link_local());
    request.set_up(index);
    request.address(index, plan.address().into(), 24);
    request.default_route(index, plan.gateway().into());
    if let Some(address) = plan.address_v6() {
        request.address(index, address.into(), 64);
        request.default_route(index, plan.gateway_v6().into());
    }
    request.send()
}

/// The network that a sandbox's command has, seen from outside.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// This process's own.
    Shared,
    Namespace(Arc<OwnedFd>),
}

impl Seen {
    /// Connects to a port on which the command listens, at its loopback address.
    pub(crate) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let connect = move || {
            TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).or_else(|error| {
                TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).map_err(|_| error)
            })
        };
        let Self::Namespace(namespace) = self else { return connect() };
        let namespace = Arc::clone(namespace);
        // A socket belongs to the namespace in which it was made, wherever it is used later; the thread goes there, and ends.
        let inside = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            connect()
        };
        let thread = thread::Builder::new().name("inside".into()).stack_size(128 << 10).spawn(inside)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that connects panicked")))
    }
}

/// This process's network namespace.
pub(crate) fn own() -> Result<OwnedFd> {
    rustix::fs::open("/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(SandboxError::setup("opening the network namespace"))
}
