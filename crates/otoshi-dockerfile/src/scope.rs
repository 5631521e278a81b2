//! What names mean: ARG before FROM, ARG and ENV inside a stage.
//!
//! Inside a stage ARG and ENV set the same variables, and the later instruction wins: ENV hides an ARG above it, an ARG
//! with a value hides an ENV above it, one of the base image as well. Only what ENV set goes into the image.
//! Spec: <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::{BTreeMap, BTreeSet};

use crate::{Arg, Dockerfile, DockerfileError, Instruction, Word, expand};

/// Build arguments given from outside, by name.
pub type BuildArgs = BTreeMap<String, String>;

/// Arguments that RUN sees without a declaration, and that do not count for the cache; in any case.
const PROXY: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Arguments that can be declared but never become variables of a step.
const NOT_IN_ENV: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Arguments with a meaning of their own, so that nobody needs to declare them.
fn is_predefined(name: &str) -> bool {
    let of_platform =
        name.strip_prefix("TARGET").or_else(|| name.strip_prefix("BUILD")).is_some_and(|rest| {
            matches!(rest, "PLATFORM" | "OS" | "OSVERSION" | "ARCH" | "VARIANT") || name == "TARGETSTAGE"
        });
    of_platform || is_proxy(name) || name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH"
}

fn is_proxy(name: &str) -> bool {
    PROXY.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// The variables that an expansion asked for, each once and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LookedUp {
    pub(crate) set: Vec<String>,
    pub(crate) unset: Vec<String>,
}

impl LookedUp {
    /// Expands a word for what it asks; what is wrong with it is told by others.
    fn of(word: &Word, escape: char, lookup: &expand::Lookup<'_>) -> Self {
        let found = std::cell::RefCell::new(Self::default());
        let noting = |name: &str| {
            let value = lookup(name);
            let mut found = found.borrow_mut();
            let list = if value.is_some() { &mut found.set } else { &mut found.unset };
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
            value
        };
        let _ = expand::word(&word.0, escape, &noting);
        found.into_inner()
    }
}

/// The ARGs before the first FROM, with their values.
#[derive(Debug, Clone)]
pub struct GlobalScope {
    values: BTreeMap<String, String>,
    predefined: BTreeMap<String, String>,
    escape: char,
}

impl GlobalScope {
    /// Evaluates the ARGs before the first FROM in order, for the last stage; platforms are as in `linux/amd64`.
    ///
    /// Fails where a default cannot be expanded.
    pub fn evaluate(
        dockerfile: &Dockerfile,
        args: &BuildArgs,
        target_platform: &str,
        build_platform: &str,
    ) -> Result<Self, DockerfileError> {
        Self::evaluate_for(dockerfile, args, target_platform, build_platform, None)
    }

    /// As [`GlobalScope::evaluate`], for a target, which is the value of `TARGETSTAGE`.
    ///
    /// Fails where a default cannot be expanded.
    pub fn evaluate_for(
        dockerfile: &Dockerfile,
        args: &BuildArgs,
        target_platform: &str,
        build_platform: &str,
        target: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        let mut predefined = BTreeMap::new();
        for (prefix, platform) in [("TARGET", target_platform), ("BUILD", build_platform)] {
            let mut parts = platform.splitn(3, '/');
            predefined.insert(format!("{prefix}PLATFORM"), platform.to_owned());
            for name in ["OS", "ARCH", "VARIANT"] {
                predefined.insert(format!("{prefix}{name}"), parts.next().unwrap_or_default().to_owned());
            }
            predefined.insert(format!("{prefix}OSVERSION"), String::new());
        }
        let last = dockerfile.stages.last().and_then(|stage| stage.name.as_deref());
        let target = target.or(last).unwrap_or("default");
        predefined.insert("TARGETSTAGE".into(), target.to_owned());
        for (name, value) in &mut predefined {
            if let Some(given) = args.get(name) {
                value.clone_from(given);
            }
        }
        let mut scope = Self { values: BTreeMap::new(), predefined, escape: dockerfile.escape };
        for located in &dockerfile.globals {
            let arg = &located.value;
            let value = match (args.get(&arg.name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(scope.expand(default).map_err(|error| {
                    error.or_at(&dockerfile.name, &dockerfile.text, located.span.clone())
                })?),
                (None, None) => None,
            };
            if let Some(value) = value {
                scope.values.insert(arg.name.clone(), value);
            }
        }
        Ok(scope)
    }

    /// Expands a word of FROM.
    ///
    /// Fails where a quote or brace is not closed, a substitution is malformed, `:?` finds no value, or a word
    /// becomes too long.
    pub fn expand(&self, word: &Word) -> Result<String, DockerfileError> {
        expand::word(&word.0, self.escape, &|name| self.get(name).cloned())
    }

    /// The values of the ARGs before the first FROM, by name.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The value of an ARG before the first FROM, or of a predefined one.
    fn get(&self, name: &str) -> Option<&String> {
        self.values.get(name).or_else(|| self.predefined.get(name))
    }

    /// The variables that a word of FROM uses.
    pub(crate) fn looked_up(&self, word: &Word) -> LookedUp {
        LookedUp::of(word, self.escape, &|name| self.get(name).cloned())
    }

    /// Every name that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().chain(self.predefined.keys()).map(String::as_str)
    }
}

