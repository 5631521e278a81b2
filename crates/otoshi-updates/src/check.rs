//! A check of a project: every base is looked at for itself, so that one that fails hides no other.
//!
//! Tags are asked by HEAD; an image is fetched (manifest and config, no layer) only where a tag names something that is not
//! known here, and not while its registry says that little is left of its budget.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use otoshi_engine::Engine;
use otoshi_oci::{Digest, Image, Platform, Reference};
use otoshi_pipeline::{Outlook, PhasePlan, Pipeline, PipelineError, Remote};
use otoshi_project::{Base, Lock, Project};
use otoshi_registry::{Depth, RegistryError, Repository};
use otoshi_store::Home;

use crate::{
    Cycles, End, end_of,
    ledger::Ledger,
    report::{Counts, CyclesUsed, Failed, Finding, FindingKind, Report, State},
    tag::{Candidate, Level, Tag, suggest},
};

/// How few requests may be left before no image is fetched, where the project does not say.
const BUDGET_FLOOR: u64 = 10;
const BUILDER_SIDE: [&str; 2] = ["builder", "args"];

/// Looks at what is newer than what a project uses; runs nothing and moves nothing.
pub struct Check<'a> {
    home: &'a Home,
    engine: &'a dyn Engine,
    project: &'a Project,
    remote: &'a Remote,
    cycles: Cycles,
    now: Timestamp,
    today: Date,
    platform: Platform,
}

/// One base with the roles that use it.
struct Used {
    reference: Reference,
    text: String,
    name: String,
    roles: BTreeSet<&'static str>,
}

