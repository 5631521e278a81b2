//! The kinds of records, and how long those of each kind live.

/// What a record is about; each kind has a directory of its own, and one type ([`Record`](crate::Record)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A build step's key → the snapshot it made.
    Step,
    /// An address that ADD fetched, or one with the content there → the file that came.
    Download,
    /// A snapshot and a form → the layer blob written from it.
    Layer,
    /// Content copied onto layers → the layer blob of that.
    Copied,
    /// A layer's diff id → the snapshot that holds its content.
    Diff,
    /// A tree and a path in it → the digest of the content.
    Content,
    /// A stage and a path → whether that is a directory there already.
    Workdir,
    /// A commit → when it was made.
    Commit,
    /// A phase key → what the phase made.
    Phase,
    /// A project and phase → what the phase last observed.
    Last,
    /// A project, phase and part → the files beneath that part.
    Listing,
    /// A computed build argument → its value.
    Argument,
    /// A source directory → the stat data and digests of its files.
    Scan,
    /// A source directory → its last snapshot.
    Source,
    /// A blob or manifest → the repositories of registries that hold it.
    Origin,
    /// A layer's diff id → the files in it that say what is installed.
    Installed,
    /// A layer's diff id → what of its files matters when the layer below or above is another.
    Facts,
    /// An application and two bases → what it would no longer find.
    Proof,
    /// A project → what its images and its lock were before each refresh.
    Previous,
    /// Something newer outside → when it was first seen from here.
    Seen,
    /// An address → the table of ends of life that it gave.
    Cycles,
    /// Packages, and how they are put together → the image that was made of them.
    Base,
    /// A snapshot → the time of its files in layers.
    Time,
    /// A place in images → the content that it had last, and the time of that.
    Place,
}

/// What the life of a record depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It lives while it is used, and so long what it names is kept.
    Used,
    /// The same, and a year at least.
    UsedOrYear,
    /// It lives as long as the blob that it names: it only says where something is.
    OfItsRoots,
    /// It lives as long as the blob that its key names.
    OfItsBlob,
    /// It lives as long as an image has the layer that its key names; what it names is kept so long.
    OfItsLayer,
}

impl Kind {
    pub(crate) const ALL: [Self; 24] = [
        Self::Step,
        Self::Download,
        Self::Layer,
        Self::Copied,
        Self::Diff,
        Self::Content,
        Self::Workdir,
        Self::Commit,
        Self::Phase,
        Self::Last,
        Self::Listing,
        Self::Argument,
        Self::Scan,
        Self::Source,
        Self::Origin,
        Self::Installed,
        Self::Facts,
        Self::Proof,
        Self::Previous,
        Self::Seen,
        Self::Cycles,
        Self::Base,
        Self::Time,
        Self::Place,
    ];

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Download => "download",
            Self::Layer => "layer",
            Self::Copied => "copied",
            Self::Diff => "diff",
            Self::Content => "content",
            Self::Workdir => "workdir",
            Self::Commit => "commit",
            Self::Phase => "phase",
            Self::Last => "last",
            Self::Listing => "listing",
            Self::Argument => "argument",
            Self::Scan => "scan",
            Self::Source => "source",
            Self::Origin => "origin",
            Self::Installed => "installed",
            Self::Facts => "facts",
            Self::Proof => "proof",
            Self::Previous => "previous",
            Self::Seen => "seen",
            Self::Cycles => "cycles",
            Self::Base => "base",
            Self::Time => "time",
            Self::Place => "place",
        }
    }

    /// The kind that records of the first form had, where it was another: several types shared it.
    pub(crate) fn first_form(self) -> Option<Self> {
        match self {
            Self::Download => Some(Self::Step),
            Self::Copied => Some(Self::Layer),
            Self::Workdir | Self::Commit => Some(Self::Content),
            Self::Listing => Some(Self::Last),
            Self::Source => Some(Self::Scan),
            Self::Proof => Some(Self::Facts),
            Self::Place => Some(Self::Time),
            _ => None,
        }
    }

    pub(crate) fn life(self) -> Life {
        match self {
            Self::Layer | Self::Copied => Life::OfItsRoots,
            Self::Origin => Life::OfItsBlob,
            Self::Diff => Life::OfItsLayer,
            // A way back is needed when something went wrong, and the time of what comes next when nobody thinks of it.
            Self::Previous | Self::Time | Self::Place => Life::UsedOrYear,
            _ => Life::Used,
        }
    }
}
