//! Images of the store, by the names and digests that people give.

use otoshi_oci::{Descriptor, Digest, Image, Platform, Reference};
use otoshi_store::Home;

use crate::failure::Failure;

/// The error of a name that nothing in the store has.
pub(crate) fn not_in_store(name: &str) -> Failure {
    let hint = "otoshi images lists what is there; otoshi pull fetches more".to_owned();
    Failure::usage(format!("no image {name} in the store"), Some(hint))
}

/// Describes what a name or digest stands for in the store: a manifest, or an index.
pub(crate) fn describe(home: &Home, name: &str) -> Result<Descriptor, Failure> {
    if let Ok(digest) = name.parse::<Digest>() {
        if !home.layout().has(&digest) {
            return Err(not_in_store(name));
        }
        return Ok(home.layout().describe(&digest)?);
    }
    home.layout().names().resolve(&Reference::parse(name)?)?.ok_or_else(|| not_in_store(name))
}

/// Finds an image by its name or digest.
pub(crate) fn find(home: &Home, name: &str) -> Result<Image, Failure> {
    let digest = match name.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => {
            Digest::of(&describe(home, name)?).map_err(|error| Failure::usage(error.to_string(), None))?
        }
    };
    Ok(Image::load(home.layout(), &digest, &Platform::host())?)
}
