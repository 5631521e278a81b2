//! Newer versions and newer distributions, and how `otoshi.toml` would have to be for them.

use otoshi_explain::Remedy;
use otoshi_oci::Reference;
use otoshi_pipeline::PipelineError;
use otoshi_project::{Lock, Setting};
use otoshi_registry::Repository;

use super::{
    project::Check,
    used::{Draft, Then, Used},
};
use crate::{
    found::{Found, Step},
    kind::State,
    report::Unknown,
    stop::Stop,
    subject::Subject,
    tag::{Form, is_successor, slots, suggest},
    unknown,
};

impl Check<'_> {
    /// Newer versions and newer distributions among the tags of a base's repository, which are listed where they were not yet;
    /// what is not understood of them goes to `not_known`.
    pub(super) fn newer(
        &self,
        base: &Used,
        lock: &Lock,
        tags: &mut Option<Vec<String>>,
        not_known: &mut Vec<Unknown>,
    ) -> Result<Vec<Draft>, Stop> {
        let mut drafts = Vec::new();
        let (cycles, today) = (&self.outside.cycles, self.outside.today);
        let Some(current) = base.reference().tag() else { return Ok(drafts) };
        if Form::of(current, cycles) != Form::Series {
            return Ok(drafts);
        }
        let client = self.outside.remote.client()?;
        let tags = match tags {
            Some(tags) => tags,
            None => tags.insert(client.tags(&Repository::of(base.reference()))?),
        };
        let suggested = suggest(base.reference().repository(), current, &*tags, cycles, today);
        if let Some(unclear) = &suggested.unclear {
            let reason = unknown::of_newer(current, unclear);
            not_known.push(self.outside.unknown(&base.subject(&base.roles), reason));
        }
        let locked = lock.roles.values().find_map(|bases| Some(bases.get(base.text.as_str())?.index.clone()));
        for (kind, candidates) in slots(&suggested) {
            // The newest that can be taken in; those that are newer still and wait are told before it.
            for candidate in candidates {
                let newer = base.reference().with_tag(&candidate.tag.text).map_err(PipelineError::from)?;
                let settings = self.settings(base, &newer);
                let subject = settings.first().map_or(&base.name, |setting| &setting.name).clone();
                let names = [subject.as_str(), base.name.as_str(), base.text.as_str()];
                let version = candidate.tag.version.as_ref().map(|version| version.numbers.clone());
                if let (Some((range, _)), Some(version)) =
                    (self.project.manifest.check.range(&names), version)
                    && !range.has(&version)
                {
                    continue;
                }
                let Some(digest) = client.resolve(&newer)? else { continue };
                if locked.as_ref() == Some(&digest) || self.breaks_others(base, &settings)? {
                    continue;
                }
                // What is named by its digest as well stays so.
                let pinned = base.reference().digest().is_some();
                let (newer, settings) = if pinned {
                    let newer = newer.with_digest(digest);
                    let settings = self.settings(base, &newer);
                    (newer, settings)
                } else {
                    (newer, settings)
                };
                let (from, tag) = (base.reference().familiar(), &candidate.tag.text);
                let text = if is_successor(&suggested, candidate) {
                    format!("{from} gets no newer versions; {tag} is on the next distribution")
                } else {
                    format!("{from} → {tag}")
                };
                let judged = self.outside.judge(&base.reference().name(), tag, &names)?;
                let remedy = Some(taking(&settings, &newer.familiar()));
                let then = if settings.is_empty() {
                    Then::Nothing
                } else {
                    Then::Project(
                        Box::new(self.project.with_settings(&settings)),
                        lock.clone(),
                        newer.clone(),
                    )
                };
                let step = Step::new(kind, from, text).to(newer.familiar());
                let step = Step { level: Some(candidate.level), set: settings, ..step };
                let subject = Subject { name: subject.clone(), ..base.subject(&base.roles) };
                let found = Found::new(subject, step, judged, remedy);
                let taken = found.state() == State::Found;
                drafts.push(Draft { found, then });
                if taken {
                    break;
                }
            }
        }
        Ok(drafts)
    }

    /// Why nothing can be known of what is newer than a base's tag, where that is so.
    pub(super) fn tag_unknown(&self, base: &Used) -> Option<Unknown> {
        let reason = match base.reference().tag() {
            Some(tag) => unknown::of_tag(tag, Form::of(tag, &self.outside.cycles))?,
            None if base.reference().digest().is_some() => unknown::of_digest(),
            None => return None,
        };
        Some(self.outside.unknown(&base.subject(&base.roles), reason))
    }

    /// The other values that `otoshi.toml` needs for a base to be another image of its repository; that of the base's own name first.
    pub(super) fn settings(&self, base: &Used, newer: &Reference) -> Vec<Setting> {
        let suffix = |reference: &Reference| {
            let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            tag + &reference.digest().map(|digest| format!("@{digest}")).unwrap_or_default()
        };
        let name = base.text.as_str().strip_suffix(&suffix(base.reference()));
        let wanted = name.map(|name| format!("{name}{}", suffix(newer)));
        let mut found =
            wanted.map(|wanted| self.project.settings_for(base.text.as_str(), &wanted)).unwrap_or_default();
        found.sort_by_key(|setting| setting.name != base.name);
        found
    }

    /// Whether other bases that a value is part of would name nothing with another one.
    fn breaks_others(&self, base: &Used, settings: &[Setting]) -> Result<bool, Stop> {
        let (now, then) = (self.project.bases(), self.project.with_settings(settings).bases());
        let (now, then) = (now.map_err(PipelineError::from)?, then.map_err(PipelineError::from)?);
        for (name, reference) in then.iter().filter(|(name, reference)| now.get(*name) != Some(*reference)) {
            if now.get(name).is_some_and(|now| now == base.text.as_str()) {
                continue;
            }
            // A registry that does not answer is told of with its own base.
            let Ok(reference) = Reference::parse(reference) else { return Ok(true) };
            if let Ok(None) = self.outside.remote.client()?.resolve(&reference) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What takes another image in: values of `otoshi.toml`, or its name in a Dockerfile.
pub(super) fn taking(settings: &[Setting], newer: &str) -> Remedy {
    if settings.is_empty() {
        return Remedy::NameInDockerfile { image: newer.to_owned() };
    }
    Remedy::Update { settings: settings.iter().map(ToString::to_string).collect() }
}
