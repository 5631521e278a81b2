//! A connection of TCP: one half ends in the step, and one begins outside.
//!
//! Each connection has a stack of its own, so that a packet costs the same however many there are. Its buffers bound what is on the way:
//! a side that does not read makes the other wait.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use smoltcp::{
    iface::{Config, Interface, PollResult, SocketHandle, SocketSet},
    socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State},
    time::Instant,
    wire::HardwareAddress,
};

use crate::device::Device;

/// What is on the way in each direction, at most.
const BUFFER: usize = 256 << 10;

/// A connection both halves of which stand.
pub(crate) struct Connection {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    outside: TcpStream,
    /// Whether reading from outside may give something.
    readable: bool,
    /// Whether writing to the outside may take something.
    writable: bool,
    /// Whether the outside sends no more.
    outside_ended: bool,
    /// Whether the step sends no more, and the outside was told.
    inside_ended: bool,
}

/// Where a connection's numbers begin, which nobody can guess.
fn seed() -> u64 {
    let mut seed = [0; 8];
    let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(seed)
}

/// A stack without a connection.
fn interface(device: &mut Device, seed: u64, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut device.with(None), now);
    interface.set_any_ip(true);
    interface
}

/// Answers a packet that belongs to no connection, as a host does where nobody listens.
pub(crate) fn refuse(device: &mut Device, packet: &[u8], now: Instant) {
    let mut interface = interface(device, 0, now);
    interface.poll_ingress_single(now, &mut device.with(Some(packet)), &mut SocketSet::new(Vec::new()));
}

impl Connection {
    /// Accepts the connection that a packet asks for, at the address that it asks for.
    pub(crate) fn accept(
        device: &mut Device,
        syn: &[u8],
        at: SocketAddr,
        outside: TcpStream,
        now: Instant,
    ) -> Self {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        // Both are the matter of the two kernels at the ends; here they would only add delays.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_congestion_control(CongestionControl::None);
        if let Err(error) = socket.listen(at) {
            tracing::debug!(%error, %at, "cannot take a connection");
        }
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(socket);
        let mut connection = Self {
            interface: interface(device, seed(), now),
            sockets,
            socket,
            outside,
            readable: true,
            writable: true,
            outside_ended: false,
            inside_ended: false,
        };
        connection.take(device, syn, now);
        connection
    }

    /// Takes a packet of the step's half.
    pub(crate) fn take(&mut self, device: &mut Device, packet: &[u8], now: Instant) {
        self.interface.poll_ingress_single(now, &mut device.with(Some(packet)), &mut self.sockets);
    }

    /// Notes that something may be done at the outer half.
    pub(crate) fn wake(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Carries on what can be carried; says whether the connection goes on.
    pub(crate) fn carry(&mut self, device: &mut Device, now: Instant) -> bool {
        loop {
            let moved = self.move_out().and_then(|out| Ok(self.move_in()? || out));
            if let Err(error) = &moved {
                tracing::debug!(%error, "a connection broke outside");
                self.socket().abort();
            }
            let mut link = device.with(None);
            while self.interface.poll_egress(now, &mut link, &mut self.sockets) != PollResult::None {}
            match moved {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return false,
            }
        }
        let socket = self.socket();
        // Nothing is lost between here and the step that would have to be waited for in TIME-WAIT.
        if !matches!(socket.state(), State::Closed | State::TimeWait) || socket.can_recv() {
            return true;
        }
        if !self.is_over() {
            // The step broke it, and the outside hears so.
            let _ = rustix::net::sockopt::set_socket_linger(&self.outside, Some(Duration::ZERO));
        }
        false
    }

    /// Tells whether both sides have said all.
    pub(crate) fn is_over(&self) -> bool {
        self.outside_ended && self.inside_ended
    }

    /// When there is something to do next, if nothing comes.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    /// Moves what the step sent.
    fn move_out(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while self.writable {
            let mut outside = &self.outside;
            let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
            if !socket.can_recv() {
                break;
            }
            let written = socket.recv(|data| match outside.write(data) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match written {
                Ok(Ok(count)) => moved |= count > 0,
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        if !self.inside_ended && matches!(self.socket().recv(|_| (0, ())), Err(RecvError::Finished)) {
            self.inside_ended = true;
            // Already closed from outside: then there is nobody to tell.
            let _ = self.outside.shutdown(Shutdown::Write);
        }
        Ok(moved)
    }

    /// Moves what the outside sent.
    fn move_in(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while self.readable && !self.outside_ended {
            let mut outside = &self.outside;
            let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
            if !socket.can_send() {
                break;
            }
            let read = socket.send(|space| match outside.read(space) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match read {
                Ok(Ok(0)) => {
                    self.outside_ended = true;
                    socket.close();
                    moved = true;
                }
                Ok(Ok(_)) => moved = true,
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(moved)
    }
}
