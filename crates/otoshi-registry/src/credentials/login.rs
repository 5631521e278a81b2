//! A login.

use std::fmt;

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server exchanges for another.
    Refresh(String),
    /// A token that the registry itself takes.
    Bearer(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Login::Basic",
            Self::Refresh(_) => "Login::Refresh",
            Self::Bearer(_) => "Login::Bearer",
        })
    }
}
