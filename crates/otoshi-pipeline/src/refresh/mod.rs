//! Refreshing: what moved outside comes in at the least cost, and nothing moves that was not looked at.
//!
//! ```text
//! 1  a lock in memory moves: its runner's side (the builder's on request, or by the age of its bases), the runner's newer
//!    packages; phases run that must
//!    The cheapest plan that will do is chosen before anything runs, with the reasons against those that are cheaper.
//! 2  proof: what each app image finds on its old runner must be in the new one; else the builder's side moves as well,
//!    where that can help, and the application is recompiled
//! 3  the smoke test of [verify]
//! 4  the old state is remembered, the lock is written, and all names move at once
//! ```
//!
//! Whatever fails or ends before 4 leaves lock and names as they were.

mod attempt;
mod checkout;
mod choice;
mod difference;
mod previous;
mod report;
mod repositories;
mod upgrade;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use otoshi_engine::Events;
use otoshi_oci::{Digest, Image, Platform, Reference};
use otoshi_project::{Lock, Role};
use otoshi_rebase::{Finding, Waiver};

use self::{
    attempt::{Attempt, Prepared, compiling_helps, count_as_well},
    difference::{cost, full},
};
pub use self::{
    checkout::Checkout,
    choice::Candidate,
    previous::RolledBack,
    report::{Cost, ImageChange, PackageChange, RefreshOutcome, Refreshed},
};
use crate::{Moved, Pipeline, PipelineError, bases::Rules, pipeline::Settled};

/// Says how far a refresh may go.
#[derive(Debug, Clone, Default)]
pub struct RefreshOptions {
    /// The builder's side moves too.
    pub builder: bool,
    /// Findings that are accepted.
    pub allow: Vec<Waiver>,
    /// The project came out of a registry: what its lock says is what was before, whatever this machine has under its names.
    pub from_registry: bool,
    /// Nothing runs and nothing moves; the report says what would.
    pub dry_run: bool,
}

