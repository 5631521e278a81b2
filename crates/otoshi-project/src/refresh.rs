//! `[refresh]`: how far `otoshi refresh` goes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{ProjectError, duration::duration};

/// `[refresh]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Refresh {
    /// The age, as in `30 days`, from which bases of the builder move too.
    pub builder_max_age: Option<String>,
    /// Which newer packages of the runner's own repositories come in as a layer on it; `off` where nothing is said.
    pub upgrade: Upgrade,
}

/// Which newer packages come in without a new base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Upgrade {
    /// None: packages are those of the base and of the Dockerfile.
    #[default]
    Off,
    /// Those that fix a security problem, as far as the repositories say so.
    Security,
    /// All that the package manager would take.
    All,
}

impl Refresh {
    /// The age from which bases of the builder move too.
    ///
    /// Fails where it is no time span, as in `90s` or `30 days`.
    pub fn builder_max_age(&self) -> Result<Option<Duration>, ProjectError> {
        self.builder_max_age.as_ref().map(|text| duration("[refresh] builder-max-age", text)).transpose()
    }
}
