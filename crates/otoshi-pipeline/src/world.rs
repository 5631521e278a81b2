//! What a project is worked on with: a store, an engine, registries and a platform.

use otoshi_engine::{Engine, Events};
use otoshi_oci::{Digest, Image, Platform, Reference};
use otoshi_project::{Project, Role};
use otoshi_store::Home;

use crate::{
    BaseSource, PackageBases, PipelineError, Remote, StoreBases, files::role_reference, memory::Memory,
    record::Ledger, source::Source,
};

/// A project, and all that it is worked on with.
pub(crate) struct World<'a> {
    pub(crate) home: &'a Home,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) project: &'a Project,
    pub(crate) platform: Platform,
    /// Whether every phase, and every step in it, runs again.
    pub(crate) no_cache: bool,
    pub(crate) remote: Option<&'a Remote>,
    pub(crate) memory: Option<Memory<'a>>,
}

impl<'a> World<'a> {
    /// A store, an engine and a project on this machine's platform.
    pub(crate) fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project) -> Self {
        let platform = Platform::host();
        Self { home, engine, project, platform, no_cache: false, remote: None, memory: None }
    }

    /// The same with registries: for bases, and the project's own for what phases made.
    pub(crate) fn with_remote(mut self, remote: &'a Remote) -> Self {
        let repository = self.project.repository();
        self.memory = repository.map(|reference| Memory::new(remote, reference, self.platform.clone()));
        if let Some(memory) = &self.memory {
            self.engine.believe(&memory.repository().to_string());
        }
        self.remote = Some(remote);
        self
    }

    /// The same for other walks: a registry that failed is asked again.
    pub(crate) fn anew(&self) -> Self {
        let memory = self.memory.as_ref().map(Memory::anew);
        Self { platform: self.platform.clone(), memory, ..*self }
    }

    /// The name of an image of this project, such as `shop/web`.
    pub(crate) fn image_name(&self, part: &str) -> String {
        format!("{}/{part}", self.project.manifest.project.name)
    }

    /// The reference under which Dockerfiles see a role's image.
    pub(crate) fn role_reference(&self, role: Role) -> String {
        role_reference(&self.project.manifest.project.name, role)
    }

    /// Calls with where bases come from. Without events, as while planning, no base is made of packages: one that would be made has
    /// a digest that stands for what it would be made of.
    pub(crate) fn with_base_source<T>(
        &self,
        events: Option<&dyn Events>,
        call: impl FnOnce(&dyn BaseSource) -> T,
    ) -> T {
        let here = StoreBases::new(self.home);
        let under: &dyn BaseSource = match self.remote {
            Some(remote) => remote,
            None => &here,
        };
        call(&PackageBases::new(self.home, self.project, under, events))
    }

    /// The project's source.
    pub(crate) fn source(&self) -> Source<'a> {
        Source::new(self.home, self.project)
    }

    /// The records of the project.
    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger { home: self.home, project: self.project }
    }

    /// An image of the store, for the platform.
    pub(crate) fn load_image(&self, digest: &Digest) -> Result<Image, PipelineError> {
        Image::load(self.home.layout(), digest, &self.platform).map_err(PipelineError::from)
    }

    /// Names an image; nothing is written when it has the name already.
    pub(crate) fn tag(&self, name: &str, digest: &Digest) -> Result<(), PipelineError> {
        let reference = Reference::parse(name)?;
        let layout = self.home.layout();
        let named = layout.names().resolve(&reference)?.and_then(|found| Digest::of(&found).ok());
        if named.as_ref() != Some(digest) {
            layout.names().tag(&reference, layout.describe(digest)?)?;
        }
        Ok(())
    }
}
