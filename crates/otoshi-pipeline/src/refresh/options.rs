//! How far a refresh may go.

use otoshi_rebase::Waiver;

/// Says how far a refresh may go.
#[derive(Debug, Clone, Default)]
pub struct RefreshOptions {
    /// The builder's side moves too.
    pub builder: bool,
    /// Findings that are accepted.
    pub allow: Vec<Waiver>,
    /// The project came out of a registry: what its lock says is what was before, whatever this machine has under its names.
    pub from_registry: bool,
    /// Nothing runs and nothing moves; the report says what would.
    pub dry_run: bool,
}
