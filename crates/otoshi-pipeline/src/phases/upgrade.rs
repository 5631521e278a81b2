//! Newer packages on the runner: a layer of its own, made by the image's own package manager, for exact versions.
//!
//! ```text
//! below      the layers of the runner as its Dockerfile says, under a plain config: no user, no triggers, no shell of its own
//!   RUN      its package manager, with the network; what it keeps, fetches and logs beside the packages is thrown away
//! upgraded   the runner's own config over all layers; dev.otoshi.upgraded has the chain id of the layers below
//! ```
//!
//! What the lock says is held to: a package that is at the version or newer stays as it is, and where nothing is left to do there
//! is no layer. Afterwards the image's own records must say the versions, or it is an error.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{BuildRequest, Context, Events};
use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_oci::{Digest, Image, config::History, config::ImageConfig, write_image};
use otoshi_packages::{Installed, version::compare};
use otoshi_project::{PackageName, PackageVersion, Phase, Upgrades};
use otoshi_rebase::seam::chain_id;

use super::commands::{CommandSettings, output_of};
use crate::{
    PipelineError,
    image_packages::{ImagePackages, UPGRADED},
    tool::Tool,
    world::World,
};

const PHASE: Phase = Phase::Runner;
/// The name that the generated Dockerfile has for the image below.
const BELOW: &str = "otoshi.invalid/upgrade/below";
/// What is written there is no part of a package.
const LOGS: &str = "/var/log";

/// Puts layers of newer packages on runners.
#[derive(Clone, Copy)]
pub(super) struct Upgrader<'w>(pub(super) &'w World<'w>);

impl<'w> Upgrader<'w> {
    /// Brings packages of an image to the versions that the lock says; gives the image and how many layers were written.
    pub(super) fn upgraded(
        self,
        digest: Digest,
        wanted: &Upgrades,
        events: &dyn Events,
    ) -> Result<(Digest, usize), PipelineError> {
        if wanted.is_empty() {
            return Ok((digest, 0));
        }
        let image = self.0.load_image(&digest)?;
        let installed = self.packages().installed(&image)?;
        let older = older(&installed, wanted);
        let (Some(manager), Some((first, version))) = (installed.manager, older.iter().next()) else {
            return Ok((digest, 0));
        };
        let tool = self.packages().tool(&digest, manager)?.ok_or_else(|| {
            PipelineError::invalid(
                format!(
                    "otoshi.lock says {first} {version} for the runner, which no longer has a package manager"
                ),
                Remedy::RefreshChecksPackages,
            )
        })?;
        let below = self.below(&image)?;
        let dockerfile = self.generated(&below, tool, &older)?;
        // A context without files.
        let empty = self.0.home.snapshots().draft()?;
        let context =
            Context::scan(self.0.home, &empty.tree(), None).map_err(PipelineError::engine_in(PHASE))?;
        let commands = CommandSettings(self.0.project);
        let request = BuildRequest {
            images: BTreeMap::from([(BELOW.to_owned(), below.clone())]),
            platform: self.0.platform.clone(),
            network: commands.network(),
            network_cache: commands.network_cache(),
            ca_certificates: commands.ca_certificates()?,
            no_cache: self.0.no_cache,
            output: output_of(PHASE),
            ..BuildRequest::new(Arc::new(dockerfile), Arc::new(context))
        };
        let built = match self.0.engine.build(&request, events).map_err(PipelineError::engine_in(PHASE)) {
            Ok(built) => built,
            Err(error) if error.kind() == Kind::Build => {
                return Err(self.why_not(&installed, &older, error));
            }
            Err(error) => return Err(error),
        };
        let upgraded = self.put_over(&image, &self.0.load_image(&built.digest)?, &older)?;
        let now = self.packages().installed(&self.0.load_image(&upgraded)?)?;
        if let Some((package, version)) = older_still(&now, &older) {
            return Err(PipelineError::invalid(
                format!(
                    "the runner's package manager was asked for {package} {version}, but did not install it"
                ),
                Remedy::RefreshLooksAtPackages,
            ));
        }
        Ok((upgraded, built.layers_written))
    }

