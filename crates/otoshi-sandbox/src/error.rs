//! What can go wrong before the command runs.

use otoshi_explain::{Explain, Kind, Remedy};
use serde::{Deserialize, Serialize};

/// Setting up a sandbox failed; the command itself did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SandboxError {
    /// A step of the set-up failed.
    #[error("setting up the sandbox: {action}: {reason}")]
    Setup {
        /// What was being done, to what.
        action: String,
        /// Why it failed.
        reason: String,
    },
    /// The command could not be started.
    #[error("{program}: {reason}")]
    Exec {
        /// The program, as it was asked for.
        program: String,
        /// Why it could not be started.
        reason: String,
        /// 127 when it was not found, 126 when it cannot be executed.
        code: i32,
    },
    /// This machine does not let us make the namespaces that a sandbox needs.
    #[error("{action}: {reason}")]
    NotSupported {
        /// What was being done.
        action: String,
        /// Why it failed.
        reason: String,
        /// What to change.
        hint: String,
    },
    /// There is no device for a network of the sandbox's own.
    #[error("{action}: {reason}")]
    NoTunDevice {
        /// What was being done.
        action: String,
        /// Why it failed.
        reason: String,
    },
}

impl SandboxError {
    /// Wraps a failed step of the set-up; for use with `map_err`.
    pub(crate) fn setup<E: Into<std::io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::invalid(action, error.into().to_string())
    }

    /// The set-up cannot go on, for a reason of our own.
    pub(crate) fn invalid(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setup { action: action.into(), reason: reason.into() }
    }

    /// As [`Self::setup`], for what the machine's settings may forbid.
    pub(crate) fn not_supported<E: Into<std::io::Error>>(action: &str, hint: &str) -> impl FnOnce(E) -> Self {
        let (action, hint) = (action.to_owned(), hint.to_owned());
        move |error| Self::NotSupported { action, reason: error.into().to_string(), hint }
    }

    /// As [`Self::not_supported`], for the device of a network.
    pub(crate) fn no_tun_device<E: Into<std::io::Error>>(action: &str) -> impl FnOnce(E) -> Self {
        let action = action.to_owned();
        move |error| Self::NoTunDevice { action, reason: error.into().to_string() }
    }
}

impl Explain for SandboxError {
    fn kind(&self) -> Kind {
        Kind::Sandbox
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotSupported { hint, .. } => Some(hint.as_str().into()),
            Self::NoTunDevice { .. } => Some(Remedy::GiveTunDevice),
            Self::Setup { .. } | Self::Exec { .. } => None,
        }
    }
}
