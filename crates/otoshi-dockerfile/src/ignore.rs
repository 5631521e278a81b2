//! `.dockerignore`: which paths of a directory a build does not see.
//!
//! Patterns are tried in order and the last that matches decides; `!` takes a path back in. A pattern that matches a
//! directory counts as matching all beneath it, in the way that a walk from the root finds out: whether a pattern
//! matched is asked once for each directory on the way down, and only when it could change the outcome there.
//! Lines that start with `#` are comments; space around a pattern, `./`, a leading and a trailing slash do not count.
//! Spec: <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use crate::{DockerfileError, glob};

use pattern::Pattern;

mod pattern;

/// A parsed `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    text: String,
    /// The rule takes back in (`!`).
    negated: bool,
    pattern: Pattern,
}

/// What a walk knows about a path, for the paths beneath it.
#[derive(Debug, Clone, Default)]
pub struct Level {
    /// Which rules matched the path or a directory above it.
    matched: Vec<bool>,
    excluded: bool,
}

impl Level {
    /// Whether the path is left out.
    pub fn is_excluded(&self) -> bool {
        self.excluded
    }
}

impl Ignore {
    /// Reads the file's text; fails on a malformed pattern, showing it.
    pub fn parse(text: &str) -> Result<Self, DockerfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            let start = offset + (line.len() - line.trim_start().len());
            offset += line.len();
            if !line.starts_with('#') && !line.trim().is_empty() {
                let span = start..start + line.trim().len();
                rules.extend(rule(line.trim()).map_err(|error| error.or_at(".dockerignore", text, span))?);
            }
        }
        Ok(Self { rules })
    }

    /// Takes patterns as they are, as those of `--exclude` and `--parents` are: a leading `#` is a character, and a leading slash
    /// matches nothing, since paths have none.
    ///
    /// Fails on a pattern that Go's `filepath.Match` calls malformed.
    pub fn of_patterns<T: AsRef<str>>(
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<Self, DockerfileError> {
        let mut rules = Vec::new();
        for pattern in patterns {
            let text = pattern.as_ref().trim();
            if !text.trim_start_matches('!').trim_start().starts_with('/') {
                rules.extend(rule(text)?);
            }
        }
        Ok(Self { rules })
    }

    /// Whether a pattern may match something beneath a directory that none of them matches.
    pub fn may_match_beneath(&self, directory: &str) -> bool {
        let beneath = format!("{}/", directory.trim_end_matches('/'));
        self.rules.iter().any(|rule| !rule.negated && rule.pattern.may_match_beneath(&beneath))
    }

    /// Whether a pattern leaves out everything.
    pub(crate) fn leaves_nothing(&self) -> bool {
        self.rules.iter().any(|rule| !rule.negated && matches!(rule.text.as_str(), "*" | "**" | "**/*"))
    }

    /// Whether a pattern takes something back in.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.negated)
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path, relative to the root and with slashes, is left out. Directories are like files in this.
    pub fn excludes(&self, path: &str, _is_dir: bool) -> bool {
        let path = path.trim_end_matches('/');
        if self.rules.is_empty() || path.is_empty() || path == "." {
            return false;
        }
        let levels = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        if !self.rules.iter().any(|rule| rule.negated) {
            return levels
                .map(|end| &path[..end])
                .any(|path| self.rules.iter().any(|rule| rule.pattern.matches(path)));
        }
        let mut level = Level::default();
        for end in levels {
            self.descend(&mut level, &path[..end]);
        }
        level.excluded
    }

    /// As [`Ignore::excludes`], for a walk that keeps what it found out about the directory above: each path costs one
    /// look at the patterns, however deep it is. The root's level is the default one.
    #[must_use]
    pub fn below(&self, above: &Level, path: &str) -> Level {
        let mut level = above.clone();
        self.descend(&mut level, path);
        level
    }

    fn descend(&self, level: &mut Level, path: &str) {
        level.matched.resize(self.rules.len(), false);
        level.excluded = false;
        for (rule, matched) in self.rules.iter().zip(&mut level.matched) {
            if !*matched && rule.negated == level.excluded {
                *matched = rule.pattern.matches(path);
            }
            if *matched {
                level.excluded = !rule.negated;
            }
        }
    }

    /// Whether nothing beneath an excluded directory can be taken back in.
    pub fn can_prune(&self, directory: &str) -> bool {
        let beneath = format!("{}/", directory.trim_end_matches('/'));
        !self.rules.iter().any(|rule| rule.negated && rule.pattern.may_match_beneath(&beneath))
    }

    /// The patterns in one form, for hashing: equal texts mean equal rules.
    pub fn canonical(&self) -> String {
        self.rules
            .iter()
            .map(|rule| format!("{}{}\n", if rule.negated { "!" } else { "" }, rule.text))
            .collect()
    }
}

/// Reads one line; nothing for a pattern that can match nothing.
fn rule(line: &str) -> Result<Option<Rule>, DockerfileError> {
    let (negated, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
    let text = clean(text);
    if negated && matches!(text.as_str(), "" | "/") {
        let error = DockerfileError::new("a pattern is missing after \"!\"");
        return Err(error.with_hint(Some("\"!\" re-includes what the pattern after it matches".into())));
    }
    if matches!(text.as_str(), "" | "." | "/") {
        return Ok(None);
    }
    if !glob::is_valid(&text) {
        return Err(DockerfileError::new(format!("malformed pattern {text:?}")));
    }
    let pattern = Pattern::parse(&text)?;
    Ok(Some(Rule { text, negated, pattern }))
}

/// The shortest path that means the same, without its leading slash.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let is_rooted = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    match (path, &parts[..]) {
        ("", _) => String::new(),
        (_, []) if is_rooted => "/".to_owned(),
        (_, []) => ".".to_owned(),
        (_, parts) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests;
