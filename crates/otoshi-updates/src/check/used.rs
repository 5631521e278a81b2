//! A base that a project uses, and what came of looking at it.

use std::collections::BTreeSet;

use otoshi_oci::Reference;
use otoshi_packages::{Manager, Package, apt::Reach};
use otoshi_project::{BaseName, Lock, Packages, Phase, Project, Role};

use crate::{
    ends::Held,
    found::Found,
    packages::is_newer,
    report::{Failed, Looked, PackageUpdate, Supported, Unknown},
    subject::Subject,
    unknown::{self, Reason},
};

/// The roles whose bases a refresh leaves alone unless it is told otherwise.
pub(super) const BUILDER_SIDE: [Role; 2] = [Role::Builder, Role::Arguments];

/// One base with the roles that use it.
pub(super) struct Used {
    pub(super) text: BaseName,
    pub(super) name: String,
    pub(super) roles: BTreeSet<Role>,
    /// The Dockerfiles that name it.
    pub(super) dockerfiles: BTreeSet<String>,
    /// What it is made of, where it is made here of packages.
    pub(super) made_of: Option<Packages>,
    /// Whose word it is where its packages come from.
    pub(super) reach: Reach,
}

impl Used {
    /// What findings about it are about, for some of its roles.
    pub(super) fn subject<'r>(&self, roles: impl IntoIterator<Item = &'r Role>) -> Subject {
        Subject {
            name: self.name.clone(),
            reference: self.text.to_string(),
            roles: roles.into_iter().copied().collect(),
        }
    }

    /// What `[check]` may call it.
    pub(super) fn names(&self) -> [&str; 2] {
        [&self.name, self.text.as_str()]
    }

    pub(super) fn reference(&self) -> &Reference {
        self.text.reference()
    }
}

/// What was found, and what would be if it were taken in.
pub(super) struct Draft {
    pub(super) found: Found,
    pub(super) then: Then,
}

/// What came of looking at one base.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) drafts: Vec<Draft>,
    pub(super) failed: Vec<Failed>,
    /// What was looked at and not understood.
    pub(super) unknown: Vec<Unknown>,
    /// Whether it has nothing that anything could be newer than.
    pub(super) is_bare: bool,
    /// What is installed in its images, beside their repositories.
    pub(super) inside: Vec<Inside>,
    pub(super) held: Held,
    pub(super) supported: Vec<Supported>,
}

/// What would be if a finding were taken in.
pub(super) enum Then {
    /// Nothing that a build looks at.
    Nothing,
    /// Another lock.
    Lock(Lock),
    /// Another project, with the lock that there is, for which this image would be fetched.
    Project(Box<Project>, Lock, Reference),
    /// Phases would give something else, for a reason in words.
    Again(Vec<Phase>, String),
}

/// What is installed in an image, and what of it is newer.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    pub(super) subject: Subject,
    pub(super) roles: BTreeSet<Role>,
    pub(super) manager: Manager,
    pub(super) packages: Vec<Package>,
    pub(super) looked: Looked,
    pub(super) updates: Vec<PackageUpdate>,
    /// Whether it is configured to use any repository.
    pub(super) is_configured: bool,
    /// Of a base that is made here of packages: those that it would have more and less, `+` and `-` before their names.
    pub(super) changed: Option<Vec<String>>,
}

impl Inside {
    /// Whether it is made here of packages.
    pub(super) fn is_made(&self) -> bool {
        self.changed.is_some()
    }

    /// Takes packages from those that are told as foreign.
    pub(super) fn forget_foreign(&mut self, known: &BTreeSet<&Package>) {
        let names: BTreeSet<&str> = known.iter().map(|package| package.name.as_str()).collect();
        self.looked.foreign.retain(|name| !names.contains(name.as_str()));
    }

    /// Why its packages could not be compared, where that is so.
    pub(super) fn unknown(&self) -> Option<(&Subject, Reason)> {
        let reason = unknown::of_repositories(self.manager, &self.looked, self.is_configured)?;
        Some((&self.subject, reason))
    }

    pub(super) fn is_in(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether a package is in the image already as an update has it, or newer.
    pub(super) fn has(&self, update: &PackageUpdate) -> bool {
        let same =
            |package: &&Package| package.name == update.name && package.architecture == update.architecture;
        let found = self.packages.iter().find(same);
        found.is_some_and(|package| !is_newer(self.manager, &update.to, &package.version))
    }
}
