//! `.dockerignore`: which paths of a directory a build does not see.
//!
//! Patterns are tried in order and the last that matches decides; `!` takes a path back in; a pattern that matches a
//! directory matches all beneath it; `**` matches any number of directories.
//! Spec: <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use crate::{DockerfileError, glob};

/// A parsed `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    parts: Vec<String>,
    negated: bool,
    /// No character is special: comparing is enough.
    literal: bool,
}

impl Ignore {
    /// Reads the file's text; fails on a malformed pattern, naming it.
    pub fn parse(text: &str) -> Result<Self, DockerfileError> {
        let mut patterns = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let mut line = line.trim();
            let negated = line.starts_with('!');
            if negated {
                line = line[1..].trim();
            }
            let parts = clean(line);
            if parts.is_empty() {
                continue;
            }
            for part in parts.iter().filter(|part| part.as_str() != "**") {
                glob::matches(part, "").map_err(|_| {
                    DockerfileError::new(format!(
                        "the ignore file's line {}: malformed pattern {line:?}",
                        index + 1
                    ))
                })?;
            }
            let text = parts.join("/");
            let literal = !glob::has_meta(&text);
            patterns.push(Pattern { text, parts, negated, literal });
        }
        Ok(Self { patterns })
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path, relative and with slashes, is left out.
    pub fn excludes(&self, path: &str, _is_dir: bool) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            if excluded == pattern.negated && pattern.matches(path, &parts) {
                excluded = !pattern.negated;
            }
        }
        excluded
    }

    /// Whether nothing beneath an excluded directory can be taken back in.
    pub fn can_prune(&self, directory: &str) -> bool {
        let parts: Vec<&str> = directory.split('/').collect();
        !self
            .patterns
            .iter()
            .filter(|pattern| pattern.negated)
            .any(|pattern| pattern.may_match_beneath(&parts))
    }

    /// The patterns in one form, for hashing.
    pub fn canonical(&self) -> String {
        self.patterns.iter().map(|p| format!("{}{}\n", if p.negated { "!" } else { "" }, p.text)).collect()
    }
}

impl Pattern {
    /// Whether the path or a directory above it matches.
    fn matches(&self, path: &str, parts: &[&str]) -> bool {
        if self.literal {
            return path
                .strip_prefix(self.text.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        prefix_matches(&self.parts, parts)
    }

    fn may_match_beneath(&self, directory: &[&str]) -> bool {
        for (index, part) in self.parts.iter().enumerate() {
            match directory.get(index) {
                None => return true,
                Some(_) if part == "**" => return true,
                Some(name) if glob::matches(part, name).unwrap_or(false) => {}
                Some(_) => return false,
            }
        }
        // The pattern takes back a directory above, and so all beneath it.
        true
    }
}

/// Whether the pattern's parts match the first parts of a path, all of the pattern being used.
fn prefix_matches(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => true,
        // A last `**` matches everything beneath, but not the directory itself.
        Some((part, [])) if part == "**" => !path.is_empty(),
        Some((part, rest)) if part == "**" => (0..path.len()).any(|skip| prefix_matches(rest, &path[skip..])),
        Some((part, rest)) => path.split_first().is_some_and(|(name, after)| {
            glob::matches(part, name).unwrap_or(false) && prefix_matches(rest, after)
        }),
    }
}

fn clean(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in line.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(text: &str, path: &str) -> bool {
        Ignore::parse(text).unwrap().excludes(path, false)
    }

    #[test]
    fn known_answers() {
        for (text, path, expected) in [
            ("node_modules", "node_modules/a/b.js", true),
            ("node_modules", "web/node_modules", false),
            ("**/node_modules", "web/node_modules/x", true),
            ("**/node_modules", "node_modules", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("**/*.md", "docs/a/README.md", true),
            ("*\n!README.md", "README.md", false),
            ("*\n!README.md", "src/main.rs", true),
            ("*\n!src", "src/main.rs", false),
            ("*\n!src\nsrc/secret", "src/secret", true),
            ("!a\na", "a", true),
            ("/build/", "build/x", true),
            ("./tmp/", "tmp", true),
            ("# not a pattern\n #x", "# not a pattern", false),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a?c", "abc", true),
            ("[a-c].txt", "b.txt", true),
            ("", "a", false),
            (".git", ".github/x", false),
        ] {
            assert_eq!(excludes(text, path), expected, "{text:?} {path}");
        }
        assert!(Ignore::parse("a\n[").is_err());
    }

    #[test]
    fn a_directory_is_pruned_when_nothing_beneath_it_comes_back() {
        let ignore = Ignore::parse("*\n!src/app").unwrap();
        assert!(ignore.can_prune("docs"));
        assert!(!ignore.can_prune("src"));
        assert!(!Ignore::parse("a\n!**/keep").unwrap().can_prune("a"));
    }
}
