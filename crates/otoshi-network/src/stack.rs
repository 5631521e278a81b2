//! All that goes between a step and the outside, in turns: whoever has it waits until there is something to do, and lets it do that.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::epoll,
    io::Errno,
    net::{SocketType, connect},
};
use smoltcp::wire::{IpProtocol, TcpPacket};

use crate::{
    MTU, Plan, Relay,
    datagram::{Ends, Exchange, socket_for, why},
    device::Device,
    is_refused,
    packet::{self, Packet, Unreachable},
    tcp::{self, Connection},
};

/// How many connections there are at most; further ones wait.
const MOST_CONNECTIONS: usize = 2048;
/// How many pairs exchange datagrams at most; the one that has been silent longest makes room.
const MOST_EXCHANGES: usize = 1024;
/// The longest packet, and room for a frame.
const LONGEST: usize = (64 << 10) + 64;
/// At most this many packets are taken before others have their turn.
const BATCH: usize = 64;
/// The shortest wait: who wants to be asked at once has been asked just now.
const SHORTEST: Duration = Duration::from_millis(1);
/// The number by which the device is known; flows have later ones.
const DEVICE: u64 = 0;

/// The network of one step.
///
/// [`Stack::turn`] is to be called whenever its descriptor is readable, and at [`Stack::next`]. It never waits.
pub struct Stack {
    device: Device,
    plan: Plan,
    poller: OwnedFd,
    started: Instant,
    flows: HashMap<u64, Flow>,
    by_ends: HashMap<Ends, u64>,
    /// When flows are to be looked at, though nothing comes.
    alarms: BTreeSet<(Instant, u64)>,
    /// Datagrams' flows by when they are forgotten.
    exchanges: BTreeSet<(Instant, u64)>,
    connections: usize,
    last: u64,
    buffer: Vec<u8>,
}

/// One thing that goes on between a place in the step and one outside.
struct Flow {
    ends: Ends,
    kind: Kind,
    alarm: Option<Instant>,
}

enum Kind {
    /// A connection whose outer half does not stand yet, and the packet that asked for it.
    Opening {
        outside: TcpStream,
        syn: Vec<u8>,
        relay: Relayed,
    },
    Connection(Box<Connection>),
    Exchange(Exchange),
}

/// How far a connection through a relay is.
enum Relayed {
    /// There is none in between, or it has said that the address is reached.
    No,
    /// It is to be told this as soon as it accepts.
    Telling(Vec<u8>),
    /// It has been told.
    Told,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("plan", &self.plan)
            .field("flows", &self.flows.len())
            .finish_non_exhaustive()
    }
}

impl AsFd for Stack {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Stack {
    /// A stack for a device that does not block when it is read, whose packets are in [`crate::Frames`] or not.
    ///
    /// Fails where the device cannot be watched.
    pub fn new(device: OwnedFd, framed: bool, plan: Plan) -> io::Result<Self> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(DEVICE);
        epoll::add(&poller, &device, data, epoll::EventFlags::IN)?;
        Ok(Self {
            device: Device::new(device, framed),
            plan,
            poller,
            started: Instant::now(),
            flows: HashMap::new(),
            by_ends: HashMap::new(),
            alarms: BTreeSet::new(),
            exchanges: BTreeSet::new(),
            connections: 0,
            last: DEVICE,
            buffer: vec![0; LONGEST],
        })
    }

    /// How long there is nothing to do, if nothing comes.
    pub fn next(&self) -> Option<Duration> {
        let (alarm, _) = self.alarms.first()?;
        Some(alarm.saturating_duration_since(Instant::now()).max(SHORTEST))
    }

