//! One request over a connection that is there already: to a socket of this machine, or into the network of a process.
//!
//! A peer that refuses answers before it has read everything, and may read no more: its answer says more than a broken pipe, and
//! is what comes of the exchange.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::rt::ReadBufCursor;
use hyper::{Request, Response};
use otoshi_explain::{Explain, Kind, Remedy};
use reqwest::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How many bytes of a body are sent at once.
const CHUNK: usize = 256 << 10;

/// Why there is no answer over a connection.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// What is to be asked for cannot be written into a request.
    #[error("{target:?} is not a valid request target")]
    Request {
        /// What was to be asked for.
        target: String,
        /// Why not.
        source: hyper::http::Error,
    },
    /// The connection cannot be used.
    #[error("the connection cannot be used: {source}")]
    Io {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// It broke, or what came is no HTTP.
    #[error("it did not answer in HTTP: {}", crate::error::reason(source))]
    Http {
        /// Why.
        #[from]
        source: hyper::Error,
    },
    /// It took too long.
    #[error("it did not answer within {} s", patience.as_secs())]
    Late {
        /// How long it had.
        patience: Duration,
    },
}

impl Explain for ExchangeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Request { .. } => Kind::User,
            _ => Kind::Machine,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        let hint = match self {
            Self::Request { .. } => "check the address",
            Self::Io { .. } => return None,
            Self::Http { .. } => {
                "check whether the other side is running and speaks HTTP, and look at its log"
            }
            Self::Late { .. } => "check whether the other side is busy, and try again",
        };
        Some(hint.into())
    }
}

/// Why nothing came of sending a body.
#[derive(Debug)]
pub enum PostError<E> {
    /// The body could not be made.
    Body(E),
    /// There is no answer.
    Exchange(ExchangeError),
}

/// An answer with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body, up to the most that is taken.
    pub body: Vec<u8>,
}

/// What is asked for over a connection.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The host, with its port, as the request names it.
    pub host: &'a str,
    /// The path and query.
    pub path: &'a str,
}

/// Asks for something by `GET`, and returns the status as soon as it is there.
///
/// Fails where the connection breaks, the peer does not speak HTTP, or it does not answer in time.
pub fn status_over(
    stream: TcpStream,
    target: Target<'_>,
    patience: Duration,
) -> Result<StatusCode, ExchangeError> {
    let request = get(target)?;
    stream.set_nonblocking(true)?;
    within(patience, async {
        Ok(exchange(tokio::net::TcpStream::from_std(stream)?, request).await?.status())
    })
}

/// Asks for something by `GET`, and returns the answer with up to `most` bytes of its body.
///
/// Fails where no whole answer came in `patience`.
pub fn get_over(
    stream: UnixStream,
    target: Target<'_>,
    most: usize,
    patience: Duration,
) -> Result<Reply, ExchangeError> {
    let request = get(target)?;
    stream.set_nonblocking(true)?;
    within(patience, async {
        let response = exchange(tokio::net::UnixStream::from_std(stream)?, request).await?;
        reply(response, most).await
    })
}

