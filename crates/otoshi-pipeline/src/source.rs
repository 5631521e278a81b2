//! What is source: the files of the project's directory that phases see.
//!
//! Left out by default, before the patterns of the ignore file, which take a path back in with `!`:
//! - `.git`, Otoshi's own files (`otoshi.toml`, `otoshi.lock`), `Procfile`, the roles' Dockerfiles and the ignore files: what says how images
//!   are made is no part of them. A Dockerfile or compile command that names one of them sees it all the same.
//! - Where there is no ignore file: what git ignores, or what the project's `.gitignore` names where there is no git. A fresh checkout does
//!   not have it, and what a laptop has there was made for the laptop.
//!
//! The files of secrets are none, whoever names them.
//!
//! What the compile command writes is never left out.

use std::{
    cell::Cell,
    path::{Component, Path},
    sync::OnceLock,
    time::Instant,
};

use otoshi_dockerfile::{Dockerfile, Instruction};
use otoshi_engine::{Context, EngineError, Event, Events, StepId, Unread, read_ignore_file};
use otoshi_project::{Project, Secret};
use otoshi_store::Home;

use crate::{PipelineError, files::RoleFile, ignored};

/// How many bytes of source that nobody has read yet are told of.
const MUCH: u64 = 100 << 20;

/// Whose source it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reader<'a> {
    /// A Dockerfile's.
    Dockerfile(&'a RoleFile),
    /// The compile command's.
    Compile,
    /// That of app images that are put together without a Dockerfile.
    App,
}

/// The source of a project.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    home: &'a Home,
    project: &'a Project,
    /// What git ignores, once somebody asked.
    ignored: OnceLock<Option<Vec<String>>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(home: &'a Home, project: &'a Project) -> Self {
        Self { home, project, ignored: OnceLock::new() }
    }

    /// The patterns of what is no source: the defaults, and those of the Dockerfile's own ignore file, else of the project's.
    pub(crate) fn ignore_text(&self, reader: Reader<'_>) -> Result<String, PipelineError> {
        let root = &self.project.root;
        let own = match reader {
            Reader::Dockerfile(file) => read(root, &format!("{}.dockerignore", file.path))?,
            Reader::Compile | Reader::App => None,
        };
        let mut patterns = String::new();
        for name in self.unseen() {
            if !self.names(reader, &name) {
                patterns += &quoted(&name);
                patterns.push('\n');
            }
        }
        // Those of repositories in the source, too.
        if !self.names(reader, ".git") {
            patterns += "**/.git\n";
        }
        patterns += "otoshi.toml.*.tmp\notoshi.lock.*.tmp\n";
        patterns += match own {
            Some(text) => text,
            None => self.left_out()?,
        }
        .trim_start_matches('\u{feff}');
        // Nothing takes a secret back in.
        for path in self.secret_files() {
            patterns.push('\n');
            patterns += &quoted(&path);
        }
        Ok(patterns)
    }

    /// The files of secrets that lie in the project, and those that they are links to.
    fn secret_files(&self) -> Vec<String> {
        let root = &self.project.root;
        let mut found = Vec::new();
        for secret in self.project.manifest.secrets.values() {
            let Secret::File(path) = secret else { continue };
            let named = root.join(path);
            let real = named.canonicalize().ok();
            for path in [Some(named), real].into_iter().flatten() {
                let inside = path.strip_prefix(root).ok().and_then(clean);
                found.extend(inside.filter(|path| !found.contains(path)));
            }
        }
        found
    }

    /// The patterns of `.dockerignore`; else all that git leaves out, where there is git, or the patterns of `.gitignore`.
    fn left_out(&self) -> Result<String, PipelineError> {
        let root = &self.project.root;
        if let Some(text) = read(root, ".dockerignore")? {
            return Ok(text);
        }
        match self.ignored.get_or_init(|| ignored::paths(root)) {
            Some(paths) => Ok(paths.iter().map(|path| quoted(path) + "\n").collect()),
            None => self.gitignore(),
        }
    }

    /// The patterns that the project itself says, in words: those of `.dockerignore`, else of `.gitignore`.
    pub(crate) fn said_ignore(&self) -> Result<String, PipelineError> {
        let root = &self.project.root;
        match read(root, ".dockerignore")? {
            Some(text) => Ok(text),
            None => self.gitignore(),
        }
    }

    fn gitignore(&self) -> Result<String, PipelineError> {
        Ok(from_gitignore(&read(&self.project.root, ".gitignore")?.unwrap_or_default()))
    }

    /// The paths that are no source unless somebody names them.
    fn unseen(&self) -> Vec<String> {
        let manifest = &self.project.manifest;
        let mut names =
            ["otoshi.toml", "otoshi.lock", "Procfile", ".dockerignore"].map(str::to_owned).to_vec();
        let dockerfiles = [
            manifest.builder.as_ref().map(|builder| &builder.dockerfile),
            Some(&manifest.runner.dockerfile),
            manifest.app.dockerfile.as_ref(),
        ];
        for path in dockerfiles.into_iter().flatten() {
            let path = path.trim_start_matches("./");
            names.extend([path.to_owned(), format!("{path}.dockerignore")]);
        }
        names
    }

    /// Whether a reader's own words name a path.
    fn names(&self, reader: Reader<'_>, name: &str) -> bool {
        match reader {
            Reader::Dockerfile(file) => sources(&file.dockerfile).any(|word| names(word, name)),
            Reader::Compile => self.project.manifest.compile.as_ref().is_some_and(|compile| {
                let text = compile.run.to_string();
                let mut words =
                    text.split(|sign: char| sign.is_whitespace() || "\"'=;&|()[],".contains(sign));
                // Git looks for its directory by itself.
                words.any(|word| names(word, name) || name == ".git" && word == "git")
            }),
            Reader::App => false,
        }
    }

    /// Scans the source; says so where there is much to read.
    pub(crate) fn scan(&self, ignore: &str, events: Option<&dyn Events>) -> Result<Context, EngineError> {
        let begun = Cell::new(None);
        let tell = |unread: Unread| {
            let Some(events) = events.filter(|_| unread.bytes > MUCH) else { return };
            let step = StepId::next();
            let megabytes = unread.bytes / 1_000_000;
            let files =
                if unread.files == 1 { "1 file".to_owned() } else { format!("{} files", unread.files) };
            let instruction = format!("reading {megabytes} MB of source in {files}");
            events.event(Event::Started { step, stage: "source".to_owned(), place: (1, 1), instruction });
            begun.set(Some((step, Instant::now())));
        };
        let scanned = Context::scan_telling(self.home, &self.project.root, Some(ignore), &tell);
        if let (Some((step, since)), Some(events)) = (begun.get(), events) {
            events.event(match &scanned {
                Ok(_) => Event::Done { step, cached: false, took: since.elapsed() },
                Err(_) => Event::Failed { step },
            });
        }
        scanned
    }
}

