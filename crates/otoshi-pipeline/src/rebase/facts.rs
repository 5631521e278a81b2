//! What the proof knows of layers: remembered for each layer, else read from the layer, which is fetched for that.

use std::sync::Arc;

use otoshi_explain::Panicked;
use otoshi_oci::{Descriptor, Digest, Fields, Image, ImageLayer, contents::Layer};
use otoshi_rebase::{
    Composed, Facts, Finding, Kind,
    proof::{self, Base, Proof, Swap},
};

use super::Rebaser;
use crate::PipelineError;

/// The form of remembered findings; to be changed with what the proof looks at.
const VERDICT: &str = "verdict 3";

impl Rebaser<'_> {
    /// What the application would no longer find.
    pub(super) fn prove(
        &self,
        app: &Image,
        seam: usize,
        new: &Image,
        composed: &Composed,
    ) -> Result<Proof, PipelineError> {
        let key = verdict_key(app, seam, new, composed);
        if let Some(known) = self.home.records().get(key.hex()) {
            self.home.records().touch::<Proof>(key.hex());
            return Ok(known);
        }
        let mut findings = Vec::new();
        let (below, own) = app.layers().split_at(seam);
        let own = self.facts(own, &mut findings)?;
        let (old, new) = (self.base(below, &mut findings)?, self.base(new.layers(), &mut findings)?);
        let own: Vec<&Layer<Facts>> = own.iter().collect();
        let all_was_read = findings.is_empty();
        let mut proof = proof::prove(Swap {
            app: &own,
            old: &old,
            new: &new,
            old_config: &app.config.config,
            new_config: &composed.config.config,
        });
        proof.findings.extend(findings);
        proof.findings.sort();
        // What is not remembered is computed again: a layer that could not be read today may be there tomorrow.
        if all_was_read {
            let _ = self.home.records().put(key.hex(), &proof);
        }
        Ok(proof)
    }

    /// What an application would no longer find, whose images on both bases are there; with how many layers are the bases'.
    pub(crate) fn prove_both(
        &self,
        (old, old_seam): (&Image, usize),
        (new, new_seam): (&Image, usize),
    ) -> Result<Vec<Finding>, PipelineError> {
        let mut findings = Vec::new();
        let own = self.facts(&new.layers()[new_seam..], &mut findings)?;
        let below = self.base(&old.layers()[..old_seam], &mut findings)?;
        let base = self.base(&new.layers()[..new_seam], &mut findings)?;
        let own: Vec<&Layer<Facts>> = own.iter().collect();
        let proof = proof::prove(Swap {
            app: &own,
            old: &below,
            new: &base,
            old_config: &old.config.config,
            new_config: &new.config.config,
        });
        findings.extend(proof.findings);
        Ok(findings)
    }

    /// A base's files, computed once.
    fn base(&self, layers: &[ImageLayer], findings: &mut Vec<Finding>) -> Result<Arc<Base>, PipelineError> {
        let key = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        self.proofs.try_get_when(key, || {
            let before = findings.len();
            let facts = self.facts(layers, findings)?;
            Ok((Arc::new(Base::new(facts.iter())), findings.len() == before))
        })
    }

    fn facts(
        &self,
        layers: &[ImageLayer],
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<Layer<Facts>>, PipelineError> {
        let layout = self.home.layout();
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for layer in layers {
            let is_known = proof::is_known(self.home, &layer.diff_id);
            if !is_known && is_foreign(&layer.descriptor) && !layout.holds(&layer.descriptor) {
                findings.push(elsewhere(layer));
                continue;
            }
            if !is_known {
                unknown.push(layer);
            }
            known.push(layer.clone());
        }
        std::thread::scope(|scope| {
            let fetches: Vec<_> =
                unknown.iter().map(|layer| scope.spawn(|| self.remote.fetch_layer(layer))).collect();
            fetches.into_iter().try_for_each(|fetch| {
                fetch.join().map_err(|_| Panicked { what: "fetching a layer" })?.map_err(PipelineError::from)
            })
        })?;
        proof::all(self.home, &known).map_err(PipelineError::from)
    }
}

/// All that a proof depends on: layers and how the image runs, before and after.
fn verdict_key(app: &Image, seam: usize, new: &Image, composed: &Composed) -> Digest {
    let ids = |image: &Image| -> Vec<String> {
        image.layers().iter().map(|layer| layer.diff_id.to_string()).collect()
    };
    let configs = [&app.config.config, &composed.config.config];
    let configs = configs.map(|config| serde_json::to_string(config).unwrap_or_default());
    let fields = Fields::new(VERDICT).list(ids(app)).text(seam.to_string()).list(ids(new));
    fields.list(configs).digest()
}

fn is_foreign(layer: &Descriptor) -> bool {
    let kind = layer.media_type().as_ref();
    kind.contains("foreign")
        || kind.contains("nondistributable")
        || layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

fn elsewhere(layer: &ImageLayer) -> Finding {
    Finding {
        kind: Kind::Unreadable,
        subject: layer.diff_id.to_string(),
        file: String::new(),
        more: 0,
        was: None,
        text: format!(
            "the layer {} is kept outside of registries, so nothing is known of its files",
            layer.digest
        ),
    }
}
