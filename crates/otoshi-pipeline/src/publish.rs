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

use otoshi_engine::{CopiedLayer, Output};
use otoshi_explain::Remedy;
use otoshi_oci::{Descriptor, Digest, Reference};
use otoshi_project::{Phase, Project, Role};
use otoshi_registry::{Item, Progress, Repository, Summary};

use crate::{
    Part, PipelineError, Remote, Status,
    arguments::{ArgumentValue, argument_key},
    artifact::CompiledArtifact,
    bases::{Bases, Rules, origins},
    job::Settled,
    locked::Locked,
    memory::{
        Content, Record, argument_tag, documents_of, phase_tag, start_key, start_tag, write_argument,
        write_record, write_start,
    },
    recipe::Recipe,
    walker::Walker,
    world::World,
};

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The images, by the references that they have in the registry.
    pub images: BTreeMap<String, Digest>,
    /// What moved.
    pub summary: Summary,
}

/// What one walk found: the result of every phase, and the bases. It is all that publishing needs to know.
#[derive(Debug)]
pub struct Results {
    settled: Vec<Settled>,
    bases: Bases,
}

impl Results {
    /// Walks once, for a project that was built before; an error where a phase must run first.
    pub(crate) fn built_before(on: &Locked<'_>) -> Result<Self, PipelineError> {
        let walked = Walker(on).once(None, Rules { locked: true, ..Rules::default() })?;
        if let Some(phase) = walked.plan.phases.iter().find(|phase| phase.status != Status::Fresh) {
            let why = phase.reasons.first().map(|reason| format!(": {}", reason.text)).unwrap_or_default();
            return Err(PipelineError::invalid(
                format!("the {} is out of date{why}", phase.phase),
                Remedy::Build,
            ));
        }
        Ok(Self { settled: walked.settled, bases: walked.bases })
    }

    /// Takes them out of a walk in which every phase ran that had to.
    pub(crate) fn new(settled: Vec<Settled>, bases: Bases) -> Self {
        Self { settled, bases }
    }

    fn phase(&self, phase: Phase) -> Option<&Settled> {
        self.settled.iter().find(|settled| settled.phase == phase)
    }

    /// The image of a phase that makes one.
    fn image(&self, phase: Phase) -> Option<&Digest> {
        self.phase(phase)?.made.image(phase)
    }
}

/// Where a project's results go.
pub(crate) struct Destination<'w> {
    remote: &'w Remote,
    repository: Reference,
}

impl<'w> Destination<'w> {
    /// The project's repository; an error where the project does not say one.
    pub(crate) fn of(world: &'w World<'w>) -> Result<Self, PipelineError> {
        let (Some(remote), Some(memory)) = (world.remote, &world.memory) else {
            return Err(PipelineError::invalid(
                "otoshi.toml does not say where to push",
                "add [registry] with repository = \"registry.example/team/NAME\"",
            ));
        };
        Ok(Self { remote, repository: memory.reference.clone() })
    }

    /// The reference of a process's image.
    fn app_reference(
        &self,
        project: &Project,
        process: &str,
        tag: Option<&str>,
    ) -> Result<Reference, PipelineError> {
        let registry = project.manifest.registry.as_ref();
        let Some(images) = registry.and_then(|registry| registry.images.as_ref()) else {
            let tag = tag.map_or_else(|| process.to_owned(), |tag| format!("{process}-{tag}"));
            return Ok(self.repository.with_tag(&tag)?);
        };
        let name = Reference::parse(&images.replace("{process}", process))?;
        Ok(name.with_tag(tag.unwrap_or("latest"))?)
    }
}

/// Puts what a walk found into the project's repository; it does not walk itself.
pub(crate) struct Publisher<'w> {
    on: &'w Locked<'w>,
    results: &'w Results,
    compiled: Option<Digest>,
    items: Vec<Item>,
    images: BTreeMap<String, Digest>,
}

impl<'w> Publisher<'w> {
    pub(crate) fn new(on: &'w Locked<'w>, results: &'w Results) -> Self {
        Self { on, results, compiled: None, items: Vec::new(), images: BTreeMap::new() }
    }

    /// Pushes everything, for others to run and for other machines to build on.
    ///
    /// `tag` is the tag of the app images; in one repository for all, it follows the process's name.
    ///
    /// Fails where something has not been built yet, where [registry] names no repository, or the registry refuses;
    /// no tag moves then.
    pub(crate) fn publish(
        mut self,
        destination: &Destination<'_>,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let (world, results, Destination { remote, repository }) = (self.world(), self.results, destination);
        let compiled = results.phase(Phase::Compile);
        self.compiled = compiled.map(|settled| CompiledArtifact { world, settled }.write()).transpose()?;
        let roles = role_images(results);
        let contents: Vec<Content> =
            results.settled.iter().flat_map(|settled| contents_seen(settled, &roles)).collect();
        for settled in &results.settled {
            let recipes = self.recipes(settled)?;
            let record = self.record(settled, &contents)?;
            if let Some(written) = write_record(world.home.layout(), &record, &recipes)? {
                self.items.push(item(&repository.with_tag(&phase_tag(&settled.key))?, &written));
            }
            for (name, digest) in &settled.made.images {
                let reference = match settled.phase {
                    Phase::App => destination.app_reference(world.project, name, tag)?,
                    phase => repository.with_tag(phase.as_str())?,
                };
                self.items.push(item(&reference, digest));
                self.images.insert(reference.to_string(), digest.clone());
            }
        }
        self.add_start(destination)?;
        for (key, value) in self.known_arguments()? {
            let written = write_argument(world.home.layout(), &value)?;
            self.items.push(item(&repository.with_tag(&argument_tag(&key))?, &written));
        }

        let summary = remote.push(&self.items, progress)?;
        for settled in &results.settled {
            for digest in settled.made.images.values().chain(&self.compiled) {
                remote.note_image(digest, &world.platform, &Repository::of(repository))?;
            }
        }
        Ok(Published { images: self.images, summary })
    }