impl Pipeline<'_> {
    /// Takes in what moved outside. The report says what ran and what was kept; a refusal leaves everything as it was.
    pub fn refresh(&self, options: &RefreshOptions, events: &dyn Events) -> Result<Refreshed, PipelineError> {
        let since = Instant::now();
        let _alone = self.alone()?;
        let text = self.lock_text()?;
        let before = self.images_before(options.from_registry)?;
        let (mut refreshed, images, lock) = self.try_refresh(options, events, &before)?;
        if refreshed.outcome == RefreshOutcome::Refreshed {
            self.leave(before, text)?;
        }
        if matches!(refreshed.outcome, RefreshOutcome::Same | RefreshOutcome::Refreshed) && !options.dry_run {
            self.save_lock(&lock)?;
        }
        if refreshed.outcome == RefreshOutcome::Refreshed {
            self.tag_all(&images)?;
        }
        refreshed.took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(refreshed)
    }

    fn try_refresh(
        &self,
        options: &RefreshOptions,
        events: &dyn Events,
        before: &BTreeMap<String, Digest>,
    ) -> Result<(Refreshed, BTreeMap<String, Digest>, Lock), PipelineError> {
        let mut because = Vec::new();
        let mut builder = options.builder.then(|| "the builder's side is to move as well".to_owned());
        if let (None, Some(age)) = (&builder, self.builder_is_too_old()?) {
            because.push(age.clone());
            builder = Some(age);
        }
        let mut prepared = self.prepare(builder.as_deref(), (!options.dry_run).then_some(events), before)?;
        if options.dry_run {
            return self.planned(prepared, because);
        }
        let mut choice = std::mem::take(&mut prepared.choice);
        let runs = choice.last().is_some_and(|candidate| candidate.plan > Cost::Nothing);
        let asked = if runs { self.ask_beside(before) } else { None };
        let mut attempt = self.attempt(prepared, options, events, before)?;
        let can_help = |findings: &[Finding]| findings.iter().all(|finding| compiling_helps(finding.kind));
        if !attempt.findings.is_empty() && builder.is_none() && can_help(&attempt.findings) {
            let first = attempt.findings[0].to_string();
            let why = format!("the application as it was compiled would not find all it needs: {first}");
            choice = choice::fallen_back(choice, &why);
            let ran = std::mem::take(&mut attempt.plan.phases);
            let prepared = self.prepare(Some(&why), Some(events), before)?;
            attempt = self.attempt(prepared, options, events, before)?;
            count_as_well(&mut attempt.plan, ran);
            because.push(why);
        }
        let Attempt { plan, settled, findings, waived, mut notes, lock } = attempt;
        notes.extend(left_behind(&plan.moved, &lock, &self.platform));
        let images = self.named(&settled);
        let (tried, failed) = if findings.is_empty() && images != *before {
            self.smoke_test(&images)?
        } else {
            (Vec::new(), None)
        };
        let outcome = match (findings.is_empty() && failed.is_none(), images == *before) {
            (false, _) => RefreshOutcome::Refused,
            (true, true) => RefreshOutcome::Same,
            (true, false) => RefreshOutcome::Refreshed,
        };
        let (layers, bytes) = self.difference(before, &images);
        let refreshed = Refreshed {
            version: 1,
            project: self.project.manifest.project.name.clone(),
            outcome,
            cost: cost(&plan, outcome),
            choice,
            because,
            notes,
            images: images
                .iter()
                .map(|(name, digest)| ImageChange {
                    name: name.clone(),
                    old: before.get(name).map(ToString::to_string),
                    new: digest.to_string(),
                })
                .collect(),
            packages: self.packages(before, &images, asked),
            findings,
            waived,
            failed,
            tried,
            layers,
            bytes,
            took_ms: 0,
            full_ms: full(&plan, &settled),
            phases: plan.phases,
            moved: plan.moved,
        };
        Ok((refreshed, images, lock))
    }

    /// The report of what would happen.
    fn planned(
        &self,
        prepared: Prepared<'_>,
        because: Vec<String>,
    ) -> Result<(Refreshed, BTreeMap<String, Digest>, Lock), PipelineError> {
        let cost = prepared.choice.last().map_or(Cost::Nothing, |candidate| candidate.plan);
        let outcome = if cost == Cost::Nothing { RefreshOutcome::Same } else { RefreshOutcome::Planned };
        let behind = left_behind(&prepared.moved, &prepared.lock()?, &self.platform);
        let refreshed = Refreshed {
            version: 1,
            project: self.project.manifest.project.name.clone(),
            outcome,
            cost,
            choice: prepared.choice,
            because,
            notes: prepared.upgrades.notes.into_iter().chain(behind).collect(),
            images: Vec::new(),
            packages: Vec::new(),
            findings: Vec::new(),
            waived: Vec::new(),
            failed: None,
            tried: Vec::new(),
            layers: [0; 2],
            bytes: [0; 2],
            took_ms: 0,
            full_ms: full(&prepared.plan, &prepared.settled),
            phases: prepared.plan.phases,
            moved: prepared.moved,
        };
        Ok((refreshed, BTreeMap::new(), self.lock()?))
    }

    /// The images that the project has now, by their names in the store.
    fn images_before(&self, by_lock: bool) -> Result<BTreeMap<String, Digest>, PipelineError> {
        let parts = self.project.processes.iter().map(|process| process.name.as_str());
        let mut found = BTreeMap::new();
        for part in parts.chain([Role::Builder, Role::Runner].map(Role::as_str)).filter(|_| !by_lock) {
            let name = self.image_name(part);
            let reference = Reference::parse(&name)?;
            if let Some(descriptor) = self.home.layout().resolve(&reference)? {
                found.insert(name, Digest::of(&descriptor)?);
            }
        }
        if found.is_empty() {
            // Another machine made them: what the lock says now is what they are.
            let (_, settled, _) = self.walk_whole(None, Rules::default())?;
            found = self.named(&settled);
        }
        Ok(found)
    }

    pub(super) fn named(&self, settled: &[Settled]) -> BTreeMap<String, Digest> {
        let images = settled.iter().flat_map(|settled| &settled.made.images);
        images.map(|(part, digest)| (self.image_name(part), digest.clone())).collect()
    }

    pub(super) fn is_app(&self, name: &str) -> bool {
        self.project.processes.iter().any(|process| self.image_name(&process.name) == *name)
    }

    /// Runs the smoke test in the images it is meant for; gives the processes that passed, and what happened where one failed.
    fn smoke_test(
        &self,
        images: &BTreeMap<String, Digest>,
    ) -> Result<(Vec<String>, Option<String>), PipelineError> {
        let mut passed = Vec::new();
        let Some(verify) = &self.project.manifest.verify else { return Ok((passed, None)) };
        for process in &self.project.processes {
            let wanted = match &verify.process {
                Some(name) => *name == process.name,
                // A request is for one process, a command for all.
                None => verify.run.is_some() || self.project.processes.len() == 1 || process.name == "web",
            };
            let Some(digest) = images.get(&self.image_name(&process.name)).filter(|_| wanted) else {
                continue;
            };
            match verify::try_image(self, verify, digest, &process.name)? {
                Some(failed) => return Ok((passed, Some(format!("{}: {failed}", process.name)))),
                None => passed.push(process.name.clone()),
            }
        }
        Ok((passed, None))
    }

    /// Whether the builder's bases are older than `[refresh] builder-max-age` allows; then says so.
    fn builder_is_too_old(&self) -> Result<Option<String>, PipelineError> {
        let refresh = &self.project.manifest.refresh;
        let Some(most) = refresh.builder_max_age().map_err(PipelineError::Project)? else { return Ok(None) };
        let (_, _, bases) = self.walk_whole(None, Rules::default())?;
        let now = jiff::Timestamp::now();
        let made = |digest: &Digest| {
            let image = Image::load(self.home.layout(), digest, &self.platform).ok()?;
            image.config.created?.parse::<jiff::Timestamp>().ok()
        };
        let oldest = bases.of(Role::Builder).filter_map(|(base, digest)| Some((made(digest)?, base))).min();
        let Some((time, base)) = oldest else { return Ok(None) };
        let age = now.duration_since(time).as_secs();
        let is_old = u64::try_from(age).is_ok_and(|age| age > most.as_secs());
        Ok(is_old.then(|| {
            format!(
                "{base} of the builder is {} days old, and [refresh] builder-max-age allows {}",
                age / 86_400,
                most.as_secs() / 86_400
            )
        }))
    }
}

