//! Putting images on another base: found by name, decided in `otoshi-rebase`, written where they are.
//!
//! ```text
//! images   what a name stands for, in the store or in a registry; documents only
//! left     what belongs to the old image: attestations, signatures
//! facts    what the proof knows of layers: remembered, or read from layers that are fetched for it
//! report   what was done, as data
//! ```
//!
//! Every platform of an index moves, or none; tags move last. A rebaser may be used from many threads, and finds each base once.

mod facts;
mod images;
mod left;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use otoshi_explain::Remedy;
use otoshi_oci::{Descriptor, DiffId, Digest, Image, Platform, Reference};
use otoshi_once::{Keyed, OnceMap, hold};
use otoshi_rebase::{
    Bases, Claim, Composed, Finding, Kind, Source, Waiver, compose,
    compose::is_older,
    index::{self, NewBase, Replaced},
    proof::{Base, Examined, Proof, judge},
    seam,
};
use otoshi_registry::{Progress, Replacement, Repository};
use otoshi_store::Home;

use self::images::{Images, Named, Nested};
pub use self::report::{Outcome, PlatformRebase, Rebased};
use crate::{PipelineError, Remote};

/// Says what is to be done with an image.
#[derive(Debug, Clone, Default)]
pub struct RebaseOptions {
    /// The new base; without it, what the name of the old base stands for now.
    pub onto: Option<Reference>,
    /// The old base, where the image does not say it.
    pub base: Option<Reference>,
    /// The platforms that move, all where there are none.
    pub platforms: Vec<Platform>,
    /// Findings that are accepted.
    pub allow: Vec<Waiver>,
    /// Nothing is written.
    pub dry_run: bool,
}

/// Puts images on another base.
pub struct Rebaser<'a> {
    home: &'a Home,
    remote: &'a Remote,
    names: OnceMap<Reference, Option<Arc<Named>>>,
    proofs: OnceMap<Vec<DiffId>, Arc<Base>>,
    /// The tags of repositories, as far as they say what belongs to an image.
    tags: OnceMap<Repository, Option<Arc<BTreeSet<String>>>>,
    /// Layers of new bases that were taken over into repositories.
    taken: Keyed<Repository, BTreeSet<Digest>>,
}

/// An image on its new base, for one platform.
struct Moved {
    report: PlatformRebase,
    /// What the new base's name stands for: the index that lists it, where there is one.
    base: Digest,
    app: Image,
    new: Image,
    composed: Option<Composed>,
}

impl<'a> Rebaser<'a> {
    /// Works on a store and the registries behind it.
    pub fn new(home: &'a Home, remote: &'a Remote) -> Self {
        let (names, proofs, tags, taken) = Default::default();
        Self { home, remote, names, proofs, tags, taken }
    }

