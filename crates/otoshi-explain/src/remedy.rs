//! What can be tried, before anybody says how the command for it is called.

/// Puts a remedy into words: the command line does, for those that know none of its commands.
pub type Wording<'w> = &'w (dyn Fn(&Remedy) -> String + Sync);

/// Something that can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Something that this program has no command for, in words.
    Words(String),
    /// Write an `otoshi.toml`, or build a Dockerfile alone.
    DescribeProject {
        /// Whether there is a Dockerfile.
        dockerfile: bool,
    },
    /// Allow what a Dockerfile asks for, where it is trusted.
    Allow {
        /// Each entitlement, as in "network.host".
        entitlements: Vec<String>,
    },
    /// Give a secret of this name.
    GiveSecret {
        /// The name.
        id: String,
    },
    /// Give an SSH agent or key of this name.
    GiveSsh {
        /// The name.
        id: String,
    },
    /// Make a TUN device usable, or run on the host's network.
    GiveTunDevice,
    /// Run on the host's network, or give an address other than the loopback.
    LeaveLoopback,
    /// Name other paths as what is copied from the builder.
    NameDependencies,
    /// Wait until another process has finished.
    Wait,
    /// Build the project.
    Build,
    /// Build the project, running everything again.
    BuildWithoutCache,
    /// Build the project without holding to the lock.
    BuildUnlocked,
    /// Build the project, which makes an image that is missing here.
    BuildMakesImage,
    /// Build the project again, which makes what has a name of this program's own.
    BuildMakesReserved,
    /// Take one side of an unfinished merge of the lock, and build.
    ResolveLock,
    /// Take names away, and remove the images that only they kept.
    CollectGarbage,
    /// Import a root file system under a name.
    Import {
        /// The name.
        name: String,
    },
    /// Something else first, or else import a root file system under a name.
    OrImport {
        /// What comes first.
        first: Option<Box<Remedy>>,
        /// The name.
        name: String,
    },
    /// Inspect an index.
    InspectIndex,
    /// Push the project, which puts the recipe beside the image.
    PushRecipe,
    /// Refresh the project.
    Refresh {
        /// Whether the builder's side moves as well.
        builder: bool,
    },
    /// Refresh the project, which takes what a base's name stands for now.
    RefreshBase {
        /// Whether it is on the builder's side.
        builder: bool,
    },
    /// Refresh the project's builder, which moves a base there, too.
    RefreshMovesBuilder,
    /// Refresh in the project's directory, and not by an image's name.
    RefreshInProject,
    /// Refresh the project, which checks the runner's packages again.
    RefreshChecksPackages,
    /// Refresh the project, which looks at what the runner's repositories have now.
    RefreshLooksAtPackages,
    /// Refresh the project, which takes what the runner's repositories have now.
    RefreshTakesPackages,
    /// Refresh the project after telling it to take newer packages.
    RefreshUpgrading {
        /// Whether security updates alone are enough.
        security: bool,
    },
    /// Refresh an app image in its registry.
    RefreshImage {
        /// The image.
        image: String,
    },
    /// Put an image on its base as that is now.
    RebaseImage {
        /// The image.
        image: String,
    },
    /// Name the base that an image was built on, as it was then.
    NameOldBase,
    /// Name the base that an image was built on, and the one that it is to lie on.
    NameBothBases,
    /// Name the platforms whose images are put on the new base.
    NamePlatforms,
    /// Name another image in a Dockerfile, and build.
    NameInDockerfile {
        /// The image.
        image: String,
    },
    /// Add a line to Dockerfiles, and build.
    AddToDockerfiles {
        /// The line.
        line: String,
        /// The Dockerfiles.
        files: Vec<String>,
    },
    /// Update values of the project, and build.
    Update {
        /// Each `NAME=VALUE`.
        settings: Vec<String>,
    },
    /// Update values of the project by name, or all with large steps.
    UpdateMajor {
        /// Each `NAME=VALUE`.
        settings: Vec<String>,
    },
    /// Update a base that is made of packages.
    UpdatePackages {
        /// Its name.
        name: String,
    },
}

impl Remedy {
    /// The words, where it is nothing else.
    pub(crate) fn into_words(self) -> Option<String> {
        match self {
            Self::Words(words) => Some(words),
            _ => None,
        }
    }
}

impl From<String> for Remedy {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Remedy {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}
