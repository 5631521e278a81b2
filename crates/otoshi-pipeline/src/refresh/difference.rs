//! What a refresh changed: layers, packages, what had to run, and what a full rebuild takes.

use std::collections::BTreeMap;

use otoshi_oci::Digest;
use otoshi_packages::{
    Available, Installed, Package,
    installed::{self, Changed},
    version::compare,
};
use otoshi_project::Phase;

use super::{
    cost::Cost,
    images::Images,
    report::{PackageChange, RefreshOutcome},
};
use crate::{
    Plan, Status,
    image_packages::{Asked, ImagePackages},
    job::Settled,
    world::World,
};

/// New layers of the app images and all of them, in number and bytes.
pub(super) fn layers(world: &World<'_>, before: &Images, images: &Images) -> ([usize; 2], [u64; 2]) {
    let layers = |images: &Images| {
        let loaded = images.apps(world).filter_map(|(_, digest)| world.load_image(digest).ok());
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

/// The runner's packages that changed, as far as they can be read, and whether that fixes a security problem.
pub(super) fn packages(
    world: &World<'_>,
    before: &Images,
    images: &Images,
    asked: Option<Asked>,
) -> Vec<PackageChange> {
    let (Some(old), Some(new)) = (before.runner(world), images.runner(world)) else { return Vec::new() };
    if old == new {
        return Vec::new();
    }
    let read = |digest: &Digest| {
        let read = world.load_image(digest).and_then(|image| ImagePackages(world).installed(&image));
        read.inspect_err(|error| tracing::warn!(%error, "packages are not compared")).ok()
    };
    let (Some(old), Some(new)) = (read(old), read(new)) else { return Vec::new() };
    let changes = changes(&old, &new);
    // Only the repositories say what a newer version fixes.
    let is_newer = changes.iter().any(|change| change.is_newer);
    let available = if is_newer { asked.and_then(Asked::wait) } else { None };
    changes.into_iter().map(|change| change.report(available.as_ref())).collect()
}

/// A package that changed.
struct Change<'i> {
    name: &'i str,
    old: Option<&'i Package>,
    new: Option<&'i Package>,
    is_newer: bool,
}

impl Change<'_> {
    /// Tells of it; with what the repositories have, also what it fixes.
    fn report(&self, available: Option<&Available>) -> PackageChange {
        let version = |package: Option<&Package>| package.map(|package| package.version.clone());
        let pair = self.old.zip(self.new).filter(|_| self.is_newer);
        let fixes = |(available, (old, new)): (&Available, (&Package, &Package))| {
            available.fixes(old, &new.version).ok().flatten()
        };
        let security = available.zip(pair).and_then(fixes);
        PackageChange { name: self.name.to_owned(), old: version(self.old), new: version(self.new), security }
    }
}

/// The packages that differ, by name and architecture.
fn changes<'i>(old: &'i Installed, new: &'i Installed) -> Vec<Change<'i>> {
    let manager = new.manager;
    let change = |Changed { name, old, new, .. }: Changed<'i>| {
        let is_newer = old
            .zip(new)
            .zip(manager)
            .is_some_and(|((old, new), manager)| compare(manager, &new.version, &old.version).is_gt());
        Change { name, old, new, is_newer }
    };
    installed::changes(old, new).into_iter().map(change).collect()
}

/// What had to run.
pub(super) fn cost(plan: &Plan, outcome: RefreshOutcome) -> Cost {
    let ran =
        |phase: Phase| plan.phases.iter().find(|entry| entry.phase == phase && entry.status == Status::Stale);
    let wrote = |phase: Phase| ran(phase).is_some_and(|entry| entry.layers_written > 0);
    if ran(Phase::Builder).is_some() {
        Cost::All
    } else if ran(Phase::Compile).is_some() {
        Cost::Compile
    } else if wrote(Phase::Runner) {
        Cost::Runner
    } else if wrote(Phase::App) {
        Cost::App
    } else if ran(Phase::Runner).is_some() {
        Cost::LayerSwap
    } else if ran(Phase::App).is_some() || outcome == RefreshOutcome::Refreshed {
        Cost::Metadata
    } else {
        Cost::Nothing
    }
}

/// What all phases took when each ran last.
pub(super) fn full(plan: &Plan, settled: &[Settled]) -> Option<u64> {
    let times = plan.phases.iter().map(|entry| {
        entry.took_ms.or_else(|| {
            let known = settled.iter().find(|settled| settled.phase == entry.phase)?;
            (known.made.took_ms > 0).then_some(known.made.took_ms)
        })
    });
    times.sum()
}
