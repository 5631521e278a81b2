//! Ports of a running command, offered at other addresses: each connection is handed on, both ways.

use std::{
    fmt, io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    str::FromStr,
    thread,
};

use otoshi_engine::{Handle, Network};

/// A port of the command and where it is offered, as in `8080`, `9000:8080` or `0.0.0.0:9000:8080`; at port 0, on any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// Where connections are taken.
    offered: SocketAddr,
    /// The port on which the command listens.
    port: u16,
}

impl FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(0) | Err(_) => Err(format!("{text:?} is not a port from 1 to 65535")),
            Ok(port) => Ok(port),
        };
        let any_port = |text: &str| if text == "0" { Ok(0) } else { port(text) };
        let Some((offered, inner)) = text.rsplit_once(':') else {
            let port = port(text)?;
            return Ok(Self { offered: (Ipv4Addr::LOCALHOST, port).into(), port });
        };
        let offered = match offered.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) if offered.contains(':') => return Err(format!("{offered:?} is not an address and port")),
            Err(_) => (Ipv4Addr::LOCALHOST, any_port(offered)?).into(),
        };
        Ok(Self { offered, port: port(inner)? })
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → port {}", self.offered, self.port)
    }
}

impl Published {
    /// Takes the port; `None` where the command, on this machine's network, has it itself at that address.
    pub(crate) fn take(self, network: Network) -> io::Result<Option<Offered>> {
        let is_there = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)) == self.offered;
        if network == Network::Host && is_there {
            return Ok(None);
        }
        Ok(Some(Offered { asked: self.offered, listener: TcpListener::bind(self.offered)?, port: self.port }))
    }
}

/// A port at which connections wait for the command.
#[derive(Debug)]
pub(crate) struct Offered {
    asked: SocketAddr,
    listener: TcpListener,
    port: u16,
}

impl Offered {
    /// Where connections are taken, if nobody chose the port.
    pub(crate) fn chosen(&self) -> Option<SocketAddr> {
        if self.asked.port() == 0 { self.listener.local_addr().ok() } else { None }
    }

    /// The port on which the command listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Hands connections on to the command from now on, on threads that end with this process.
    pub(crate) fn serve(&self, command: &Handle) -> io::Result<()> {
        let (listener, port, command) = (self.listener.try_clone()?, self.port, command.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let command = command.clone();
                thread::spawn(move || hand_on(connection, port, &command));
            }
        });
        Ok(())
    }
}

/// Copies both ways until both sides have ended; a command that does not listen closes the connection.
fn hand_on(outer: TcpStream, port: u16, command: &Handle) {
    let Ok(inner) = command.connect(port) else { return };
    let (Ok(outer_back), Ok(inner_back)) = (outer.try_clone(), inner.try_clone()) else { return };
    thread::scope(|scope| {
        scope.spawn(|| copy(&outer, &inner));
        copy(&inner_back, &outer_back);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // Either side may go away at any moment; then there is nobody to tell.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::Published;

    fn shown(text: &str) -> String {
        text.parse::<Published>().map_or_else(|error| error, |published| published.to_string())
    }

    #[test]
    fn ports_are_read_as_people_write_them() {
        assert_eq!(shown("8080"), "127.0.0.1:8080 → port 8080");
        assert_eq!(shown("9000:8080"), "127.0.0.1:9000 → port 8080");
        assert_eq!(shown("0.0.0.0:9000:8080"), "0.0.0.0:9000 → port 8080");
        assert_eq!(shown("0:8080"), "127.0.0.1:0 → port 8080");
        assert_eq!(shown("8080:0"), "\"0\" is not a port from 1 to 65535");
        assert_eq!(shown("[::1]:9000:8080"), "[::1]:9000 → port 8080");
        assert_eq!(shown("9000:web"), "\"web\" is not a port from 1 to 65535");
        assert_eq!(shown("0"), "\"0\" is not a port from 1 to 65535");
        assert_eq!(shown("host:9000:80"), "\"host:9000\" is not an address and port");
    }
}
