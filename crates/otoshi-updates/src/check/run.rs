//! The check itself: what is asked of each base and of the runner, and what of that is reported.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_packages::{Package, apt::Reach};
use otoshi_pipeline::{Pipeline, PipelineError, side_by_side};
use otoshi_project::{BaseName, Lock, Role};
use otoshi_registry::Repository;

use super::{
    phases::Planner,
    place::Places,
    project::Check,
    used::{Asked, Draft, Inside, Then, Used},
};
use crate::{
    found::Effect,
    kind::FindingKind,
    packages::Ground,
    report::{Failed, Parts, Report},
    stop::Stop,
};

/// How many repositories are asked at the same time.
const AT_ONCE: usize = 8;

/// What findings would make run, and where their subjects stand.
struct Effects<'c, 'a> {
    planner: Planner<'c, 'a>,
    places: Places<'c>,
}

/// Of what an answer is: a base, or the runner.
struct Of<'u> {
    name: &'u str,
    base: Option<&'u Used>,
}

impl<'a> Check<'a> {
    /// Checks every base that comes from a registry or the store, and the runner.
    ///
    /// Fails where the project's files are wrong, and where the store, or this user's settings for registries, cannot be read.
    pub fn run(&self) -> Result<Report, PipelineError> {
        let pipeline =
            Pipeline::new(self.outside.home, self.engine, self.project).with_remote(self.outside.remote);
        let lock = Lock::load(&self.project.root.join("otoshi.lock"))?;
        let mut parts = Parts::default();
        let bases = self.used(&pipeline)?;
        let mut groups: BTreeMap<Repository, Vec<&Used>> = BTreeMap::new();
        for base in bases.values() {
            groups.entry(Repository::of(base.reference())).or_default().push(base);
        }
        let groups: Vec<Vec<&Used>> = groups.into_values().collect();
        let asked = side_by_side(&groups, AT_ONCE, |group| self.ask_all(group, &lock));
        let mut answers: BTreeMap<&str, Asked> = BTreeMap::new();
        for (group, asked) in groups.iter().zip(asked) {
            answers.extend(group.iter().map(|base| base.text.as_str()).zip(asked?));
        }
        let mut planner = Planner::new(self, pipeline);
        let mut runner = Asked::default();
        let mut is_planned = false;
        let mut name = String::new();
        if let Some((made, image, planned)) = planner.runner()? {
            is_planned = planned;
            name = made;
            let inside = answers.values().flat_map(|answer| &answer.inside);
            let below =
                inside.filter(|inside| inside.is_in(Role::Runner)).flat_map(|inside| &inside.packages);
            let below: BTreeSet<Package> = below.cloned().collect();
            // What lies below it may be somebody else's.
            let is_own = |base: &Used| !base.roles.contains(&Role::Runner) || base.reach == Reach::Own;
            let reach = if bases.values().all(is_own) { Reach::Own } else { Reach::Others };
            match self.runner(&name, &image, Ground { below: &below, reach }, &mut runner) {
                Ok(inside) => runner.inside.extend(inside),
                Err(stop) => runner.failed.push(stop.of(&name, self.outside.words)?),
            }
        }
        if let Some(inside) = runner.inside.first_mut() {
            // What comes with a base of packages is in the repositories of that.
            let made = answers.values().flat_map(|answer| &answer.inside).filter(|inside| inside.is_made());
            let made: BTreeSet<&Package> = made.flat_map(|inside| &inside.packages).collect();
            inside.forget_foreign(&made);
        }
        let above = runner.inside.first().cloned();
        // One that a build would not give any more says nothing of what is taken in.
        let current = above.as_ref().filter(|_| is_planned);
        let mut effects = Effects { planner, places: Places::new(self.project) };
        for (base, mut answer) in answers {
            let used = bases.get(base);
            for inside in &answer.inside {
                let draft = used.and_then(|used| self.base_draft(used, inside, &answer.drafts, current));
                answer.drafts.extend(draft);
            }
            self.take(&mut parts, &mut effects, Of { name: base, base: used }, answer)?;
        }
        let moves = parts.findings.iter().any(|finding| {
            let of_runner = finding.roles.contains(&Role::Runner);
            let made = bases.get(finding.reference.as_str()).is_some_and(|base| base.made_of.is_some());
            of_runner && (made || finding.kind == FindingKind::BaseMoved)
        });
        runner.drafts.extend(above.and_then(|inside| self.runner_draft(&inside, moves)));
        self.take(&mut parts, &mut effects, Of { name: &name, base: None }, runner)?;
        Ok(self.outside.report(Some(&self.project.manifest.project.name), parts)?)
    }