    fn images(&self) -> Images<'_> {
        Images { home: self.home, remote: self.remote }
    }

    /// Puts an image on another base, where the proof finds nothing that is not accepted.
    ///
    /// Fails where the base is unknown, or an image or base cannot be read; findings are no failure but the outcome
    /// `Refused`.
    pub fn rebase(
        &self,
        reference: &Reference,
        options: &RebaseOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Rebased, PipelineError> {
        let since = Instant::now();
        let before = self.remote.client()?.requests();
        let named = self.images().named(reference)?.ok_or_else(|| missing(reference))?;
        let mut moved = Vec::new();
        let mut onto = options.onto.clone();
        for (platform, digest) in &named.images {
            let wanted = platform.as_ref().is_none_or(|platform| {
                options.platforms.is_empty()
                    || options.platforms.iter().any(|wanted| wanted.matches(platform))
            });
            if wanted {
                moved.push(self.one(&named, platform.as_ref(), digest, options, &mut onto)?);
            }
        }
        if moved.is_empty() {
            let list: Vec<_> = options.platforms.iter().map(ToString::to_string).collect();
            let (name, has) = (reference.familiar(), named.platforms());
            return Err(if has.is_empty() {
                let text = format!("{name}: it is an index that lists no image");
                PipelineError::invalid(text, Remedy::InspectIndex)
            } else {
                let text = format!("{name}: it has no image for {}", list.join(", "));
                PipelineError::invalid(text, format!("it has {has}"))
            });
        }
        let onto = onto.map(|onto| onto.familiar()).unwrap_or_default();
        let refused = moved.iter().any(|moved| !moved.report.findings.is_empty());
        let same = moved.iter().all(|moved| moved.composed.is_none());
        let outcome = match (refused, same, options.dry_run) {
            (true, ..) => Outcome::Refused,
            (_, true, _) => Outcome::Same,
            (.., true) => Outcome::WouldRebase,
            _ => Outcome::Rebased,
        };
        let mut rebased = Rebased {
            version: 1,
            image: reference.familiar(),
            outcome,
            in_store: named.is_local,
            onto,
            old: named.digest.to_string(),
            new: None,
            platforms: Vec::new(),
            left_behind: Vec::new(),
            layers: [0, 0],
            requests: 0,
            moved: 0,
            took_ms: 0,
        };
        if matches!(outcome, Outcome::Rebased | Outcome::WouldRebase) {
            rebased.left_behind = self.left_behind(&named, &moved)?;
            let new = self.write(&named, &mut moved)?;
            rebased.new = Some(new.to_string());
            rebased.layers = layers(&moved);
            if outcome == Outcome::Rebased {
                rebased.moved = self.put(&named, &new, &moved, since, progress)?;
            }
        }
        rebased.platforms = moved.into_iter().map(|moved| moved.report).collect();
        rebased.requests = self.remote.client()?.requests() - before;
        rebased.took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(rebased)
    }

    /// Decides on one image.
    fn one(
        &self,
        named: &Named,
        platform: Option<&Platform>,
        digest: &Digest,
        options: &RebaseOptions,
        onto: &mut Option<Reference>,
    ) -> Result<Moved, PipelineError> {
        let any = platform.cloned().unwrap_or_else(Platform::host);
        let app =
            self.images().image(&named.reference, digest, &any)?.ok_or_else(|| missing(&named.reference))?;
        let platform = platform.cloned().unwrap_or_else(|| app.platform());
        let claim = seam::claim(&app, &named.annotations);
        let target = match onto {
            Some(onto) => onto.clone(),
            None => self.target(named, claim.as_ref(), options)?,
        };
        *onto = Some(target.clone());
        let base = self.name(&target)?.ok_or_else(|| missing(&target))?;
        let new = base.of(&platform).ok_or_else(|| {
            let text = format!("{}: it has no image for {platform}", target.familiar());
            PipelineError::invalid(
                text,
                "an image is rebased for all its platforms, unless --platform names some",
            )
        })?;
        let new = self.images().image(&target, new, &platform)?.ok_or_else(|| missing(&target))?;
        let (old, source) = self.old_base(named, claim.as_ref(), &target, &platform, options)?;
        let (of_app, of_new) = (app.diff_ids(), new.diff_ids());
        let found = seam::find(of_app, claim.as_ref(), old.as_ref().map(Image::diff_ids));
        let seam = found.map_err(|error| {
            PipelineError::invalid(
                format!("{}: {error}", named.reference.familiar()),
                "name the base that it was built on, as it was then, with --base REFERENCE@DIGEST",
            )
        })?;
        let mut report = PlatformRebase {
            platform: platform.to_string(),
            source,
            old_base: old.as_ref().map(|old| old.digest.to_string()),
            new_base: new.digest.to_string(),
            seam,
            base_layers: of_new.len(),
            kept: of_app.len() - seam,
            conflicts: Vec::new(),
            findings: Vec::new(),
            waived: Vec::new(),
            examined: Examined::default(),
            old: app.digest.to_string(),
            new: None,
        };
        let unchanged = of_app[..seam] == *of_new
            && old.as_ref().is_none_or(|old| old.config.config == new.config.config);
        if unchanged {
            return Ok(Moved { report, base: base.digest.clone(), app, new, composed: None });
        }
        let name = claim.as_ref().and_then(|claim| claim.name.clone());
        let name = options.onto.as_ref().map(ToString::to_string).or(name);
        let bases = Bases {
            app: &app,
            old: old.as_ref(),
            new: &new,
            seam,
            name: name.as_deref(),
            digest: &new.digest,
        };
        let composed = compose(bases)?;
        let Proof { mut findings, examined } = self.prove(&app, seam, &new, &composed)?;
        report.examined = examined;
        if let Some(old) = &old
            && is_older(old, &new)
        {
            findings.push(downgrade(&target, old, &new));
        }
        if seam::is_refused(&app) {
            findings.push(not_rebasable());
        }
        (report.findings, report.waived) = judge(findings, &options.allow);
        report.conflicts.clone_from(&composed.conflicts);
        Ok(Moved { report, base: base.digest.clone(), app, new, composed: Some(composed) })
    }

    /// The new base, where it is not given: what the name of the old one stands for now.
    fn target(
        &self,
        named: &Named,
        claim: Option<&Claim>,
        options: &RebaseOptions,
    ) -> Result<Reference, PipelineError> {
        if let Some(base) = &options.base {
            return Ok(base.without_digest());
        }
        if let Some(name) = claim.and_then(|claim| claim.name.as_ref()) {
            let reference = Reference::parse(name)?;
            return Ok(reference.without_digest());
        }
        // An app image of Otoshi's: the runner is a tag beside it.
        if claim.is_some_and(|claim| claim.source == Source::Otoshi) {
            if named.is_local {
                let name = named.reference.familiar_name();
                let project = name.rsplit_once('/').map_or(name.as_str(), |(project, _)| project);
                return Reference::parse(&format!("{project}/runner")).map_err(PipelineError::from);
            }
            return named.reference.without_digest().with_tag("runner").map_err(PipelineError::from);
        }
        Err(PipelineError::invalid(
            format!("{}: nothing says which base the image was built on", named.reference.familiar()),
            "name the old base with --base, and the new one with --onto",
        ))
    }

    /// The old base as it was, where somebody still has it.
    fn old_base(
        &self,
        named: &Named,
        claim: Option<&Claim>,
        target: &Reference,
        platform: &Platform,
        options: &RebaseOptions,
    ) -> Result<(Option<Image>, Source), PipelineError> {
        if let Some(base) = &options.base {
            let found = self.name(base)?.ok_or_else(|| missing(base))?;
            let digest = found.of(platform).ok_or_else(|| missing(base))?;
            return Ok((self.images().image(base, digest, platform)?, Source::Given));
        }
        let Some(claim) = claim else { return Ok((None, Source::Given)) };
        let Some(digest) = &claim.digest else { return Ok((None, claim.source)) };
        let said = claim.place.iter().chain(&claim.name).filter_map(|name| Reference::parse(name).ok());
        let mut tried = BTreeSet::new();
        for place in said.chain([target.clone(), named.reference.clone()]) {
            if !tried.insert(place.name()) {
                continue;
            }
            match self.images().image(&place, digest, platform) {
                Ok(Some(image)) => return Ok((Some(image), claim.source)),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, place = place.name(), "the old base is not there"),
            }
        }
        Ok((None, claim.source))
    }

    /// What a base's name stands for; asked once.
    fn name(&self, reference: &Reference) -> Result<Option<Arc<Named>>, PipelineError> {
        self.names.try_get(reference.clone(), || Ok(self.images().named(reference)?.map(Arc::new)))
    }

    /// Writes the new manifests, and the index that lists them.
    fn write(&self, named: &Named, moved: &mut [Moved]) -> Result<Digest, PipelineError> {
        let layout = self.home.layout();
        let mut replaced: BTreeMap<String, Replaced> = BTreeMap::new();
        let (mut name, mut created) = (None, None);
        for one in moved.iter_mut() {
            let Some(composed) = &one.composed else { continue };
            let descriptor = composed.write(layout, &one.app)?;
            one.report.new = Some(descriptor.digest().to_string());
            let old = Some(index::Facts::new(one.app.annotations(), &one.app.config));
            let new = Some(index::Facts::new(composed.annotations.clone(), &composed.config));
            replaced.insert(one.report.old.clone(), Replaced { descriptor, old, new });
            name = composed.annotations.get(seam::BASE_NAME).cloned();
            created = created.max(composed.config.created.clone());
        }
        let Some(nested) = named.index.as_ref().filter(|_| !replaced.is_empty()) else {
            let only = replaced.values().next();
            return only.map_or(Ok(named.digest.clone()), |new| {
                Digest::of(&new.descriptor).map_err(PipelineError::from)
            });
        };
        // What an index says of the base is true where all that it lists stands on it.
        let is_whole =
            named.images.iter().all(|(_, digest)| moved.iter().any(|one| one.report.old == digest.as_str()));
        let base = moved.first().map(|one| &one.base).filter(|_| is_whole);
        let base = base.map(|digest| NewBase { name: name.as_deref(), digest, created: created.as_deref() });
        Digest::of(&self.write_index(nested, &mut replaced, base)?).map_err(PipelineError::from)
    }

    /// Writes an index, after those that it lists.
    fn write_index(
        &self,
        nested: &Nested,
        replaced: &mut BTreeMap<String, Replaced>,
        base: Option<NewBase<'_>>,
    ) -> Result<Descriptor, PipelineError> {
        for (digest, below) in &nested.below {
            let descriptor = self.write_index(below, replaced, base)?;
            if descriptor.digest().as_ref() != digest {
                let of_index = Replaced { descriptor, old: None, new: None };
                replaced.insert(digest.clone(), of_index);
            }
        }
        let written = index::replace(self.home.layout(), &nested.document, replaced, base);
        written.map_err(PipelineError::from)
    }

    /// Puts the new image where the old one is. Gives how many bytes moved.
    fn put(
        &self,
        named: &Named,
        new: &Digest,
        moved: &[Moved],
        since: Instant,
        progress: Arc<dyn Progress>,
    ) -> Result<u64, PipelineError> {
        let layout = self.home.layout();
        if named.is_local {
            layout.tag(&named.reference, layout.describe(new)?)?;
            return Ok(0);
        }
        let repository = Repository::of(&named.reference);
        let mut held: BTreeSet<Digest> = named.images.iter().map(|(_, digest)| digest.clone()).collect();
        let mut origins: BTreeMap<Digest, Vec<Repository>> = BTreeMap::new();
        for one in moved {
            held.extend(one.app.layers().iter().map(|layer| layer.digest.clone()));
            held.insert(one.app.id());
            for layer in one.new.layers() {
                origins.insert(layer.digest.clone(), crate::bases::origins(self.home, &layer.digest));
            }
        }
        held.extend(named.index.iter().flat_map(Nested::listed));
        let wanted: BTreeSet<Digest> = origins.keys().cloned().collect();
        // One takes a base's layers over for all images of the repository: a registry that takes over the same layer twice at
        // the same time may lose it for a moment.
        let taken = self.taken.of(repository.clone());
        let taken = hold(&taken);
        held.extend(taken.iter().cloned());
        let first = (!wanted.is_subset(&taken)).then_some(taken);
        let replacement = Replacement {
            repository: repository.clone(),
            tag: named
                .reference
                .digest()
                .is_none()
                .then(|| named.reference.tag().unwrap_or("latest").to_owned()),
            digest: new.clone(),
            instead_of: named.digest.clone(),
            since,
            held,
            origins,
        };
        let summary = self.remote.client()?.replace(layout, &replacement, progress)?;
        if let Some(mut taken) = first {
            taken.extend(wanted);
        }
        Ok(summary.moved)
    }
}

