//! A project out of a registry: the source that was compiled, and the recipe over it, as a directory.
//!
//! Phases are keyed by content, so a project that comes back this way finds in the registry all that its phases made.

use std::path::PathBuf;

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Image, ImageManifest, Platform, Reference, layer};
use otoshi_registry::Repository;
use otoshi_store::{Draft, Home};

use crate::{PipelineError, RECIPE_TYPE, Remote};

/// A project's directory, for as long as this lives.
#[derive(Debug)]
pub struct Checkout {
    draft: Draft,
}

impl Checkout {
    /// Brings the project of an app image out of its registry.
    ///
    /// Fails where the registry has no recipe for the image.
    pub fn of_image(home: &Home, remote: &Remote, reference: &Reference) -> Result<Self, PipelineError> {
        let platform = Platform::host();
        let layout = home.layout();
        let repository = Repository::of(reference);
        if remote.local(reference)?.is_some() {
            return Err(PipelineError::invalid(
                format!(
                    "{} is an image of this store: no registry has the project behind it",
                    reference.familiar()
                ),
                Remedy::RefreshInProject,
            ));
        }
        let client = remote.client()?;
        let image = client.resolve(reference)?;
        let image = image.ok_or_else(|| PipelineError::Missing { reference: reference.familiar() })?;
        let no_recipe = || {
            PipelineError::invalid(
                format!("{}: no recipe refers to {image}", reference.familiar()),
                Remedy::PushRecipe,
            )
        };
        let recipe = client.referrers(&repository, &image, Some(RECIPE_TYPE))?.into_iter().next();
        let recipe = Digest::of(&recipe.ok_or_else(no_recipe)?)?;
        client.fetch_manifest(layout, &reference.with_digest(recipe.clone()))?.ok_or_else(no_recipe)?;
        let recipe: ImageManifest = layout.read_json(&recipe)?;
        let said = recipe.annotations().as_ref().and_then(|said| said.get("dev.otoshi.compiled")).cloned();
        let compiled: Digest = said.and_then(|text| text.parse().ok()).ok_or_else(|| {
            PipelineError::invalid(
                format!("{}: its recipe names no compiled application", reference.familiar()),
                "refresh it from the project's directory",
            )
        })?;
        let pulled =
            remote.pull(&reference.with_digest(compiled), &platform, otoshi_registry::Depth::Config)?;
        let (pulled, _) = pulled.ok_or_else(no_recipe)?;
        let compiled = Image::load(layout, &pulled.manifest, &platform)?;
        // The source comes first.
        let source = compiled.layers().first().ok_or_else(no_recipe)?;
        remote.fetch_layer(source)?;
        let blobs: Vec<_> = recipe.layers().clone();
        client.fetch(layout, &repository, &blobs, remote.progress())?;
        let checkout = Self { draft: home.snapshots().draft()? };
        let mut unpack = vec![source.digest.clone()];
        for blob in &blobs {
            unpack.push(Digest::of(blob)?);
        }
        for digest in unpack {
            let options = layer::UnpackOptions {
                layer_name: format!("layer {digest}"),
                in_userns: false,
                ..layer::UnpackOptions::default()
            };
            layer::unpack_layer(layout.open_blob(&digest)?, &checkout.directory(), &options)?;
        }
        Ok(checkout)
    }

    /// The project's directory.
    pub fn directory(&self) -> PathBuf {
        self.draft.tree()
    }
}