impl<'a> Check<'a> {
    /// Puts together what a check needs; the time is that of now.
    pub fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project, remote: &'a Remote) -> Self {
        let now = Timestamp::now();
        let today = TimeZone::UTC.to_datetime(now).date();
        Self {
            home,
            engine,
            project,
            remote,
            cycles: Cycles::built_in(),
            now,
            today,
            platform: Platform::host(),
        }
    }

    /// Checks every base that comes from a registry.
    pub fn run(&self) -> Result<Report, PipelineError> {
        let pipeline = Pipeline::new(self.home, self.engine, self.project).with_remote(self.remote);
        let lock = Lock::load(&self.project.root.join("otoshi.lock"))?;
        let names: BTreeMap<String, String> =
            self.project.bases()?.into_iter().map(|(name, reference)| (reference, name)).collect();
        let made_here = self.project.package_bases()?;
        let mut bases: BTreeMap<String, Used> = BTreeMap::new();
        let mut report = Report {
            version: 1,
            project: self.project.manifest.project.name.clone(),
            findings: Vec::new(),
            failed: Vec::new(),
            fresh: Vec::new(),
            counts: Counts::default(),
            cycles: CyclesUsed { date: self.cycles.date.to_string(), age_days: self.cycles.age(self.today) },
            requests: 0,
        };
        for base in pipeline.used_bases()? {
            if made_here.contains_key(&base.reference) {
                continue;
            }
            match Reference::parse(&base.reference) {
                Ok(reference) => {
                    let name = names.get(&base.reference).unwrap_or(&base.reference).clone();
                    let text = base.reference.clone();
                    let used = Used { reference, text, name, roles: BTreeSet::new() };
                    bases.entry(base.reference).or_insert(used).roles.insert(base.role);
                }
                Err(error) => report.failed.push(Failed {
                    reference: base.reference,
                    message: error.to_string(),
                    hint: error.hint(),
                }),
            }
        }
        let mut before = None;
        for base in bases.values() {
            let found = report.findings.len();
            let failed = |error: &RegistryError| Failed {
                reference: base.text.clone(),
                message: error.to_string(),
                hint: error.hint(),
            };
            let mut failures = Vec::new();
            if !self.remote.is_local(&base.reference)? {
                match self.moved(base, &lock, &pipeline, &mut before) {
                    Ok(findings) => report.findings.extend(findings),
                    Err(Stop::Registry(error)) => failures.push(failed(&error)),
                    Err(Stop::Budget(left)) => failures.push(Failed {
                        reference: base.text.clone(),
                        message: format!("not looked at: its registry says that {left} requests are left"),
                        hint: Some("wait, log in for a larger budget, or lower [check] budget-floor".into()),
                    }),
                    Err(Stop::Pipeline(error)) => return Err(error),
                }
                // A registry that did not answer just now is not asked again.
                if failures.is_empty() {
                    match self.newer(base, &lock, &pipeline, &mut before) {
                        Ok(findings) => report.findings.extend(findings),
                        Err(Stop::Registry(error)) => failures.push(failed(&error)),
                        Err(Stop::Budget(_)) => {}
                        Err(Stop::Pipeline(error)) => return Err(error),
                    }
                }
            }
            report.findings.extend(self.ends(base));
            if failures.is_empty() && report.findings.len() == found {
                report.fresh.push(base.text.clone());
            }
            report.failed.extend(failures);
        }
        report.requests = self.remote.client()?.requests();
        report.count();
        Ok(report)
    }

    /// Whether a tag names another image now, for the runner's side and the builder's.
    fn moved(
        &self,
        base: &Used,
        lock: &Lock,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
    ) -> Result<Vec<Finding>, Stop> {
        let mut findings = Vec::new();
        if base.reference.digest().is_some() {
            return Ok(findings);
        }
        let client = self.remote.client()?;
        let Some(now) = client.resolve(&base.reference)? else {
            return Err(Stop::Registry(RegistryError::Wrong {
                asked: otoshi_registry::Asked {
                    repository: base.reference.name(),
                    what: format!("for the tag {}", base.reference.tag().unwrap_or("latest")),
                },
                reason: "there is none any more".to_owned(),
            }));
        };
        let platform = self.platform.to_string();
        for builder_side in [false, true] {
            let roles: Vec<&str> = base
                .roles
                .iter()
                .copied()
                .filter(|role| BUILDER_SIDE.contains(role) == builder_side)
                .collect();
            let locked = roles.iter().find_map(|role| {
                let entry = lock.roles.get(*role)?.get(&base.text)?;
                Some((entry.index.clone(), entry.platforms.get(&platform)?.clone()))
            });
            let Some((index, manifest)) = locked.filter(|(index, _)| index != now.as_str()) else { continue };
            let Some(new) = self.another(base, &now, &manifest)? else { continue };
            let mut then = lock.clone();
            for role in &roles {
                then.set(role, &base.text, &platform, now.as_str(), new.as_str());
            }
            let (command, side) = if builder_side {
                ("otoshi build --refresh --builder", "builder")
            } else {
                ("otoshi build --refresh", "runner")
            };
            let mut finding = self.finding(FindingKind::BaseMoved, base, index, Some(now.to_string()));
            finding.roles = roles.iter().map(ToString::to_string).collect();
            finding.command = Some(command.to_owned());
            finding.text = format!("{} moved, for the {side}", base.reference.familiar());
            self.judge(&mut finding, &base.text, now.as_str(), None)?;
            self.tell_phases(&mut finding, pipeline, before, self.project, then)?;
            findings.push(finding);
        }
        Ok(findings)
    }

    /// The manifest that an index has for this platform, where it is another image than the one in use.
    fn another(&self, base: &Used, index: &Digest, manifest: &str) -> Result<Option<Digest>, Stop> {
        let repository = Repository::of(&base.reference);
        let floor = self.project.manifest.check.budget_floor.unwrap_or(BUDGET_FLOOR);
        if let Some(left) = self.remote.client()?.remaining(&repository).filter(|left| *left <= floor)
            && !self.home.layout().has(index)
        {
            return Err(Stop::Budget(left));
        }
        let exact = base.reference.with_digest(index.clone());
        let Some((pulled, _)) = self.remote.pull(&exact, &self.platform, Depth::Config)? else {
            return Ok(None);
        };
        if pulled.manifest.as_str() == manifest {
            return Ok(None);
        }
        let content = |digest: &Digest| {
            let image = Image::load(self.home.layout(), digest, &self.platform).ok()?;
            let mut config = image.config.config.clone();
            config.labels.clear();
            Some((image.diff_ids().to_vec(), config))
        };
        if let Ok(old) = manifest.parse::<Digest>() {
            if !self.home.layout().has(&old) {
                // What its registry threw away cannot be compared, and then counts as another.
                let _ =
                    self.remote.pull(&base.reference.with_digest(old.clone()), &self.platform, Depth::Config);
            }
            let (old, new) = (content(&old), content(&pulled.manifest));
            if old.is_some() && old == new {
                return Ok(None);
            }
        }
        Ok(Some(pulled.manifest))
    }

    /// Newer versions and newer distributions among the tags of a base's repository.
    fn newer(
        &self,
        base: &Used,
        lock: &Lock,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
    ) -> Result<Vec<Finding>, Stop> {
        let mut findings = Vec::new();
        let Some(current) = base.reference.tag().filter(|_| base.reference.digest().is_none()) else {
            return Ok(findings);
        };
        let in_series = Tag::parse(current, &self.cycles)
            .is_some_and(|tag| tag.version.is_some() || tag.distribution.is_some());
        if !in_series {
            return Ok(findings);
        }
        let client = self.remote.client()?;
        let tags = client.tags(&Repository::of(&base.reference))?;
        let found = suggest(base.reference.repository(), current, &tags, &self.cycles, self.today);
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
                let mut finding = self.finding(kind, base, base.reference.familiar(), to);
                finding.level = Some(candidate.level);
                subject.clone_into(&mut finding.name);
                finding.text = format!("{} → {}", base.reference.familiar(), candidate.tag.text);
                finding.command = Some(match &change {
                    Some(change) => format!("set {} in otoshi.toml, then otoshi build", change.text),
                    None => format!("name {} in the Dockerfile, then otoshi build", newer.familiar()),
                });
                self.judge(&mut finding, &base.reference.name(), &candidate.tag.text, Some(&names))?;
                if let Some(change) = change {
                    self.tell_phases(&mut finding, pipeline, before, &change.project, lock.clone())?;
                }
                let taken = finding.state == State::Found;
                findings.push(finding);
                if taken {
                    break;
                }
            }
        }
        Ok(findings)
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

    /// Ends of life of what a base's name says that it holds.
    fn ends(&self, base: &Used) -> Vec<Finding> {
        let Some(tag) = base.reference.tag().and_then(|tag| Tag::parse(tag, &self.cycles)) else {
            return Vec::new();
        };
        let mut held: Vec<(&str, Vec<u64>)> = Vec::new();
        if let (Some((product, _)), Some(version)) =
            (self.cycles.product_of_repository(base.reference.repository()), &tag.version)
        {
            held.push((product, version.numbers.clone()));
        }
        if let Some(distribution) = &tag.distribution
            && let Some(release) = &distribution.release
        {
            held.push((distribution.family.as_str(), release.clone()));
        }
        let notice = self.project.manifest.check.end_of_life_notice();
        let mut findings = Vec::new();
        for (product, version) in held {
            let Some(release) = self.cycles.release(product, &version) else { continue };
            let last = release.last_day().map(|day| day.to_string()).unwrap_or_default();
            let what = format!("{product} {}", release.version);
            let text = match end_of(release, self.today, notice) {
                End::Far => continue,
                End::Soon(days) => format!("{what} reaches its end of life on {last}, in {days} days"),
                End::Past(days) => format!("{what} reached its end of life on {last}, {days} days ago"),
            };
            let mut finding = self.finding(FindingKind::EndOfLife, base, what.clone(), None);
            finding.text = text;
            let names = [product, what.as_str(), base.name.as_str(), base.text.as_str()];
            self.policy(&mut finding, &names);
            findings.push(finding);
        }
        findings
    }

    fn finding(&self, kind: FindingKind, base: &Used, from: String, to: Option<String>) -> Finding {
        Finding {
            kind,
            state: State::Found,
            name: base.name.clone(),
            reference: base.text.clone(),
            roles: base.roles.iter().map(ToString::to_string).collect(),
            from,
            to,
            level: None,
            first_seen: None,
            because: None,
            until: None,
            phases: Vec::new(),
            command: None,
            text: String::new(),
        }
    }

    /// Notes that something newer was seen, and says what is to be done about it.
    fn judge(
        &self,
        finding: &mut Finding,
        subject: &str,
        what: &str,
        names: Option<&[&str]>,
    ) -> Result<(), Stop> {
        let now = u64::try_from(self.now.as_second()).unwrap_or(0);
        let (first, age) = Ledger::new(self.home, now).see(subject, what).map_err(PipelineError::from)?;
        let time = |second: u64| {
            Timestamp::from_second(i64::try_from(second).ok()?).ok().map(|time| time.to_string())
        };
        finding.first_seen = time(first);
        let (name, reference) = (finding.name.clone(), finding.reference.clone());
        self.policy(finding, names.unwrap_or(&[name.as_str(), reference.as_str()]));
        let least = self.project.manifest.check.minimum_age();
        if finding.state == State::Found && age < least {
            finding.state = State::Held;
            finding.because = Some("it was first seen less than the minimum age ago".to_owned());
            finding.until = time(first.saturating_add(least));
        }
        Ok(())
    }

    /// What `[check]` says about a thing of these names.
    fn policy(&self, finding: &mut Finding, names: &[&str]) {
        let check = &self.project.manifest.check;
        if let Some(pattern) = check.ignored(names) {
            finding.state = State::Ignored;
            finding.because = Some(format!("[check] ignore has {pattern:?}"));
        } else if let Some((until, because)) = check.held(names, self.today) {
            finding.state = State::Held;
            finding.because = Some(because.unwrap_or("[check] holds it").to_owned());
            finding.until = Some(until.to_string());
        }
    }

    /// Asks the planner what would run if the project and the lock were these.
    fn tell_phases(
        &self,
        finding: &mut Finding,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
        project: &Project,
        lock: Lock,
    ) -> Result<(), PipelineError> {
        let phases = self.would_run(pipeline, before, project, lock);
        match phases {
            Ok(phases) => finding.phases = phases,
            // What was found is true all the same.
            Err(PipelineError::Registry(error)) => {
                finding.text.push_str(&format!("; what it would make run is not known: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn would_run(
        &self,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
        project: &Project,
        lock: Lock,
    ) -> Result<Vec<PhasePlan>, PipelineError> {
        let now = match before.take() {
            Some(outlook) => outlook,
            None => pipeline.outlook()?,
        };
        let then =
            Pipeline::new(self.home, self.engine, project).with_remote(self.remote).with_lock(lock).outlook();
        let phases = then.map(|then| now.would_run(&then));
        *before = Some(now);
        phases
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

/// Why a base could not be looked at.
enum Stop {
    Registry(RegistryError),
    Budget(u64),
    Pipeline(PipelineError),
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<PipelineError> for Stop {
    fn from(error: PipelineError) -> Self {
        // What a registry did while planning is that base's failure.
        match error {
            PipelineError::Registry(error) => Self::Registry(error),
            error => Self::Pipeline(error),
        }
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("project", &self.project.root).finish_non_exhaustive()
    }
}
