//! Phases 1 and 3: the builder and the runner, each a Dockerfile; on the runner a layer of newer packages, where the lock has some.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{BuildRequest, Context};
use otoshi_oci::Digest;
use otoshi_project::{Entitlement, Phase};

use super::bases_of;
use crate::{
    Part, Pipeline, PipelineError,
    files::{RoleFile, Target},
    observe::{Observation, Observer},
    pipeline::{Job, Next, Ran, Walk},
    record::Made,
    source::Reader,
};

impl Pipeline<'_> {
    /// Phase 1.
    pub(crate) fn builder<'w>(&'w self, walk: &mut Walk<'w>) -> Result<Next<'w>, PipelineError> {
        let Some(file) = &walk.files.builder else { return Ok(Next::Absent) };
        self.image_phase(walk, file)
    }

    /// Phase 3.
    pub(crate) fn runner<'w>(&'w self, walk: &mut Walk<'w>) -> Result<Next<'w>, PipelineError> {
        let file = &walk.files.runner;
        self.image_phase(walk, file)
    }

    fn image_phase<'w>(&'w self, walk: &mut Walk<'w>, file: &'w RoleFile) -> Result<Next<'w>, PipelineError> {
        let (role, phase) = (file.role, file.phase);
        if let Some(on) = self.waits_for(walk, file) {
            return Ok(Next::Pending { phase, on });
        }
        let context = self.context(walk, phase, Reader::Dockerfile(file))?;
        let images = self.images(walk, file);
        let mut seen = Observation::default();
        self.add_settings(phase, &mut seen);
        for target in file.targets.iter().filter_map(|target| target.name.as_ref()) {
            seen.add_setting("target", target);
        }
        let observer = Observer {
            engine: self.engine,
            layout: self.home.layout(),
            platform: &self.platform,
            file,
            images: &images,
            context: &context,
            compiled: None,
        };
        observer.observe(&mut seen)?;
        let upgrades = if phase == Phase::Runner { walk.bases.upgrades.clone() } else { BTreeMap::new() };
        for (package, version) in &upgrades {
            seen.add(Part::Upgrade { package: package.clone(), version: version.clone() });
        }
        let bases = bases_of(walk, role);
        let targets = file.targets.iter();
        let requests: Vec<_> = targets
            .map(|target| {
                let annotations = self.annotations(walk, file, target);
                self.build_request(file, target, &context, &images, annotations)
            })
            .collect();
        let run = move |events: &dyn otoshi_engine::Events| {
            self.ensure_bases(role, &bases, events)?;
            let (mut made, mut layers_written) = (Made::default(), 0);
            for request in requests {
                let request = BuildRequest { ca_certificates: self.ca_certificates()?, ..request };
                let built = self.engine.build(&request, events).map_err(PipelineError::engine_in(phase))?;
                layers_written += built.layers_written;
                let (digest, more) = self.upgraded(built.digest, &upgrades, events)?;
                layers_written += more;
                made.images.insert(role.to_string(), digest);
            }
            Ok(Ran { made, layers_written })
        };
        Ok(Next::Job(Job { phase, seen, run: Box::new(run) }))
    }

    /// The request for one target; certificates are offered when it runs.
    pub(super) fn build_request(
        &self,
        file: &RoleFile,
        target: &Target,
        context: &Arc<Context>,
        images: &BTreeMap<String, Digest>,
        annotations: BTreeMap<String, String>,
    ) -> BuildRequest {
        let allows = |entitlement| self.project.manifest.build.allow.contains(&entitlement);
        BuildRequest {
            allow_insecure: allows(Entitlement::Insecure),
            allow_host_network: allows(Entitlement::HostNetwork),
            network: self.network(),
            target: target.name.clone(),
            args: file.args.clone(),
            images: images.clone(),
            platform: self.platform.clone(),
            annotations,
            secrets: self.secrets(),
            no_cache: self.no_cache,
            output: self.output_of(file.phase),
            versions_of: self.image_name(file.role.as_str()),
            ..BuildRequest::new(Arc::<Dockerfile>::clone(&file.dockerfile), Arc::clone(context))
        }
    }
}
