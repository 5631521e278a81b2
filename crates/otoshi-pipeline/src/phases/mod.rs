//! The phases: what each observes, and how it runs.
//!
//! Annotations of the images say the role, the base and its digest, and in app images the seam and the runner's base. They leave out the
//! project's name, the phase's key and every time, so that equal content stays an equal image, also across projects.

mod app;
mod compile;
mod image;
mod upgrade;

use std::{collections::BTreeMap, path::PathBuf};

use otoshi_dockerfile::CommandForm;
use otoshi_engine::{Events, Network, Output, Secret};
use otoshi_oci::{Digest, layer::Compression};
use otoshi_project::{BaseName, BuildNetwork, Command, Phase, Role};
use otoshi_rebase::seam;

pub(crate) use self::upgrade::is_plain;
use crate::{
    Pipeline, PipelineError, bases,
    files::{RoleFile, Target},
    observe::Observation,
    pipeline::Walk,
};

impl Pipeline<'_> {
    /// How a role's images are written. The builder is large and is read by Otoshi only: zstd, where gzip was not asked for.
    fn output_of(&self, phase: Phase) -> Output {
        let unsaid = self.output == Output::default();
        match phase {
            Phase::Builder if unsaid => Output { compression: Compression::Zstd, ..self.output },
            _ => self.output,
        }
    }

    /// Adds the settings that reach every phase.
    fn add_settings(&self, phase: Phase, seen: &mut Observation) {
        seen.add_setting("platform", &self.platform);
        seen.add_setting("compression", self.output_of(phase).compression.as_str());
        seen.add_setting("epoch", self.output.epoch);
        // Which authorities there are is a matter of the machine, and ends up in no image.
        if self.project.manifest.build.ca_certificates.is_some() {
            seen.add_setting("ca-certificates", "offered");
        }
        match self.network() {
            Network::Own => {}
            Network::Host => seen.add_setting("network", "host"),
            Network::None => seen.add_setting("network", "none"),
        }
    }

    /// The network of the project's commands.
    pub(crate) fn network(&self) -> Network {
        match self.project.manifest.build.network {
            BuildNetwork::Default => Network::Own,
            BuildNetwork::Host => Network::Host,
            BuildNetwork::None => Network::None,
        }
    }

    /// The project's secrets; their values are read when a command needs them.
    fn secrets(&self) -> BTreeMap<String, Secret> {
        let place = |secret: &otoshi_project::Secret| match secret {
            otoshi_project::Secret::File(path) => Secret::File(self.project.root.join(path)),
            otoshi_project::Secret::Env(name) => Secret::Env(name.clone()),
        };
        self.project.manifest.secrets.iter().map(|(name, secret)| (name.clone(), place(secret))).collect()
    }

    /// The bundle of certificate authorities that commands are offered.
    fn ca_certificates(&self) -> Result<Option<PathBuf>, PipelineError> {
        let Some(setting) = self.project.manifest.build.ca_certificates.as_deref() else { return Ok(None) };
        let path = if setting == "host" {
            PathBuf::from("/etc/ssl/certs/ca-certificates.crt")
        } else {
            self.project.root.join(setting)
        };
        if !path.is_file() {
            return Err(PipelineError::invalid(
                format!("[build] ca-certificates: there is no file {}", path.display()),
                "name a bundle in PEM form, or leave the setting out",
            ));
        }
        Ok(Some(path))
    }

    /// The images that a Dockerfile reaches and that are known: bases, and other roles'.
    fn images(&self, walk: &Walk<'_>, file: &RoleFile) -> BTreeMap<String, Digest> {
        let bases = walk.bases.of(file.role).map(|(base, digest)| (base.to_string(), digest.clone()));
        bases.chain(walk.roles.clone()).collect()
    }

    /// The phase whose image a Dockerfile reaches and that is not known yet.
    pub(crate) fn waits_for(&self, walk: &Walk<'_>, file: &RoleFile) -> Option<Phase> {
        let images = file.images();
        let unknown =
            [(Role::Builder, Phase::Builder), (Role::Runner, Phase::Runner)].into_iter().find(|(role, _)| {
                let reference = self.role_reference(*role);
                images.contains(&reference) && !walk.roles.contains_key(&reference)
            });
        unknown.map(|(_, phase)| phase)
    }

    /// Makes sure that all bases of a Dockerfile are in the store.
    fn ensure_bases(
        &self,
        role: Role,
        bases: &[(BaseName, Digest)],
        events: &dyn Events,
    ) -> Result<(), PipelineError> {
        self.with_base_source(Some(events), |source| {
            bases
                .iter()
                .try_for_each(|(base, digest)| bases::ensure(source, role, base, digest, &self.platform))
        })
    }

    /// The annotations of an image that a Dockerfile's target gives.
    fn annotations(&self, walk: &Walk<'_>, file: &RoleFile, target: &Target) -> BTreeMap<String, String> {
        let mut found = role_annotations(file.role);
        if let Some(base) = target.base() {
            if let Some(digest) = walk.bases.get(file.role, base) {
                found.insert("org.opencontainers.image.base.name".into(), base.to_owned());
                found.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
            } else if let Some(digest) = walk.roles.get(base) {
                found.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
                if file.role == Role::App && base == self.role_reference(Role::Runner) {
                    found.extend(self.seam(digest));
                }
            }
        }
        found
    }

    /// Where an app image parts from the runner below (the chain id of the runner's layers), and the base that is below that.
    ///
    /// All of it is said of the runner, which counts among what the phase observes.
    fn seam(&self, runner: &Digest) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        if let Ok(image) = otoshi_oci::Image::load(self.home.layout(), runner, &self.platform) {
            let chain = seam::chain_id(image.diff_ids());
            found.extend(chain.map(|chain| (seam::SEAM.to_owned(), chain.to_string())));
            seam::name_base_of_runner(&mut found, &image.annotations());
        }
        found
    }
}

/// The bases of a role, with their locked digests.
fn bases_of(walk: &Walk<'_>, role: Role) -> Vec<(BaseName, Digest)> {
    walk.bases.of(role).map(|(base, digest)| (base.clone(), digest.clone())).collect()
}

fn role_annotations(role: Role) -> BTreeMap<String, String> {
    BTreeMap::from([("dev.otoshi.role".to_owned(), role.to_string())])
}

pub(crate) fn form(command: &Command) -> CommandForm {
    match command {
        Command::Shell(text) => CommandForm::Shell(text.clone()),
        Command::Exec(argv) => CommandForm::Exec(argv.clone()),
    }
}

fn argv(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        Command::Exec(argv) => argv.clone(),
    }
}