    /// Every base with its roles.
    fn used(&self, pipeline: &Pipeline<'_>) -> Result<BTreeMap<BaseName, Used>, PipelineError> {
        let names: BTreeMap<String, String> =
            self.project.bases()?.into_iter().map(|(name, reference)| (reference, name)).collect();
        let made_here = self.project.package_bases()?;
        let mut bases: BTreeMap<BaseName, Used> = BTreeMap::new();
        for base in pipeline.used_bases()? {
            let text = base.reference;
            let made_of = made_here.get(text.as_str()).cloned();
            let name = names.get(text.as_str()).cloned().unwrap_or_else(|| text.to_string());
            let (roles, dockerfiles) = (BTreeSet::new(), BTreeSet::new());
            let is_own = made_of.is_some() || self.outside.remote.local(text.reference())?.is_some();
            let reach = if is_own { Reach::Own } else { Reach::Others };
            let used = Used { text: text.clone(), name, roles, dockerfiles, made_of, reach };
            let used = bases.entry(text).or_insert(used);
            used.roles.insert(base.role);
            used.dockerfiles.extend(base.dockerfile);
        }
        Ok(bases)
    }

    /// Asks about bases that are in one repository of a registry.
    fn ask_all(&self, bases: &[&Used], lock: &Lock) -> Result<Vec<Asked>, PipelineError> {
        let mut tags = None;
        bases.iter().map(|base| self.ask(base, lock, &mut tags)).collect()
    }

    fn ask(&self, base: &Used, lock: &Lock, tags: &mut Option<Vec<String>>) -> Result<Asked, PipelineError> {
        let mut asked = Asked::default();
        let told = |outcome: Result<Vec<Draft>, Stop>, failed: &mut Vec<Failed>| match outcome {
            Ok(drafts) => Ok(drafts),
            Err(stop) => {
                failed.push(stop.of(base.text.as_str(), self.outside.words)?);
                Ok::<_, PipelineError>(Vec::new())
            }
        };
        if base.made_of.is_none() {
            let local = self.outside.remote.local(base.reference())?;
            asked.drafts = told(self.moved(base, lock, local.as_ref()), &mut asked.failed)?;
            // A registry that did not answer just now is not asked again.
            if asked.failed.is_empty() && local.is_none() {
                asked.unknown.extend(self.tag_unknown(base));
                let newer = self.newer(base, lock, tags, &mut asked.unknown);
                asked.drafts.extend(told(newer, &mut asked.failed)?);
            }
        }
        asked.held.name(base.reference(), &self.outside.cycles);
        let looked = match &base.made_of {
            Some(packages) => self.made(base, packages, lock, &mut asked),
            None => self.packages(base, lock, &mut asked),
        };
        match looked {
            Ok(()) => {}
            // It was told already, and is nothing of the packages.
            Err(Stop::Registry(_) | Stop::Budget(_)) if !asked.failed.is_empty() => {}
            Err(stop) => asked.failed.push(stop.of(base.text.as_str(), self.outside.words)?),
        }
        let subject = base.subject(&base.roles);
        asked.supported = self.outside.supported(&subject, &asked.held);
        let ends = self.outside.ends(&subject, &asked.held);
        asked.drafts.extend(ends.into_iter().map(|found| Draft { found, then: Then::Nothing }));
        Ok(asked)
    }

    /// Puts into a report what came of a base or the runner; what failed twice in the same way is told once.
    fn take(
        &self,
        parts: &mut Parts,
        effects: &mut Effects<'_, 'a>,
        Of { name, base }: Of<'_>,
        mut answer: Asked,
    ) -> Result<(), PipelineError> {
        let not_known = answer.inside.iter().filter_map(Inside::unknown);
        answer.unknown.extend(not_known.map(|(subject, reason)| self.outside.unknown(subject, reason)));
        let was_looked_at = base.is_some() || !answer.inside.is_empty();
        if answer.failed.is_empty() && answer.unknown.is_empty() && answer.drafts.is_empty() {
            // The name of a base says something, whatever is in it.
            if was_looked_at {
                parts.fresh.push(name.to_owned());
            } else if answer.is_bare {
                parts.bare.push(name.to_owned());
            }
        }
        for Draft { found, then } in answer.drafts {
            let effect = if self.tells_phases {
                let (phases, not_known) = match effects.planner.phases(then)? {
                    Ok(phases) => (phases, None),
                    Err(why) => (Vec::new(), Some(why)),
                };
                Effect { phases, not_known, location: effects.places.of(&found.subject.name, base) }
            } else {
                Effect::default()
            };
            parts.findings.push(found.told(effect, self.outside.words));
        }
        parts.fail(answer.failed);
        parts.unknown.extend(answer.unknown);
        parts.supported(answer.supported);
        parts.images.extend(answer.inside.into_iter().map(|inside| inside.looked));
        Ok(())
    }
}
