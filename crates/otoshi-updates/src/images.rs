//! A check of images by their references, in registries or in the store; no project is needed for it.
//!
//! ```text
//! reference ─HEAD→ digest ─▶ documents, remembered by digest ─▶ packages and release file, remembered by layer
//!                                  └─▶ what it says of its base ─HEAD→ whether that moved (once for all images on it)
//! ```
//!
//! So an image that did not move since it was last looked at costs one HEAD, whatever it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use otoshi_explain::{Explain, Remedy, Wording};
use otoshi_oci::{DiffId, Digest, Image, Reference, is_reserved};
use otoshi_once::OnceMap;
use otoshi_packages::apt::Reach;
use otoshi_pipeline::{PipelineError, Remote, side_by_side};
use otoshi_project::Check as Settings;
use otoshi_rebase::seam::{self, RUNNER_BASE_DIGEST, RUNNER_BASE_NAME};
use otoshi_registry::Repository;
use otoshi_store::Home;

use crate::{
    ends::Held,
    found::{Effect, Found, Step},
    kind::FindingKind,
    outside::Outside,
    packages::{Ground, Inventory},
    report::{Failed, Looked, Parts, Report, Supported, Unknown},
    stop::Stop,
    subject::Subject,
    tag::{Form, Level, is_successor, slots, suggest},
    unknown::{self, Reason},
};

/// How many images are looked at at the same time.
const AT_ONCE: usize = 16;

/// Looks at what is newer than what images have; runs nothing and moves nothing.
pub struct CheckImages<'a> {
    outside: Outside<'a>,
    /// The bases that images named, by reference.
    bases: OnceMap<String, Result<Arc<Base>, Failed>>,
}

/// What a base's name stands for now.
struct Base {
    digest: Digest,
    /// The image for this platform, fetched when it is first compared.
    image: OnceLock<Result<(Digest, Vec<DiffId>), Failed>>,
    /// Newer versions and distributions.
    newer: OnceLock<Result<(Vec<Newer>, Option<Reason>), Failed>>,
}

/// A tag that is newer than a base's.
struct Newer {
    kind: FindingKind,
    level: Level,
    reference: Reference,
    /// Whether the base's own variant gets no newer versions any more.
    has_ended: bool,
}

/// What an image says of the base that it, or its runner, was built on.
struct Claim {
    name: String,
    digest: Option<Digest>,
    /// What takes a newer one in.
    remedy: Remedy,
}

/// What came of looking at one image.
#[derive(Default)]
struct Answer {
    findings: Vec<Found>,
    failed: Vec<Failed>,
    unknown: Vec<Unknown>,
    supported: Vec<Supported>,
    looked: Option<Looked>,
    /// Whether it has nothing that anything could be newer than.
    is_bare: bool,
}

impl<'a> CheckImages<'a> {
    /// Puts together what a check needs; the time is that of now. `words` says how a remedy is called.
    pub fn new(home: &'a Home, remote: &'a Remote, settings: &'a Settings, words: Wording<'a>) -> Self {
        Self { outside: Outside::new(home, remote, settings, words), bases: OnceMap::default() }
    }

    /// Checks images by their references; one that cannot be looked at hides no other.
    ///
    /// Fails where the store, or this user's settings for registries, cannot be read.
    pub fn run(&self, references: &[String]) -> Result<Report, PipelineError> {
        let mut parts = Parts::default();
        let answers = side_by_side(references, AT_ONCE, |text| {
            let mut answer = Answer::default();
            if let Err(stop) = self.look(text, &mut answer) {
                answer.failed.push(stop.of(text, self.outside.words)?);
            }
            Ok::<_, PipelineError>(answer)
        });
        for (text, answer) in references.iter().zip(answers) {
            let answer = answer?;
            if answer.failed.is_empty() && answer.unknown.is_empty() && answer.findings.is_empty() {
                let list = if answer.is_bare { &mut parts.bare } else { &mut parts.fresh };
                list.push(text.clone());
            }
            parts.unknown.extend(answer.unknown);
            parts.supported(answer.supported);
            let told = |found: Found| found.told(Effect::default(), self.outside.words);
            parts.findings.extend(answer.findings.into_iter().map(told));
            parts.images.extend(answer.looked);
            parts.fail(answer.failed);
        }
        Ok(self.outside.report(None, parts)?)
    }

