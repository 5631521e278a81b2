//! Newer versions and newer distributions, and how `otoshi.toml` would have to be for them.

use otoshi_pipeline::PipelineError;
use otoshi_project::{Base, Lock, Project};
use otoshi_registry::Repository;

use super::{Check, Draft, Used, phases::Then};
use crate::{
    outside::Stop,
    report::{FindingKind, State},
    tag::{Candidate, Level, Tag, suggest},
};

impl Check<'_> {
    /// Newer versions and newer distributions among the tags of a base's repository, which are listed where they were not yet.
    pub(super) fn newer(
        &self,
        base: &Used,
        lock: &Lock,
        tags: &mut Option<Vec<String>>,
    ) -> Result<Vec<Draft>, Stop> {
        let mut drafts = Vec::new();
        let (cycles, today) = (&self.outside.cycles, self.outside.today);
        let Some(current) = base.reference.tag().filter(|_| base.reference.digest().is_none()) else {
            return Ok(drafts);
        };
        let in_series = Tag::parse(current, cycles)
            .is_some_and(|tag| tag.version.is_some() || tag.distribution.is_some());
        if !in_series {
            return Ok(drafts);
        }
        let client = self.outside.remote.client()?;
        let tags = match tags {
            Some(tags) => tags,
            None => tags.insert(client.tags(&Repository::of(&base.reference))?),
        };
        let found = suggest(base.reference.repository(), current, &*tags, cycles, today);
        let small = found.versions.iter().filter(|candidate| candidate.level != Level::Major);
        let large = found.versions.iter().filter(|candidate| candidate.level == Level::Major);
        let slots: [(FindingKind, Vec<&Candidate>); 3] = [
            (FindingKind::NewerVersion, small.collect()),
            (FindingKind::NewerVersion, large.collect()),
            (FindingKind::NewerDistribution, found.distributions.iter().collect()),
        ];
        let locked = lock.roles.values().find_map(|bases| Some(bases.get(&base.text)?.index.clone()));
        for (kind, candidates) in slots {
            // The newest that can be taken in; those that are newer still and wait are told before it.
            for candidate in candidates {
                let change = self.change(base, &candidate.tag.text);
                let subject = change.as_ref().map_or(base.name.as_str(), |change| change.name.as_str());
                let names = [subject, base.name.as_str(), base.text.as_str()];
                let version = candidate.tag.version.as_ref().map(|version| version.numbers.clone());
                if let (Some((range, _)), Some(version)) =
                    (self.project.manifest.check.range(&names), version)
                    && !range.has(&version)
                {
                    continue;
                }
                let newer = base.reference.with_tag(&candidate.tag.text).map_err(PipelineError::plain)?;
                let same =
                    client.resolve(&newer)?.is_none_or(|digest| locked.as_deref() == Some(digest.as_str()));
                if same {
                    continue;
                }
                let to = Some(newer.familiar());
                let mut finding = base.subject(&base.roles).finding(kind, base.reference.familiar(), to);
                finding.level = Some(candidate.level);
                subject.clone_into(&mut finding.name);
                finding.text = format!("{} → {}", base.reference.familiar(), candidate.tag.text);
                finding.command = Some(match &change {
                    Some(change) => format!("set {} in otoshi.toml, then otoshi build", change.text),
                    None => format!("name {} in the Dockerfile, then otoshi build", newer.familiar()),
                });
                self.outside.judge(
                    &mut finding,
                    &base.reference.name(),
                    &candidate.tag.text,
                    Some(&names),
                )?;
                let then = change
                    .map_or(Then::Nothing, |change| Then::Project(Box::new(change.project), lock.clone()));
                let taken = finding.state == State::Found;
                drafts.push(Draft { finding, then });
                if taken {
                    break;
                }
            }
        }
        Ok(drafts)
    }

    /// How `otoshi.toml` would have to be for a base to have a tag: one version, or the base itself.
    fn change(&self, base: &Used, tag: &str) -> Option<Change> {
        let Some(Base::Image(template)) = self.project.manifest.bases.get(&base.name) else { return None };
        let wanted = format!("{}:{tag}", base.text.strip_suffix(&format!(":{}", base.reference.tag()?))?);
        let mut project = self.project.clone();
        if !template.contains('{') {
            project.manifest.bases.insert(base.name.clone(), Base::Image(wanted.clone()));
            let text = format!("{} = {wanted:?}", base.name);
            return Some(Change { name: base.name.clone(), text, project });
        }
        for name in self.project.manifest.versions.keys() {
            let Some((start, end)) = template.split_once(&format!("{{{name}}}")) else { continue };
            let filled = |part: &str| {
                let fill = |text: String, (name, value): (&String, &String)| {
                    text.replace(&format!("{{{name}}}"), value)
                };
                self.project.manifest.versions.iter().fold(part.to_owned(), fill)
            };
            let value = wanted.strip_prefix(&filled(start)).and_then(|rest| rest.strip_suffix(&filled(end)));
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            project.manifest.versions.insert(name.clone(), value.to_owned());
            if project.bases().ok()?.get(&base.name) == Some(&wanted) {
                return Some(Change { name: name.clone(), text: format!("{name} = {value:?}"), project });
            }
            project = self.project.clone();
        }
        None
    }
}

/// Another project that has what is newer.
struct Change {
    /// The version or base that changes.
    name: String,
    /// As it would stand in `otoshi.toml`.
    text: String,
    project: Project,
}
