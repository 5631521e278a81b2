//! What belongs to an image as it was, and is told because it does not go with it: attestations, signatures.
//!
//! ```text
//! entries of the index       BuildKit's attestations
//! referrers                  by the API, or the tag sha256-HEX where a registry has none
//! sha256-HEX.sig, .att, …    cosign's tags
//! ```
//!
//! Tags are listed once for each repository, so that a thousand images cost one list and not thousands of requests.

use std::{collections::BTreeSet, sync::Arc};

use otoshi_oci::{Descriptor, Digest};
use otoshi_rebase::index::LeftBehind;
use otoshi_registry::{RegistryError, Repository, fallback_tag};

use super::{Rebaser, images::Named, moved::Moved};
use crate::PipelineError;

/// What cosign keeps under a tag with such an ending.
const COSIGN: [(&str, &str); 3] =
    [(".sig", "cosign signature"), (".att", "cosign attestation"), (".sbom", "cosign SBOM")];

impl Rebaser<'_> {
    /// Finds what belongs to the old image and is not carried over.
    pub(super) fn left_behind(
        &self,
        named: &Named,
        moved: &[Moved],
    ) -> Result<Vec<LeftBehind>, PipelineError> {
        let replaced: BTreeSet<&str> = moved.iter().map(Moved::before).collect();
        let all = moved.len() == named.images.len() && moved.iter().all(|moved| moved.composed().is_some());
        let about = named.about.iter().filter(|about| match about.about.as_str() {
            // It is about no other entry, and left behind where all others moved.
            "" => all,
            about => replaced.contains(about),
        });
        let mut found: Vec<LeftBehind> = about.cloned().collect();
        if named.is_local {
            return Ok(found);
        }
        let repository = Repository::of(&named.reference);
        let mut subjects = vec![named.digest.clone()];
        subjects
            .extend(replaced.iter().filter_map(|old| old.parse().ok()).filter(|old| *old != named.digest));
        let tags = self.tags(&repository);
        for subject in &subjects {
            for referrer in self.referrers(&repository, subject, tags.as_deref())? {
                let kind = referrer.artifact_type().as_ref().map(ToString::to_string);
                found.push(LeftBehind {
                    kind: kind.unwrap_or_else(|| referrer.media_type().to_string()),
                    digest: referrer.digest().to_string(),
                    about: subject.to_string(),
                });
            }
            for (ending, kind) in COSIGN {
                let tag = format!("{}{ending}", fallback_tag(subject));
                // Where no tags are listed, each is asked for.
                if tags.as_ref().is_some_and(|tags| !tags.contains(&tag)) {
                    continue;
                }
                let reference = named.reference.without_digest().with_tag(&tag)?;
                if let Some(digest) = self.remote.client()?.resolve(&reference)? {
                    let (kind, digest) = (kind.to_owned(), digest.to_string());
                    found.push(LeftBehind { kind, digest, about: subject.to_string() });
                }
            }
        }
        Ok(found)
    }

    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        tags: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let client = self.remote.client()?;
        if let Some(found) = client.referrers_by_api(repository, subject)? {
            return Ok(found);
        }
        if tags.is_some_and(|tags| !tags.contains(&fallback_tag(subject))) {
            return Ok(Vec::new());
        }
        client.referrers_by_tag(repository, subject)
    }

    /// The tags of a repository that are about manifests; `None` where it does not list any.
    fn tags(&self, repository: &Repository) -> Option<Arc<BTreeSet<String>>> {
        self.tags.get(repository.clone(), || {
            let tags = self.remote.client().and_then(|client| client.tags(repository));
            let tags =
                tags.inspect_err(|error| tracing::debug!(%error, "tags are asked for one by one")).ok()?;
            Some(Arc::new(tags.into_iter().filter(|tag| tag.starts_with("sha")).collect()))
        })
    }
}
