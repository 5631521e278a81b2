//! Language runtimes and servers with modules: what the application's files are made for, and which versions the bases have.
//!
//! ```text
//! directories   a version in a path: Ruby, Python, Perl, PHP, Lua, Guile, Tcl, PostgreSQL
//! virtual       programs for a machine of their own: Java, Erlang, Elixir, .NET
//! native        a number in a header or in the module itself: Node, R, nginx, Apache
//! ```
//!
//! What holds from version to version is no need of a certain one: Node's N-API, Erlang's native functions, Python's stable
//! interface.

mod directories;
mod native;
mod virtual_machines;

use std::collections::BTreeMap;

use otoshi_oci::contents::Contents;

use super::elf::Elf;
use super::facts::{Content, Facts};
use super::finding::Kind;
use super::{Report, Side, absolute};

/// What a file needs of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// This version.
    Exactly(String),
    /// This version or a later one.
    AtLeast(u32),
    /// Some version.
    Any,
}

/// One file, by its path in the image.
#[derive(Debug, Clone, Copy)]
struct File<'a> {
    path: &'a str,
    facts: &'a Facts,
}

impl<'a> File<'a> {
    fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn extension(&self) -> Option<&'a str> {
        self.name().rsplit_once('.').map(|(_, extension)| extension)
    }

    fn elf(&self) -> Option<&'a Elf> {
        match &self.facts.content {
            Content::Elf(elf) => Some(elf),
            _ => None,
        }
    }

    fn text(&self) -> Option<&'a str> {
        match &self.facts.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// One runtime: how its version shows in a base, and what an application's file needs of it.
trait Runtime: Sync {
    /// Its name, as findings and waivers have it.
    fn name(&self) -> &'static str;

    /// The versions that a file of a base shows.
    fn shown_by(&self, file: File<'_>) -> Vec<String>;

    /// What a file of the application needs; `old` are the versions that it has now.
    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need>;

    /// Whether an application brings the runtime along.
    fn is_own(&self, _: &Contents<Facts>) -> bool {
        false
    }
}

/// All runtimes that are looked for.
const ALL: [&dyn Runtime; 18] = [
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
pub(super) struct Markers(BTreeMap<(&'static str, String), Vec<u8>>);

impl Markers {
    pub(super) fn of(contents: &Contents<Facts>) -> Self {
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

    pub(super) fn versions(&self, runtime: &str) -> Vec<&str> {
        self.0.keys().filter(|(name, _)| *name == runtime).map(|(_, version)| version.as_str()).collect()
    }

    /// The file that shows what satisfies a need.
    fn satisfies(&self, runtime: &str, need: &Need) -> Option<&[u8]> {
        let mut of = self.0.iter().filter(|((name, _), _)| *name == runtime);
        let fits = |version: &str| match need {
            Need::Exactly(wanted) => version == wanted,
            Need::AtLeast(least) => version.parse::<u32>().is_ok_and(|version| version >= *least),
            Need::Any => true,
        };
        of.find(|((_, version), _)| fits(version)).map(|(_, path)| &path[..])
    }
}

/// Compares what the application's files need with both bases. Gives the runtimes for which it has files, with their versions.
pub(super) fn check(
    app: &Contents<Facts>,
    old: &Side<'_>,
    new: &Side<'_>,
    report: &mut Report,
) -> Vec<String> {
    let (was, is) = (old.base.markers(), new.base.markers());
    let mut examined = Vec::new();
    for runtime in ALL {
        let name = runtime.name();
        let versions = was.versions(name);
        if versions.is_empty() || runtime.is_own(app) {
            continue;
        }
        let mut is_used = false;
        for (path, node) in app.files() {
            let Ok(text) = std::str::from_utf8(path) else { continue };
            let file = File { path: text, facts: &node.facts };
            let Some(need) = runtime.needed_by(file, &versions) else { continue };
            let Some(place) = was.satisfies(name, &need) else { continue };
            is_used = true;
            if is.satisfies(name, &need).is_none() {
                let (subject, text) = lack(name, &need, path, &versions, &is.versions(name));
                report.add(Kind::RuntimeChanged, subject, path, Some(place), text);
            }
        }
        if is_used {
            examined.push(format!("{name} {}", versions.join(", ")).trim_end().to_owned());
        }
    }
    examined
}

/// The subject and the words of a finding.
fn lack(name: &str, need: &Need, path: &[u8], was: &[&str], is: &[&str]) -> (String, String) {
    let now = if is.is_empty() { "none".to_owned() } else { is.join(", ") };
    let file = absolute(path);
    match need {
        Need::Exactly(version) => (
            format!("{name}-{version}"),
            format!("{file} is made for {name} {version}, and the new base has {now}"),
        ),
        Need::AtLeast(version) => (
            format!("{name}-{version}"),
            format!("{file} ran on {name} {version}, and the new base has {now}"),
        ),
        Need::Any => {
            let before = was.join(", ");
            (name.to_owned(), format!("{file} ran with {name} {before}, and the new base has {now}"))
        }
    }
}

/// The path's component after one of these names.
fn after<'a>(path: &'a str, names: &[&str]) -> impl Iterator<Item = &'a str> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let parts = path.split('/');
    parts
        .clone()
        .zip(parts.skip(1))
        .filter(move |(name, _)| names.iter().any(|known| known == name))
        .map(|(_, next)| next)
}

/// Whether a text is numbers with dots between them, as many as one of these counts.
fn is_version(text: &str, counts: &[usize]) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    counts.contains(&text.split('.').count()) && text.split('.').all(is_number)
}

/// The number that a header defines a name to be: the last one, or that of the name that it is defined as.
fn define(text: &str, name: &str) -> Option<u32> {
    let values = |name: &str| -> Vec<&str> {
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let of_name = words.filter(|words| words.len() > 2 && words[0] == "#define" && words[1] == name);
        of_name.map(|words| words[2]).collect()
    };
    let found = values(name);
    let number = found.iter().rev().find_map(|value| value.parse().ok());
    number.or_else(|| found.iter().flat_map(|other| values(other)).find_map(|value| value.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of a file with nothing in it that matters, or with a text.
    pub(super) fn facts(text: &str) -> Facts {
        let content = if text.is_empty() { Content::Other } else { Content::Text(text.into()) };
        Facts { mode: 0o644, uid: 0, gid: 0, content }
    }

    pub(super) fn shown(runtime: &dyn Runtime, path: &str, text: &str) -> Vec<String> {
        runtime.shown_by(File { path, facts: &facts(text) })
    }

    pub(super) fn needed(runtime: &dyn Runtime, path: &str, text: &str, old: &[&str]) -> Option<Need> {
        runtime.needed_by(File { path, facts: &facts(text) }, old)
    }

    #[test]
    fn a_headers_number_is_found_behind_other_names() {
        // As Node 20 and later have it, and as R has it.
        let node = "#ifdef NODE_EMBEDDER_MODULE_VERSION\n#define NODE_MODULE_VERSION NODE_EMBEDDER_MODULE_VERSION\n#else\n\
                    #define NODE_MODULE_VERSION 127\n#endif\n";
        assert_eq!(define(node, "NODE_MODULE_VERSION"), Some(127));
        let r = "#define R_GE_group     15\n#define R_GE_glyphs    16\n#define R_GE_version R_GE_glyphs\n";
        assert_eq!(define(r, "R_GE_version"), Some(16));
        assert_eq!(define("#define X Y\n", "X"), None);
    }

    #[test]
    fn every_runtime_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|runtime| runtime.name()).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