    /// Does what there is to do.
    ///
    /// Fails where the device is gone, and the network with it.
    pub fn turn(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&now)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut touched = HashSet::new();
        let mut device_ready = false;
        for event in &events {
            match event.data.u64() {
                DEVICE => device_ready = true,
                id => self.woken(id, event.flags, &mut touched),
            }
        }
        if device_ready {
            self.read_packets(&mut touched)?;
        }
        let now = Instant::now();
        while let Some((alarm, id)) = self.alarms.first().copied()
            && alarm <= now
        {
            self.alarms.pop_first();
            self.rung(id, &mut touched);
        }
        for id in touched {
            self.carry(id);
        }
        Ok(())
    }

    fn read_packets(&mut self, touched: &mut HashSet<u64>) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut read = || {
            for _ in 0..BATCH {
                match self.device.read(&mut buffer)? {
                    Some(packet) => self.packet(packet, touched),
                    None => break,
                }
            }
            Ok(())
        };
        let result = read();
        self.buffer = buffer;
        result
    }

    /// Takes a packet of the step.
    fn packet(&mut self, whole: &[u8], touched: &mut HashSet<u64>) {
        let Some(packet) = Packet::parse(whole) else { return };
        // Nobody else is there; groups are not reached.
        if !self.plan.is_steps(packet.from) || packet.to.is_multicast() {
            return;
        }
        match packet.protocol {
            IpProtocol::Tcp => self.segment(&packet, touched),
            IpProtocol::Udp => {
                if let Some((from, to)) = packet.ports() {
                    self.datagram(&packet, (packet.from, from).into(), (packet.to, to).into());
                }
            }
            IpProtocol::Icmp | IpProtocol::Icmpv6 => {
                let Some((identifier, message)) = packet.echo() else { return };
                if !self.plan.answers(packet.to) {
                    let (from, to) = ((packet.from, identifier).into(), (packet.to, 0).into());
                    self.datagram(&packet, from, to);
                } else if let Some(reply) = packet::echo_reply(packet.to, packet.from, identifier, message) {
                    self.device.write(&reply);
                }
            }
            _ => self.tell(&packet, Unreachable::Protocol),
        }
    }

    fn tell(&self, packet: &Packet<'_>, why: Unreachable) {
        self.device.write(&packet::unreachable(packet.whole, packet.from, packet.to, why));
    }

    /// Where a place is that the step asks for: where it says, or where a nameserver is that has another address there.
    fn place(&self, asked: SocketAddr) -> Result<SocketAddr, Unreachable> {
        let named = self.plan.nameservers.iter().find(|nameserver| nameserver.inside == asked.ip());
        match named {
            Some(nameserver) if asked.port() == nameserver.outside.port() => Ok(nameserver.outside),
            _ if self.plan.has(asked.ip()) => Err(Unreachable::Port),
            _ if is_refused(asked.ip()) => Err(Unreachable::Prohibited),
            _ => Ok(asked),
        }
    }

    /// Takes a segment of TCP.
    fn segment(&mut self, packet: &Packet<'_>, touched: &mut HashSet<u64>) {
        let Ok(segment) = TcpPacket::new_checked(packet.payload) else { return };
        let ends = Ends {
            protocol: IpProtocol::Tcp,
            inside: (packet.from, segment.src_port()).into(),
            outside: (packet.to, segment.dst_port()).into(),
        };
        let begins = segment.syn() && !segment.ack() && !segment.rst();
        if let Some(id) = self.by_ends.get(&ends).copied() {
            let now = self.now();
            match self.flows.get_mut(&id).map(|flow| &mut flow.kind) {
                // The same port again, for another connection.
                Some(Kind::Connection(connection)) if begins && connection.is_over() => self.forget(id),
                Some(Kind::Connection(connection)) => {
                    connection.take(&mut self.device, packet.whole, now);
                    touched.insert(id);
                    return;
                }
                // It asks again; or, in other words, no more.
                Some(Kind::Opening { .. }) if segment.rst() => return self.forget(id),
                _ => return,
            }
        }
        if !begins || segment.src_port() == 0 || segment.dst_port() == 0 {
            let now = self.now();
            return tcp::refuse(&mut self.device, packet.whole, now);
        }
        self.open(ends, packet);
    }

    /// Begins the outer half of a connection.
    fn open(&mut self, ends: Ends, packet: &Packet<'_>) {
        let place = match self.place(ends.outside) {
            Ok(place) => place,
            Err(Unreachable::Port) => {
                let now = self.now();
                return tcp::refuse(&mut self.device, packet.whole, now);
            }
            Err(why) => return self.tell(packet, why),
        };
        if self.connections >= MOST_CONNECTIONS {
            // The step's kernel asks again.
            return;
        }
        let relay = self.plan.relay.filter(|relay| relay.takes(place.port()));
        let (target, relay) = match relay {
            Some(relay) => (relay.address, Relayed::Telling(relay.asking(place))),
            None => (place, Relayed::No),
        };
        let opened =
            socket_for(target, SocketType::STREAM, None).and_then(|socket| match connect(&socket, &target) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                Err(error) => Err(error),
            });
        match opened {
            Ok(socket) => {
                let outside = TcpStream::from(socket);
                let _ = outside.set_nodelay(true);
                let kind = Kind::Opening { outside, syn: packet.whole.to_vec(), relay };
                self.add(ends, kind);
            }
            Err(error) => self.cannot_connect(packet.whole, ends, error),
        }
    }

    fn cannot_connect(&mut self, syn: &[u8], ends: Ends, error: Errno) {
        let now = self.now();
        match why(error) {
            Some(Unreachable::Port) => tcp::refuse(&mut self.device, syn, now),
            Some(why) => {
                self.device.write(&packet::unreachable(syn, ends.inside.ip(), ends.outside.ip(), why));
            }
            // Too many files are open, or it takes too long: the step's kernel asks again, and gives up in its own time.
            None => tracing::debug!(%error, "cannot connect"),
        }
    }

    /// Takes a datagram, or an echo request.
    fn datagram(&mut self, packet: &Packet<'_>, inside: SocketAddr, outside: SocketAddr) {
        let ends = Ends { protocol: packet.protocol, inside, outside };
        let id = match self.by_ends.get(&ends).copied() {
            Some(id) => id,
            None => match self.place(outside) {
                Ok(place) => match Exchange::open(ends, place) {
                    Ok(exchange) => {
                        if self.exchanges.len() >= MOST_EXCHANGES
                            && let Some((_, silent)) = self.exchanges.first().copied()
                        {
                            self.forget(silent);
                        }
                        let Some(id) = self.add(ends, Kind::Exchange(exchange)) else { return };
                        id
                    }
                    // Echoes of others are not everybody's right: then none comes back.
                    Err(_) if packet.protocol != IpProtocol::Udp => return,
                    Err(error) => {
                        if let Some(why) = why(error) {
                            self.tell(packet, why);
                        }
                        return;
                    }
                },
                Err(why) => return self.tell(packet, why),
            },
        };
        let Some(Flow { kind: Kind::Exchange(exchange), .. }) = self.flows.get_mut(&id) else { return };
        exchange.send(&self.device, packet);
        let until = Instant::now() + exchange.patience();
        self.set_alarm(id, Some(until));
    }

    /// Something happened at a flow's outer half.
    fn woken(&mut self, id: u64, flags: epoll::EventFlags, touched: &mut HashSet<u64>) {
        use epoll::EventFlags;
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let ended = EventFlags::ERR | EventFlags::HUP;
        match &mut flow.kind {
            Kind::Opening { .. } => {
                if flags.intersects(EventFlags::IN | EventFlags::OUT | ended) {
                    self.opened(id, touched);
                }
            }
            Kind::Connection(connection) => {
                let readable = flags.intersects(EventFlags::IN | EventFlags::RDHUP | ended);
                connection.wake(readable, flags.intersects(EventFlags::OUT | ended));
                touched.insert(id);
            }
            Kind::Exchange(exchange) => {
                exchange.receive(&self.device, &mut self.buffer);
                let until = Instant::now() + exchange.patience();
                self.set_alarm(id, Some(until));
            }
        }
    }

    /// The outer half of a connection stands, or does not, or a relay says so.
    fn opened(&mut self, id: u64, touched: &mut HashSet<u64>) {
        let now = self.now();
        let Some(Flow { kind: Kind::Opening { outside, syn, relay }, ends, .. }) = self.flows.get_mut(&id)
        else {
            return;
        };
        let ends = *ends;
        let failed = match outside.take_error() {
            Ok(None) => match settled(outside, relay) {
                Ok(true) => None,
                Ok(false) => return,
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        let syn = std::mem::take(syn);
        if let Some(error) = failed {
            self.forget(id);
            return self.cannot_connect(&syn, ends, error);
        }
        let Some(flow) = self.flows.remove(&id) else { return };
        let Kind::Opening { outside, .. } = flow.kind else { return };
        let connection = Connection::accept(&mut self.device, &syn, ends.outside, outside, now);
        self.flows.insert(id, Flow { kind: Kind::Connection(Box::new(connection)), ..flow });
        touched.insert(id);
    }

    /// A flow's time has come, its alarm is gone.
    fn rung(&mut self, id: u64, touched: &mut HashSet<u64>) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.alarm = None;
        match flow.kind {
            Kind::Connection(_) => {
                touched.insert(id);
            }
            Kind::Opening { .. } | Kind::Exchange(_) => self.forget(id),
        }
    }

    /// Lets a connection carry on.
    fn carry(&mut self, id: u64) {
        let now = self.now();
        let Some(Flow { kind: Kind::Connection(connection), .. }) = self.flows.get_mut(&id) else { return };
        if !connection.carry(&mut self.device, now) {
            return self.forget(id);
        }
        let next = connection.next(now);
        let at = next.map(|next| {
            let from_start = Duration::from_micros(next.total_micros().try_into().unwrap_or(0));
            (self.started + from_start).max(Instant::now() + SHORTEST)
        });
        self.set_alarm(id, at);
    }

    fn add(&mut self, ends: Ends, kind: Kind) -> Option<u64> {
        use epoll::EventFlags;
        self.last += 1;
        let id = self.last;
        let (fd, flags) = match &kind {
            Kind::Opening { outside, .. } => {
                (outside.as_fd(), EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET)
            }
            Kind::Connection(_) => return None,
            Kind::Exchange(exchange) => (exchange.as_fd(), EventFlags::IN),
        };
        if let Err(error) = epoll::add(&self.poller, fd, epoll::EventData::new_u64(id), flags) {
            tracing::debug!(%error, "cannot watch a socket");
            return None;
        }
        match kind {
            Kind::Exchange(_) => {}
            _ => self.connections += 1,
        }
        self.flows.insert(id, Flow { ends, kind, alarm: None });
        self.by_ends.insert(ends, id);
        Some(id)
    }

    /// Forgets a flow; its socket is closed, and the poller knows.
    fn forget(&mut self, id: u64) {
        self.set_alarm(id, None);
        let Some(flow) = self.flows.remove(&id) else { return };
        self.by_ends.remove(&flow.ends);
        match flow.kind {
            Kind::Exchange(_) => {}
            _ => self.connections -= 1,
        }
    }

    fn set_alarm(&mut self, id: u64, alarm: Option<Instant>) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let is_exchange = matches!(flow.kind, Kind::Exchange(_));
        if let Some(before) = std::mem::replace(&mut flow.alarm, alarm) {
            self.alarms.remove(&(before, id));
            self.exchanges.remove(&(before, id));
        }
        if let Some(alarm) = alarm {
            self.alarms.insert((alarm, id));
            if is_exchange {
                self.exchanges.insert((alarm, id));
            }
        }
    }

    /// Now, as the stacks of connections count.
    fn now(&self) -> smoltcp::time::Instant {
        let micros = self.started.elapsed().as_micros();
        smoltcp::time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Tells a relay where a connection goes, and hears whether it got there; true where it did, or there is no relay.
fn settled(mut outside: &TcpStream, relay: &mut Relayed) -> Result<bool, Errno> {
    let errno = |error: &io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    if let Relayed::Telling(asking) = relay {
        // Some eighty bytes on a connection that has just been made: they go at once, or it is of no use.
        match outside.write(asking) {
            Ok(length) if length == asking.len() => *relay = Relayed::Told,
            Ok(_) => return Err(Errno::IO),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(errno(&error)),
        }
    }
    if matches!(relay, Relayed::No) {
        return Ok(true);
    }
    let mut answer = [Relay::REFUSED];
    match outside.read(&mut answer) {
        Ok(1) if answer[0] == Relay::OPEN => Ok(true),
        Ok(_) => Err(Errno::from_raw_os_error(i32::from(answer[0]))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(errno(&error)),
    }
}

const _: () = assert!(MTU > 1280, "IPv6 needs that much");