    fn look(&self, text: &str, answer: &mut Answer) -> Result<(), Stop> {
        let reference = Reference::parse(text).map_err(Stop::told)?;
        let subject = Subject { name: text.to_owned(), reference: text.to_owned(), roles: Vec::new() };
        let is_own = self.outside.remote.local(&reference)?.is_some();
        let reach = if is_own { Reach::Own } else { Reach::Others };
        let digest = self.now(&reference)?.ok_or_else(|| {
            let hint = "check the repository and the tag; a private one may need a login".into();
            Stop::Told(format!("there is no image {}", reference.familiar()), Some(hint))
        })?;
        let image = self.image(&reference.with_digest(digest))?;
        let mut held = Held::default();
        held.name(&reference, &self.outside.cycles);
        held.environment(&image.config, &self.outside.cycles);
        let claim = claim(&image, text);
        let mut packages = None;
        let installed = self.outside.installed(&image, &reference);
        // Where layers cannot be read, the rest is told all the same.
        match installed {
            Ok(installed) => {
                held.installed(&installed);
                answer.is_bare = unknown::is_bare(&installed) && claim.is_none();
                let digest = image.digest.to_string();
                let ground = Ground { below: &BTreeSet::new(), reach };
                let mut reasons = unknown::of_packages(&installed);
                let inventory = Inventory { subject: &subject, digest: &digest, installed: &installed };
                let mut compared = self.outside.compare(inventory, ground, &mut answer.failed)?;
                let uncompared = installed.manager.and_then(|manager| {
                    unknown::of_repositories(manager, &compared.looked, compared.is_configured)
                });
                reasons.extend(uncompared);
                answer
                    .unknown
                    .extend(reasons.into_iter().map(|reason| self.outside.unknown(&subject, reason)));
                compared.looked.base = claim.as_ref().map(|claim| claim.name.clone());
                packages = self.outside.package_finding(&subject, &compared.looked, &compared.updates);
                answer.looked = Some(compared.looked);
            }
            Err(stop) => answer.failed.push(stop.of(text, self.outside.words)?),
        }
        let mut of_base = Vec::new();
        let mut moved = None;
        if let Some(claim) = claim {
            let reason = self.base_unknown(&claim);
            answer.unknown.extend(reason.map(|reason| self.outside.unknown(&subject, reason)));
            match self.base(&subject, &claim, &image) {
                Ok((findings, reason)) => {
                    answer.unknown.extend(reason.map(|reason| self.outside.unknown(&subject, reason)));
                    let is_moved = findings.iter().any(|found| found.kind() == FindingKind::BaseMoved);
                    moved = Some(claim.remedy).filter(|_| is_moved);
                    of_base = findings;
                }
                Err(stop) => answer.failed.push(stop.of(&claim.name, self.outside.words)?),
            }
        }
        // With the base, newer packages come in as well.
        answer.findings.extend(packages.map(|found| Found { remedy: moved, ..found }));
        answer.findings.extend(of_base);
        answer.findings.extend(self.outside.ends(&subject, &held));
        answer.supported = self.outside.supported(&subject, &held);
        Ok(())
    }

    /// What a reference stands for now: in the store, where the name was given there, else in its registry.
    fn now(&self, reference: &Reference) -> Result<Option<Digest>, Stop> {
        if let Some(digest) = reference.digest() {
            return Ok(Some(digest.clone()));
        }
        if let Some(digest) = self.outside.remote.local(reference)? {
            return Ok(Some(digest));
        }
        Ok(self.outside.remote.client()?.resolve(reference)?)
    }

    /// The image for this platform of a reference with a digest, whose documents are fetched where they are not here.
    fn image(&self, exact: &Reference) -> Result<Image, Stop> {
        let layout = self.outside.home.layout();
        if let Some(digest) = exact.digest()
            && let Ok(image) = Image::load(layout, digest, &self.outside.platform)
        {
            return Ok(image);
        }
        let pulled = self.outside.fetch(exact)?;
        let digest = pulled.map(|pulled| pulled.manifest).or_else(|| exact.digest().cloned());
        let digest = digest.ok_or_else(|| Stop::Told(format!("there is no image {exact}"), None))?;
        Image::load(layout, &digest, &self.outside.platform).map_err(Stop::told)
    }

    /// Why nothing can be known of what is newer than the base that an image names, where that is so.
    fn base_unknown(&self, claim: &Claim) -> Option<Reason> {
        let Ok(reference) = Reference::parse(&claim.name) else { return Some(Reason::base(&claim.name)) };
        // What packages make is compared by the packages themselves.
        let tag = reference.tag().filter(|_| !is_reserved(reference.registry()))?;
        unknown::of_tag(tag, Form::of(tag, &self.outside.cycles))
    }

