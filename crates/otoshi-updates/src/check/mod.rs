//! A check of a project: every base is looked at for itself, so that one that fails hides no other.
//!
//! Tags are asked by HEAD; an image is fetched (manifest and config, no layer) only where a tag names something that is not
//! known here, and not while its registry says that little is left of its budget.
//!
//! ```text
//! moved    tags that name another image now          policy   what `[check]` says of a finding, and since when it is known
//! newer    newer versions and distributions          phases   what a finding would make run
//! ends     ends of life
//! ```

mod ends;
mod moved;
mod newer;
mod phases;
mod policy;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use otoshi_engine::Engine;
use otoshi_oci::{Platform, Reference};
use otoshi_pipeline::{Pipeline, PipelineError, Remote};
use otoshi_project::{Lock, Project};
use otoshi_registry::RegistryError;
use otoshi_store::Home;

use crate::{
    Cycles,
    report::{Counts, CyclesUsed, Failed, Finding, FindingKind, Report, State},
};

/// The roles whose bases a refresh leaves alone unless it is told otherwise.
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
