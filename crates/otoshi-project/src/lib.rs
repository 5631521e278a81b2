//! otoshi.toml, otoshi.lock, Procfile, versions and roles.
//!
//! `otoshi.toml` says what is wanted, `otoshi.lock` what the outside world was when it was built; `build` reads the lock and
//! adds what is missing, and never moves an entry.

mod authorities;
mod check;
mod duration;
mod entitlement;
mod error;
mod excerpt;
mod faults;
mod form;
mod lock;
mod manifest;
mod package;
mod paths;
mod place;
mod project;
mod read;
mod refresh;
mod replace;
mod role;
mod setting;
mod shape;
mod validate;

pub use check::{Check, Hold, HoldTable, Range, is_safe_address};
pub use entitlement::Entitlement;
pub use error::ProjectError;
pub use lock::{BaseName, Lock, LockedBase, LockedDigests, Upgrades};
pub use manifest::{
    App, Argument, Base, Build, BuildNetwork, Command, Compile, Computed, Image, Manifest, Packages, Process,
    ProcessTable, ProjectTable, Secret, Switch, Variant, Verify, schema,
};
pub use package::{PackageError, PackageName, PackageVersion};
pub use place::line_of;
pub use project::{NamedProcess, Project};
pub use refresh::{Refresh, Upgrade};
pub use replace::{Replacement, replace_all};
pub use role::{Phase, Role};
pub use setting::{Setting, SettingTable, edit};