/// Sends by `POST` what `write` writes, in chunks, and returns the answer with up to `most` bytes of its body.
///
/// Fails where the connection breaks, the peer does not speak HTTP, or it does not answer in time.
pub fn post_over<E>(
    stream: UnixStream,
    target: Target<'_>,
    content_type: &str,
    most: usize,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<Reply, PostError<E>> {
    let (sender, receiver) = channel(2);
    let request = request("POST", target).header(CONTENT_TYPE, content_type).body(Pieces(Some(receiver)));
    let request = request.map_err(not_a_target(target)).map_err(PostError::Exchange)?;
    let receive = move || {
        stream.set_nonblocking(true)?;
        runtime()?.block_on(async {
            let response = exchange(tokio::net::UnixStream::from_std(stream)?, request).await?;
            reply(response, most).await
        })
    };
    std::thread::scope(|scope| {
        let receiving = scope.spawn(receive);
        let mut out = Outgoing { sender: Some(sender), buffer: Vec::with_capacity(CHUNK) };
        let sent = write(&mut out);
        let is_refused = match &sent {
            Ok(()) => out.flush().is_err(),
            Err(_) => out.sender.is_none(),
        };
        match sent {
            // The peer must not take a part for the whole: without an end, it is none.
            Err(error) if !is_refused => {
                out.break_off();
                let _ = receiving.join();
                Err(PostError::Body(error))
            }
            _ => {
                drop(out);
                let reply = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                reply.map_err(PostError::Exchange)
            }
        }
    })
}

fn request(method: &str, target: Target<'_>) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(target.path).header(HOST, target.host).header(CONNECTION, "close")
}

/// A request by `GET`.
fn get(target: Target<'_>) -> Result<Request<Pieces>, ExchangeError> {
    request("GET", target).body(Pieces(None)).map_err(not_a_target(target))
}

fn not_a_target(target: Target<'_>) -> impl FnOnce(hyper::http::Error) -> ExchangeError {
    move |source| ExchangeError::Request { target: target.path.to_owned(), source }
}

/// Waits for something that may take so long.
fn within<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    runtime()?.block_on(async {
        tokio::time::timeout(patience, asking).await.unwrap_or(Err(ExchangeError::Late { patience }))
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Sends a request, and returns the answer as soon as its head is there.
async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    request: Request<Pieces>,
) -> Result<Response<Incoming>, ExchangeError> {
    let peer = Peer { stream, buffer: vec![0; 16 << 10], is_gone: false };
    let (mut sender, connection) =
        http1::Builder::new().title_case_headers(true).handshake::<_, Pieces>(peer).await?;
    tokio::spawn(async {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Reads the rest of an answer, its body up to so many bytes.
async fn reply(response: Response<Incoming>, most: usize) -> Result<Reply, ExchangeError> {
    Ok(Reply { status: response.status(), body: body(response.into_body(), most).await? })
}

/// Reads a body up to so many bytes.
async fn body(mut incoming: Incoming, most: usize) -> Result<Vec<u8>, ExchangeError> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await
    {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(most - bytes.len())]);
        }
        if bytes.len() == most {
            break;
        }
    }
    Ok(bytes)
}

/// The body of a request: none, or what comes through a channel; an error breaks it off.
struct Pieces(Option<Receiver<io::Result<Bytes>>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(receiver) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(receiver.poll_recv(context));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// Gives what is written to the thread that sends it.
struct Outgoing {
    /// None once nobody takes it any more.
    sender: Option<Sender<io::Result<Bytes>>>,
    buffer: Vec<u8>,
}

impl Outgoing {
    fn break_off(&mut self) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        let length = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let sent = self.sender.as_ref().map(|sender| sender.blocking_send(Ok(piece.into())));
        if sent.is_some_and(|sent| sent.is_ok()) {
            return Ok(());
        }
        self.sender = None;
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// The other side. What it said before it went is read, and what is sent to it afterwards is lost without an error.
struct Peer<S> {
    stream: S,
    buffer: Vec<u8>,
    is_gone: bool,
}

/// Whether an error says that the other side reads no more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Peer<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, buffer, .. } = &mut *self;
        let most = buffer.len().min(into.remaining());
        let mut read = ReadBuf::new(&mut buffer[..most]);
        match ready!(Pin::new(stream).poll_read(context, &mut read)) {
            Err(error) if !is_gone(&error) => return Poll::Ready(Err(error)),
            _ => into.put_slice(read.filled()),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Peer<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(Pin::new(&mut self.stream).poll_write(context, bytes)) {
            Err(error) if is_gone(&error) => {
                self.is_gone = true;
                Poll::Ready(Ok(bytes.len()))
            }
            other => Poll::Ready(other),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A peer that reads the head and `read` bytes more, answers and goes; what it read.
    fn peer(read: usize, answer: &'static str) -> (UnixStream, std::thread::JoinHandle<String>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(1, theirs);
            let mut got = String::new();
            while !got.ends_with("\r\n\r\n") {
                reader.read_line(&mut got).unwrap();
            }
            let mut more = vec![0; read];
            reader.read_exact(&mut more).unwrap();
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            got + &String::from_utf8(more).unwrap()
        });
        (ours, peer)
    }

    fn post(stream: UnixStream, size: usize) -> Result<Reply, PostError<io::Error>> {
        let target = Target { host: "docker", path: "/load?quiet=1" };
        post_over(stream, target, "application/x-tar", 100, |out| {
            let piece = vec![b'a'; 1000];
            (0..size / 1000).try_for_each(|_| out.write_all(&piece))
        })
    }

    #[test]
    fn a_body_goes_in_chunks_and_the_answer_comes_back() {
        let (stream, peer) =
            peer(0xbb8 + 12, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n");
        let reply = post(stream, 3000).unwrap();
        assert_eq!(reply, Reply { status: StatusCode::OK, body: b"yes".into() });
        let head = "POST /load?quiet=1 HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
            Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";
        let said = peer.join().unwrap();
        assert_eq!(said, format!("{head}BB8\r\n{}\r\n0\r\n\r\n", "a".repeat(3000)));
    }

    #[test]
    fn whoever_refuses_is_heard_whether_or_not_it_goes_on_to_read() {
        for size in [0, 1000, 50_000_000] {
            for answer in [
                "HTTP/1.1 403 Forbidden\r\n\r\nnot today",
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nnot today",
                "HTTP/1.0 403\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot today",
            ] {
                for _ in 0..20 {
                    let (stream, _peer) = peer(0, answer);
                    let reply = post(stream, size).unwrap();
                    assert_eq!(
                        reply,
                        Reply { status: StatusCode::FORBIDDEN, body: b"not today".into() },
                        "{size}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_answer_is_taken_up_to_its_most() {
        let long: &str = "x".repeat(5000).leak();
        let (stream, _peer) = peer(0, format!("HTTP/1.1 200 OK\r\n\r\n{long}").leak());
        assert_eq!(post(stream, 0).unwrap().body.len(), 100);
    }

    #[test]
    fn a_body_that_cannot_be_made_does_not_look_whole() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = String::new();
            let _ = (&theirs).read_to_string(&mut all);
            all
        });
        let target = Target { host: "docker", path: "/" };
        let failed = post_over(ours, target, "text/plain", 100, |out| {
            out.write_all(b"half").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
            Err("the rest is damaged".to_owned())
        });
        assert!(matches!(failed, Err(PostError::Body(why)) if why == "the rest is damaged"));
        let said = reading.join().unwrap();
        assert!(!said.ends_with("0\r\n\r\n"), "{said}");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for answer in
            ["", "SSH-2.0\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
        {
            let (stream, _peer) = peer(0, answer);
            let Err(PostError::Exchange(error)) = post(stream, 0) else { panic!("{answer:?}") };
            assert!(error.to_string().starts_with("it did not answer in HTTP: "), "{error}");
        }
    }

    #[test]
    fn a_status_is_enough() {
        let ask = |answer: &'static str, path: &str| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let served = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = String::new();
                let mut reader = BufReader::new(&stream);
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                stream.write_all(answer.as_bytes()).unwrap();
                // An answer that goes on and on.
                std::thread::sleep(Duration::from_millis(300));
                head
            });
            let stream = TcpStream::connect(address).unwrap();
            let target = Target { host: "shop.test:80", path };
            let status = status_over(stream, target, Duration::from_millis(200));
            (status, served.join().unwrap())
        };
        let (status, head) = ask("HTTP/1.1 204 No Content\r\n\r\n", "/up?now");
        assert_eq!(status.unwrap(), 204);
        assert_eq!(head, "GET /up?now HTTP/1.1\r\nHost: shop.test:80\r\nConnection: close\r\n\r\n");
        assert_eq!(ask("HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\nand so on", "/").0.unwrap(), 302);
        assert!(matches!(ask("", "/").0, Err(ExchangeError::Late { .. })));
        assert!(matches!(ask("hello\r\n\r\n", "/").0, Err(ExchangeError::Http { .. })));
        let stream =
            TcpStream::connect(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap());
        let target = Target { host: "h", path: "/a b" };
        let refused = status_over(stream.unwrap(), target, Duration::from_secs(1));
        assert!(matches!(refused, Err(ExchangeError::Request { .. })), "{refused:?}");
    }
}
