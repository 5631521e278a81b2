//! Ports of a running command, offered at other addresses: each connection is handed on, both ways.

use std::{
    fmt, io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    str::FromStr,
    thread,
};

/// A port of the command and where it is offered, as in `8080`, `9000:8080` or `0.0.0.0:9000:8080`.
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
            Ok(0) | Err(_) => Err(format!("{text:?} is no port from 1 to 65535")),
            Ok(port) => Ok(port),
        };
        let Some((offered, inner)) = text.rsplit_once(':') else {
            let port = port(text)?;
            return Ok(Self { offered: (Ipv4Addr::LOCALHOST, port).into(), port });
        };
        let offered = match offered.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) if offered.contains(':') => return Err(format!("{offered:?} is no address and port")),
            Err(_) => (Ipv4Addr::LOCALHOST, port(offered)?).into(),
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
    /// Takes connections from now on, on threads that end with this process.
    ///
    /// The command shares this machine's network: a port that it has itself at that address is offered already.
    pub(crate) fn offer(self) -> io::Result<()> {
        let command = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        if self.offered == command {
            return Ok(());
        }
        let listener = TcpListener::bind(self.offered)?;
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || hand_on(connection, command));
            }
        });
        Ok(())
    }
}

/// Copies both ways until both sides have ended; a command that does not listen closes the connection.
fn hand_on(outer: TcpStream, command: SocketAddr) {
    let Ok(inner) = TcpStream::connect(command) else { return };
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
        assert_eq!(shown("[::1]:9000:8080"), "[::1]:9000 → port 8080");
        assert_eq!(shown("9000:web"), "\"web\" is no port from 1 to 65535");
        assert_eq!(shown("0"), "\"0\" is no port from 1 to 65535");
        assert_eq!(shown("host:9000:80"), "\"host:9000\" is no address and port");
    }
}
