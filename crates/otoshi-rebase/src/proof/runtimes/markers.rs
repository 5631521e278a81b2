//! Which runtimes a base has, in which versions.

use std::collections::BTreeMap;

use otoshi_oci::contents::Contents;

use super::runtime::{File, Need, Runtime};
use super::{directories, native, virtual_machines};
use crate::proof::facts::Facts;

/// All runtimes that are looked for.
pub(super) const ALL: [&dyn Runtime; 18] = [
    &directories::Ruby,
    &directories::Python,
    &directories::Perl,
    &directories::Php,
    &directories::Lua,
    &directories::Guile,
    &directories::Tcl,
    &directories::Postgres,
    &virtual_machines::Java,
    &virtual_machines::Erlang,
    &virtual_machines::Elixir,
    &virtual_machines::DOTNET,
    &virtual_machines::ASPNET,
    &native::Node,
    &native::R,
    &native::RGraphics,
    &native::SERVERS[0],
    &native::SERVERS[1],
];

/// The runtimes of a base: name and version → a file that shows it.
#[derive(Debug, Default)]
pub(in crate::proof) struct Markers(BTreeMap<(&'static str, String), Vec<u8>>);

impl Markers {
    pub(in crate::proof) fn of(contents: &Contents<Facts>) -> Self {
        let mut found = Self::default();
        for (path, node) in contents.files() {
            let Ok(text) = std::str::from_utf8(path) else { continue };
            let file = File { path: text, facts: &node.facts };
            for runtime in ALL {
                for version in runtime.shown_by(file) {
                    found.0.entry((runtime.name(), version)).or_insert_with(|| path.clone());
                }
            }
        }
        found
    }

    pub(in crate::proof) fn versions(&self, runtime: &str) -> Vec<&str> {
        self.0.keys().filter(|(name, _)| *name == runtime).map(|(_, version)| version.as_str()).collect()
    }

    /// The file that shows what satisfies a need.
    pub(super) fn satisfies(&self, runtime: &str, need: &Need) -> Option<&[u8]> {
        let mut of = self.0.iter().filter(|((name, _), _)| *name == runtime);
        let fits = |version: &str| match need {
            Need::Exactly(wanted) => version == wanted,
            Need::AtLeast(least) => version.parse::<u32>().is_ok_and(|version| version >= *least),
            Need::Any => true,
        };
        of.find(|((_, version), _)| fits(version)).map(|(_, path)| &path[..])
    }
}
