//! What a build is given besides its Dockerfile and context, as far as it decides what is built: named contexts, the
//! triggers of images, the time.

use otoshi_dockerfile::{GlobalScope, Surroundings};
use otoshi_explain::Explain;
use otoshi_oci::{SOURCE_DATE_EPOCH, SourceDateError, source_date};

use super::{EmbeddedEngine, place::locate};
use crate::{BuildRequest, EngineError, NamedContext};

/// The time that `SOURCE_DATE_EPOCH` says, given or declared before the first FROM; else that of the request.
pub(super) fn epoch(request: &BuildRequest, globals: &GlobalScope) -> Result<i64, EngineError> {
    let given = request.args.get(SOURCE_DATE_EPOCH);
    let Some(text) = given.or_else(|| globals.values().get(SOURCE_DATE_EPOCH)) else {
        return Ok(request.output.epoch);
    };
    let wrong =
        |error: SourceDateError| EngineError::Invalid { message: error.to_string(), hint: error.remedy() };
    match (source_date(text).map_err(wrong), given) {
        (Ok(time), _) => Ok(time.unwrap_or(request.output.epoch)),
        (Err(error), Some(_)) => Err(error),
        // It stands in the Dockerfile.
        (Err(error), None) => {
            let declared = request.dockerfile.globals.iter().rfind(|arg| arg.value.name == SOURCE_DATE_EPOCH);
            Err(match declared {
                Some(arg) => locate(&request.dockerfile, error, &arg.span),
                None => error,
            })
        }
    }
}

/// Named contexts, and the store's images with the triggers in their configs.
pub(super) struct Outside<'a> {
    pub(super) engine: &'a EmbeddedEngine,
    pub(super) request: &'a BuildRequest,
}

impl Surroundings for Outside<'_> {
    fn is_named_context(&self, name: &str) -> bool {
        named_context(self.request, name).is_some()
    }

    fn triggers(&self, image: &str) -> Vec<String> {
        // An image that is not there is told of when its stage is built. For another platform it has the same triggers.
        let platform = &self.request.platform;
        let found = match named_context(self.request, image) {
            Some(NamedContext::Directory(_) | NamedContext::Scratch) => return Vec::new(),
            Some(NamedContext::Image(digest)) => self.engine.image(digest, platform),
            None => self.engine.find_image(self.request, image, platform),
        };
        found.map(|image| image.config.config.on_build).unwrap_or_default()
    }
}

/// The named context that a name in FROM or `--from` means: also that of an image whose name is written in another way.
pub(super) fn named_context<'a>(request: &'a BuildRequest, name: &str) -> Option<&'a NamedContext> {
    request.contexts.iter().find(|(known, _)| names_context(known, name)).map(|(_, context)| context)
}

/// Says whether a name in FROM or `--from` means the named context `known`.
pub fn names_context(known: &str, name: &str) -> bool {
    fn familiar(name: &str) -> &str {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name)
    }
    !matches!(name, "scratch" | "context") && familiar(known).eq_ignore_ascii_case(familiar(name))
}
