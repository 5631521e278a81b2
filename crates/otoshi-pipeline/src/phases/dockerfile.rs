//! A role's Dockerfile, with all that it is built from: its bases and other roles' images, the source, the annotations of what it gives.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{AllowedDevices, BuildRequest, Context, Events};
use otoshi_oci::Digest;
use otoshi_project::{BaseName, Entitlement};

use super::{
    annotations,
    commands::{CommandSettings, output_of},
};
use crate::{
    PipelineError,
    bases::ensure,
    files::{RoleFile, Target},
    observe::{Compiled, Observation, Observer},
    source::Reader,
    walk::Walk,
    world::World,
};

/// A Dockerfile that can be observed and built.
pub(super) struct RoleBuild<'w> {
    world: &'w World<'w>,
    file: &'w RoleFile,
    pub(super) context: Arc<Context>,
    /// Bases and other roles' images: the text that FROM has → manifest.
    images: BTreeMap<String, Digest>,
    bases: Vec<(BaseName, Digest)>,
    /// Of each target, in their order.
    annotations: Vec<BTreeMap<String, String>>,
}

impl<'w> RoleBuild<'w> {
    /// Takes what a walk knows; the Dockerfile waits for no other phase.
    pub(super) fn of(walk: &mut Walk<'w>, file: &'w RoleFile) -> Result<Self, PipelineError> {
        let context = walk.context(file.phase, Reader::Dockerfile(file))?;
        let bases: Vec<_> =
            walk.bases.of(file.role).map(|(base, digest)| (base.clone(), digest.clone())).collect();
        let images = bases.iter().map(|(base, digest)| (base.to_string(), digest.clone()));
        let images = images.chain(walk.roles.clone()).collect();
        let annotations =
            file.targets.iter().map(|target| annotations::of_target(walk, file, target)).collect();
        Ok(Self { world: walk.world, file, context, images, bases, annotations })
    }

    /// Adds everything that the Dockerfile's targets observe, with the compiled output over the context where there is one.
    pub(super) fn observe(
        &self,
        compiled: Option<Compiled>,
        seen: &mut Observation,
    ) -> Result<(), PipelineError> {
        let observer = Observer {
            engine: self.world.engine,
            layout: self.world.home.layout(),
            platform: &self.world.platform,
            file: self.file,
            images: &self.images,
            context: &self.context,
            compiled,
        };
        observer.observe(seen)
    }

    /// Makes sure that all bases are in the store.
    pub(super) fn ensure_bases(&self, events: &dyn Events) -> Result<(), PipelineError> {
        let ensure = |source: &dyn crate::BaseSource| {
            let mut bases = self.bases.iter();
            bases.try_for_each(|(base, digest)| {
                ensure(source, self.file.role, base, digest, &self.world.platform)
            })
        };
        self.world.with_base_source(Some(events), ensure)
    }

    /// The requests for its targets, in their order, on a context.
    ///
    /// Fails where the certificates that the project offers are not there.
    pub(super) fn requests(
        &self,
        context: &Arc<Context>,
    ) -> Result<impl Iterator<Item = BuildRequest>, PipelineError> {
        let ca_certificates = CommandSettings(self.world.project).ca_certificates()?;
        let targets = self.file.targets.iter().zip(&self.annotations);
        Ok(targets.map(move |(target, annotations)| BuildRequest {
            ca_certificates: ca_certificates.clone(),
            ..self.request(target, context, annotations.clone())
        }))
    }

    fn request(
        &self,
        target: &Target,
        context: &Arc<Context>,
        annotations: BTreeMap<String, String>,
    ) -> BuildRequest {
        let (world, file) = (self.world, self.file);
        let commands = CommandSettings(world.project);
        let allowed = &world.project.manifest.build.allow;
        BuildRequest {
            allow_insecure: allowed.contains(&Entitlement::Insecure),
            allow_host_network: allowed.contains(&Entitlement::HostNetwork),
            allow_devices: allowed_devices(allowed),
            network: commands.network(),
            network_cache: commands.network_cache(),
            target: target.name.clone(),
            args: file.args.clone(),
            images: self.images.clone(),
            platform: world.platform.clone(),
            annotations,
            secrets: commands.secrets(),
            no_cache: world.no_cache,
            output: output_of(file.phase),
            versions_of: world.image_name(file.role.as_str()),
            ..BuildRequest::new(Arc::<Dockerfile>::clone(&file.dockerfile), Arc::clone(context))
        }
    }
}

/// The devices that a project allows.
fn allowed_devices(allowed: &[Entitlement]) -> AllowedDevices {
    let mut devices = AllowedDevices::default();
    for entitlement in allowed {
        match entitlement {
            Entitlement::Devices => devices.allow_all(),
            Entitlement::Device(name) => devices.allow(name),
            Entitlement::HostNetwork | Entitlement::Insecure => {}
        }
    }
    devices
}
