//! The values of secrets, and where commands see them.

use std::{collections::BTreeMap, fs};

use otoshi_explain::Kind;
use otoshi_sandbox as sandbox;

use crate::{EngineError, Secret};

/// Reads a secret's value; errors name the place, never the value.
pub(crate) fn read_secret(secret: &Secret) -> Result<Vec<u8>, EngineError> {
    match secret {
        Secret::File(path) => fs::read(path).map_err(|error| match Kind::of_named_path(&error) {
            Kind::User => {
                EngineError::invalid(format!("the secret's file {} cannot be read: {error}", path.display()))
            }
            _ => EngineError::io("reading the secret", path)(error),
        }),
        Secret::Env(name) => {
            std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes).ok_or_else(|| {
                EngineError::invalid(format!("the secret's environment variable {name} is not set"))
            })
        }
    }
}

/// The files of all secrets, each at its usual place.
pub(crate) fn secret_mounts(secrets: &BTreeMap<String, Secret>) -> Result<Vec<sandbox::Mount>, EngineError> {
    let file = |(id, secret): (&String, &Secret)| {
        let (content, target) = (read_secret(secret)?, format!("/run/secrets/{id}"));
        Ok(sandbox::Mount::File { content, target, mode: 0o400, uid: 0, gid: 0 })
    };
    secrets.iter().map(file).collect()
}
