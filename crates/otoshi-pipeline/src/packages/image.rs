//! Packages → an image of one layer.

use std::collections::BTreeMap;
use std::time::Instant;

use otoshi_engine::{Event, Events, StepId};
use otoshi_oci::config::{DEFAULT_PATH, History, ImageConfig};
use otoshi_oci::layer::{Compression, Mtime, WriteOptions, WrittenLayer, store_tar, write_layer};
use otoshi_oci::{Digest, Fields, Platform, Reference, write_image};
use otoshi_packages::apt::Available;
use otoshi_packages::roots::{self, Chosen, FOR_SCRIPTS, Installation, RootError, Selection};
use otoshi_project::{LockedDigests, Packages, Variant};
use otoshi_store::{Home, Kind, Record};
use serde::{Deserialize, Serialize};

use super::sources::Sources;
use crate::{PipelineError, bases::is_whole};

/// The time of the image: that of all entries of layers.
const CREATED: &str = "1980-01-01T00:00:01Z";
/// The same in seconds since 1970.
const TIME: i64 = 315_532_801;
/// Says what a root is: it is in every one.
const ALWAYS: &str = "base-files";
/// The version of the way in which packages become an image; another one makes images that are remembered again.
const WAY: u32 = 2;

/// The manifest of the image that was made of packages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct OfPackages(Digest);

impl Record for OfPackages {
    const KIND: Kind = Kind::Base;

    fn roots(&self) -> Vec<otoshi_store::Root> {
        vec![otoshi_store::Root::from(&self.0)]
    }
}

/// Makes an image of packages, and names it in the store; without events it only says which image that is, or what stands for it.
pub(super) fn make(
    home: &Home,
    reference: &Reference,
    packages: &Packages,
    platform: &Platform,
    events: Option<&dyn Events>,
) -> Result<LockedDigests, PipelineError> {
    let (architecture, sources) = sources(packages, platform)?;
    let (distribution, release) = packages.release().unwrap_or_default();
    let named = [&[format!("{distribution} {release}")], &packages.packages[..]].concat();
    let title = named.join(", ");
    let shown = events.map(|events| Shown::new(events, &title));
    let available = sources.available(home)?;
    let chosen = choose(packages, &available)?;
    let made =
        Made { home, platform, packages, architecture, sources: &sources, available: &available, chosen };
    let created_by = format!("otoshi: {title}");
    let Some(shown) = shown else {
        let digest = made.known(&created_by).unwrap_or_else(|key| key);
        return Ok(LockedDigests { index: digest.clone(), platform: digest });
    };
    let digest = made.digest(&created_by, &shown, |error| failed(packages, error))?;
    home.layout().names().tag(reference, home.layout().describe(&digest)?)?;
    Ok(LockedDigests { index: digest.clone(), platform: digest })
}

/// The making of a base, as a step that is shown.
struct Shown<'a> {
    events: &'a dyn Events,
    step: StepId,
    title: &'a str,
}

impl<'a> Shown<'a> {
    fn new(events: &'a dyn Events, title: &'a str) -> Self {
        Self { events, step: StepId::next(), title }
    }

    /// Shows a step while it is done.
    fn during<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (step, started) = (self.step, Instant::now());
        self.events.event(Event::Started {
            step,
            stage: "base".into(),
            place: (1, 1),
            instruction: format!("make a base of {}", self.title),
        });
        let done = work();
        self.events.event(match &done {
            Ok(_) => Event::Done { step, cached: false, took: started.elapsed() },
            Err(_) => Event::Failed { step },
        });
        done
    }

    fn say(&self, what: &str) {
        self.events.event(Event::Log { step: self.step, bytes: format!("{what}\n").into_bytes() });
    }
}

/// Debian's word for a platform's architecture, and where packages for it come from.
pub(super) fn sources(
    packages: &Packages,
    platform: &Platform,
) -> Result<(&'static str, Sources), PipelineError> {
    let (distribution, _) = packages
        .release()
        .ok_or_else(|| PipelineError::Fault("a base of packages has no release".to_owned()))?;
    let architecture = architecture(platform).ok_or_else(|| {
        PipelineError::invalid(
            format!("{distribution} has no packages for {platform}"),
            "use an image as the base for this platform",
        )
    })?;
    Ok((architecture, Sources::find(packages, architecture)?))
}

/// Chooses the packages of a root.
pub(super) fn choose(packages: &Packages, available: &Available) -> Result<Root, PipelineError> {
    let failed = |error| failed(packages, error);
    if packages.variant == Variant::Distroless {
        let mut wanted = packages.packages.clone();
        wanted.push(ALWAYS.to_owned());
        return roots::choose(available, &wanted, &FOR_SCRIPTS).map(Root::Files).map_err(failed);
    }
    let apt = packages.variant == Variant::Apt;
    roots::select(available, &packages.packages, apt).map(Root::Installed).map_err(failed)
}

fn failed(packages: &Packages, source: RootError) -> PipelineError {
    let (distribution, release) = packages.release().unwrap_or_default();
    let packages = packages.packages.join(", ");
    let of = if packages.is_empty() { String::new() } else { format!(" of {packages}") };
    PipelineError::Root { during: format!("making {distribution} {release}{of}"), source }
}

/// What a root is made of.
pub(super) enum Root {
    /// Files alone.
    Files(Vec<Chosen>),
    /// Packages that are installed.
    Installed(Selection),
}

