//! One image: its old and new base, what the proof says, and what comes out.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Image, Platform, Reference};
use otoshi_rebase::{
    Bases, Claim, Finding, Kind, Source, compose,
    compose::is_older,
    proof::{Proof, judge},
    seam,
};
use otoshi_registry::Progress;

use super::{
    RebaseOptions, Rebaser,
    images::Named,
    moved::{Judged, Moved},
    rebaser::missing,
    report::{Outcome, Rebased},
    write::{Done, Writer},
};
use crate::PipelineError;

/// The rebase of one image.
struct Work<'a> {
    by: &'a Rebaser<'a>,
    named: &'a Named,
    options: &'a RebaseOptions,
}

impl Rebaser<'_> {
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
        let (moved, onto) = Work { by: self, named: &named, options }.decide()?;
        let refused = moved.iter().filter_map(|one| one.judged.as_ref()).any(|one| !one.findings.is_empty());
        let same = moved.iter().all(|one| one.judged.is_none());
        let outcome = match (refused, same, options.dry_run) {
            (true, ..) => Outcome::Refused,
            (_, true, _) => Outcome::Same,
            (.., true) => Outcome::WouldRebase,
            _ => Outcome::Rebased,
        };
        let writer = Writer { by: self, named: &named, moved: &moved, since };
        let done = match outcome {
            Outcome::Refused | Outcome::Same => Done::default(),
            Outcome::WouldRebase => writer.write()?,
            Outcome::Rebased => writer.write_and_put(progress)?,
        };
        Ok(Rebased {
            version: 1,
            image: reference.familiar(),
            outcome,
            in_store: named.is_local,
            onto: onto.map(|onto| onto.familiar()).unwrap_or_default(),
            old: named.digest.to_string(),
            new: done.new.as_ref().map(Digest::to_string),
            platforms: moved.into_iter().map(|one| one.report(&done.replaced)).collect(),
            left_behind: done.left_behind,
            layers: done.layers,
            requests: self.remote.client()?.requests() - before,
            moved: done.moved,
            took_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Work<'_> {
    /// Decides on the image for every platform that is wanted. Gives the new base's name, too.
    fn decide(&self) -> Result<(Vec<Moved>, Option<Reference>), PipelineError> {
        let (named, options) = (self.named, self.options);
        let (mut moved, mut onto) = (Vec::new(), options.onto.clone());
        for (platform, digest) in &named.images {
            let wanted = platform.as_ref().is_none_or(|platform| {
                options.platforms.is_empty()
                    || options.platforms.iter().any(|wanted| wanted.matches(platform))
            });
            if wanted {
                moved.push(self.one(platform.as_ref(), digest, &mut onto)?);
            }
        }
        if moved.is_empty() {
            let list: Vec<_> = options.platforms.iter().map(ToString::to_string).collect();
            let (name, has) = (named.reference.familiar(), named.platforms());
            return Err(if has.is_empty() {
                let text = format!("{name}: it is an index that lists no image");
                PipelineError::invalid(text, Remedy::InspectIndex)
            } else {
                let text = format!("{name}: it has no image for {}", list.join(", "));
                PipelineError::invalid(text, format!("it has {has}"))
            });
        }
        Ok((moved, onto))
    }

    /// Decides on one image.
    fn one(
        &self,
        platform: Option<&Platform>,
        digest: &Digest,
        onto: &mut Option<Reference>,
    ) -> Result<Moved, PipelineError> {
        let (by, named) = (self.by, self.named);
        let any = platform.cloned().unwrap_or_else(Platform::host);
        let app =
            by.images().image(&named.reference, digest, &any)?.ok_or_else(|| missing(&named.reference))?;
        let platform = platform.cloned().unwrap_or_else(|| app.platform());
        let claim = seam::claim(&app, &named.annotations);
        let target = match onto {
            Some(onto) => onto.clone(),
            None => self.target(claim.as_ref())?,
        };
        *onto = Some(target.clone());
        let base = by.name(&target)?.ok_or_else(|| missing(&target))?;
        let new = base.of(&platform).ok_or_else(|| {
            let text = format!("{}: it has no image for {platform}", target.familiar());
            PipelineError::invalid(text, Remedy::NamePlatforms)
        })?;
        let new = by.images().image(&target, new, &platform)?.ok_or_else(|| missing(&target))?;
        let (old, source) = self.old_base(claim.as_ref(), &target, &platform)?;
        let (of_app, of_new) = (app.diff_ids(), new.diff_ids());
        let found = seam::find(of_app, claim.as_ref(), old.as_ref().map(Image::diff_ids));
        let seam = found.map_err(|error| {
            PipelineError::invalid(format!("{}: {error}", named.reference.familiar()), Remedy::NameOldBase)
        })?;
        let unchanged = of_app[..seam] == *of_new
            && old.as_ref().is_none_or(|old| old.config.config == new.config.config);
        let base = base.digest.clone();
        if unchanged {
            return Ok(Moved { platform, source, seam, app, old, new, base, judged: None });
        }
        let name = claim.as_ref().and_then(|claim| claim.name.clone());
        let name = self.options.onto.as_ref().map(ToString::to_string).or(name);
        let parts = Bases {
            app: &app,
            old: old.as_ref(),
            new: &new,
            seam,
            name: name.as_deref(),
            digest: &new.digest,
        };
        let composed = compose(parts)?;
        let Proof { mut findings, examined } = by.prove(&app, seam, &new, &composed)?;
        if let Some(old) = &old
            && is_older(old, &new)
        {
            findings.push(downgrade(&target, old, &new));
        }
        if seam::is_refused(&app) {
            findings.push(not_rebasable());
        }
        let (findings, waived) = judge(findings, &self.options.allow);
        let judged = Some(Judged { composed, findings, waived, examined });
        Ok(Moved { platform, source, seam, app, old, new, base, judged })
    }

    /// The new base, where it is not given: what the name of the old one stands for now.
    fn target(&self, claim: Option<&Claim>) -> Result<Reference, PipelineError> {
        let named = self.named;
        if let Some(base) = &self.options.base {
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
            Remedy::NameBothBases,
        ))
    }

    /// The old base as it was, where somebody still has it.
    fn old_base(
        &self,
        claim: Option<&Claim>,
        target: &Reference,
        platform: &Platform,
    ) -> Result<(Option<Image>, Source), PipelineError> {
        if let Some(base) = &self.options.base {
            let found = self.by.name(base)?.ok_or_else(|| missing(base))?;
            let digest = found.of(platform).ok_or_else(|| missing(base))?;
            return Ok((self.by.images().image(base, digest, platform)?, Source::Given));
        }
        let Some(claim) = claim else { return Ok((None, Source::Given)) };
        let Some(digest) = &claim.digest else { return Ok((None, claim.source)) };
        let said = claim.place.iter().chain(&claim.name).filter_map(|name| Reference::parse(name).ok());
        let mut tried = BTreeSet::new();
        for place in said.chain([target.clone(), self.named.reference.clone()]) {
            if !tried.insert(place.name()) {
                continue;
            }
            match self.by.images().image(&place, digest, platform) {
                Ok(Some(image)) => return Ok((Some(image), claim.source)),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, place = place.name(), "the old base is not there"),
            }
        }
        Ok((None, claim.source))
    }
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
