//! One pattern of an ignore file, ready to be matched against paths.
//!
//! The reference turns patterns into regular expressions; what that makes of unusual ones is part of the language:
//! - `**/` is any number of whole directories, `**` at the end is everything, and elsewhere `**x` is as `**/x`;
//! - a pattern of `**` and plain text after it matches paths that end with the text, so `**foo` matches `afoo`;
//! - plain text and `**` after it matches paths that start with the text, so `a**` matches `ab/c`, and `a/**` not `a`;
//! - `^` among wildcards matches only at the start;
//! - a negated class matches `/` too.
//!
//! One thing is left out: a letter or digit after `\` is itself here, not a class as in a regular expression, and `*`
//! and `?` inside `[…]` are themselves.

use crate::{DockerfileError, glob::Class};

/// How many wildcards a pattern may have.
const MOST_WILDCARDS: usize = 200;

/// A pattern.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// This path.
    Exact(String),
    /// Every path that starts so.
    Prefix(String),
    /// Every path that ends so; when it starts with `/`, the rest alone as well.
    Suffix(String),
    /// A last name that matches: `**/` and parts without slash.
    Name(Vec<Part>),
    /// All of the path matches.
    Path(Vec<Part>),
}

/// An element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// `?`: a character but `/`.
    One,
    /// `*`: any number of them.
    Many,
    /// `**/`: nothing, or whole directories.
    Directories,
    /// `**` at the end.
    Rest,
    /// `[…]`.
    Class(Class),
    /// `^`.
    Start,
}

impl Pattern {
    /// Reads a cleaned pattern that is a valid glob.
    pub(super) fn parse(text: &str) -> Result<Self, DockerfileError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Kind {
            Exact,
            Prefix,
            Suffix,
            Path,
        }
        let mut kind = Kind::Exact;
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '*' if rest.as_str().starts_with('*') => {
                    let is_first = parts.is_empty();
                    rest.next();
                    if let Some(after) = rest.as_str().strip_prefix('/') {
                        rest = after.chars();
                    }
                    if rest.as_str().is_empty() {
                        parts.push(Part::Rest);
                        kind = if kind == Kind::Exact { Kind::Prefix } else { Kind::Path };
                    } else {
                        parts.push(Part::Directories);
                        kind = Kind::Path;
                    }
                    if is_first {
                        kind = Kind::Suffix;
                    }
                }
                '*' => {
                    parts.push(Part::Many);
                    kind = Kind::Path;
                }
                '?' => {
                    parts.push(Part::One);
                    kind = Kind::Path;
                }
                '^' => parts.push(Part::Start),
                '\\' => {
                    literal(&mut parts, rest.next().unwrap_or('\\'));
                    kind = Kind::Path;
                }
                '[' => {
                    let Some((class, after)) =
                        Class::read(rest.as_str()).filter(|(class, _)| !class.is_reversed())
                    else {
                        let error = DockerfileError::new(format!("malformed class in pattern {text:?}"));
                        return Err(error.with_hint(Some("as in [a-z]; a literal bracket is \\[".into())));
                    };
                    rest = after.chars();
                    parts.push(Part::Class(class));
                    kind = Kind::Path;
                }
                other => {
                    literal(&mut parts, other);
                    if other == ']' {
                        kind = Kind::Path;
                    }
                }
            }
        }
        let is_wildcard = |part: &&Part| matches!(part, Part::Many | Part::Directories);
        if parts.iter().filter(is_wildcard).count() > MOST_WILDCARDS {
            return Err(DockerfileError::new(format!("a pattern has more than {MOST_WILDCARDS} wildcards")));
        }
        Ok(match kind {
            Kind::Exact => Self::Exact(text.to_owned()),
            Kind::Prefix => Self::Prefix(text[..text.len() - 2].to_owned()),
            Kind::Suffix => Self::Suffix(text[2..].to_owned()),
            Kind::Path if is_name(&parts) => Self::Name(parts.split_off(1)),
            Kind::Path => Self::Path(parts),
        })
    }

    /// Whether this very path matches; directories above it are not looked at.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            Self::Suffix(text) => path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path),
            Self::Name(parts) => {
                let start = path.rfind('/').map_or(0, |at| at + 1);
                // No wildcard takes a line break on its way to the name.
                !path[..start].contains('\n') && Walk::new(parts, &path[start..], false).run()
            }
            Self::Path(parts) => Walk::new(parts, path, false).run(),
        }
    }

    /// Whether a path that starts with `beneath`, which ends with a slash, and goes on may match.
    pub(super) fn may_match_beneath(&self, beneath: &str) -> bool {
        match self {
            Self::Exact(text) => text.len() > beneath.len() && text.starts_with(beneath),
            Self::Prefix(text) => text.starts_with(beneath) || beneath.starts_with(text.as_str()),
            Self::Suffix(_) | Self::Name(_) => true,
            Self::Path(parts) => Walk::new(parts, beneath, true).run(),
        }
    }
}