    fn packages(self) -> ImagePackages<'w> {
        ImagePackages(self.0)
    }

    /// The image's layers under a config that changes nothing about a command but its environment.
    fn below(self, image: &Image) -> Result<Digest, PipelineError> {
        let mut config = ImageConfig::new(&self.0.platform);
        config.config.env.clone_from(&image.config.config.env);
        config.rootfs.diff_ids = image.diff_ids().to_vec();
        let layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        let written = write_image(self.0.home.layout(), &config, &layers, &BTreeMap::new());
        Digest::of(&written?).map_err(PipelineError::from)
    }

    /// The Dockerfile of one command.
    fn generated(self, below: &Digest, tool: Tool, packages: &Upgrades) -> Result<Dockerfile, PipelineError> {
        let mut mounts = "--mount=type=tmpfs,target=/tmp".to_owned();
        for path in tool.caches().iter().chain([&LOGS]) {
            let there = self.0.engine.content(below, path).map_err(PipelineError::engine_in(PHASE))?;
            // Writes to it are thrown away; where there is nothing yet, an empty directory is put, the context.
            let shown = match there {
                Some(_) => format!(" --mount=type=bind,from=below,source={path},target={path},rw"),
                None if *path == LOGS => continue,
                None => format!(" --mount=type=bind,source=/,target={path},rw"),
            };
            mounts.push_str(&shown);
        }
        let mut argv = vec!["/bin/sh".to_owned(), "-ec".to_owned(), tool.script(), "upgrade".to_owned()];
        for (package, version) in packages {
            argv.push(tool.argument(package, version));
        }
        let argv = serde_json::to_string(&argv)?;
        let text = format!("FROM {BELOW} AS below\nFROM below\nRUN {mounts} {argv}\n");
        Dockerfile::parse("newer packages", &text).map_err(PipelineError::dockerfile(PHASE))
    }

    /// The image with the layers that another one has more.
    fn put_over(self, image: &Image, built: &Image, packages: &Upgrades) -> Result<Digest, PipelineError> {
        let count = image.layers().len();
        let mut layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        let mut config = image.config.clone();
        for layer in &built.layers()[count..] {
            layers.push(layer.descriptor.clone());
            config.rootfs.diff_ids.push(layer.diff_id.clone());
            let names: Vec<_> = packages.keys().map(PackageName::name).collect();
            config.history.push(History {
                created: config.created.clone(),
                created_by: Some(format!("otoshi: newer {}", names.join(", "))),
                ..History::default()
            });
        }
        let mut annotations = image.annotations();
        if let Some(chain) = chain_id(image.diff_ids()) {
            annotations.insert(UPGRADED.to_owned(), chain.to_string());
        }
        let written = write_image(self.0.home.layout(), &config, &layers, &annotations);
        Digest::of(&written?).map_err(PipelineError::from)
    }

    /// Says of a package manager's failure what it comes from, where that can be found out.
    fn why_not(self, installed: &Installed, packages: &Upgrades, error: PipelineError) -> PipelineError {
        let Ok(available) = self.packages().repositories(installed) else { return error };
        let gone = packages.iter().find(|(package, version)| {
            find(installed, package)
                .is_some_and(|found| matches!(available.has(found, version.as_str()), Ok(false)))
        });
        let Some((package, version)) = gone else { return error };
        PipelineError::invalid(
            format!(
                "otoshi.lock says {package} {version} for the runner, and its repositories no longer have it"
            ),
            Remedy::RefreshTakesPackages,
        )
    }
}

fn find<'i>(installed: &'i Installed, package: &PackageName) -> Option<&'i otoshi_packages::Package> {
    installed.named(package.name()).iter().find(|found| found.architecture == package.architecture())
}

/// Those that are installed in an older version.
fn older(installed: &Installed, wanted: &Upgrades) -> Upgrades {
    let Some(manager) = installed.manager else { return BTreeMap::new() };
    let is_older = |(package, version): &(&PackageName, &PackageVersion)| {
        find(installed, package)
            .is_some_and(|found| compare(manager, version.as_str(), &found.version).is_gt())
    };
    wanted.iter().filter(is_older).map(|(package, version)| (package.clone(), version.clone())).collect()
}

/// One that is not there as it was asked for.
fn older_still<'w>(
    installed: &Installed,
    wanted: &'w Upgrades,
) -> Option<(&'w PackageName, &'w PackageVersion)> {
    wanted.iter().find(|(package, version)| {
        find(installed, package).is_none_or(|found| found.version != version.as_str())
    })
}
