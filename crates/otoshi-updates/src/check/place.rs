//! Where in a project something is said that a finding is about.

use std::{collections::BTreeMap, fs};

use otoshi_project::{Project, line_of};

use super::used::Used;
use crate::report::Location;

const MANIFEST: &str = "otoshi.toml";

/// The texts of a project's files, each read once.
pub(super) struct Places<'a> {
    project: &'a Project,
    texts: BTreeMap<String, String>,
}

impl<'a> Places<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, texts: BTreeMap::new() }
    }

    fn text(&mut self, file: &str) -> &str {
        let path = self.project.root.join(file);
        self.texts.entry(file.to_owned()).or_insert_with(|| fs::read_to_string(path).unwrap_or_default())
    }

    /// The line of `otoshi.toml` that names what changes; else that of the Dockerfile which names the base.
    pub(super) fn of(&mut self, name: &str, base: Option<&Used>) -> Option<Location> {
        let names = [Some(name), base.map(|base| base.name.as_str())];
        let text = self.text(MANIFEST);
        for name in names.into_iter().flatten() {
            for table in ["versions", "bases"] {
                if let Some(line) = line_of(text, table, name) {
                    return Some(Location { file: MANIFEST.to_owned(), line });
                }
            }
        }
        let (file, wanted) = match base {
            Some(base) => (base.dockerfiles.first()?.clone(), Some(base.text.as_str())),
            None => (self.project.manifest.runner.dockerfile.clone(), None),
        };
        let line = line_in(self.text(&file), wanted);
        Some(Location { file, line })
    }
}

/// The line of a Dockerfile on which a base is named; of no base, that of its last FROM; else the first.
fn line_in(dockerfile: &str, base: Option<&str>) -> usize {
    let is_from =
        |line: &str| line.trim_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from "));
    let mut lines = dockerfile.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    let found = match base {
        Some(base) => lines.find(|(_, line)| line.contains(base)),
        None => lines.filter(|(_, line)| is_from(line)).last(),
    };
    found.map_or(1, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::line_in;

    #[test]
    fn a_base_stands_where_it_is_named_and_a_runner_at_its_last_from() {
        let text = "# ruby:3.1\nFROM ruby:3.1 AS a\nCOPY --from=busybox:1 /a /b\nfrom a\nRUN true\n";
        assert_eq!(line_in(text, Some("ruby:3.1")), 2);
        assert_eq!(line_in(text, Some("busybox:1")), 3);
        assert_eq!(line_in(text, Some("elsewhere")), 1);
        assert_eq!(line_in(text, None), 4);
    }
}
