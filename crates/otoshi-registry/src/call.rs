//! One request, in a form that can be sent again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use otoshi_http::{Method, Url};

/// How much is read from a file at once.
const PIECE: usize = 256 << 10;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A path below `/v2/`.
    Path(String),
    /// An address that the registry gave.
    Url(Url),
}

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// A part of a file; `moved` is told what was read.
    Part {
        file: Arc<File>,
        from: u64,
        size: u64,
        moved: Arc<dyn Fn(u64) + Send + Sync>,
    },
}

/// One request.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    /// What a token must allow: `pull`, or `pull,push`.
    pub(crate) actions: &'static str,
    /// Another repository of the registry that is read, for a mount.
    pub(crate) also: Option<String>,
}

impl Call {
    pub(crate) fn new(method: Method, target: Target, actions: &'static str) -> Self {
        Self { method, target, headers: Vec::new(), body: Body::Empty, actions, also: None }
    }

    /// Reads something below `/v2/`.
    pub(crate) fn read(method: Method, path: String) -> Self {
        Self::new(method, Target::Path(path), "pull")
    }

    /// Writes something.
    pub(crate) fn write(method: Method, target: Target) -> Self {
        Self::new(method, target, "pull,push")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl Body {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part { size, .. } => *size,
        }
    }

    /// The body for one sending of it.
    pub(crate) fn to_reqwest(&self) -> otoshi_http::Body {
        match self {
            Self::Empty => otoshi_http::Body::default(),
            Self::Bytes(bytes) => bytes.clone().into(),
            Self::Part { file, from, size, moved } => {
                let (file, moved, end) = (Arc::clone(file), Arc::clone(moved), from + size);
                otoshi_http::Body::wrap_stream(stream::try_unfold(*from, move |at| {
                    let piece = piece(&file, at, end);
                    if let Ok(Some((bytes, _))) = &piece {
                        moved(bytes.len() as u64);
                    }
                    async { piece }
                }))
            }
        }
    }
}

/// Reads the next piece of a file, which lies on a local disk and most often in memory.
fn piece(file: &File, at: u64, end: u64) -> std::io::Result<Option<(Bytes, u64)>> {
    if at >= end {
        return Ok(None);
    }
    let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
    let mut bytes = BytesMut::zeroed(length);
    let count = file.read_at(&mut bytes, at)?;
    if count == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(count);
    Ok(Some((bytes.freeze(), at + count as u64)))
}
