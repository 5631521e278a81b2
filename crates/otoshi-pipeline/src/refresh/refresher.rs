//! One refresh, from the first look outside to the report.

use std::{collections::BTreeSet, time::Instant};

use otoshi_engine::Events;
use otoshi_explain::{Remedy, Wording};
use otoshi_oci::{Digest, Platform};
use otoshi_project::{Lock, Role};
use otoshi_rebase::Finding;

use super::{
    attempt::{Attempt, Attempts, Prepared, compiling_helps, counting_earlier},
    choice::fallen_back,
    cost::{Candidate, Cost},
    difference::{self, cost, full},
    images::Images,
    options::RefreshOptions,
    previous::{History, alone},
    report::{RefreshOutcome, Refreshed},
    verify::{Tried, smoke_test},
};
use crate::{
    Moved, PipelineError, Plan,
    bases::Rules,
    image_packages::{Asked, ImagePackages},
    locked::Locked,
    publish::Results,
};

/// Refreshes a project.
pub(crate) struct Refresher<'w> {
    pub(crate) on: &'w Locked<'w>,
    pub(crate) options: &'w RefreshOptions,
    pub(crate) events: &'w dyn Events,
    /// How remedies are called.
    pub(crate) words: Wording<'w>,
}

/// Why more is done than the bases' move asks for.
struct Because {
    /// Why the builder's side moves, where it does.
    builder: Option<String>,
    /// What is told of it.
    told: Vec<String>,
}

/// The last attempt of a refresh, and how it came to that.
struct Last {
    attempt: Attempt,
    choice: Vec<Candidate>,
    because: Vec<String>,
    /// What the runner's repositories have, asked beside.
    asked: Option<Asked>,
}

