//! Paths copied from one image to another, as layers that are remembered by what they came from.
//!
//! A layer is remembered under two keys: the content with exactly the layers below, and the content with the few facts about
//! the layers below that matter. By the first it is found without looking at either image, by the second when the base
//! moved. So on a machine that learned of it from a registry, neither its blob nor the image copied from need be there.

use std::path::Path;

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Fields};
use otoshi_store::Implied;

use super::{
    EmbeddedEngine,
    chain::Chain,
    copy::{Copier, Destination, Overrides},
    engine::Fact,
    export::{Placement, Writing},
    source::{OpenTree, Pick, Tree},
    times::Origin,
};
use crate::{CopiedLayer, Engine, EngineError, Output};

/// What is copied, and what stands for its place in images.
pub(crate) struct Place<'a> {
    pub(crate) path: &'a str,
    pub(crate) place: Digest,
}

/// Copies one path from an image to the same path on another, and writes that as a layer.
///
/// A layer made for the same content and the same facts about the place is used again, wherever its blob is: then neither
/// image need be here.
pub(crate) fn copied_layer(
    engine: &EmbeddedEngine,
    from: &Chain,
    onto: &Chain,
    to: &Place<'_>,
    writing: Writing<'_>,
) -> Result<CopiedLayer, EngineError> {
    let Place { path, place } = to;
    let output = writing.output;
    let content = engine.content_of(from, path)?.ok_or_else(|| EngineError::Invalid {
        message: format!("the builder image has no {path}"),
        hint: Some(Remedy::NameDependencies),
    })?;
    let exact = exact_key(onto, &content, path, output);
    if let Some(layer) = known(engine, &exact) {
        return Ok(layer.value);
    }
    let below = onto.mount(engine)?;
    let destination = Destination::look(below.path(), path)?;
    let result =
        Fields::new("copied between 3").text(content.as_str()).text(destination.facts()?.as_str()).digest();
    let by_facts = Fields::new("copied layer 2").text(result.as_str()).text(output.form()).digest();
    if let Some(Fact { value, is_told }) = known(engine, &by_facts) {
        let layer = CopiedLayer { keys: vec![exact, by_facts], ..value };
        if is_told {
            engine.learn_copied(&layer)?;
        } else {
            keep(engine, &layer)?;
        }
        return Ok(layer);
    }
    let snapshot = if let Some(snapshot) = engine.recall(&result) {
        snapshot
    } else {
        let mut tree = OpenTree::open(engine, &Tree::Chain(from.clone()))?;
        let sources = tree.pick(Pick { source: path, parents: false, exclude: &[] })?;
        let draft = engine.home().snapshots().draft()?;
        let tree_path = draft.tree();
        let locate = |path: &Path| tree.locate(path);
        let mut copier = Copier::new(&tree_path, below.path(), Overrides::default(), &locate);
        for source in &sources {
            copier.copy(source, &destination)?;
        }
        draft.implies(Implied { root: true, parents: false })?;
        engine.keep(draft, &result, &[&result])?
    };
    let checkout = None;
    let (is_made, after) = (true, Output::DEFAULT_EPOCH);
    let origin = Origin { place: place.clone(), content: &content, checkout, is_made, after };
    engine.give_time(&snapshot, &origin)?;
    let blob = engine.blob_of(&snapshot, &[], &Placement::default(), writing)?;
    let keys = vec![exact, by_facts];
    let layer = CopiedLayer { keys, descriptor: blob.descriptor, diff_id: blob.diff_id, empty: blob.empty };
    keep(engine, &layer)?;
    Ok(layer)
}

/// Stands for content on exactly these layers.
fn exact_key(onto: &Chain, content: &Digest, path: &str, output: Output) -> Digest {
    let fields = Fields::new("copied layer onto 2").text(onto.key.as_str()).text(content.as_str());
    fields.text(path).text(output.form()).digest()
}

/// A layer made before, whose blob is here or in a registry.
fn known(engine: &EmbeddedEngine, key: &Digest) -> Option<Fact<CopiedLayer>> {
    let layer = engine.fact::<CopiedLayer>(key)?;
    let descriptor = &layer.value.descriptor;
    let digest = Digest::of(descriptor).ok()?;
    let there = engine.home().layout().holds(descriptor) || engine.source().is_some_and(|s| s.knows(&digest));
    there.then_some(layer)
}

/// The layer of a path copied onto these layers, where it is known.
pub(crate) fn known_layer(
    engine: &EmbeddedEngine,
    from: &Chain,
    onto: &Chain,
    path: &str,
    output: Output,
) -> Result<Option<CopiedLayer>, EngineError> {
    let content = engine.content_of(from, path)?;
    Ok(content
        .and_then(|content| known(engine, &exact_key(onto, &content, path, output)))
        .map(|fact| fact.value))
}

/// Remembers a layer that was made here under all its keys.
fn keep(engine: &EmbeddedEngine, layer: &CopiedLayer) -> Result<(), EngineError> {
    for key in &layer.keys {
        engine.home().records().remember(key.hex(), layer)?;
    }
    Ok(())
}