    /// Findings about the base of an image: whether its name stands for another one now, and what is newer than the name;
    /// or why that is not known.
    fn base(
        &self,
        subject: &Subject,
        claim: &Claim,
        image: &Image,
    ) -> Result<(Vec<Found>, Option<Reason>), Stop> {
        let mut findings = Vec::new();
        let Ok(reference) = Reference::parse(&claim.name) else { return Ok((findings, None)) };
        let reference = reference.without_digest();
        // A base that was made of packages somewhere else is nobody's to ask.
        if is_reserved(reference.registry()) && self.outside.remote.local(&reference)?.is_none() {
            return Ok((findings, None));
        }
        let told =
            |failed: &Failed| Stop::Told(failed.message.clone(), failed.hint.clone().map(Remedy::Words));
        let words = self.outside.words;
        let names = [subject.name.as_str(), subject.reference.as_str()];
        let base = self.bases.get(reference.name(), || {
            let now = self.now(&reference).and_then(|now| {
                now.ok_or_else(|| {
                    Stop::Told(format!("there is no image {} any more", reference.familiar()), None)
                })
            });
            match now {
                Ok(digest) => Ok(Arc::new(Base { digest, image: OnceLock::new(), newer: OnceLock::new() })),
                Err(stop) => Err(failed(stop, &claim.name, words)),
            }
        });
        let base = base.as_ref().map_err(told)?;
        if claim.digest.as_ref() != Some(&base.digest) {
            let now = base.image.get_or_init(|| {
                let image = self.image(&reference.with_digest(base.digest.clone()));
                image
                    .map(|image| (image.digest.clone(), image.diff_ids().to_vec()))
                    .map_err(|stop| failed(stop, &claim.name, words))
            });
            let (manifest, layers) = now.as_ref().map_err(told)?;
            if claim.digest.as_ref() != Some(manifest) && !image.diff_ids().starts_with(layers) {
                let from =
                    claim.digest.as_ref().map_or_else(|| "another image".to_owned(), ToString::to_string);
                let text = format!("its base {} moved", reference.familiar());
                let step = Step::new(FindingKind::BaseMoved, from, text).to(base.digest.to_string());
                let judged = self.outside.judge(&claim.name, base.digest.as_str(), &names)?;
                let remedy = Some(claim.remedy.clone());
                findings.push(Found::new(subject.clone(), step, judged, remedy));
            }
        }
        let newer = base.newer.get_or_init(|| {
            self.newer(&reference, &base.digest).map_err(|stop| failed(stop, &claim.name, words))
        });
        let (newer, reason) = newer.as_ref().map_err(told)?;
        for Newer { kind, level, reference: newer, has_ended } in newer {
            let (tag, from) = (newer.tag().unwrap_or_default(), reference.familiar());
            let text = if *has_ended {
                format!("its base {from} gets no newer versions; {tag} is on the next distribution")
            } else {
                format!("its base {from} → {tag}")
            };
            let step = Step { level: Some(*level), ..Step::new(*kind, from, text).to(newer.familiar()) };
            let judged = self.outside.judge(&reference.name(), tag, &names)?;
            findings.push(Found::new(subject.clone(), step, judged, None));
        }
        Ok((findings, reason.clone()))
    }

    /// The newest of each kind of step from a base's tag that is another image, or why that is not known.
    fn newer(&self, reference: &Reference, now: &Digest) -> Result<(Vec<Newer>, Option<Reason>), Stop> {
        let mut found = Vec::new();
        let Some(current) = reference.tag() else { return Ok((found, None)) };
        let is_in_series = Form::of(current, &self.outside.cycles) == Form::Series;
        if self.outside.remote.local(reference)?.is_some() || !is_in_series {
            return Ok((found, None));
        }
        let client = self.outside.remote.client()?;
        let tags = client.tags(&Repository::of(reference))?;
        let all = suggest(reference.repository(), current, &tags, &self.outside.cycles, self.outside.today);
        for (kind, candidates) in slots(&all) {
            for candidate in candidates {
                let newer = reference.with_tag(&candidate.tag.text).map_err(PipelineError::from)?;
                if client.resolve(&newer)?.is_some_and(|digest| digest != *now) {
                    let (level, has_ended) = (candidate.level, is_successor(&all, candidate));
                    found.push(Newer { kind, level, reference: newer, has_ended });
                    break;
                }
            }
        }
        let reason = all.unclear.map(|unclear| unknown::of_newer(current, &unclear));
        Ok((found, reason))
    }
}

/// What an image says of its base: of that of its runner, where Otoshi made it an app image.
fn claim(image: &Image, text: &str) -> Option<Claim> {
    let own = image.annotations();
    if let Some(name) = own.get(RUNNER_BASE_NAME) {
        let digest = own.get(RUNNER_BASE_DIGEST).and_then(|digest| digest.parse().ok());
        return Some(Claim {
            name: name.clone(),
            digest,
            remedy: Remedy::RefreshImage { image: text.to_owned() },
        });
    }
    let claim = seam::claim(image, &BTreeMap::new())?;
    Some(Claim {
        name: claim.name?,
        digest: claim.digest,
        remedy: Remedy::RebaseImage { image: text.to_owned() },
    })
}

/// What went wrong, in a form that can be told of every image that it concerns.
fn failed(stop: Stop, name: &str, words: Wording<'_>) -> Failed {
    stop.of(name, words).unwrap_or_else(|error: PipelineError| Failed {
        reference: name.to_owned(),
        message: error.to_string(),
        hint: error.remedy().as_ref().map(words),
    })
}

impl std::fmt::Debug for CheckImages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckImages").finish_non_exhaustive()
    }
}
