//! What a project says of the commands that make its images: their network, secrets and certificates.

use std::{collections::BTreeMap, path::PathBuf};

use otoshi_dockerfile::CommandForm;
use otoshi_engine::{Network, NetworkCache, Output, Secret};
use otoshi_oci::layer::Compression;
use otoshi_project::{BuildNetwork, Command, Phase, Project, Switch};

use crate::{PipelineError, observe::Observation, world::World};

/// The settings of a project's commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandSettings<'a>(pub(crate) &'a Project);

impl CommandSettings<'_> {
    /// The network of the project's commands.
    pub(crate) fn network(self) -> Network {
        match self.0.manifest.build.network {
            BuildNetwork::Default => Network::Own,
            BuildNetwork::Host => Network::Host,
            BuildNetwork::None => Network::None,
        }
    }

    /// What of their requests may be answered with what was fetched before.
    pub(super) fn network_cache(self) -> NetworkCache {
        let build = &self.0.manifest.build;
        match (build.network_cache, build.inspect_https) {
            (Switch::Off, _) => NetworkCache::Off,
            (Switch::On, false) => NetworkCache::Http,
            (Switch::On, true) => NetworkCache::Https,
        }
    }

    /// The project's secrets; their values are read when a command needs them.
    pub(super) fn secrets(self) -> BTreeMap<String, Secret> {
        let place = |secret: &otoshi_project::Secret| match secret {
            otoshi_project::Secret::File(path) => Secret::File(self.0.root.join(path)),
            otoshi_project::Secret::Env(name) => Secret::Env(name.clone()),
        };
        self.0.manifest.secrets.iter().map(|(name, secret)| (name.clone(), place(secret))).collect()
    }

    /// The bundle of certificate authorities that commands are offered.
    pub(super) fn ca_certificates(self) -> Result<Option<PathBuf>, PipelineError> {
        Ok(self.0.ca_certificates()?)
    }
}

/// How a phase's images are written. The builder is large and is read by Otoshi only: zstd.
pub(super) fn output_of(phase: Phase) -> Output {
    match phase {
        Phase::Builder => Output { compression: Compression::Zstd, ..Output::default() },
        _ => Output::default(),
    }
}

/// The settings that reach every phase.
pub(super) fn seen_by_all(world: &World<'_>, phase: Phase) -> Observation {
    let (mut seen, output) = (Observation::default(), output_of(phase));
    seen.add_setting("platform", &world.platform);
    seen.add_setting("compression", output.compression.as_str());
    seen.add_setting("epoch", output.epoch);
    // Which authorities there are is a matter of the machine, and ends up in no image.
    if world.project.manifest.build.ca_certificates.is_some() {
        seen.add_setting("ca-certificates", "offered");
    }
    match CommandSettings(world.project).network() {
        Network::Own => {}
        Network::Host => seen.add_setting("network", "host"),
        Network::None => seen.add_setting("network", "none"),
    }
    seen
}

pub(crate) fn form(command: &Command) -> CommandForm {
    match command {
        Command::Shell(text) => CommandForm::Shell(text.clone()),
        Command::Exec(argv) => CommandForm::Exec(argv.clone()),
    }
}

pub(super) fn argv(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        Command::Exec(argv) => argv.clone(),
    }
}