/// The words of a Dockerfile that may name a file of the context.
fn sources(dockerfile: &Dockerfile) -> impl Iterator<Item = &str> {
    let of = |instruction: &Instruction| {
        matches!(instruction, Instruction::Copy(_) | Instruction::Add(_) | Instruction::Run(_))
    };
    let located = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    located.filter(move |located| of(&located.value)).flat_map(|located| {
        located.source.split(|sign: char| sign.is_whitespace() || "\"'=,;[]".contains(sign))
    })
}

/// Whether a word of a command is this path, or one below.
fn names(word: &str, path: &str) -> bool {
    let word = word.trim_start_matches("./").trim_start_matches('/');
    word.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path without `.` and `..` in it; `None` where it leads out of what it is in.
fn clean(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => _ = parts.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A path as a pattern that matches it alone, as far as a line can: blanks at its ends and line ends stand for any sign.
fn quoted(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let last = path.chars().count().saturating_sub(1);
    for (at, sign) in path.chars().enumerate() {
        let is_lost = matches!(sign, '\n' | '\r') || sign.is_whitespace() && (at == 0 || at == last);
        if matches!(sign, '*' | '?' | '[' | '\\') || at == 0 && matches!(sign, '#' | '!') {
            pattern.push('\\');
        }
        pattern.push(if is_lost { '?' } else { sign });
    }
    pattern
}

/// The patterns of a `.gitignore` as those of a `.dockerignore`: a name alone counts in every directory.
///
/// Source: gitignore(5).
fn from_gitignore(text: &str) -> String {
    let mut patterns = String::new();
    for line in text.lines() {
        let mut line = line.trim_end_matches('\r');
        // Spaces at the end count where they are quoted.
        while line.ends_with(' ') && !line.ends_with("\\ ") {
            line = &line[..line.len() - 1];
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |pattern| ("!", pattern));
        let pattern = pattern.trim_end_matches('/');
        let rooted = pattern.strip_prefix('/');
        let anywhere = rooted.is_none() && !pattern.contains('/');
        let pattern = rooted.unwrap_or(pattern);
        if pattern.is_empty() {
            continue;
        }
        // A sign that would begin a comment or an exception there.
        let quote = if !anywhere && sign.is_empty() && pattern.starts_with(['!', '#']) { "\\" } else { "" };
        patterns += &format!("{sign}{quote}{}{pattern}\n", if anywhere { "**/" } else { "" });
    }
    patterns
}

/// A file of the project that says what is left out, or `None` where there is none.
fn read(root: &Path, name: &str) -> Result<Option<String>, PipelineError> {
    let path = root.join(name);
    read_ignore_file(&path).map_err(|source| PipelineError::Read { path, source })
}

#[cfg(test)]
mod tests {
    use otoshi_dockerfile::Ignore;

    use super::*;

    #[test]
    fn a_gitignore_means_the_same() {
        let text = "# comment\n\nnode_modules/\n/build\n*.log\n!keep.log\ndoc/*.txt\n/tmp/*\n!/tmp/.keep\n\\#odd\ntrailing  \r\n";
        let ignore = Ignore::parse(&from_gitignore(text)).unwrap();
        for (path, left_out) in [
            ("node_modules", true),
            ("front/node_modules/x/index.js", true),
            ("build/out", true),
            ("src/build/out", false),
            ("a/b/c.log", true),
            ("a/keep.log", false),
            ("doc/a.txt", true),
            ("other/doc/a.txt", false),
            ("tmp/cache", true),
            ("tmp/.keep", false),
            ("#odd", true),
            ("x/trailing", true),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignore.excludes(path, false), left_out, "{path}");
        }
    }

    #[test]
    fn a_path_matches_itself_alone() {
        let ignore = Ignore::parse(&quoted("a[b]*.Dockerfile")).unwrap();
        assert!(ignore.excludes("a[b]*.Dockerfile", false));
        assert!(!ignore.excludes("ab.Dockerfile", false));
        assert!(names("./.git/HEAD", ".git") && names("/Procfile", "Procfile") && !names(".github", ".git"));
    }
}
