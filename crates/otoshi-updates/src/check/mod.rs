//! A check of a project: every base is looked at for itself, so that one that fails hides no other, and then the runner.
//!
//! Tags are asked by HEAD; an image is fetched (manifest and config) only where a tag names something that is not known here,
//! and not while its registry says that little is left of its budget. Repositories of registries are asked side by side, the
//! bases of one after another: their tags are listed once, and one that does not answer is not asked again.
//!
//! ```text
//! moved    tags that name another image now          packages   what is installed in bases and runner
//! newer    newer versions and distributions          phases     what a finding would make run
//! place    where in the project the thing is named
//! ```

mod moved;
mod newer;
mod packages;
mod phases;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use otoshi_engine::Engine;
use otoshi_oci::Reference;
use otoshi_packages::{Package, apt::Reach};
use otoshi_pipeline::{Pipeline, PipelineError, Remote, side_by_side};
use otoshi_project::{BaseName, Lock, Packages, Project, Role};
use otoshi_registry::Repository;
use otoshi_store::Home;

use self::{
    packages::Inside,
    phases::{Planner, Then},
    place::Places,
};
use crate::{
    ends::Held,
    outside::{Outside, Stop, Subject},
    packages::Ground,
    report::{Failed, Finding, FindingKind, Report, Supported, Unknown},
};

/// The roles whose bases a refresh leaves alone unless it is told otherwise.
const BUILDER_SIDE: [Role; 2] = [Role::Builder, Role::Arguments];
/// How many repositories are asked at the same time.
const AT_ONCE: usize = 8;

/// Looks at what is newer than what a project uses; runs nothing and moves nothing.
pub struct Check<'a> {
    outside: Outside<'a>,
    engine: &'a dyn Engine,
    project: &'a Project,
    tells_phases: bool,
}

/// One base with the roles that use it.
struct Used {
    text: BaseName,
    name: String,
    roles: BTreeSet<Role>,
    /// The Dockerfiles that name it.
    dockerfiles: BTreeSet<String>,
    /// What it is made of, where it is made here of packages.
    made_of: Option<Packages>,
    /// Whose word it is where its packages come from.
    reach: Reach,
}

impl Used {
    /// What findings about it are about, for some of its roles.
    fn subject<'r>(&self, roles: impl IntoIterator<Item = &'r Role>) -> Subject {
        Subject {
            name: self.name.clone(),
            reference: self.text.to_string(),
            roles: roles.into_iter().copied().collect(),
        }
    }

    fn reference(&self) -> &Reference {
        self.text.reference()
    }
}

/// A finding, and what would be if it were taken in.
struct Draft {
    finding: Finding,
    then: Then,
}

/// What came of looking at one base.
#[derive(Default)]
struct Asked {
    drafts: Vec<Draft>,
    failed: Vec<Failed>,
    /// What was looked at and not understood.
    unknown: Vec<Unknown>,
    /// Whether it has nothing that anything could be newer than.
    is_bare: bool,
    /// What is installed in its images, beside their repositories.
    inside: Vec<Inside>,
    held: Held,
    supported: Vec<Supported>,
}

