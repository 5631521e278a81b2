//! The annotations of images: the role, the base and its digest, and in app images the seam and the runner's base.
//!
//! They leave out the project's name, the phase's key and every time, so that equal content stays an equal image, also across projects.

use std::collections::BTreeMap;

use otoshi_oci::Digest;
use otoshi_project::Role;
use otoshi_rebase::seam;

use crate::{
    files::{RoleFile, Target},
    walk::Walk,
    world::World,
};

/// What every image of a role says.
pub(super) fn of_role(role: Role) -> BTreeMap<String, String> {
    BTreeMap::from([("dev.otoshi.role".to_owned(), role.to_string())])
}

/// What an image says that a Dockerfile's target gives.
pub(super) fn of_target(walk: &Walk<'_>, file: &RoleFile, target: &Target) -> BTreeMap<String, String> {
    let mut found = of_role(file.role);
    if let Some(base) = target.base() {
        if let Some(digest) = walk.bases.get(file.role, base) {
            found.insert("org.opencontainers.image.base.name".into(), base.to_owned());
            found.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
        } else if let Some(digest) = walk.roles.get(base) {
            found.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
            if file.role == Role::App && base == walk.world.role_reference(Role::Runner) {
                found.extend(of_seam(walk.world, digest));
            }
        }
    }
    found
}

/// Where an app image parts from the runner below (the chain id of the runner's layers), and the base that is below that.
///
/// All of it is said of the runner, which counts among what the phase observes.
pub(super) fn of_seam(world: &World<'_>, runner: &Digest) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(image) = world.load_image(runner) {
        let chain = seam::chain_id(image.diff_ids());
        found.extend(chain.map(|chain| (seam::SEAM.to_owned(), chain.to_string())));
        seam::name_base_of_runner(&mut found, &image.annotations());
    }
    found
}
