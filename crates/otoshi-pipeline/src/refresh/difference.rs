//! What a refresh changed: layers, packages, what had to run, and what a full rebuild takes.

use std::collections::BTreeMap;

use otoshi_oci::{Digest, Image};
use otoshi_packages::{
    Installed, Package,
    installed::{self, Changed},
    version::compare,
};
use otoshi_project::{Phase, Role};

use super::{Cost, PackageChange, RefreshOutcome, repositories::Asked};
use crate::{Pipeline, Plan, Status, pipeline::Settled};

impl Pipeline<'_> {
    /// New layers of the app images and all of them, in number and bytes.
    pub(super) fn difference(
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

    /// The runner's packages that changed, as far as they can be read, and whether that fixes a security problem.
    pub(super) fn packages(
        &self,
        before: &BTreeMap<String, Digest>,
        images: &BTreeMap<String, Digest>,
        asked: Option<Asked>,
    ) -> Vec<PackageChange> {
        let name = self.image_name(Role::Runner.as_str());
        let (Some(old), Some(new)) = (before.get(&name), images.get(&name)) else { return Vec::new() };
        if old == new {
            return Vec::new();
        }
        let read = |digest: &Digest| {
            let read = self.load_image(digest).and_then(|image| self.installed_in(&image));
            read.inspect_err(|error| tracing::warn!(%error, "packages are not compared")).ok()
        };
        let (Some(old), Some(new)) = (read(old), read(new)) else { return Vec::new() };
        let mut changes = changes(&old, &new);
        // Only the repositories say what a newer version fixes.
        if changes.iter().any(|change| change.is_newer)
            && let Some(available) = asked.and_then(Asked::wait)
        {
            for change in changes.iter_mut().filter(|change| change.is_newer) {
                let fixes = |(old, new): (&Package, &String)| available.fixes(old, new).ok().flatten();
                change.report.security = change.old.zip(change.report.new.as_ref()).and_then(fixes);
            }
        }
        changes.into_iter().map(|change| change.report).collect()
    }
}

/// A package that changed.
struct Change<'i> {
    old: Option<&'i Package>,
    is_newer: bool,
    report: PackageChange,
}

/// The packages that differ, by name and architecture.
fn changes<'i>(old: &'i Installed, new: &'i Installed) -> Vec<Change<'i>> {
    let manager = new.manager;
    let version = |package: Option<&Package>| package.map(|package| package.version.clone());
    let change = |Changed { name, old, new, .. }: Changed<'i>| {
        let is_newer = old
            .zip(new)
            .zip(manager)
            .is_some_and(|((old, new), manager)| compare(manager, &new.version, &old.version).is_gt());
        let report =
            PackageChange { name: name.to_owned(), old: version(old), new: version(new), security: None };
        Change { old, is_newer, report }
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
