//! Publishing: what the phases made goes to the project's repository, with the records by which other machines find it.
//!
//! ```text
//! REPOSITORY:PROCESS, or IMAGES:TAG   the app images, for those who run them
//! REPOSITORY:builder, runner          these images
//! REPOSITORY:phase-…, start-…         records: see `memory`
//! compiled application                an image and an artifact; refers to the image that it was compiled in
//! recipe                              an artifact; refers to its app image
//! ```

use std::{collections::BTreeMap, sync::Arc};

use otoshi_engine::CopiedLayer;
use otoshi_oci::{Digest, Reference};
use otoshi_project::{Phase, Role};
use otoshi_registry::{Item, Progress, Repository, Summary};

use crate::{
    Part, Pipeline, PipelineError, Remote, Status,
    arguments::{ArgumentValue, argument_key},
    bases::{Bases, Rules, origins},
    memory::{
        Content, Record, argument_tag, documents_of, phase_tag, start_key, start_tag, write_argument,
        write_record, write_start,
    },
    pipeline::Settled,
};

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The images, by the references that they have in the registry.
    pub images: BTreeMap<String, Digest>,
    /// What moved.
    pub summary: Summary,
}

impl Pipeline<'_> {
    /// Pushes what the last build made, for others to run and for other machines to build on. Everything must be built.
    ///
    /// `tag` is the tag of the app images; in one repository for all, it follows the process's name.
    pub fn publish(
        &self,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let (remote, repository) = self.destination()?;
        let (settled, bases) = self.settled()?;
        let of = |phase: Phase| settled.iter().find(|settled| settled.phase == phase);
        let mut items = Vec::new();
        let mut images = BTreeMap::new();
        let mut tagged = |reference: Reference, digest: &Digest, items: &mut Vec<Item>| {
            items.push(item(&reference, digest));
            images.insert(reference.to_string(), digest.clone());
        };

        let compiled = of(Phase::Compile).map(|settled| self.compiled_artifact(settled)).transpose()?;
        let mut contents = Vec::new();
        let roles = role_images(of(Phase::Builder), of(Phase::Runner));
        for settled in &settled {
            contents.extend(contents_seen(settled, &roles));
        }
        for settled in &settled {
            let mut record = Record { images: settled.made.images.clone(), ..Record::default() };
            let mut also = Vec::new();
            if settled.phase == Phase::Compile
                && let Some(artifact) = &compiled
            {
                record.output = settled.made.output.as_ref().map(|(_, content)| content.clone());
                record.links = self.links(&settled.made);
                record.artifact = Some(artifact.clone());
            }
            if settled.phase == Phase::App {
                for (process, digest) in &settled.made.images {
                    also.push(self.recipe(
                        process,
                        digest,
                        compiled.as_ref(),
                        &settled.seen,
                        of(Phase::Runner),
                    )?);
                }
            }
            for digest in record.images.values().chain(&record.artifact) {
                documents_of(self.home.layout(), digest, &mut record.documents)?;
            }
            record.contents =
                contents.iter().filter(|c| record.images.values().any(|i| *i == c.image)).cloned().collect();
            if settled.phase == Phase::Builder {
                record.copied = self.copied_layers(of(Phase::Builder), of(Phase::Runner))?;
            }
            if let Some(written) = write_record(self.home.layout(), &record, &also)? {
                items.push(item(&self.tagged(&repository, &phase_tag(&settled.key))?, &written));
            }
            for (name, digest) in &settled.made.images {
                let reference = match settled.phase {
                    Phase::App => self.app_reference(name, tag)?,
                    phase => self.tagged(&repository, phase.as_str())?,
                };
                tagged(reference, digest, &mut items);
            }
        }
        let origin = |digest: &Digest| origins(self.home, digest).into_iter().next();
        let places: BTreeMap<Digest, Repository> =
            bases.all().filter_map(|(.., digest)| Some((digest.clone(), origin(digest)?))).collect();
        let all_known = bases.all().all(|(.., digest)| places.contains_key(digest));
        if all_known && let Some(written) = write_start(remote, &places)? {
            items.push(item(
                &self.tagged(&repository, &start_tag(&start_key(&bases, &self.platform)))?,
                &written,
            ));
        }
        for (key, value) in self.known_arguments()? {
            let written = write_argument(self.home.layout(), &value)?;
            items.push(item(&self.tagged(&repository, &argument_tag(&key))?, &written));
        }

        let summary = remote.push(&items, progress)?;
        for settled in &settled {
            for digest in settled.made.images.values().chain(&compiled) {
                remote.note_image(digest, &self.platform, &Repository::of(&repository))?;
            }
        }
        Ok(Published { images, summary })
    }

    /// Pushes the compiled application alone, as an image that can be mounted. Gives its reference and digest.
    pub fn publish_compiled(
        &self,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let (remote, repository) = self.destination()?;
        let artifact = self.compiled()?;
        let tag = tag.map_or_else(|| "compiled".to_owned(), |tag| format!("compiled-{tag}"));
        let reference = self.tagged(&repository, &tag)?;
        // What it refers to is there as well, so that it is found from there.
        let summary = remote.push(&[item(&reference, &artifact)], progress)?;
        Ok(Published { images: BTreeMap::from([(reference.to_string(), artifact)]), summary })
    }

    /// The compiled application as an image of the store: the source, and what compiling wrote over it.
    pub fn compiled(&self) -> Result<Digest, PipelineError> {
        let (settled, _) = self.settled()?;
        let compile = settled.iter().find(|settled| settled.phase == Phase::Compile);
        let compile = compile.ok_or_else(|| {
            PipelineError::invalid("this project compiles nothing", "add [compile] to otoshi.toml")
        })?;
        self.compiled_artifact(compile)
    }

    fn destination(&self) -> Result<(&Remote, Reference), PipelineError> {
        let (Some(remote), Some(memory)) = (self.remote, &self.memory) else {
            return Err(PipelineError::invalid(
                "otoshi.toml does not say where to push",
                "add [registry] with repository = \"registry.example/team/NAME\"",
            ));
        };
        Ok((remote, memory.reference.clone()))
    }

    /// What every phase made; an error where one must run first.
    fn settled(&self) -> Result<(Vec<Settled>, Bases), PipelineError> {
        let (plan, settled, bases) = self.walk_through(None, Rules { locked: true, ..Rules::default() })?;
        if let Some(phase) = plan.phases.iter().find(|phase| phase.status != Status::Fresh) {
            let why = phase.reasons.first().map(|reason| format!(": {}", reason.text)).unwrap_or_default();
            return Err(PipelineError::invalid(
                format!("the {} is not built as the project is now{why}", phase.phase),
                "otoshi build",
            ));
        }
        Ok((settled, bases))
    }

    fn tagged(&self, repository: &Reference, tag: &str) -> Result<Reference, PipelineError> {
        repository.with_tag(tag).map_err(PipelineError::from)
    }

    fn app_reference(&self, process: &str, tag: Option<&str>) -> Result<Reference, PipelineError> {
        let registry = self.project.manifest.registry.as_ref();
        let Some(images) = registry.and_then(|registry| registry.images.as_ref()) else {
            let (_, repository) = self.destination()?;
            let tag = tag.map_or_else(|| process.to_owned(), |tag| format!("{process}-{tag}"));
            return self.tagged(&repository, &tag);
        };
        let name = Reference::parse(&images.replace("{process}", process))?;
        self.tagged(&name, tag.unwrap_or("latest"))
    }

    /// The layers that the app images have of paths copied out of the builder.
    fn copied_layers(
        &self,
        builder: Option<&Settled>,
        runner: Option<&Settled>,
    ) -> Result<Vec<CopiedLayer>, PipelineError> {
        let image = |settled: Option<&Settled>, role: Role| settled?.made.images.get(role.as_str()).cloned();
        let (Some(builder), Some(runner)) = (image(builder, Role::Builder), image(runner, Role::Runner))
        else {
            return Ok(Vec::new());
        };
        let paths = self.project.manifest.app.dependencies.iter();
        let layers = paths.map(|path| self.engine.copied_layer(&runner, &builder, path, self.output));
        let layers = layers.collect::<Result<Vec<_>, _>>().map_err(PipelineError::engine_in(Phase::App))?;
        Ok(layers.into_iter().flatten().collect())
    }

    /// The computed arguments whose value is known, by their keys.
    fn known_arguments(&self) -> Result<Vec<(Digest, String)>, PipelineError> {
        let lock = otoshi_project::Lock::load(&self.project.root.join("otoshi.lock"))?;
        let mut found = Vec::new();
        for (_, base, computed) in self.project.computed()? {
            let Some(image) = lock.get(Role::Arguments, &base, &self.platform) else { continue };
            let key = argument_key(image, &computed.run);
            if let Some(ArgumentValue(value)) = self.home.records().get(key.hex()) {
                found.push((key, value));
            }
        }
        Ok(found)
    }
}

fn item(reference: &Reference, digest: &Digest) -> Item {
    let tag = reference.tag().map(str::to_owned);
    Item { repository: Repository::of(reference), tag, digest: digest.clone() }
}

/// The images of the roles that others copy from.
fn role_images(builder: Option<&Settled>, runner: Option<&Settled>) -> BTreeMap<Phase, Digest> {
    let pairs = [builder, runner].into_iter().flatten();
    pairs
        .filter_map(|settled| Some((settled.phase, settled.made.images.get(settled.phase.as_str())?.clone())))
        .collect()
}

/// What a phase saw at paths of other roles' images.
fn contents_seen(settled: &Settled, roles: &BTreeMap<Phase, Digest>) -> Vec<Content> {
    let at_path = settled.seen.parts.iter().filter_map(Part::taken).filter_map(|taken| {
        let path = taken.path.as_ref().filter(|path| !otoshi_dockerfile::glob::has_meta(path))?;
        let image = roles.get(&taken.of)?.clone();
        Some(Content { image, path: path.clone(), content: taken.content.clone() })
    });
    at_path.collect()
}
