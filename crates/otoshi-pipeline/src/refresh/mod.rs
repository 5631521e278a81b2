//! Refreshing: what moved outside comes in at the least cost, and nothing moves that was not looked at.
//!
//! ```text
//! 1  the runner's side of the lock moves (the builder's on request, or by the age of its bases), phases run that must
//! 2  proof: what each app image finds on its old runner must be in the new one; else the builder's side moves as well,
//!    where that can help, and the application is compiled anew
//! 3  the smoke test of [verify]
//! 4  the old state is remembered, and all names move at once
//! ```
//!
//! Whatever fails before 4 leaves lock and names as they were.

mod checkout;
mod previous;
mod report;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use otoshi_engine::{Event, Events};
use otoshi_oci::{Digest, Image, Reference};
use otoshi_packages::Installed;
use otoshi_rebase::{
    Finding, Kind, Waiver,
    proof::judge,
    seam::{SEAM, chain_id},
};

pub use self::{
    checkout::Checkout,
    previous::RolledBack,
    report::{Cost, ImageChange, PackageChange, RefreshOutcome, Refreshed},
};
use crate::{
    Pipeline, PipelineError, Plan, Rebaser, Status,
    bases::{Bases, Rules},
    pipeline::Settled,
};

/// Says how far a refresh may go.
#[derive(Debug, Clone, Default)]
pub struct RefreshOptions {
    /// The builder's side moves too.
    pub builder: bool,
    /// Findings that are let pass.
    pub allow: Vec<Waiver>,
}

/// What one attempt gave.
struct Attempt {
    plan: Plan,
    settled: Vec<Settled>,
    findings: Vec<Finding>,
    waived: Vec<Finding>,
}