/// What names mean at one place of a stage. A stage on another stage goes on with its scope.
#[derive(Debug, Clone)]
pub struct Scope {
    globals: GlobalScope,
    given: BuildArgs,
    /// What goes into the image.
    env: Vec<(String, String)>,
    /// What words and commands see.
    variables: Vec<(String, String)>,
    args: BTreeMap<String, String>,
}

impl Scope {
    /// The scope at the start of a stage on an image with this environment.
    pub fn for_base(globals: &GlobalScope, args: &BuildArgs, base_env: Vec<(String, String)>) -> Self {
        let mut variables = Vec::new();
        for (name, value) in &base_env {
            set(&mut variables, name, value);
        }
        Self {
            globals: globals.clone(),
            given: args.clone(),
            env: base_env,
            variables,
            args: BTreeMap::new(),
        }
    }

    /// The scope at the start of a stage on another stage: it sees the other's ARGs as well.
    pub fn for_child_of(parent: &Self) -> Self {
        parent.clone()
    }

    /// Declares an ARG: from here on it has the value given from outside, its default, or the one from before FROM.
    ///
    /// Without any of these nothing changes. A default is not expanded when it is not needed.
    ///
    /// Fails where the default cannot be expanded; nothing is set then.
    pub fn declare(&mut self, arg: &Arg) -> Result<(), DockerfileError> {
        let value = match (self.given.get(&arg.name), &arg.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(self.expand(default)?),
            (None, None) => self.globals.get(&arg.name).cloned(),
        };
        if let Some(value) = value {
            if !NOT_IN_ENV.contains(&arg.name.as_str()) {
                set(&mut self.variables, &arg.name, &value);
            }
            self.args.insert(arg.name.clone(), value);
        }
        Ok(())
    }

    /// Sets variables; all names and values are expanded with what was set before the instruction. Returns what was set.
    ///
    /// Fails where a name or value cannot be expanded; nothing is set then.
    pub fn set_env(&mut self, pairs: &[(Word, Word)]) -> Result<Vec<(String, String)>, DockerfileError> {
        let expanded: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?)))
            .collect::<Result<_, DockerfileError>>()?;
        for (name, value) in &expanded {
            set(&mut self.env, name, value);
            set(&mut self.variables, name, value);
        }
        Ok(expanded)
    }

    fn lookup(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone())
    }

    /// Expands a word.
    ///
    /// Fails where a quote or brace is not closed, a substitution is malformed, `:?` finds no value, or a word becomes too
    /// long.
    pub fn expand(&self, word: &Word) -> Result<String, DockerfileError> {
        expand::word(&word.0, self.globals.escape, &|name| self.lookup(name))
    }

    /// The variables that a word uses.
    pub(crate) fn looked_up(&self, word: &Word) -> LookedUp {
        LookedUp::of(word, self.globals.escape, &|name| self.lookup(name))
    }

    /// Every name that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(name, _)| name.as_str())
    }

    /// Expands a word that may become none or several, as in EXPOSE.
    ///
    /// Fails where a quote or brace is not closed, a substitution is malformed, `:?` finds no value, or a word
    /// becomes too long.
    pub fn expand_many(&self, word: &Word) -> Result<Vec<String>, DockerfileError> {
        expand::split(&word.0, self.globals.escape, &|name| self.lookup(name))
    }

    /// Replaces variables in a heredoc of COPY or ADD: quotes stay, escapes are always `\`.
    ///
    /// Fails where a quote or brace is not closed, a substitution is malformed, `:?` finds no value, or a word
    /// becomes too long.
    pub fn expand_text(&self, text: &str) -> Result<String, DockerfileError> {
        expand::heredoc(text, &|name| self.lookup(name))
    }

    /// The variables of ENV, those of the base included: what goes into the image.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// What RUN sees, and what counts for the cache: ENV and the declared ARGs that have a value.
    pub fn run_env(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// Proxy settings given as build arguments: RUN sees them in both cases, the cache does not. ENV and ARG win.
    pub fn proxy_env(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for upper in PROXY {
            let given = self.given.iter().rfind(|(name, _)| upper.eq_ignore_ascii_case(name));
            let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) else { continue };
            for name in [upper.to_owned(), upper.to_lowercase()] {
                if self.lookup(&name).is_none() {
                    found.push((name, value.clone()));
                }
            }
        }
        found
    }

    /// The ARGs declared so far that have a value.
    pub fn visible_args(&self) -> &BTreeMap<String, String> {
        &self.args
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: &str) {
    match variables.iter_mut().find(|(set, _)| set == name) {
        Some(pair) => value.clone_into(&mut pair.1),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

/// The build arguments that no ARG of the Dockerfile declares and that mean nothing by themselves.
pub fn undeclared_args(dockerfile: &Dockerfile, args: &BuildArgs) -> Vec<String> {
    let mut declared: BTreeSet<&str> = dockerfile.globals.iter().map(|arg| arg.value.name.as_str()).collect();
    for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        if let Instruction::Arg(found) = &instruction.value {
            declared.extend(found.iter().map(|arg| arg.name.as_str()));
        }
    }
    args.keys().filter(|name| !declared.contains(name.as_str()) && !is_predefined(name)).cloned().collect()
}

#[cfg(test)]
mod tests;
