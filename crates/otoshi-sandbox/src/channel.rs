//! How this process and a sandbox's init talk: messages with file descriptors over a pair of sockets.
//!
//! ```text
//! message   length (u32, native) ‖ JSON of that length; descriptors travel with the first byte
//! ```
//!
//! The pair also tells each side that the other is gone: reading gives the end.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

/// A message may have this many descriptors.
const DESCRIPTORS: usize = 3;

/// A message that is longer is not one of ours.
const LONGEST: u32 = 256 << 20;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Two ends; both close at exec.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        UnixStream::pair().map(|(one, other)| (Self(one), Self(other)))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0.into()
    }

    pub(crate) fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, message)?;
        let length = u32::try_from(bytes.len() - 4).map_err(|_| io::ErrorKind::InvalidInput)?;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        // The rest of what did not fit at once; Rust programs ignore SIGPIPE.
        (&self.0).write_all(&bytes[sent..])
    }

    /// The next message, or `None` when the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut length)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a descriptor was lost"));
        }
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        (&self.0).read_exact(&mut length[received.bytes..])?;
        let length = u32::from_ne_bytes(length);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length as usize];
        (&self.0).read_exact(&mut bytes)?;
        Ok(Some((serde_json::from_slice(&bytes)?, fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_and_descriptors_arrive() {
        let (one, other) = Channel::pair().unwrap();
        let long = "x".repeat(3 << 20);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = std::fs::File::open("/dev/null").unwrap();
                one.send(&("short", 1), &[file.as_fd()]).unwrap();
                one.send(&long, &[]).unwrap();
            });
            let (first, fds) = other.receive::<(String, u8)>().unwrap().unwrap();
            assert_eq!((first, fds.len()), (("short".to_owned(), 1), 1));
            let (second, fds) = other.receive::<String>().unwrap().unwrap();
            assert_eq!((second.len(), fds.len()), (long.len(), 0));
        });
        drop(one);
        assert!(other.receive::<String>().unwrap().is_none());
    }
}
