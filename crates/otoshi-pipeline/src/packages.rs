//! Bases that are made of a distribution's packages.
//!
//! Such a base has a name that no registry knows. What it stands for *now* is what this machine's apt sources of the release
//! have: their indexes are fetched and verified, packages chosen and fetched, and an image of one layer made of them. The same
//! versions give the same digest, so a base moves only when a package does. An image that the lock has and the store lacks is
//! made again, as long as the repositories still have the same versions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use otoshi_oci::config::{History, ImageConfig};
use otoshi_oci::layer::{Compression, store_tar};
use otoshi_oci::{Digest, Platform, Reference, write_image};
use otoshi_packages::apt::{self, HttpFetcher, Kept, Repositories};
use otoshi_packages::roots::{self, FOR_SCRIPTS};
use otoshi_project::{Packages, Project};
use otoshi_store::Home;

use crate::{BaseSource, LockedDigests, PipelineError, bases::is_whole};

/// The time of the image: that of all entries of layers.
const CREATED: &str = "1980-01-01T00:00:01Z";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Says what a root is: it is in every one.
const ALWAYS: &str = "base-files";

/// Makes bases of packages, and takes all others from elsewhere.
pub struct PackageBases<'a> {
    home: &'a Home,
    project: &'a Project,
    others: &'a dyn BaseSource,
    made: Mutex<BTreeMap<String, LockedDigests>>,
}

impl<'a> PackageBases<'a> {
    /// Puts a project's bases of packages before other bases.
    pub fn new(home: &'a Home, project: &'a Project, others: &'a dyn BaseSource) -> Self {
        Self { home, project, others, made: Mutex::default() }
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
        let key = format!("{reference} {platform}");
        // One at a time: two roles may start from the same base.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(&key) {
            return Ok(known.clone());
        }
        let digests = make(self.home, reference, packages, platform)?;
        made.insert(key, digests.clone());
        Ok(digests)
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
            Some(packages) => Ok(self.make(reference, &packages, platform)?.platform == *manifest),
            None => self.others.ensure(reference, manifest, platform),
        }
    }
}

/// Makes an image of packages, and names it in the store.
fn make(
    home: &Home,
    reference: &Reference,
    packages: &Packages,
    platform: &Platform,
) -> Result<LockedDigests, PipelineError> {
    let (distribution, release) =
        packages.release().ok_or_else(|| PipelineError::plain("a base of packages has no release"))?;
    let architecture = architecture(platform).ok_or_else(|| {
        PipelineError::invalid(
            format!("{distribution} has no packages for {platform}"),
            "use an image as the base for this platform",
        )
    })?;
    let files = apt::read_root(Path::new("/"))
        .map_err(|error| PipelineError::plain(format!("reading this machine's package sources: {error}")))?;
    let machine = Repositories::from_files(&files, architecture);
    let names = [release.to_owned(), format!("{release}-updates"), format!("{release}-security")];
    let sources: Vec<_> =
        machine.sources().iter().filter(|source| names.contains(&source.suite)).cloned().collect();
    if sources.is_empty() {
        return Err(PipelineError::invalid(
            format!("this machine's apt has no source of {distribution}'s release {release}"),
            format!(
                "add one to /etc/apt/sources.list.d, with Signed-By, for the suites {}",
                names.join(", ")
            ),
        ));
    }
    let fetcher = HttpFetcher::new(machine.configuration()).map_err(PipelineError::plain)?;
    let directory = home.root().join("packages");
    // What this machine itself favours is of no concern here.
    let available = machine.without_preferences().with_sources(sources).refresh(
        &Kept::new(directory.join("apt")),
        &fetcher,
        jiff::Timestamp::now(),
    );
    if let Some(failure) = available.failures().first() {
        let message = format!("the packages of {distribution} {release}: {}", failure.error);
        return Err(PipelineError::Invalid { message, hint: failure.error.hint().map(str::to_owned) });
    }
    let foreign = |origin: &str| !origin.eq_ignore_ascii_case(distribution);
    if let Some(other) = available.suites().iter().find(|suite| foreign(&suite.release.origin)) {
        let origin = &other.release.origin;
        return Err(PipelineError::invalid(
            format!("{} is of {origin:?}, not of {distribution}", other.place),
            "name the release of the other distribution otherwise, or remove that source",
        ));
    }
    let failed = |error: roots::RootError| {
        PipelineError::invalid(
            format!("making {distribution} {release} of {}: {error}", packages.packages.join(", ")),
            "look at the names in [bases]: `apt-cache policy NAME` says what there is",
        )
    };
    let mut wanted = packages.packages.clone();
    wanted.push(ALWAYS.to_owned());
    let chosen = roots::choose(&available, &wanted, &FOR_SCRIPTS).map_err(failed)?;
    let debs = roots::fetch(&available, &chosen, &directory.join("deb"), &fetcher).map_err(failed)?;
    let archive = roots::layer(&chosen, &debs).map_err(failed)?;
    let layer = store_tar(home.layout(), &archive[..], Compression::default(), 0, "the base of packages")
        .map_err(PipelineError::plain)?;
    let mut config = ImageConfig::new(platform);
    config.created = Some(CREATED.to_owned());
    config.config.env = vec![PATH.to_owned()];
    config.rootfs.diff_ids.push(layer.diff_id);
    config.history.push(History {
        created: config.created.clone(),
        created_by: Some(format!("otoshi: {distribution} {release}, {}", packages.packages.join(", "))),
        ..History::default()
    });
    let written = write_image(home.layout(), &config, &[layer.descriptor], &BTreeMap::new())
        .map_err(PipelineError::plain)?;
    let digest = Digest::of(&written).map_err(PipelineError::plain)?;
    home.layout().tag(reference, written)?;
    Ok(LockedDigests { index: digest.clone(), platform: digest })
}

/// Debian's word for a platform's architecture.
fn architecture(platform: &Platform) -> Option<&'static str> {
    if platform.os != "linux" {
        return None;
    }
    match (platform.architecture.as_str(), platform.variant.as_deref()) {
        ("amd64", None) => Some("amd64"),
        ("arm64", _) => Some("arm64"),
        ("arm", Some("v7") | None) => Some("armhf"),
        ("arm", Some("v5")) => Some("armel"),
        ("386", _) => Some("i386"),
        ("ppc64le", _) => Some("ppc64el"),
        ("s390x", _) => Some("s390x"),
        ("riscv64", _) => Some("riscv64"),
        _ => None,
    }
}
