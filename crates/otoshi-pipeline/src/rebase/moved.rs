//! An image and its new base, for one platform.

use std::collections::BTreeMap;

use otoshi_oci::{Digest, Image, Platform};
use otoshi_rebase::{Composed, Finding, Source, index::Replaced, proof::Examined};

use super::report::PlatformRebase;

/// An image and its new base, for one platform.
pub(super) struct Moved {
    pub(super) platform: Platform,
    /// How the old base was found.
    pub(super) source: Source,
    /// How many layers are the old base's.
    pub(super) seam: usize,
    pub(super) app: Image,
    /// The old base, where somebody still has it.
    pub(super) old: Option<Image>,
    pub(super) new: Image,
    /// What the new base's name stands for: the index that lists it, where there is one.
    pub(super) base: Digest,
    /// None where it stands on that base already.
    pub(super) judged: Option<Judged>,
}

/// An image on its new base, and what the proof says of it.
pub(super) struct Judged {
    pub(super) composed: Composed,
    pub(super) findings: Vec<Finding>,
    /// Those that are accepted.
    pub(super) waived: Vec<Finding>,
    pub(super) examined: Examined,
}

impl Moved {
    /// The image's manifest before.
    pub(super) fn before(&self) -> &str {
        self.app.digest.as_str()
    }

    pub(super) fn composed(&self) -> Option<&Composed> {
        self.judged.as_ref().map(|judged| &judged.composed)
    }

    /// How many layers are the application's.
    fn kept(&self) -> usize {
        self.app.diff_ids().len() - self.seam
    }

    /// What was done, or would be, with the manifests that were written.
    pub(super) fn report(self, replaced: &BTreeMap<String, Replaced>) -> PlatformRebase {
        let (kept, before) = (self.kept(), self.before().to_owned());
        let (conflicts, findings, waived, examined) = match self.judged {
            Some(Judged { composed, findings, waived, examined }) => {
                (composed.conflicts, findings, waived, examined)
            }
            None => Default::default(),
        };
        PlatformRebase {
            platform: self.platform.to_string(),
            source: self.source,
            old_base: self.old.map(|old| old.digest.to_string()),
            new_base: self.new.digest.to_string(),
            seam: self.seam,
            base_layers: self.new.diff_ids().len(),
            kept,
            conflicts,
            findings,
            waived,
            examined,
            new: replaced.get(&before).map(|new| new.descriptor.digest().to_string()),
            old: before,
        }
    }
}

/// Layers of the new images that are where they are needed already, and all of them.
pub(super) fn layers(moved: &[Moved]) -> [usize; 2] {
    let new = || moved.iter().filter_map(|one| Some((one, one.composed()?)));
    [new().map(|(one, _)| one.kept()).sum(), new().map(|(_, composed)| composed.layers.len()).sum()]
}