impl Pipeline<'_> {
    /// Takes in what moved outside. The report says what ran and what was kept; a refusal leaves everything as it was.
    pub fn refresh(&self, options: &RefreshOptions, events: &dyn Events) -> Result<Refreshed, PipelineError> {
        let since = Instant::now();
        let _alone = self.alone()?;
        let lock = self.lock_text()?;
        let before = self.images_before()?;
        let refreshed = self.try_refresh(options, events, &before);
        let keep = matches!(&refreshed, Ok((refreshed, _)) if refreshed.outcome != RefreshOutcome::Refused);
        if !keep {
            self.put_lock(lock.as_deref())?;
        }
        let (mut refreshed, images) = refreshed?;
        if refreshed.outcome == RefreshOutcome::Refreshed {
            self.leave(before, lock)?;
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
    ) -> Result<(Refreshed, BTreeMap<String, Digest>), PipelineError> {
        let mut because = Vec::new();
        let mut builder = options.builder;
        if let (false, Some(age)) = (builder, self.builder_is_too_old()?) {
            because.push(age);
            builder = true;
        }
        let mut attempt = self.attempt(builder, options, events, before)?;
        let can_help = |findings: &[Finding]| findings.iter().all(|finding| compiling_helps(finding.kind));
        if !attempt.findings.is_empty() && !builder && can_help(&attempt.findings) {
            let first = attempt.findings[0].to_string();
            because.push(format!("the application as it was compiled would not find all it needs: {first}"));
            attempt = self.attempt(true, options, events, before)?;
        }
        let Attempt { plan, settled, findings, waived } = attempt;
        let images = self.named(&settled);
        let failed = if findings.is_empty() && images != *before { self.smoke_test(&images)? } else { None };
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
            because,
            images: images
                .iter()
                .map(|(name, digest)| ImageChange {
                    name: name.clone(),
                    old: before.get(name).map(ToString::to_string),
                    new: digest.to_string(),
                })
                .collect(),
            packages: self.packages(before, &images),
            findings,
            waived,
            failed,
            layers,
            bytes,
            took_ms: 0,
            full_ms: full(&plan, &settled),
            phases: plan.phases,
            moved: plan.moved,
        };
        Ok((refreshed, images))
    }

    /// Moves the lock, runs what must run, and proves what came of it; names stay where they are.
    fn attempt(
        &self,
        builder: bool,
        options: &RefreshOptions,
        events: &dyn Events,
        before: &BTreeMap<String, Digest>,
    ) -> Result<Attempt, PipelineError> {
        let move_roles: &[&str] = if builder { &["builder", "runner", "app"] } else { &["runner", "app"] };
        let rules = Rules { move_roles, hold: true, ..Rules::default() };
        let (plan, settled, _): (Plan, Vec<Settled>, Bases) = self.walk_whole(Some(events), rules)?;
        let images = self.named(&settled);
        let mut found: BTreeSet<Finding> = BTreeSet::new();
        // One for all images: they share their runners, and each is read once.
        let rebaser = self.remote.map(|remote| Rebaser::new(self.home, remote));
        for (name, new) in &images {
            if let (Some(old), true) = (before.get(name), self.is_app(name))
                && old != new
            {
                match self.prove_app(rebaser.as_ref(), old, new)? {
                    Some(findings) => found.extend(findings),
                    None => events.event(Event::Warning(format!(
                        "{name}: it does not say where its runner ends, so nothing is proved of it"
                    ))),
                }
            }
        }
        let (findings, waived) = judge(found.into_iter().collect(), &options.allow);
        Ok(Attempt { plan, settled, findings, waived })
    }

    /// What an app image would not find on its new runner; `None` where that cannot be told.
    fn prove_app(
        &self,
        rebaser: Option<&Rebaser<'_>>,
        old: &Digest,
        new: &Digest,
    ) -> Result<Option<Vec<Finding>>, PipelineError> {
        let Some(rebaser) = rebaser else { return Ok(None) };
        let load = |digest: &Digest| {
            Image::load(self.home.layout(), digest, &self.platform).map_err(PipelineError::plain)
        };
        let (old, new) = (load(old)?, load(new)?);
        let (Some(old_seam), Some(new_seam)) = (seam_of(&old), seam_of(&new)) else { return Ok(None) };
        if old.diff_ids()[..old_seam] == new.diff_ids()[..new_seam] {
            return Ok(Some(Vec::new()));
        }
        rebaser.prove_both((&old, old_seam), (&new, new_seam)).map(Some)
    }

    /// The images that the project has now, by their names in the store.
    fn images_before(&self) -> Result<BTreeMap<String, Digest>, PipelineError> {
        let parts = self.project.processes.iter().map(|process| process.name.as_str());
        let mut found = BTreeMap::new();
        for part in parts.chain(["builder", "runner"]) {
            let name = self.image_name(part);
            let reference = Reference::parse(&name).map_err(PipelineError::plain)?;
            if let Some(descriptor) = self.home.layout().resolve(&reference)? {
                found.insert(name, Digest::of(&descriptor).map_err(PipelineError::plain)?);
            }
        }
        if found.is_empty() {
            // Another machine made them: what the lock says now is what they are.
            let (_, settled, _) = self.walk_whole(None, Rules::default())?;
            found = self.named(&settled);
        }
        Ok(found)
    }

    fn named(&self, settled: &[Settled]) -> BTreeMap<String, Digest> {
        let images = settled.iter().flat_map(|settled| &settled.made.images);
        images.map(|(part, digest)| (self.image_name(part), digest.clone())).collect()
    }

    fn is_app(&self, name: &str) -> bool {
        self.project.processes.iter().any(|process| self.image_name(&process.name) == *name)
    }

    /// Runs the smoke test in the images it is meant for; gives what happened where it failed.
    fn smoke_test(&self, images: &BTreeMap<String, Digest>) -> Result<Option<String>, PipelineError> {
        let Some(verify) = &self.project.manifest.verify else { return Ok(None) };
        for process in &self.project.processes {
            let wanted = match &verify.process {
                Some(name) => *name == process.name,
                // A request is for one process, a command for all.
                None => verify.run.is_some() || self.project.processes.len() == 1 || process.name == "web",
            };
            if let (true, Some(digest)) = (wanted, images.get(&self.image_name(&process.name)))
                && let Some(failed) =
                    verify::try_image(self.engine, verify, digest, &self.platform, &process.name)?
            {
                return Ok(Some(format!("{}: {failed}", process.name)));
            }
        }
        Ok(None)
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
        let oldest = bases.of("builder").filter_map(|(base, digest)| Some((made(digest)?, base))).min();
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

    /// New layers of the app images and all of them, in number and bytes.
    fn difference(
        &self,
        before: &BTreeMap<String, Digest>,
        images: &BTreeMap<String, Digest>,
    ) -> ([usize; 2], [u64; 2]) {
        let layers = |images: &BTreeMap<String, Digest>| {
            let apps = images.iter().filter(|(name, _)| self.is_app(name));
            let loaded =
                apps.filter_map(|(_, digest)| Image::load(self.home.layout(), digest, &self.platform).ok());
            let pairs = loaded.flat_map(|image| {
                image
                    .layers()
                    .iter()
                    .map(|layer| (layer.digest.clone(), layer.descriptor.size()))
                    .collect::<Vec<_>>()
            });
            pairs.collect::<BTreeMap<Digest, u64>>()
        };
        let (old, new) = (layers(before), layers(images));
        let moved = new.iter().filter(|(digest, _)| !old.contains_key(*digest));
        let (count, bytes) = moved.fold((0, 0), |(count, bytes), (_, size)| (count + 1, bytes + size));
        ([count, new.len()], [bytes, new.values().sum()])
    }

    /// The runner's packages that changed, as far as they can be read.
    fn packages(
        &self,
        before: &BTreeMap<String, Digest>,
        images: &BTreeMap<String, Digest>,
    ) -> Vec<PackageChange> {
        let name = self.image_name("runner");
        let (Some(old), Some(new)) = (before.get(&name), images.get(&name)) else { return Vec::new() };
        if old == new {
            return Vec::new();
        }
        let installed = |digest: &Digest| -> Option<BTreeMap<String, String>> {
            let image = Image::load(self.home.layout(), digest, &self.platform).ok()?;
            let fetch = |layer: &otoshi_oci::ImageLayer| match self.remote {
                Some(remote) => remote.fetch_layer(layer).map_err(Into::into),
                None => Ok(()),
            };
            let read = Installed::of_image(self.home, &image, &fetch);
            let read = read.inspect_err(|error| tracing::warn!(%error, "packages are not compared")).ok()?;
            let pairs = read.packages.into_iter().map(|package| (package.name, package.version));
            Some(pairs.collect())
        };
        let (Some(old), Some(new)) = (installed(old), installed(new)) else { return Vec::new() };
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let changes = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
        changes
            .map(|name| PackageChange {
                name: name.clone(),
                old: old.get(name).cloned(),
                new: new.get(name).cloned(),
            })
            .collect()
    }
}

