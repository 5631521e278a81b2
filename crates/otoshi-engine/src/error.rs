//! What can go wrong while building or running.

use std::path::{Path, PathBuf};

use otoshi_dockerfile::DockerfileError;
use otoshi_explain::{Explain, HandedOn, Kind, Panicked, Remedy};

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The Dockerfile is wrong, or asks for something that cannot be; says where.
    #[error(transparent)]
    Dockerfile(#[from] Box<DockerfileError>),
    /// A RUN step's command, or a phase's command, ended with another exit code than 0.
    #[error("{what} ended with exit code {code}")]
    Command {
        /// The instruction or command.
        what: String,
        /// The exit code; 128 and the signal's number when a signal ended it.
        code: i32,
        /// Where the instruction stands, when it stands in a Dockerfile.
        at: Option<Box<DockerfileError>>,
    },
    /// A file system operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "copying".
        action: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An image is not in the store.
    #[error("no image {reference} in the store")]
    NoImage {
        /// The image, as it was asked for.
        reference: String,
    },
    /// What a step or phase left is no longer in the store, or was damaged.
    #[error("the snapshot {snapshot} is damaged, or no longer in the store")]
    Lost {
        /// Its name.
        snapshot: String,
    },
    /// The build was stopped because another step failed, or by an interrupt.
    #[error("stopped")]
    Stopped,
    /// Something the request asks for is not there or not possible.
    #[error("{message}")]
    Invalid {
        /// What is wrong, in one sentence.
        message: String,
        /// What to try.
        hint: Option<Remedy>,
    },
    /// Where images and layers come from failed, such as a registry.
    #[error(transparent)]
    Source(#[from] HandedOn),
    /// A thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// A file could not be fetched by HTTP.
    #[error(transparent)]
    Http(Box<otoshi_http::HttpError>),
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] otoshi_sandbox::SandboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] otoshi_store::StoreError),
    /// The image layout failed.
    #[error(transparent)]
    Layout(#[from] otoshi_oci::LayoutError),
    /// An image is not as it should be.
    #[error(transparent)]
    Image(#[from] otoshi_oci::ImageError),
    /// A layer could not be written or unpacked.
    #[error(transparent)]
    Layer(#[from] otoshi_oci::layer::LayerError),
}

impl EngineError {
    /// Wraps an I/O error with what was being done and to what; for use with `map_err`.
    pub fn io<E: Into<std::io::Error>>(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source: source.into() }
    }

    pub(crate) fn lost(id: &otoshi_store::SnapshotId) -> Self {
        Self::Lost { snapshot: id.to_string() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: None }
    }

    /// The system's number of the error, where it is one of reading or writing.
    pub(crate) fn system_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

impl From<DockerfileError> for EngineError {
    fn from(error: DockerfileError) -> Self {
        Self::Dockerfile(Box::new(error))
    }
}

impl Explain for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Command { .. } | Self::Stopped => Kind::Build,
            Self::Http(error) if error.kind() == Kind::Machine => Kind::Machine,
            // Whoever wrote down the address can write down another.
            Self::Dockerfile(_) | Self::Invalid { .. } | Self::Http(_) => Kind::User,
            Self::Source(error) => error.kind(),
            Self::Panicked(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Layout(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Io { .. } | Self::NoImage { .. } | Self::Lost { .. } => Kind::Machine,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Source(error) => error.remedy(),
            Self::Panicked(error) => error.remedy(),
            Self::NoImage { reference } => Some(Remedy::Import { name: reference.clone() }),
            Self::Lost { .. } => Some("run the same command again: what it held is made again".into()),
            Self::Dockerfile(error) => error.remedy(),
            Self::Http(error) => error.remedy(),
            Self::Sandbox(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::Layout(error) => error.remedy(),
            Self::Image(error) => error.remedy(),
            Self::Layer(error) => error.remedy(),
            Self::Io { .. } | Self::Command { .. } | Self::Stopped => None,
        }
    }
}