impl Refresher<'_> {
    /// Takes in what moved outside. The report says what ran and what was kept; a refusal leaves everything as it was. Where phases
    /// were settled and nothing was refused, their results are there for publishing.
    pub(crate) fn refresh(&self) -> Result<(Refreshed, Option<Results>), PipelineError> {
        let since = Instant::now();
        let _alone = alone(self.on.world.project)?;
        let text = History(&self.on.world).lock_text()?;
        let before = Images::now(self.on, self.options.from_registry)?;
        let because = self.because()?;
        let attempts = Attempts { on: self.on, options: self.options, events: self.events, before: &before };
        let prepared = attempts.prepare(because.builder.as_deref())?;
        if self.options.dry_run {
            return Ok((self.planned(prepared, because.told, since)?, None));
        }
        let last = self.attempt(&attempts, prepared, because)?;
        self.finish(last, before, text, since)
    }

    /// The builder's side moves where that is asked for, or where its bases are too old.
    fn because(&self) -> Result<Because, PipelineError> {
        if self.options.builder {
            let builder = Some("moving the builder's side was asked for".to_owned());
            return Ok(Because { builder, told: Vec::new() });
        }
        let age = self.builder_is_too_old()?;
        Ok(Because { told: age.iter().cloned().collect(), builder: age })
    }

    /// Attempts; once more with the builder's side where compiling anew can help.
    fn attempt(
        &self,
        attempts: &Attempts<'_>,
        prepared: Prepared<'_>,
        because: Because,
    ) -> Result<Last, PipelineError> {
        let choice = prepared.choice.clone();
        let runs = choice.last().is_some_and(|candidate| candidate.plan > Cost::Nothing);
        let runner = attempts.before.runner(&self.on.world).filter(|_| runs);
        let asked = runner.and_then(|image| ImagePackages(&self.on.world).ask_beside(image));
        let attempt = attempts.attempt(prepared)?;
        let can_help = |findings: &[Finding]| findings.iter().all(|finding| compiling_helps(finding.kind));
        let Some(first) = attempt.findings.first() else {
            return Ok(Last { attempt, choice, because: because.told, asked });
        };
        if because.builder.is_some() || !can_help(&attempt.findings) {
            return Ok(Last { attempt, choice, because: because.told, asked });
        }
        let why = format!("the application as it was compiled would not find all it needs: {first}");
        let choice = fallen_back(choice, &why);
        let again = attempts.attempt(attempts.prepare(Some(&why))?)?;
        let plan = counting_earlier(again.plan, attempt.plan.phases);
        let told = because.told.into_iter().chain([why]).collect();
        Ok(Last { attempt: Attempt { plan, ..again }, choice, because: told, asked })
    }

    /// Tries the images, and names them where all is well.
    fn finish(
        &self,
        last: Last,
        before: Images,
        text: Option<String>,
        since: Instant,
    ) -> Result<(Refreshed, Option<Results>), PipelineError> {
        let world = &self.on.world;
        let Last { attempt, choice, because, asked } = last;
        let Attempt { plan, settled, bases, findings, waived, notes, lock } = attempt;
        let images = Images::of(world, &settled);
        let Tried { passed, failed } = if findings.is_empty() && images != before {
            smoke_test(world, &images)?
        } else {
            Tried::default()
        };
        let outcome = match (findings.is_empty() && failed.is_none(), images == before) {
            (false, _) => RefreshOutcome::Refused,
            (true, true) => RefreshOutcome::Same,
            (true, false) => RefreshOutcome::Refreshed,
        };
        let (layers, bytes) = difference::layers(world, &before, &images);
        let packages = difference::packages(world, &before, &images, asked);
        let changes = images.changes(&before);
        if outcome == RefreshOutcome::Refreshed {
            History(world).leave(before, text)?;
        }
        if outcome != RefreshOutcome::Refused {
            self.on.lock.save(&lock)?;
        }
        if outcome == RefreshOutcome::Refreshed {
            images.tag(world)?;
        }
        let behind = self.left_behind(&plan.moved, &lock);
        let refreshed = Refreshed {
            version: 1,
            project: world.project.manifest.project.name.clone(),
            outcome,
            cost: cost(&plan, outcome),
            choice,
            because,
            notes: notes.into_iter().chain(behind).collect(),
            images: changes,
            packages,
            findings,
            waived,
            failed,
            tried: passed,
            layers,
            bytes,
            took_ms: milliseconds(since),
            full_ms: full(&plan, &settled),
            phases: plan.phases,
            moved: plan.moved,
        };
        let results = (outcome != RefreshOutcome::Refused).then(|| Results::new(settled, bases));
        Ok((refreshed, results))
    }

    /// The report of what would happen.
    fn planned(
        &self,
        prepared: Prepared<'_>,
        because: Vec<String>,
        since: Instant,
    ) -> Result<Refreshed, PipelineError> {
        let lock = prepared.lock()?;
        let Prepared { moved, upgrades, plan, settled, choice, .. } = prepared;
        let cost = choice.last().map_or(Cost::Nothing, |candidate| candidate.plan);
        let outcome = if cost == Cost::Nothing { RefreshOutcome::Same } else { RefreshOutcome::Planned };
        let behind = self.left_behind(&moved, &lock);
        let full_ms = full(&plan, &settled);
        let Plan { project, phases, .. } = plan;
        Ok(Refreshed {
            version: 1,
            project,
            outcome,
            cost,
            choice,
            because,
            notes: upgrades.notes.into_iter().chain(behind).collect(),
            images: Vec::new(),
            packages: Vec::new(),
            findings: Vec::new(),
            waived: Vec::new(),
            failed: None,
            tried: Vec::new(),
            layers: [0; 2],
            bytes: [0; 2],
            took_ms: milliseconds(since),
            full_ms,
            phases,
            moved,
        })
    }

    /// Notes of the bases that stay behind for the builder.
    fn left_behind(&self, moved: &[Moved], lock: &Lock) -> Vec<String> {
        let behind = left_behind(moved, lock, &self.on.world.platform).into_iter();
        let remedy = (self.words)(&Remedy::RefreshMovesBuilder);
        behind
            .map(|base| format!("{base} is left as it is for the builder, which also uses it: {remedy}"))
            .collect()
    }

    /// Whether the builder's bases are older than `[refresh] builder-max-age` allows; then says so.
    fn builder_is_too_old(&self) -> Result<Option<String>, PipelineError> {
        let refresh = &self.on.world.project.manifest.refresh;
        let Some(most) = refresh.builder_max_age().map_err(PipelineError::Project)? else { return Ok(None) };
        let (_, bases) = self.on.settle(None, Rules::default())?;
        let now = jiff::Timestamp::now();
        let made = |digest: &Digest| {
            let image = self.on.world.load_image(digest).ok()?;
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

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The bases that moved for runner or app and stay as they were for the builder, which uses them too.
fn left_behind(moved: &[Moved], lock: &Lock, platform: &Platform) -> Vec<String> {
    let behind = moved.iter().filter(|moved| moved.role != Role::Builder).filter_map(|moved| {
        let builder = lock.get(Role::Builder, &moved.reference, platform)?;
        (*builder != moved.new).then(|| moved.reference.clone())
    });
    // Runner and app may both have moved it.
    behind.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use otoshi_project::{BaseName, LockedDigests};

    use super::*;

    #[test]
    fn a_builder_that_stays_behind_on_the_same_base_is_named() {
        let platform = Platform::new("linux", "amd64", None);
        let base = BaseName::parse("debian:12").unwrap();
        let [old, new] = [Digest::sha256_of(b"old"), Digest::sha256_of(b"new")];
        let moved =
            |role| Moved { role, reference: base.to_string(), old: Some(old.clone()), new: new.clone() };
        let at = |digest: &Digest| LockedDigests { index: digest.clone(), platform: digest.clone() };
        let mut lock = Lock::default();
        lock.set(Role::Runner, &base, &platform, at(&new));
        let both = [moved(Role::Runner), moved(Role::App)];
        assert_eq!(
            left_behind(&both, &lock, &platform),
            Vec::<String>::new(),
            "the builder is on another base"
        );
        lock.set(Role::Builder, &base, &platform, at(&old));
        let behind = left_behind(&both, &lock, &platform);
        assert_eq!(behind, ["debian:12"]);
        lock.set(Role::Builder, &base, &platform, at(&new));
        assert_eq!(left_behind(&both, &lock, &platform), Vec::<String>::new(), "it moved as well");
    }
}