    /// Pushes the compiled application alone, as an image that can be mounted.
    ///
    /// Fails where something has not been built yet, where [registry] names no repository, or the registry refuses;
    /// no tag moves then.
    pub(crate) fn publish_compiled(
        self,
        destination: &Destination<'_>,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let artifact = self.compiled()?;
        let tag = tag.map_or_else(|| "compiled".to_owned(), |tag| format!("compiled-{tag}"));
        let reference = destination.repository.with_tag(&tag)?;
        // What it refers to is there as well, so that it is found from there.
        let summary = destination.remote.push(&[item(&reference, &artifact)], progress)?;
        Ok(Published { images: BTreeMap::from([(reference.to_string(), artifact)]), summary })
    }

    /// The compiled application as an image of the store: the source, and what compiling wrote over it.
    pub(crate) fn compiled(&self) -> Result<Digest, PipelineError> {
        let settled = self.results.phase(Phase::Compile).ok_or_else(|| {
            PipelineError::invalid("this project compiles nothing", "add [compile] to otoshi.toml")
        })?;
        CompiledArtifact { world: self.world(), settled }.write()
    }

    fn world(&self) -> &'w World<'w> {
        &self.on.world
    }

    /// What other machines are told of a phase.
    fn record(&self, settled: &Settled, contents: &[Content]) -> Result<Record, PipelineError> {
        let world = self.world();
        let mut record = Record { images: settled.made.images.clone(), ..Record::default() };
        if settled.phase == Phase::Compile
            && let Some(artifact) = &self.compiled
        {
            record.output = settled.made.output.as_ref().map(|(_, content)| content.clone());
            record.links = CompiledArtifact { world, settled }.links();
            record.artifact = Some(artifact.clone());
        }
        for digest in record.images.values().chain(&record.artifact) {
            documents_of(world.home.layout(), digest, &mut record.documents)?;
        }
        record.contents =
            contents.iter().filter(|c| record.images.values().any(|i| *i == c.image)).cloned().collect();
        if settled.phase == Phase::Builder {
            record.copied = self.copied_layers()?;
        }
        Ok(record)
    }

    /// The recipes of the app images; none of another phase.
    fn recipes(&self, settled: &Settled) -> Result<Vec<Descriptor>, PipelineError> {
        if settled.phase != Phase::App {
            return Ok(Vec::new());
        }
        let recipe = Recipe {
            world: self.world(),
            compiled: self.compiled.as_ref(),
            app: &settled.seen,
            runner: self.results.phase(Phase::Runner),
        };
        recipe.write(&settled.made.images)
    }

    /// Adds what planning reads of all bases, where it is known in which registry each is.
    fn add_start(&mut self, destination: &Destination<'_>) -> Result<(), PipelineError> {
        let (world, bases) = (self.world(), &self.results.bases);
        let origin = |digest: &Digest| origins(world.home, digest).into_iter().next();
        let places: BTreeMap<Digest, Repository> =
            bases.all().filter_map(|(.., digest)| Some((digest.clone(), origin(digest)?))).collect();
        let all_known = bases.all().all(|(.., digest)| places.contains_key(digest));
        if all_known && let Some(written) = write_start(destination.remote, &places)? {
            let tag = start_tag(&start_key(bases, &world.platform));
            self.items.push(item(&destination.repository.with_tag(&tag)?, &written));
        }
        Ok(())
    }

    /// The layers that the app images have of paths copied out of the builder.
    fn copied_layers(&self) -> Result<Vec<CopiedLayer>, PipelineError> {
        let world = self.world();
        let (results, project) = (self.results, &world.project.manifest);
        let (Some(builder), Some(runner)) = (results.image(Phase::Builder), results.image(Phase::Runner))
        else {
            return Ok(Vec::new());
        };
        let paths = project.app.dependencies.iter();
        let layers = paths.map(|path| world.engine.copied_layer(runner, builder, path, Output::default()));
        let layers = layers.collect::<Result<Vec<_>, _>>().map_err(PipelineError::engine_in(Phase::App))?;
        Ok(layers.into_iter().flatten().collect())
    }

    /// The computed arguments whose value is known, by their keys.
    fn known_arguments(&self) -> Result<Vec<(Digest, String)>, PipelineError> {
        let (world, lock) = (self.world(), self.on.lock.load()?);
        let mut found = Vec::new();
        for (_, base, computed) in world.project.computed()? {
            let Some(image) = lock.get(Role::Arguments, &base, &world.platform) else { continue };
            let key = argument_key(image, &computed.run);
            if let Some(ArgumentValue(value)) = world.home.records().get(key.hex()) {
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
fn role_images(results: &Results) -> BTreeMap<Phase, Digest> {
    let image = |phase| Some((phase, results.image(phase)?.clone()));
    [Phase::Builder, Phase::Runner].into_iter().filter_map(image).collect()
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
