//! The client as the rest of the house sees it: calls that wait.

use std::future::Future;
use std::sync::Arc;

use otoshi_oci::{Descriptor, Digest, Layout, Reference};
use tokio::runtime::{Builder, Runtime};

use crate::error::RegistryError;
use crate::listing::Listing;
use crate::manifest::{Document, Manifests, Name};
use crate::progress::{Progress, Quiet, Summary, Tally};
use crate::pull::{Pulled, Pulling, WantedImage, keep};
use crate::push::{Item, Origins};
use crate::replace::Replacement;
use crate::repository::Repository;
use crate::settings::Settings;
use crate::transport::Transport;

/// Talks to container registries; keeps connections and tokens between calls.
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
    pub(crate) runtime: Runtime,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// Fails where the threads cannot be started.
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(16)
            .thread_name("otoshi-registry")
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Setup(error.to_string()))?;
        Ok(Self { transport: Arc::new(Transport::new(settings)), runtime })
    }

    /// How many requests were sent so far.
    pub fn requests(&self) -> u64 {
        self.transport.requests()
    }

    /// How many requests the registry of a repository said are left, in its last answer that said so; `None` where none did.
    ///
    /// Registries say it in `RateLimit-Remaining`; of Docker Hub that is what pulls are left, and asking by HEAD costs none.
    pub fn remaining(&self, repository: &Repository) -> Option<u64> {
        self.transport.remaining(repository)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks what a reference stands for; `None` where it stands for nothing.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what does not match its
    /// digest.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let (repository, name) = (Repository::of(reference), Name::of(reference));
        self.wait(Manifests(&self.transport).head(&repository, &name, &Tally::new(Arc::new(Quiet))))
    }

    /// Fetches a manifest or index, and nothing that it names; `None` where there is none.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what does not match its
    /// digest.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<Document>, RegistryError> {
        let (repository, name) = (Repository::of(reference), Name::of(reference));
        self.wait(Manifests(&self.transport).get(&repository, &name, &Tally::new(Arc::new(Quiet))))
    }

    /// Fetches a manifest or index into a layout, and nothing that it names; `None` where there is none.
    ///
    /// Fails as [`Client::manifest`] does, and where the layout cannot be read or written.
    pub fn fetch_manifest(
        &self,
        layout: &Layout,
        reference: &Reference,
    ) -> Result<Option<Descriptor>, RegistryError> {
        if let Some(digest) = reference.digest().filter(|digest| layout.has(digest)) {
            return Ok(Some(layout.describe(digest)?));
        }
        self.manifest(reference)?.map(|document| keep(layout, &document)).transpose()
    }

    /// Replaces an image by one whose layers are in registries already; the tag moves at the end, or not at all.
    ///
    /// Fails where the registry does not answer or refuses, where a layer is nowhere to be had, and where somebody else has
    /// moved the tag.
    pub fn replace(
        &self,
        layout: &Layout,
        replacement: &Replacement,
        progress: Arc<dyn Progress>,
    ) -> Result<Summary, RegistryError> {
        let (before, tally) = (self.requests(), Arc::new(Tally::new(progress)));
        self.wait(self.transport.replace(layout, replacement, &tally))?;
        Ok(tally.summary(self.requests() - before))
    }

    /// Lists the tags of a repository.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what cannot be read.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        self.wait(Listing(&self.transport).tags(repository, &Tally::new(Arc::new(Quiet))))
    }

    /// Lists the artifacts that refer to a manifest; only those of one type where it is given.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what cannot be read.
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let tally = Tally::new(Arc::new(Quiet));
        self.wait(Listing(&self.transport).referrers(repository, subject, artifact_type, &tally))
    }

    /// Lists the artifacts that refer to a manifest by the referrers API; `None` where the registry has none.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what cannot be read.
    pub fn referrers_by_api(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        self.wait(Listing(&self.transport).referrers_by_api(
            repository,
            subject,
            &Tally::new(Arc::new(Quiet)),
        ))
    }

    /// Lists the artifacts that refer to a manifest by the tag that stands in for the referrers API.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what cannot be read.
    pub fn referrers_by_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.wait(Listing(&self.transport).referrers_by_tag(
            repository,
            subject,
            &Tally::new(Arc::new(Quiet)),
        ))
    }

    /// Pulls an image for a platform into a layout, without naming it there; `None` where there is no such name.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what does not match its
    /// digest.
    pub fn pull(
        &self,
        layout: &Layout,
        wanted: WantedImage<'_>,
        progress: Arc<dyn Progress>,
    ) -> Result<(Option<Pulled>, Summary), RegistryError> {
        let (before, tally) = (self.requests(), Arc::new(Tally::new(progress)));
        let repository = Repository::of(wanted.reference);
        let pulling = Pulling { transport: &self.transport, layout, repository: &repository, tally: &tally };
        let pulled = self.wait(pulling.pull(wanted))?;
        Ok((pulled, tally.summary(self.requests() - before)))
    }

    /// Fetches blobs into a layout; those that are there cost nothing.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what does not match its digest.
    pub fn fetch(
        &self,
        layout: &Layout,
        repository: &Repository,
        blobs: &[Descriptor],
        progress: Arc<dyn Progress>,
    ) -> Result<Summary, RegistryError> {
        let (before, tally) = (self.requests(), Arc::new(Tally::new(progress)));
        let pulling = Pulling { transport: &self.transport, layout, repository, tally: &tally };
        self.wait(pulling.fetch_all(blobs))?;
        Ok(tally.summary(self.requests() - before))
    }

    /// Pushes manifests of a layout with what they name; their tags move together at the end, or not at all.
    ///
    /// Fails where the registry does not answer, wants a login that is refused, or sends what does not match its
    /// digest.
    pub fn push(
        &self,
        layout: &Layout,
        items: &[Item],
        origins: Arc<dyn Origins>,
        progress: Arc<dyn Progress>,
    ) -> Result<Summary, RegistryError> {
        let (before, tally) = (self.requests(), Arc::new(Tally::new(progress)));
        self.wait(self.transport.push(layout, items, &origins, &tally))?;
        Ok(tally.summary(self.requests() - before))
    }
}