/// Adds a character that stands for itself.
fn literal(parts: &mut Vec<Part>, character: char) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push(character),
        _ => parts.push(Part::Text(character.to_string())),
    }
}

/// Whether the parts after a leading `**/` look at one name only.
fn is_name(parts: &[Part]) -> bool {
    let [Part::Directories, name @ ..] = parts else { return false };
    name.iter().all(|part| match part {
        Part::Text(text) => !text.contains('/'),
        Part::One | Part::Many => true,
        Part::Class(class) => !class.holds('/'),
        Part::Directories | Part::Rest | Part::Start => false,
    })
}

/// Matches parts against a path, trying each way a wildcard can take.
struct Walk<'a> {
    parts: &'a [Part],
    path: &'a str,
    /// The path goes on: what matches all of it so far is enough, when there is more in the pattern.
    open: bool,
    /// Ways tried in vain, by part and position; kept when there is more than one wildcard.
    failed: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn new(parts: &'a [Part], path: &'a str, open: bool) -> Self {
        Self { parts, path, open, failed: Vec::new() }
    }

    fn run(mut self) -> bool {
        // Most paths differ at the start or the end: tell them before anything else is looked at.
        if !self.open {
            if let Some(Part::Text(text)) = self.parts.first()
                && !self.path.starts_with(text.as_str())
            {
                return false;
            }
            if let Some(Part::Text(text)) = self.parts.last()
                && !self.path.ends_with(text.as_str())
            {
                return false;
            }
        }
        let wildcards =
            self.parts.iter().filter(|part| matches!(part, Part::Many | Part::Directories)).count();
        if wildcards > 1 {
            self.failed = vec![false; self.parts.len() * (self.path.len() + 1)];
        }
        self.from(0, 0)
    }

    fn from(&mut self, mut part: usize, mut at: usize) -> bool {
        loop {
            let rest = &self.path[at..];
            let Some(next) = self.parts.get(part) else { return rest.is_empty() && !self.open };
            if rest.is_empty() && self.open {
                return true;
            }
            let taken = match next {
                Part::Text(text) if rest.starts_with(text.as_str()) => Some(text.len()),
                Part::Text(text) => return self.open && text.starts_with(rest),
                Part::One => rest.chars().next().filter(|c| *c != '/').map(char::len_utf8),
                Part::Class(class) => rest.chars().next().filter(|c| class.holds(*c)).map(char::len_utf8),
                Part::Start => (at == 0).then_some(0),
                Part::Rest => return !rest.contains('\n'),
                Part::Many | Part::Directories => return self.wildcard(part, at),
            };
            let Some(taken) = taken else { return false };
            at += taken;
            part += 1;
        }
    }

    fn wildcard(&mut self, part: usize, at: usize) -> bool {
        let place = part * (self.path.len() + 1) + at;
        if self.failed.get(place) == Some(&true) {
            return false;
        }
        let path = self.path;
        let is_directories = self.parts[part] == Part::Directories;
        if self.from(part + 1, at) {
            return true;
        }
        for (index, character) in path[at..].char_indices() {
            let end = at + index + character.len_utf8();
            let tries = match character {
                '/' if is_directories => true,
                '/' => break,
                '\n' if is_directories => break,
                _ => !is_directories,
            };
            if tries && self.from(part + 1, end) {
                return true;
            }
        }
        if let Some(failed) = self.failed.get_mut(place) {
            *failed = true;
        }
        // Directories may go on beyond an open path.
        self.open && (is_directories || !path[at..].contains('/'))
    }
}
