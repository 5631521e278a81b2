//! The compiled application as an artifact: an image of two layers, the source and what compiling wrote over it.
//!
//! It is an image too, so that what mounts images can mount it. It refers to the image that it was compiled in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use otoshi_engine::{Context, Output};
use otoshi_oci::{Artifact, Digest, ImageConfig, Reference, layer::Compression, write_image_artifact};
use otoshi_project::Phase;

use crate::{
    COMPILED_TYPE, Part, PipelineError, bases::is_whole, job::Settled, part::Taken, record::Made,
    source::Reader, world::World,
};

/// A compiled output with more symbolic links than this is fetched to be planned with.
const MAX_LINKS: usize = 20_000;

/// The compiled application of a walk, as an artifact.
#[derive(Clone, Copy)]
pub(crate) struct CompiledArtifact<'w> {
    pub(crate) world: &'w World<'w>,
    /// The compile phase.
    pub(crate) settled: &'w Settled,
}

impl CompiledArtifact<'_> {
    /// Writes it, unless it is known; remembers it with what the phase made.
    pub(crate) fn write(self) -> Result<Digest, PipelineError> {
        let settled = self.settled;
        let failed = || PipelineError::engine_in(Phase::Compile);
        let known = settled.made.artifact.as_ref();
        if let Some(artifact) = known.filter(|digest| is_whole(self.world.home, digest, &self.world.platform))
        {
            return Ok(artifact.clone());
        }
        let Some((output, content)) = &settled.made.output else {
            return Err(PipelineError::Fault("the compile command's output is not kept".to_owned()));
        };
        let text = self.world.source().ignore_text(Reader::Compile)?;
        let context =
            Context::scan(self.world.home, &self.world.project.root, Some(&text)).map_err(failed())?;
        let source = context.snapshot(self.world.home, (0, 0)).map_err(failed())?;
        let form = Output { compression: Compression::Gzip, ..Output::default() };
        let mut config = ImageConfig::new(&self.world.platform);
        let mut layers = Vec::new();
        for (snapshot, owner) in [(&source, Some((0, 0))), (output, None)] {
            let (descriptor, diff_id) = self.world.engine.pack(snapshot, owner, form).map_err(failed())?;
            config.rootfs.diff_ids.push(diff_id);
            layers.push(descriptor);
        }
        let mut annotations = BTreeMap::from([
            ("dev.otoshi.role".to_owned(), "compiled".to_owned()),
            ("dev.otoshi.content".to_owned(), content.to_string()),
        ]);
        if let Some(config) = compiled_in(settled).and_then(|taken| taken.content.as_ref()) {
            annotations.insert("dev.otoshi.compiled-in".to_owned(), config.to_string());
        }
        let layout = self.world.home.layout();
        let subject = self.compiled_in().map(|digest| layout.describe(&digest)).transpose()?;
        let written = write_image_artifact(
            layout,
            &config,
            &layers,
            Artifact { kind: COMPILED_TYPE, annotations: &annotations, subject: subject.as_ref() },
        )?;
        let digest = Digest::of(&written)?;
        layout.names().add_untagged(layout.describe(&digest)?)?;
        let made = Made { artifact: Some(digest.clone()), ..settled.made.clone() };
        self.world.ledger().record(&settled.key, &made)?;
        Ok(digest)
    }

    /// The image in which the application was compiled, where that is still known.
    fn compiled_in(self) -> Option<Digest> {
        let taken = compiled_in(self.settled)?;
        let name = self.world.image_name(taken.of.as_str());
        let found = self.world.home.layout().names().resolve(&Reference::parse(&name).ok()?).ok()??;
        let digest = Digest::of(&found).ok()?;
        let image = otoshi_oci::Image::load(self.world.home.layout(), &digest, &self.world.platform).ok()?;
        (Some(image.id()) == taken.content).then_some(digest)
    }

    /// The symbolic links of the compiled output.
    pub(crate) fn links(self) -> Option<BTreeSet<String>> {
        let made = &self.settled.made;
        if made.links.is_some() {
            return made.links.clone();
        }
        let (id, _) = made.output.as_ref()?;
        let root = self.world.home.snapshots().get(id)?;
        let mut found = BTreeSet::new();
        links_below(&root, "", &mut found).ok()?;
        (found.len() <= MAX_LINKS).then_some(found)
    }
}

/// The image, by its config, that the application was compiled in.
fn compiled_in(settled: &Settled) -> Option<&Taken> {
    settled.seen.parts.iter().find_map(Part::taken)
}

fn links_below(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            found.insert(path);
        } else if kind.is_dir() {
            links_below(&entry.path(), &path, found)?;
        }
    }
    Ok(())
}