impl<'a> Check<'a> {
    /// Puts together what a check needs; the time is that of now.
    pub fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project, remote: &'a Remote) -> Self {
        Self {
            outside: Outside::new(home, remote, &project.manifest.check),
            engine,
            project,
            tells_phases: true,
        }
    }

    /// Leaves out of findings which phases they would make run and where they come from, for one who asks neither.
    pub(crate) fn without_phases(mut self) -> Self {
        self.tells_phases = false;
        self
    }

    /// Checks every base that comes from a registry or the store, and the runner.
    pub fn run(&self) -> Result<Report, PipelineError> {
        let pipeline =
            Pipeline::new(self.outside.home, self.engine, self.project).with_remote(self.outside.remote);
        let lock = Lock::load(&self.project.root.join("otoshi.lock"))?;
        let mut report = self.outside.report(Some(&self.project.manifest.project.name));
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
        if let Some((name, image, planned)) = planner.runner()? {
            is_planned = planned;
            let inside = answers.values().flat_map(|answer| &answer.inside);
            let below =
                inside.filter(|inside| inside.is_in(Role::Runner)).flat_map(|inside| &inside.packages);
            let below: BTreeSet<Package> = below.cloned().collect();
            // What lies below it may be somebody else's.
            let is_own = |base: &Used| !base.roles.contains(&Role::Runner) || base.reach == Reach::Own;
            let reach = if bases.values().all(is_own) { Reach::Own } else { Reach::Others };
            match self.runner(&name, &image, Ground { below: &below, reach }, &mut runner) {
                Ok(inside) => runner.inside.extend(inside),
                Err(stop) => runner.failed.push(stop.of(&name)?),
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
        let mut places = Places::new(self.project);
        for (base, mut answer) in answers {
            let used = bases.get(base);
            for inside in &answer.inside {
                let draft = used.and_then(|used| self.base_draft(used, inside, &answer.drafts, current));
                answer.drafts.extend(draft);
            }
            self.take(&mut report, (&mut planner, &mut places), base, used, answer)?;
        }
        let moves = report.findings.iter().any(|finding| {
            let of_runner = finding.roles.contains(&Role::Runner);
            let made = bases.get(finding.reference.as_str()).is_some_and(|base| base.made_of.is_some());
            of_runner && (made || finding.kind == FindingKind::BaseMoved)
        });
        let name = above.as_ref().map(|inside| inside.looked.reference.clone()).unwrap_or_default();
        runner.drafts.extend(above.and_then(|inside| self.runner_draft(&inside, moves)));
        self.take(&mut report, (&mut planner, &mut places), &name, None, runner)?;
        self.outside.finish(&mut report)?;
        Ok(report)
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
                failed.push(stop.of(base.text.as_str())?);
                Ok::<_, PipelineError>(Vec::new())
            }
        };
        if base.made_of.is_none() {
            let local = self.outside.remote.local(base.reference())?;
            asked.drafts = told(self.moved(base, lock, local.as_ref()), &mut asked.failed)?;
            // A registry that did not answer just now is not asked again.
            if asked.failed.is_empty() && local.is_none() {
                asked.unknown.extend(self.tag_unknown(base));
                asked.drafts.extend(told(self.newer(base, lock, tags), &mut asked.failed)?);
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
            Err(stop) => asked.failed.push(stop.of(base.text.as_str())?),
        }
        let subject = base.subject(&base.roles);
        asked.supported = self.outside.supported(&subject, &asked.held);
        let ends = self.outside.ends(&subject, &asked.held);
        asked.drafts.extend(ends.into_iter().map(|finding| Draft { finding, then: Then::Nothing }));
        Ok(asked)
    }

    /// Puts into a report what came of a base or the runner; what failed twice in the same way is told once.
    fn take(
        &self,
        report: &mut Report,
        (planner, places): (&mut Planner<'_, 'a>, &mut Places<'_>),
        name: &str,
        base: Option<&Used>,
        mut answer: Asked,
    ) -> Result<(), PipelineError> {
        let not_known = answer.inside.iter().filter_map(Inside::unknown);
        answer.unknown.extend(not_known.map(|(subject, reason)| self.outside.unknown(subject, reason)));
        let was_looked_at = base.is_some() || !answer.inside.is_empty();
        if answer.failed.is_empty() && answer.unknown.is_empty() && answer.drafts.is_empty() {
            // The name of a base says something, whatever is in it.
            if was_looked_at {
                report.fresh.push(name.to_owned());
            } else if answer.is_bare {
                report.bare.push(name.to_owned());
            }
        }
        for Draft { mut finding, then } in answer.drafts {
            if self.tells_phases {
                planner.tell(&mut finding, then)?;
                finding.location = places.of(&finding, base);
            }
            report.findings.push(finding);
        }
        report.fail(answer.failed);
        report.unknown.extend(answer.unknown);
        report.supported(answer.supported);
        report.images.extend(answer.inside.into_iter().map(|inside| inside.looked));
        Ok(())
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("project", &self.project.root).finish_non_exhaustive()
    }
}
