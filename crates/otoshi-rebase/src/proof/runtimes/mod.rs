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
mod markers;
mod native;
mod runtime;
mod virtual_machines;

use otoshi_oci::contents::Contents;

use self::markers::ALL;
pub(super) use self::markers::Markers;
use self::runtime::{File, Need};
use super::facts::Facts;
use super::finding::Kind;
use super::report::{Report, Seen, absolute};
use super::side::Side;

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
                report.add(Kind::RuntimeChanged, subject, Seen { file: path, was: Some(place) }, text);
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

#[cfg(test)]
mod tests {
    use super::runtime::{Runtime, define};
    use super::*;
    use crate::proof::facts::Content;

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