impl Root {
    pub(super) fn all(&self) -> Vec<Chosen> {
        match self {
            Self::Files(chosen) => chosen.clone(),
            Self::Installed(selection) => selection.all().cloned().collect(),
        }
    }
}

struct Made<'a> {
    home: &'a Home,
    platform: &'a Platform,
    packages: &'a Packages,
    architecture: &'a str,
    sources: &'a Sources,
    available: &'a Available,
    chosen: Root,
}

impl Made<'_> {
    /// The digest of the image that was made of the same packages before, else what stands for them.
    fn known(&self, created_by: &str) -> Result<Digest, Digest> {
        let key = self.key(created_by, &self.more());
        let known = self.home.records().get(key.hex()).map(|OfPackages(digest)| digest);
        known.filter(|known| is_whole(self.home, known, self.platform)).ok_or(key)
    }

    /// The image's digest: that of the one made of the same packages before, or of the one made now.
    fn digest(
        &self,
        created_by: &str,
        shown: &Shown<'_>,
        failed: impl Fn(RootError) -> PipelineError,
    ) -> Result<Digest, PipelineError> {
        let (home, more) = (self.home, self.more());
        let key = match self.known(created_by) {
            Ok(known) => return Ok(known),
            Err(key) => key,
        };
        let layer = shown.during(|| self.layer(&more, shown, failed))?;
        let mut config = ImageConfig::new(self.platform);
        config.created = Some(CREATED.to_owned());
        config.config.env = vec![format!("PATH={DEFAULT_PATH}")];
        config.rootfs.diff_ids.push(layer.diff_id);
        if matches!(self.chosen, Root::Installed(_)) {
            // There is a shell, as in the images that distributions make.
            config.config.cmd = Some(vec!["bash".to_owned()]);
        }
        config.history.push(History {
            created: config.created.clone(),
            created_by: Some(created_by.to_owned()),
            ..History::default()
        });
        let written = write_image(home.layout(), &config, &[layer.descriptor], &BTreeMap::new())?;
        let digest = Digest::of(&written)?;
        home.layout().names().add_untagged(written)?;
        home.records().put(key.hex(), &OfPackages(digest.clone()))?;
        Ok(digest)
    }

    /// Stands for everything that the image depends on.
    fn key(&self, created_by: &str, more: &[(String, u32, Vec<u8>)]) -> Digest {
        let variant = match self.packages.variant {
            Variant::Apt => "apt",
            Variant::Minimal => "minimal",
            Variant::Distroless => "distroless",
        };
        let mut key = Fields::new("base of packages")
            .number(WAY)
            .text(variant)
            .flag(self.packages.slim)
            .text(self.architecture);
        key = key.text(self.platform.to_string()).text(created_by);
        for one in self.chosen.all() {
            let record = &one.record;
            key = key.text("package").text(&*record.name).text(&*record.version).text(&*record.sha256);
        }
        for (path, mode, content) in more {
            key = key.text("file").text(path).number(*mode).text(Digest::sha256_of(content).as_str());
        }
        key.digest()
    }

    /// What the root's own apt needs, where it has one.
    fn more(&self) -> Vec<(String, u32, Vec<u8>)> {
        let Root::Installed(selection) = &self.chosen else { return Vec::new() };
        if !selection.all().any(|one| one.record.name == "apt") {
            return Vec::new();
        }
        let mut files = self.sources.files();
        let mut states = String::new();
        for one in selection.others.iter().filter(|one| selection.automatic.contains(&one.record.name)) {
            // apt notes the root's architecture of packages for all of them, too.
            let (name, architecture) = (&one.record.name, self.architecture);
            states += &format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n");
        }
        if !states.is_empty() {
            files.push(("var/lib/apt/extended_states".to_owned(), 0o644, states.into_bytes()));
        }
        files
    }

    fn layer(
        &self,
        more: &[(String, u32, Vec<u8>)],
        shown: &Shown<'_>,
        failed: impl Fn(RootError) -> PipelineError,
    ) -> Result<WrittenLayer, PipelineError> {
        let directory = self.home.root().join("packages/deb");
        let layout = self.home.layout();
        let all = self.chosen.all();
        let size: u64 = all.iter().map(|one| one.record.size).sum();
        shown.say(&format!(
            "fetching {} packages, {:.1} MB, except those already here",
            all.len(),
            size as f64 / 1e6
        ));
        let files =
            roots::fetch(self.available, &all, &directory, self.sources.fetcher()).map_err(&failed)?;
        match &self.chosen {
            Root::Files(chosen) => {
                let archive = roots::layer(chosen, &files).map_err(failed)?;
                store_tar(layout, &archive[..], Compression::default(), 0, "the base of packages")
                    .map_err(PipelineError::from)
            }
            Root::Installed(selection) => {
                let draft = self.home.snapshots().draft()?;
                shown.say("unpacking and configuring them");
                roots::install(&Installation {
                    root: &draft.tree(),
                    work: &draft.work(),
                    selection,
                    files: &files,
                    architecture: self.architecture,
                    slim: self.packages.slim,
                    more,
                })
                .map_err(failed)?;
                shown.say("writing the layer");
                let options = WriteOptions { mtime: Mtime::Set(TIME), ..WriteOptions::default() };
                write_layer(layout, &draft.tree(), &options).map_err(PipelineError::from)
            }
        }
    }
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
