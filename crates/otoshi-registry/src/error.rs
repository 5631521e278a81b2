//! What can go wrong with a registry: one line that says which registry and repository, what was asked, and what it
//! answered; and what to try.

use std::fmt;
use std::path::PathBuf;

use otoshi_explain::{Explain, Kind, Panicked, Remedy};
use otoshi_http::{HttpError, RequestError};
use otoshi_oci::{Digest, ImageError, LayoutError};

/// Says what was asked of which repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The repository, with its registry, such as `registry.example/team/shop`.
    pub repository: String,
    /// What was asked, as in "for the tag v1".
    pub what: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: asked {}", self.repository, self.what)
    }
}

/// An error of a registry, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry answered that it will not, or cannot.
    #[error("{asked}; it answered {status}{}", detail(answer))]
    Refused {
        /// What was asked.
        asked: Asked,
        /// The status of the answer.
        status: u16,
        /// What the answer says, in one line; may be empty.
        answer: String,
    },
    /// There was no answer.
    #[error("{asked}, and got no answer: {reason}")]
    Unreachable {
        /// What was asked.
        asked: Asked,
        /// Why.
        reason: String,
        /// What to try.
        hint: Option<Remedy>,
        /// What failed, where something was asked.
        source: Option<RequestError>,
    },
    /// The answer is not what it must be.
    #[error("{asked}, and the answer is wrong: {reason}")]
    Wrong {
        /// What was asked.
        asked: Asked,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry wants a login that failed, or that there is none of.
    #[error("{asked}; it requires a login: {reason}")]
    Login {
        /// What was asked.
        asked: Asked,
        /// What happened.
        reason: String,
        /// The registry's host.
        host: String,
    },
    /// A layer must be fetched from somewhere else than a registry.
    #[error(
        "{repository}: the layer {digest} is a foreign layer ({media_type}), which its registry does not hold"
    )]
    Foreign {
        /// The repository.
        repository: String,
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// Files with logins or settings cannot be used.
    #[error("{}: {reason}", path.display())]
    Settings {
        /// The file, or the program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be pushed lacks a blob here.
    #[error(
        "cannot push to {repository}: the blob {digest} is neither here nor in a registry that is known to hold it"
    )]
    Gone {
        /// The repository.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob is in no registry that is known.
    #[error("no known registry has the blob {digest}")]
    Nowhere {
        /// The blob.
        digest: Digest,
    },
    /// A tag was moved by somebody else.
    #[error(
        "{repository}: the tag {tag} was moved while its image was being worked on; it was left where it is"
    )]
    Moved {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
    },
    /// The image layout failed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A document is not an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// No client could be made for a registry.
    #[error("cannot use the network: {0}")]
    Http(#[from] Box<HttpError>),
    /// A thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// This program could not be set up to use a network.
    #[error("cannot use the network: {0}")]
    Setup(String),
}

fn detail(answer: &str) -> String {
    if answer.is_empty() { String::new() } else { format!(": {answer}") }
}

impl RegistryError {
    /// The status that the registry answered with, when it did.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn host_of(repository: &str) -> &str {
    repository.split('/').next().unwrap_or(repository)
}

impl Explain for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Settings { .. } => Kind::User,
            Self::Layout(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Http(error) => error.kind(),
            Self::Panicked(error) => error.kind(),
            Self::Setup(_) => Kind::Machine,
            _ => Kind::Registry,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Refused { status: 401 | 403, asked, .. } => Some(Remedy::from(format!(
                "the login for {} may not do this; see ~/.docker/config.json, or ask who owns the repository",
                host_of(&asked.repository)
            ))),
            Self::Refused { status: 404, .. } => {
                Some(Remedy::from("check the repository and the tag; a private one may need a login"))
            }
            Self::Refused { status: 429, .. } => {
                Some(Remedy::from("wait, log in for a higher rate limit, or set a mirror in registries.conf"))
            }
            Self::Refused { status: 500.., .. } => Some(Remedy::from("try again later")),
            Self::Unreachable { hint, .. } => hint.clone(),
            Self::Panicked(error) => error.remedy(),
            Self::Login { host, .. } => {
                Some(Remedy::from(format!("docker login {host}, or skopeo login {host}")))
            }
            Self::Foreign { .. } => Some(Remedy::from("use an image whose layers are all in the registry")),
            Self::Moved { .. } => Some(Remedy::from("run the same command again")),
            Self::Gone { .. } => Some(Remedy::from("build or pull the image again")),
            Self::Http(error) => error.remedy(),
            Self::Layout(error) => error.remedy(),
            Self::Image(error) => error.remedy(),
            _ => None,
        }
    }
}
