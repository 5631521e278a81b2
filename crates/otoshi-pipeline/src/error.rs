//! What can go wrong while planning or building a project.

use std::{fmt, path::PathBuf};

use otoshi_engine::EngineError;
use otoshi_explain::{Explain, Kind, Panicked, Remedy};
use otoshi_oci::ReferenceError;
use otoshi_packages::roots::RootError;
use otoshi_project::{Phase, Role};

/// An error of the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The engine failed.
    #[error("{during}: {source}")]
    Engine {
        /// What it happened in.
        during: During,
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
    /// An image is not as it should be.
    #[error(transparent)]
    Image(#[from] otoshi_oci::ImageError),
    /// A layer could not be written or unpacked.
    #[error(transparent)]
    Layer(#[from] otoshi_oci::layer::LayerError),
    /// A document has something as a digest that is none.
    #[error(transparent)]
    Digest(#[from] otoshi_oci::DigestError),
    /// Something that is to be a reference is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A record could not be put into words, or is not what it should be.
    #[error("malformed record: {0}")]
    Record(#[from] serde_json::Error),
    /// A document is not text.
    #[error("{what} is not UTF-8")]
    NotText {
        /// What it is.
        what: String,
    },
    /// An image cannot lie on another base.
    #[error(transparent)]
    Compose(#[from] otoshi_rebase::ComposeError),
    /// An index of packages that was kept is damaged.
    #[error(transparent)]
    Damaged(#[from] otoshi_packages::apt::index::Damaged),
    /// What is installed in an image cannot be read.
    #[error(transparent)]
    Installed(#[from] otoshi_packages::installed::InstalledError),
    /// A repository of packages failed.
    #[error("{during}: {source}")]
    Repository {
        /// What it was asked for.
        during: String,
        /// What happened.
        source: otoshi_packages::RepositoryError,
    },
    /// A base of packages cannot be made.
    #[error("{during}: {source}")]
    Root {
        /// What was to be made.
        during: String,
        /// Why not.
        source: RootError,
    },
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] otoshi_registry::RegistryError),
    /// There is no image of that name.
    #[error("there is no image {reference} in the store or in its registry")]
    Missing {
        /// The name.
        reference: String,
    },
    /// A base's name stands for nothing.
    #[error("the {role} starts from {reference}, and there is no such image")]
    NoBase {
        /// The role.
        role: Role,
        /// The name.
        reference: String,
    },
    /// The registry of a base does not answer.
    #[error("the {role} starts from {reference}: {source}")]
    BaseOutOfReach {
        /// The role.
        role: Role,
        /// The name.
        reference: String,
        /// What happened.
        source: otoshi_registry::RegistryError,
    },
    /// What a Dockerfile starts from is no reference.
    #[error("the {role} starts from {name:?}: {source}")]
    BadBase {
        /// The role.
        role: Role,
        /// What it says.
        name: String,
        /// Why it is none.
        source: ReferenceError,
    },
    /// Something that Otoshi takes for granted is not so.
    #[error("internal error: {0}")]
    Fault(String),
    /// A thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// A file of the project cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the project cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
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
        hint: Option<Remedy>,
    },
}

/// What the engine was at work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// A phase.
    Phase(Phase),
    /// Computing build arguments.
    Arguments,
    /// Looking at the source.
    Context,
    /// Trying an image.
    Verify,
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phase(phase) => phase.as_str(),
            Self::Arguments => "args",
            Self::Context => "context",
            Self::Verify => "verify",
        })
    }
}

impl From<Phase> for During {
    fn from(phase: Phase) -> Self {
        Self::Phase(phase)
    }
}

impl PipelineError {
    pub(crate) fn engine_in(during: impl Into<During>) -> impl FnOnce(EngineError) -> Self {
        let during = during.into();
        move |source| Self::Engine { during, source }
    }

    pub(crate) fn dockerfile(
        during: impl Into<During>,
    ) -> impl FnOnce(otoshi_dockerfile::DockerfileError) -> Self {
        let during = during.into();
        move |error| Self::Engine { during, source: error.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>, hint: impl Into<Remedy>) -> Self {
        Self::Invalid { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn fetching_packages(reason: impl fmt::Display) -> Self {
        Self::Invalid { message: format!("looking for packages: {reason}"), hint: None }
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
}

impl Explain for PipelineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. }
            | Self::Read { .. }
            | Self::BadBase { .. }
            | Self::Compose(_)
            | Self::NotText { .. } => Kind::User,
            Self::Missing { .. } | Self::NoBase { .. } => Kind::Registry,
            Self::Engine { source, .. } => source.kind(),
            Self::Project(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Layout(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Digest(error) => error.kind(),
            Self::Reference(error) => error.kind(),
            Self::Registry(error) | Self::BaseOutOfReach { source: error, .. } => error.kind(),
            Self::Write { .. } | Self::Damaged(_) | Self::Record(_) | Self::Fault(_) => Kind::Machine,
            Self::Panicked(error) => error.kind(),
            Self::Installed(error) => error.kind(),
            // It has a word for data of that name, too.
            Self::Repository { source, .. } => Explain::kind(source),
            Self::Root { source, .. } => source.kind(),
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::Missing { .. } => {
                Some("check the repository and the tag; a private one may need a login".into())
            }
            Self::NoBase { reference, .. } => {
                let first = Some(Box::new("check the repository and the tag".into()));
                Some(Remedy::OrImport { first, name: reference.clone() })
            }
            Self::BaseOutOfReach { reference, source, .. } => {
                let first = source.remedy().map(Box::new);
                Some(Remedy::OrImport { first, name: reference.clone() })
            }
            Self::Engine { source, .. } => source.remedy(),
            Self::Project(error) => error.remedy(),
            Self::BadBase { source, .. } | Self::Reference(source) => source.remedy(),
            Self::Image(error) => error.remedy(),
            Self::Layer(error) => error.remedy(),
            Self::Fault(_) => Some("please report it, with the command and what it printed".into()),
            Self::Panicked(error) => error.remedy(),
            Self::Layout(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::Registry(error) => error.remedy(),
            Self::Installed(error) => error.remedy(),
            Self::Repository { source, .. } => {
                source.remedy().or_else(|| Some("try again later; nothing was changed".into()))
            }
            Self::Root { source: RootError::Unmet(_) | RootError::Conflict(_), .. } => {
                Some("check the names in [bases]: `apt-cache policy NAME` says what there is".into())
            }
            Self::Root { source, .. } => source.remedy(),
            _ => None,
        }
    }
}
