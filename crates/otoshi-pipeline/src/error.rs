//! What can go wrong while planning or building a project.

use std::path::PathBuf;

use otoshi_engine::EngineError;

/// An error of the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The engine failed.
    #[error("{phase}: {source}")]
    Engine {
        /// The phase it happened in.
        phase: &'static str,
        /// What happened.
        source: EngineError,
    },
    /// A project's file is wrong.
    #[error(transparent)]
    Project(#[from] otoshi_project::ProjectError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] otoshi_store::StoreError),
    /// The image layout failed.
    #[error(transparent)]
    Layout(#[from] otoshi_oci::LayoutError),
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] otoshi_registry::RegistryError),
    /// There is no image of that name.
    #[error("there is no image {reference}, neither in the store nor in its registry")]
    Missing {
        /// The name.
        reference: String,
    },
    /// A base's name stands for nothing.
    #[error("the {role} starts from {reference}, and there is no such image")]
    NoBase {
        /// The role.
        role: String,
        /// The name.
        reference: String,
    },
    /// The registry of a base does not answer.
    #[error("the {role} starts from {reference}: {source}")]
    BaseOutOfReach {
        /// The role.
        role: String,
        /// The name.
        reference: String,
        /// What happened.
        source: otoshi_registry::RegistryError,
    },
    /// A file of the project cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something that the project asks for is not there or not possible.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
}

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The project's files or the call are wrong.
    User,
    /// A command of a build ended with another exit code than 0, or was stopped.
    Build,
    /// A registry does not have something, or does not answer.
    Registry,
    /// The machine, the store or Otoshi failed.
    Internal,
}

impl PipelineError {
    pub(crate) fn engine_in(phase: &'static str) -> impl FnOnce(EngineError) -> Self {
        move |source| Self::Engine { phase, source }
    }

    pub(crate) fn dockerfile(phase: &'static str) -> impl FnOnce(otoshi_dockerfile::DockerfileError) -> Self {
        move |error| Self::Engine { phase, source: error.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: Some(hint.into()) }
    }

    /// An error of which only a sentence is known.
    pub fn plain(message: impl ToString) -> Self {
        Self::Invalid { message: message.to_string(), hint: None }
    }

    /// What is wrong with the project's files, when that is what it is.
    pub fn project(&self) -> Option<&otoshi_project::ProjectError> {
        match self {
            Self::Project(error) => Some(error),
            _ => None,
        }
    }

    /// The engine's error, when that is what it is.
    pub fn engine(&self) -> Option<&EngineError> {
        match self {
            Self::Engine { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Says who can do something about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Project(_) | Self::Invalid { .. } | Self::Read { .. } => ErrorKind::User,
            Self::Engine { source, .. } => match source {
                EngineError::Command { .. } | EngineError::Stopped => ErrorKind::Build,
                EngineError::Dockerfile(_) | EngineError::Invalid { .. } => ErrorKind::User,
                EngineError::Registry { .. } => ErrorKind::Registry,
                _ => ErrorKind::Internal,
            },
            Self::Registry(_) | Self::Missing { .. } | Self::NoBase { .. } | Self::BaseOutOfReach { .. } => {
                ErrorKind::Registry
            }
            Self::Store(_) | Self::Layout(_) => ErrorKind::Internal,
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Missing { .. } => {
                Some("check the repository and the tag; a private one may need a login".to_owned())
            }
            Self::NoBase { reference, .. } => Some(format!(
                "check the repository and the tag; otoshi import ROOTFS.tar --name {reference} makes one here"
            )),
            Self::BaseOutOfReach { reference, source, .. } => {
                let import = format!("otoshi import ROOTFS.tar --name {reference} makes one here");
                Some(source.hint().map_or(import.clone(), |hint| format!("{hint}; {import}")))
            }
            Self::Engine { source, .. } => source.hint(),
            Self::Project(error) => error.hint().map(str::to_owned),
            Self::Layout(error) | Self::Store(otoshi_store::StoreError::Layout(error)) => error.hint(),
            Self::Registry(error) => error.hint(),
            _ => None,
        }
    }
}