/// Whether compiling the application on newer bases can make up for something.
fn compiling_helps(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::LibcChanged
            | Kind::LoaderMissing
            | Kind::SonameMissing
            | Kind::VersionMissing
            | Kind::SymbolMissing
            | Kind::RuntimeChanged
    )
}

/// How many layers of an app image are its runner's.
fn seam_of(image: &Image) -> Option<usize> {
    let chain: Digest = image.annotations().get(SEAM)?.parse().ok()?;
    let ids = image.diff_ids();
    (1..=ids.len()).find(|count| chain_id(&ids[..*count]).as_ref() == Some(&chain))
}

/// What had to run.
fn cost(plan: &Plan, outcome: RefreshOutcome) -> Cost {
    let ran =
        |phase: &str| plan.phases.iter().find(|entry| entry.phase == phase && entry.status == Status::Stale);
    let wrote = |phase: &str| ran(phase).is_some_and(|entry| entry.layers_written > 0);
    if ran("builder").is_some() {
        Cost::All
    } else if ran("compile").is_some() {
        Cost::Compile
    } else if wrote("runner") {
        Cost::Runner
    } else if wrote("app") {
        Cost::App
    } else if ran("runner").is_some() {
        Cost::LayerSwap
    } else if ran("app").is_some() || outcome == RefreshOutcome::Refreshed {
        Cost::Metadata
    } else {
        Cost::Nothing
    }
}

/// What all phases took when each ran last.
fn full(plan: &Plan, settled: &[Settled]) -> Option<u64> {
    let times = plan.phases.iter().map(|entry| {
        entry.took_ms.or_else(|| {
            let known = settled.iter().find(|settled| settled.phase == entry.phase)?;
            (known.made.took_ms > 0).then_some(known.made.took_ms)
        })
    });
    times.sum()
}
