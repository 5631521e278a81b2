//! A running Docker daemon: images go to it in one HTTP request over its socket.
//!
//! They go as an OCI archive with a `manifest.json`: a daemon that keeps images in containerd's store keeps the digests of
//! manifests and compressed layers then, and any other finds the same files as those of a docker-archive. The path names no
//! version of the API, so each daemon answers in its newest.
//!
//! API: <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageLoad>

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::image::MediaType;
use otoshi_http::{PostError, Target, get_over, post_over};
use serde_json::Value;

use super::docker::{export_docker_archive, export_for_daemon};
use super::error::TransferError;
use crate::image::Image;
use crate::layout::Layout;
use crate::reference::Reference;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// What stands in requests where a host's name is wanted.
const HOST: &str = "docker";
/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// `quiet` keeps progress bars out of the answer.
const LOAD: Target<'static> = Target { host: HOST, path: "/images/load?quiet=1" };

/// What says which versions a daemon has.
const VERSION: Target<'static> = Target { host: HOST, path: "/version" };
/// How long a daemon has to say that.
const PATIENCE: Duration = Duration::from_secs(30);
/// The API of the first daemons that read layers in zstd (Docker 23).
const READS_ZSTD: (u32, u32) = (1, 42);

/// Names the socket of a Docker daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerHost {
    socket: PathBuf,
}

impl DockerHost {
    /// Names a socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Takes the socket from the environment variable `DOCKER_HOST`, or the usual one.
    ///
    /// Fails as [`DockerHost::parse`] does.
    pub fn from_env() -> Result<Self, TransferError> {
        match std::env::var("DOCKER_HOST") {
            Ok(value) if !value.is_empty() => Self::parse(&value),
            _ => Ok(Self::new(DEFAULT_SOCKET)),
        }
    }

    /// Parses a value of `DOCKER_HOST`.
    ///
    /// Fails on anything but a `unix://` socket.
    pub fn parse(value: &str) -> Result<Self, TransferError> {
        match value.strip_prefix("unix://") {
            Some(socket) if socket.starts_with('/') => Ok(Self::new(socket)),
            _ => Err(TransferError::DockerHost { value: value.to_owned() }),
        }
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Loads images into a Docker daemon and returns what it says about them.
///
/// Fails where nothing answers on the socket, and where the daemon says that it failed.
pub fn load_into_docker(
    layout: &Layout,
    images: &[(Vec<Reference>, Image)],
    host: &DockerHost,
) -> Result<Vec<String>, TransferError> {
    let socket = &host.socket;
    let connect = || {
        UnixStream::connect(socket)
            .map_err(|source| TransferError::Connect { socket: socket.clone(), source })
    };
    let exchange = |source| TransferError::Exchange { socket: socket.clone(), source: Box::new(source) };
    let layers = images.iter().flat_map(|(_, image)| image.manifest.layers());
    let has_zstd = layers.clone().any(|layer| *layer.media_type() == MediaType::ImageLayerZstd);
    let as_they_are = if has_zstd {
        let reply = get_over(connect()?, VERSION, MAX_ANSWER, PATIENCE).map_err(exchange)?;
        api_version(&reply.body).is_some_and(|version| version >= READS_ZSTD)
    } else {
        true
    };
    let export = |out: &mut dyn Write| {
        if as_they_are {
            export_for_daemon(layout, images, out)
        } else {
            export_docker_archive(layout, images, out)
        }
    };
    match post_over(connect()?, LOAD, "application/x-tar", MAX_ANSWER, export) {
        Ok(reply) => interpret(reply.status.as_u16(), &String::from_utf8_lossy(&reply.body))
            .map_err(|message| TransferError::Daemon { message }),
        Err(PostError::Body(error)) => Err(error),
        Err(PostError::Exchange(source)) => Err(exchange(source)),
    }
}

/// The newest version of the API that a daemon says it has.
fn api_version(body: &[u8]) -> Option<(u32, u32)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let (major, minor) = value.get("ApiVersion")?.as_str()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The body is one JSON object a line: what happened, or an error even after a good status.
fn interpret(status: u16, body: &str) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(|text| text.trim_end().to_owned());
        if let Some(message) = text("error").or_else(|| text("message")) {
            return Err(message);
        }
        said.extend(text("stream").filter(|text| !text.is_empty()));
    }
    if (200..300).contains(&status) {
        Ok(said)
    } else {
        Err(format!("HTTP status {status}: {}", body.trim()))
    }
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    #[test]
    fn answers_are_understood() {
        let good = "{\"stream\":\"Loaded image: app:1\\n\"}\n";
        assert_eq!(interpret(200, good).unwrap(), ["Loaded image: app:1"]);
        let late = "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no space\"}\r\n";
        assert_eq!(interpret(200, late).unwrap_err(), "no space");
        assert_eq!(interpret(500, "{\"message\":\"bad\"}").unwrap_err(), "bad");
        assert_eq!(interpret(502, "<html>").unwrap_err(), "HTTP status 502: <html>");
    }

    #[test]
    fn a_version_is_two_numbers() {
        assert_eq!(api_version(br#"{"Version":"28.5.2","ApiVersion":"1.51"}"#), Some((1, 51)));
        for other in ["", "{}", r#"{"ApiVersion":1.51}"#, r#"{"ApiVersion":"1"}"#, r#"{"ApiVersion":"1.x"}"#]
        {
            assert_eq!(api_version(other.as_bytes()), None, "{other}");
        }
        assert!(Some((1, 9)) < Some(READS_ZSTD));
    }

    #[test]
    fn only_sockets_are_hosts() {
        let host = DockerHost::parse("unix:///run/user/1000/docker.sock").unwrap();
        assert_eq!(host.socket(), Path::new("/run/user/1000/docker.sock"));
        for value in ["tcp://localhost:2375", "ssh://host", "unix://relative", "/var/run/docker.sock"] {
            assert!(DockerHost::parse(value).unwrap_err().hint().is_some(), "{value}");
        }
    }
}
