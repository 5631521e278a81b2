//! Bases that are made of a distribution's packages.
//!
//! Such a base has a name that no registry knows. What it stands for *now* is what this machine's apt sources of the release
//! have, or the mirror that the project names: their indexes are fetched and verified, packages chosen and fetched, and an image of one
//! layer made of them. The same versions from the same sources give the same digest, so a base moves only when a package does. An
//! image that the lock has and the store lacks is made again, as long as the repositories still have the same versions.
//!
//! ```text
//! sources   where packages come from, and what they have now
//! image     packages → an image; remembered by their hashes
//! ```

mod image;
mod now;
mod sources;

use otoshi_engine::Events;
use otoshi_oci::{Digest, Platform, Reference};
use otoshi_once::OnceMap;
use otoshi_project::{LockedDigests, Packages, Project};
use otoshi_store::Home;

pub use now::PackagesNow;

use crate::{BaseSource, PipelineError, bases::is_whole};

/// Makes bases of packages, and takes all others from elsewhere.
pub(crate) struct PackageBases<'a> {
    home: &'a Home,
    project: &'a Project,
    others: &'a dyn BaseSource,
    /// Who is told what is done; `None` while planning, when nothing is made.
    events: Option<&'a dyn Events>,
    made: OnceMap<(Reference, Platform), LockedDigests>,
}

impl<'a> PackageBases<'a> {
    /// Puts a project's bases of packages before other bases.
    ///
    /// Without events nothing is made: a base that would be has a digest that stands for what it would be made of.
    pub(crate) fn new(
        home: &'a Home,
        project: &'a Project,
        others: &'a dyn BaseSource,
        events: Option<&'a dyn Events>,
    ) -> Self {
        Self { home, project, others, events, made: OnceMap::default() }
    }

    fn packages(&self, reference: &Reference) -> Result<Option<Packages>, PipelineError> {
        let of =
            |(name, packages)| (Reference::parse(name).ok().as_ref() == Some(reference)).then_some(packages);
        Ok(self
            .project
            .package_bases()?
            .iter()
            .map(|(name, packages)| (name.as_str(), packages))
            .find_map(of)
            .cloned())
    }

    fn make(
        &self,
        reference: &Reference,
        packages: &Packages,
        platform: &Platform,
    ) -> Result<LockedDigests, PipelineError> {
        // Two roles may start from the same base.
        self.made.try_get((reference.clone(), platform.clone()), || {
            image::make(self.home, reference, packages, platform, self.events)
        })
    }
}

impl std::fmt::Debug for PackageBases<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackageBases").finish_non_exhaustive()
    }
}

impl BaseSource for PackageBases<'_> {
    fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LockedDigests>, PipelineError> {
        match self.packages(reference)? {
            Some(packages) => self.make(reference, &packages, platform).map(Some),
            None => self.others.resolve(reference, platform),
        }
    }

    fn variant(
        &self,
        reference: &Reference,
        index: &Digest,
        platform: &Platform,
    ) -> Result<Option<Digest>, PipelineError> {
        match self.packages(reference)? {
            // There is no index: each platform has an image of its own.
            Some(packages) => self.make(reference, &packages, platform).map(|made| Some(made.platform)),
            None => self.others.variant(reference, index, platform),
        }
    }

    fn ensure(
        &self,
        reference: &Reference,
        manifest: &Digest,
        platform: &Platform,
    ) -> Result<bool, PipelineError> {
        match self.packages(reference)? {
            Some(_) if is_whole(self.home, manifest, platform) => Ok(true),
            Some(_) if self.events.is_none() => Ok(true),
            Some(packages) => Ok(self.make(reference, &packages, platform)?.platform == *manifest),
            None => self.others.ensure(reference, manifest, platform),
        }
    }
}