/// The bases that moved for runner or app and stay as they were for the builder, which uses them too.
fn left_behind(moved: &[Moved], lock: &Lock, platform: &Platform) -> Vec<String> {
    let behind = moved.iter().filter(|moved| moved.role != Role::Builder).filter_map(|moved| {
        let builder = lock.get(Role::Builder, &moved.reference, platform)?;
        (*builder != moved.new).then(|| {
            format!(
                "{} stays as it was for the builder, which uses it too: otoshi refresh --builder moves it there",
                moved.reference
            )
        })
    });
    // Runner and app may both have moved it.
    behind.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use otoshi_project::BaseName;

    use super::*;

    #[test]
    fn a_builder_that_stays_behind_on_the_same_base_is_named() {
        let platform = Platform::new("linux", "amd64", None);
        let base = BaseName::parse("debian:12").unwrap();
        let [old, new] = [Digest::sha256_of(b"old"), Digest::sha256_of(b"new")];
        let moved =
            |role| Moved { role, reference: base.to_string(), old: Some(old.clone()), new: new.clone() };
        let mut lock = Lock::default();
        lock.set(Role::Runner, &base, &platform, &new, &new);
        let both = [moved(Role::Runner), moved(Role::App)];
        assert_eq!(
            left_behind(&both, &lock, &platform),
            Vec::<String>::new(),
            "the builder is on another base"
        );
        lock.set(Role::Builder, &base, &platform, &old, &old);
        let behind = left_behind(&both, &lock, &platform);
        assert_eq!(behind.len(), 1);
        assert!(behind[0].starts_with("debian:12 stays as it was for the builder"), "{behind:?}");
        lock.set(Role::Builder, &base, &platform, &new, &new);
        assert_eq!(left_behind(&both, &lock, &platform), Vec::<String>::new(), "it moved as well");
    }
}