/// Layers of the new images that are where they are needed already, and all of them.
fn layers(moved: &[Moved]) -> [usize; 2] {
    let all =
        moved.iter().filter_map(|moved| moved.composed.as_ref()).map(|composed| composed.layers.len()).sum();
    let kept = moved.iter().filter(|moved| moved.composed.is_some()).map(|moved| moved.report.kept).sum();
    [kept, all]
}

fn downgrade(target: &Reference, old: &Image, new: &Image) -> Finding {
    let time = |image: &Image| image.config.created.clone().unwrap_or_else(|| "without a time".to_owned());
    let text = format!("the new base is older than the old one: {} after {}", time(new), time(old));
    Finding {
        kind: Kind::Downgrade,
        subject: target.familiar(),
        file: String::new(),
        more: 0,
        was: None,
        text,
    }
}

fn not_rebasable() -> Finding {
    Finding {
        kind: Kind::NotRebasable,
        subject: seam::REBASABLE.to_owned(),
        file: String::new(),
        more: 0,
        was: None,
        text: "its label says false: the image's own layers may not work on another base".to_owned(),
    }
}

fn missing(reference: &Reference) -> PipelineError {
    PipelineError::Missing { reference: reference.familiar() }
}

impl std::fmt::Debug for Rebaser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebaser").finish_non_exhaustive()
    }
}
