//! What a finding is about.

use otoshi_project::Role;

/// What a finding is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What it is called in `otoshi.toml`, else the reference.
    pub(crate) name: String,
    /// The reference as somebody wrote it.
    pub(crate) reference: String,
    /// The roles that use it.
    pub(crate) roles: Vec<Role>,
}
