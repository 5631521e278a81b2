//! The roles that images have and the phases that make them, in the words that files and reports use.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role that stands on bases, as `otoshi.lock` names it.
///
/// Their order is that of the names, which is the order in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The images of the processes.
    App,
    /// The images in which build arguments are computed; they move with the builder's bases.
    #[serde(rename = "args")]
    Arguments,
    /// The image that the application is compiled in.
    Builder,
    /// The image that the application runs on.
    Runner,
}

impl Role {
    /// The roles that a Dockerfile makes, in the order of their phases.
    pub const MADE: [Self; 3] = [Self::Builder, Self::Runner, Self::App];

    /// Its name in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Arguments => "args",
            Self::Builder => "builder",
            Self::Runner => "runner",
        }
    }

    /// The phase that makes it; none makes the images that arguments are computed in.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::Arguments => None,
            Self::Builder => Some(Phase::Builder),
            Self::Runner => Some(Phase::Runner),
            Self::App => Some(Phase::App),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One of the four phases, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// 1: the builder image.
    Builder,
    /// 2: the compiled application.
    Compile,
    /// 3: the runner image.
    Runner,
    /// 4: an image for each process.
    App,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Builder, Self::Compile, Self::Runner, Self::App];

    /// Its name in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Compile => "compile",
            Self::Runner => "runner",
            Self::App => "app",
        }
    }

    /// 1 to 4.
    pub fn number(self) -> u8 {
        match self {
            Self::Builder => 1,
            Self::Compile => 2,
            Self::Runner => 3,
            Self::App => 4,
        }
    }

    /// The role of the images that it makes; compiling makes none.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Builder => Some(Role::Builder),
            Self::Compile => None,
            Self::Runner => Some(Role::Runner),
            Self::App => Some(Role::App),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files_and_the_order_is_that_of_the_numbers() {
        let role = |role: Role| serde_json::to_value(role).unwrap();
        for each in [Role::App, Role::Arguments, Role::Builder, Role::Runner] {
            assert_eq!(role(each), each.as_str());
            assert_eq!(each.phase().and_then(Phase::role).unwrap_or(each), each);
        }
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
            assert_eq!(usize::from(phase.number()), index + 1);
        }
        assert!(Phase::ALL.is_sorted());
    }
}
