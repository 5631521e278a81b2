//! What a finding is about.

use otoshi_project::Role;

use crate::{
    kind::{FindingKind, State},
    report::Finding,
};

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

impl Subject {
    /// A finding about it, which is to be told more of.
    pub(crate) fn finding(&self, kind: FindingKind, from: impl Into<String>, to: Option<String>) -> Finding {
        Finding {
            kind,
            state: State::Found,
            name: self.name.clone(),
            reference: self.reference.clone(),
            roles: self.roles.clone(),
            from: from.into(),
            to,
            level: None,
            first_seen: None,
            because: None,
            held: None,
            until: None,
            packages: Vec::new(),
            set: Vec::new(),
            phases: Vec::new(),
            command: None,
            location: None,
            text: String::new(),
        }
    }
}
