//! What the processes of a sandbox tell each other.

use serde::{Deserialize, Serialize};

use crate::{Privilege, SandboxError, Spec, control, placeholder::Placeholder};

/// The name under which this program runs as the init.
pub(crate) const ARGV0: &str = "otoshi-sandbox-init";

/// What the init is told; the command's standard input comes with it, and then what controls its devices.
pub(crate) type Order = (Spec, Privilege, Option<control::Kind>);

/// What the init and the command-to-be tell the process that started them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The sandbox is set up, and the command is about to start; with it come a terminal, and the network namespace unless it is the host's.
    Ready {
        /// What is to be taken away afterwards.
        placeholders: Vec<Placeholder>,
        /// Whether a terminal comes with it.
        terminal: bool,
        /// Whether a list says which devices the command can use.
        controlled: bool,
    },
    /// The command did not run.
    Failed(SandboxError),
    /// The command ended.
    Ended(ExitStatus),
}

/// How a command ended: with a code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
}
