//! What in a Dockerfile is no mistake and yet likely not meant: the checks of `docker build --check`.
//!
//! ```text
//! rule        the checks by name, and what each is about
//! settings    # check=skip=…;error=…;experimental=…, for a file or for one instruction
//! lines       what is seen in the text of single lines
//! stages      what is seen only with the values of variables
//! ```
//!
//! Spec: <https://docs.docker.com/reference/build-checks/>

mod lines;
mod rule;
mod settings;
mod stages;

use std::ops::Range;

pub use rule::Rule;
use settings::Settings;

use crate::{BuildArgs, Dockerfile, DockerfileError, Ignore, lines as text_lines};

/// What is known about an image that a stage starts from.
#[derive(Debug, Clone, Default)]
pub struct BaseFacts {
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Whether it says SHELL.
    pub has_shell: bool,
    /// Its platform, where it is not the one that it was asked for.
    pub other_platform: Option<String>,
}

/// What the checks look at beside the Dockerfile.
pub struct Surrounding<'a> {
    /// Build arguments.
    pub args: &'a BuildArgs,
    /// The platform built for, as in `linux/amd64`.
    pub target_platform: &'a str,
    /// The platform of this machine.
    pub build_platform: &'a str,
    /// The ignore file of the context.
    pub ignore: Option<&'a Ignore>,
    /// What is known about an image, on a platform; of one that is not known, variables are not checked.
    pub base: &'a dyn Fn(&str, &str) -> Option<BaseFacts>,
    /// Whether a text can name an image.
    pub is_reference: &'a dyn Fn(&str) -> bool,
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub rule: Rule,
    /// What is the matter.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
    /// The bytes of the file that are meant; within one line.
    pub span: Range<usize>,
    /// The line, from 1.
    pub line: usize,
}

/// Everything that was found, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was found.
    pub found: Vec<Finding>,
    /// Whether the file says that any of it is an error.
    pub is_error: bool,
}

impl Dockerfile {
    /// Runs the checks that are neither experimental nor skipped; fails where the file itself is wrong.
    pub fn check(&self, around: &Surrounding<'_>) -> Result<Findings, DockerfileError> {
        let settings = self.check_settings(around.args)?;
        let text = text_lines::split(&self.name, &self.text, self.escape)?;
        let mut checker = Checker { dockerfile: self, settings, here: None, found: Vec::new() };
        checker.lines(&text);
        checker.stages(around)?;
        Ok(checker.findings())
    }

    /// Runs the checks that look at single lines on those before the one that is wrong. Gives nothing of a file that is right.
    pub fn check_before_error(name: &str, text: &str, args: &BuildArgs) -> Option<(Self, Findings)> {
        let (dockerfile, error) = Self::parse_partly(name, text).ok()?;
        let end = error?.span()?.start;
        let (mut text, _) = text_lines::split_partly(name, &dockerfile.text, dockerfile.escape);
        text.retain(|line| line.span.end <= end);
        let settings = dockerfile.check_settings(args).ok()?;
        let mut checker = Checker { dockerfile: &dockerfile, settings, here: None, found: Vec::new() };
        checker.lines(&text);
        let findings = checker.findings();
        Some((dockerfile, findings))
    }

    fn check_settings(&self, args: &BuildArgs) -> Result<Settings, DockerfileError> {
        let given = args.get("BUILDKIT_DOCKERFILE_CHECK").map(String::as_str);
        Settings::parse(given.or(self.check.as_deref()).unwrap_or_default())
            .map_err(|message| DockerfileError::new(format!("the check directive: {message}")))
    }
}

/// The checks under way.
struct Checker<'a> {
    dockerfile: &'a Dockerfile,
    settings: Settings,
    /// The settings of the instruction that is looked at, where it has some.
    here: Option<Settings>,
    found: Vec<Finding>,
}

impl Checker<'_> {
    fn findings(self) -> Findings {
        let Self { mut found, settings, .. } = self;
        found.sort_by_key(|finding| (finding.span.start, finding.rule));
        found.dedup();
        Findings { is_error: settings.error && !found.is_empty(), found }
    }

    /// The comment lines right above a place.
    fn comments_above(&self, start: usize) -> Vec<&str> {
        comments_above(&self.dockerfile.text, self.dockerfile.directives_end, start)
    }

    /// Takes the settings that the comments above an instruction have.
    fn enter(&mut self, start: usize) {
        self.here = self
            .comments_above(start)
            .iter()
            .find_map(|comment| comment.strip_prefix("check="))
            .and_then(|text| Settings::parse(text.split(' ').next().unwrap_or_default()).ok());
    }

    /// Notes a finding.
    fn report(&mut self, rule: Rule, place: Place<'_>, message: String, hint: Option<String>) {
        let is_wanted = |settings: &Settings| settings.wants(rule);
        let skipped_here = self.here.as_ref().is_some_and(|here| here.skips(rule));
        let wanted_here = self.here.as_ref().is_some_and(|here| rule.is_experimental() && is_wanted(here));
        if skipped_here || !(is_wanted(&self.settings) || wanted_here) {
            return;
        }
        let (text, Place { within, needle }) = (&self.dockerfile.text, place);
        let end = within.end.min(text.len());
        let whole = text.get(within.start..end).unwrap_or_default();
        let at = if needle.is_empty() { None } else { whole.find(needle) };
        let span = match at {
            Some(at) => within.start + at..within.start + at + needle.len(),
            None => within.start..within.start + whole.find(['\n', '\r']).unwrap_or(whole.len()),
        };
        let line = text.as_bytes()[..span.start].iter().filter(|&&byte| byte == b'\n').count() + 1;
        self.found.push(Finding { rule, message, hint, span, line });
    }
}

/// What of an instruction is meant: the first place of `needle` in it, or all of its first line.
#[derive(Clone, Copy)]
struct Place<'a> {
    within: &'a Range<usize>,
    needle: &'a str,
}

impl<'a> Place<'a> {
    fn of(within: &'a Range<usize>, needle: &'a str) -> Self {
        Self { within, needle }
    }
}

/// The comment lines right above a place, the topmost first, without their `#`; what stands before `directives_end` is none.
fn comments_above(text: &str, directives_end: usize, start: usize) -> Vec<&str> {
    let above = text.get(directives_end..start).unwrap_or_default();
    // What stands before the place on its own line does not count.
    let above = &above[..above.rfind('\n').map_or(0, |end| end + 1)];
    let mut found: Vec<&str> = above
        .lines()
        .rev()
        .map(str::trim)
        .take_while(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests;
