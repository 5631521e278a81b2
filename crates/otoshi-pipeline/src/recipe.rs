//! The recipe of an app image: the few files from which its runner and the image itself are made, as an artifact that refers
//! to it. The application is not among them; the recipe names the compiled one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
};

use otoshi_engine::{EntryKind, Output};
use otoshi_oci::{Artifact, Descriptor, Digest, Fields, layer::Compression, write_artifact};
use otoshi_project::Phase;
use otoshi_store::SnapshotId;

use crate::{PipelineError, RECIPE_TYPE, job::Settled, observe::Observation, world::World};

/// Context files of a phase that are more bytes than this are not part of a recipe.
const MAX_RECIPE: u64 = 8 << 20;

/// The recipe of a project's app images.
pub(crate) struct Recipe<'w> {
    pub(crate) world: &'w World<'w>,
    /// The compiled application.
    pub(crate) compiled: Option<&'w Digest>,
    /// What the app phase saw.
    pub(crate) app: &'w Observation,
    pub(crate) runner: Option<&'w Settled>,
}

impl Recipe<'_> {
    /// Writes the recipes of app images, which have their files in common.
    pub(crate) fn write(&self, images: &BTreeMap<String, Digest>) -> Result<Vec<Descriptor>, PipelineError> {
        let form = Output { compression: Compression::Gzip, ..Output::default() };
        let packed = self.world.engine.pack(&self.tree()?, Some((0, 0)), form);
        let (packed, _) = packed.map_err(PipelineError::engine_in(Phase::App))?;
        images.iter().map(|(process, image)| self.write_one(process, image, &packed)).collect()
    }

    fn write_one(
        &self,
        process: &str,
        image: &Digest,
        packed: &Descriptor,
    ) -> Result<Descriptor, PipelineError> {
        let layout = self.world.home.layout();
        let mut annotations = BTreeMap::from([("dev.otoshi.process".to_owned(), process.to_owned())]);
        if let Some(digest) = self.compiled {
            annotations.insert("dev.otoshi.compiled".to_owned(), digest.to_string());
        }
        if let Some(runner) = self.runner.and_then(|runner| runner.made.image(Phase::Runner)) {
            annotations.insert("dev.otoshi.runner".to_owned(), runner.to_string());
        }
        let subject = layout.describe(image)?;
        let written = write_artifact(
            layout,
            std::slice::from_ref(packed),
            Artifact { kind: RECIPE_TYPE, annotations: &annotations, subject: Some(&subject) },
        )?;
        let digest = Digest::of(&written)?;
        let mut descriptor = layout.describe(&digest)?;
        descriptor.set_artifact_type(Some(RECIPE_TYPE.into()));
        Ok(descriptor)
    }

    /// The project's own files, and the context files that the runner and the app read by name, as a snapshot.
    fn tree(&self) -> Result<SnapshotId, PipelineError> {
        let manifest = &self.world.project.manifest;
        let dockerfiles = [
            manifest.builder.as_ref().map(|b| &b.dockerfile),
            Some(&manifest.runner.dockerfile),
            manifest.app.dockerfile.as_ref(),
        ];
        let mut names: BTreeSet<String> =
            ["otoshi.toml", "otoshi.lock", "Procfile", ".dockerignore"].map(str::to_owned).into();
        for path in dockerfiles.into_iter().flatten() {
            names.extend([path.clone(), format!("{path}.dockerignore")]);
        }
        let reads = self.runner.iter().flat_map(|runner| &runner.seen.reads).chain(&self.app.reads);
        for read in reads.filter(|read| read.patterns != ["/"]) {
            let entries =
                read.context.select(&read.patterns).map_err(PipelineError::engine_in(Phase::Runner))?;
            let size: u64 = entries.iter().map(|entry| entry.size).sum();
            if size <= MAX_RECIPE {
                let files = entries.iter().filter(|entry| entry.kind != EntryKind::Directory);
                names.extend(files.map(|entry| entry.path.clone()));
            }
        }
        let draft = self.world.home.snapshots().draft()?;
        let mut key = Vec::new();
        for name in names {
            let (from, to) = (self.world.project.root.join(&name), draft.tree().join(&name));
            let Ok(meta) = fs::symlink_metadata(&from) else { continue };
            let failed = |source| PipelineError::Read { path: from.clone(), source };
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            let content = if meta.is_symlink() {
                let target = fs::read_link(&from).map_err(failed)?;
                std::os::unix::fs::symlink(&target, &to).map_err(failed)?;
                target.display().to_string()
            } else {
                let bytes = fs::read(&from).map_err(failed)?;
                fs::write(&to, &bytes).map_err(failed)?;
                let mode = meta.permissions().mode() & 0o777;
                fs::set_permissions(&to, fs::Permissions::from_mode(mode)).map_err(failed)?;
                format!("{mode:o} {}", Digest::sha256_of(&bytes))
            };
            key.push(format!("{name}\0{content}"));
        }
        let id = SnapshotId::of_key(&Fields::new("recipe 2").list(key).digest());
        draft.commit(&id)?;
        Ok(id)
    }
}
