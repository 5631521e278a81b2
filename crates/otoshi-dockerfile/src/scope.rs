//! What names mean: ARG before FROM, ARG and ENV inside a stage.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::{BTreeMap, BTreeSet};

use crate::{Arg, Dockerfile, DockerfileError, Instruction, Word, expand};

/// Build arguments given from outside, by name.
pub type BuildArgs = BTreeMap<String, String>;

/// Arguments that RUN sees without a declaration, and that do not count for the cache.
const PROXY: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The ARGs before the first FROM, with their values.
#[derive(Debug, Clone)]
pub struct GlobalScope {
    values: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    escape: char,
}

impl GlobalScope {
    /// Evaluates the ARGs before the first FROM in order; platforms are as in `linux/amd64`.
    pub fn evaluate(
        dockerfile: &Dockerfile,
        args: &BuildArgs,
        target_platform: &str,
        build_platform: &str,
    ) -> Result<Self, DockerfileError> {
        let mut platform = BTreeMap::new();
        for (prefix, text) in [("TARGET", target_platform), ("BUILD", build_platform)] {
            let mut parts = text.splitn(3, '/');
            platform.insert(format!("{prefix}PLATFORM"), text.to_owned());
            for name in ["OS", "ARCH", "VARIANT"] {
                platform.insert(format!("{prefix}{name}"), parts.next().unwrap_or_default().to_owned());
            }
        }
        platform.insert("TARGETSTAGE".into(), "default".into());
        let mut scope = Self { values: BTreeMap::new(), platform, escape: dockerfile.escape };
        for located in &dockerfile.globals {
            let arg = &located.value;
            let default = arg.default.as_ref().map(|word| scope.expand(word)).transpose();
            let default = default
                .map_err(|error| error.or_at(&dockerfile.name, &dockerfile.text, located.span.clone()))?;
            if let Some(value) = args.get(&arg.name).cloned().or(default) {
                scope.values.insert(arg.name.clone(), value);
            }
        }
        Ok(scope)
    }

    /// Expands a word of FROM.
    pub fn expand(&self, word: &Word) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.values.get(name).or_else(|| self.platform.get(name)).cloned();
        expand::word(&word.0, self.escape, &lookup)
    }

    /// The values, by name.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

/// What names mean at one place of a stage. ENV wins over ARG; a stage on another stage goes on with its scope.
#[derive(Debug, Clone)]
pub struct Scope {
    globals: GlobalScope,
    given: BuildArgs,
    env: Vec<(String, String)>,
    args: BTreeMap<String, String>,
}

impl Scope {
    /// The scope at the start of a stage on an image with this environment.
    pub fn for_base(globals: &GlobalScope, args: &BuildArgs, base_env: Vec<(String, String)>) -> Self {
        Self { globals: globals.clone(), given: args.clone(), env: base_env, args: BTreeMap::new() }
    }

    /// The scope at the start of a stage on another stage.
    pub fn for_child_of(parent: &Self) -> Self {
        parent.clone()
    }

    /// Declares an ARG: from here on it has the value given from outside, its default, or the one from before FROM.
    pub fn declare(&mut self, arg: &Arg) -> Result<(), DockerfileError> {
        let default = arg.default.as_ref().map(|word| self.expand(word)).transpose()?;
        let given = self.given.get(&arg.name).cloned();
        let outer =
            || self.globals.values.get(&arg.name).or_else(|| self.globals.platform.get(&arg.name)).cloned();
        if let Some(value) = given.or(default).or_else(outer) {
            self.args.insert(arg.name.clone(), value);
        }
        Ok(())
    }

    /// Sets variables; all values are expanded with what was set before the instruction. Returns what was set.
    pub fn set_env(&mut self, pairs: &[(Word, Word)]) -> Result<Vec<(String, String)>, DockerfileError> {
        let expanded: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?)))
            .collect::<Result<_, DockerfileError>>()?;
        for (name, value) in &expanded {
            match self.env.iter_mut().find(|(set, _)| set == name) {
                Some(pair) => pair.1.clone_from(value),
                None => self.env.push((name.clone(), value.clone())),
            }
        }
        Ok(expanded)
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let env = self.env.iter().find(|(set, _)| set == name).map(|(_, value)| value);
        env.or_else(|| self.args.get(name)).cloned()
    }

    /// Expands a word.
    pub fn expand(&self, word: &Word) -> Result<String, DockerfileError> {
        expand::word(&word.0, self.globals.escape, &|name| self.lookup(name))
    }

    /// Expands a word that may become several, as in EXPOSE.
    pub fn expand_many(&self, word: &Word) -> Result<Vec<String>, DockerfileError> {
        expand::split(&word.0, self.globals.escape, &|name| self.lookup(name))
    }

    /// Replaces variables in a heredoc of COPY or ADD.
    pub fn expand_text(&self, text: &str) -> Result<String, DockerfileError> {
        expand::heredoc(text, self.globals.escape, &|name| self.lookup(name))
    }

    /// The variables of ENV, those of the base included.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// What RUN sees: ENV, and the declared ARGs that ENV does not hide.
    pub fn run_env(&self) -> Vec<(String, String)> {
        let hidden: BTreeSet<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        let args = self
            .args
            .iter()
            .filter(|(name, _)| !hidden.contains(name.as_str()) && !PROXY.contains(&name.as_str()));
        self.env.iter().cloned().chain(args.map(|(name, value)| (name.clone(), value.clone()))).collect()
    }

    /// Proxy settings given as build arguments: RUN sees them, the cache does not.
    pub fn proxy_env(&self) -> Vec<(String, String)> {
        let given =
            PROXY.iter().filter_map(|name| Some(((*name).to_owned(), self.given.get(*name)?.clone())));
        given.filter(|(name, _)| !self.env.iter().any(|(set, _)| set == name)).collect()
    }

    /// The ARGs declared so far that have a value.
    pub fn visible_args(&self) -> &BTreeMap<String, String> {
        &self.args
    }
}

/// The build arguments that no ARG of the Dockerfile declares.
pub fn undeclared_args(dockerfile: &Dockerfile, args: &BuildArgs) -> Vec<String> {
    let mut declared: BTreeSet<&str> = dockerfile.globals.iter().map(|arg| arg.value.name.as_str()).collect();
    for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        if let Instruction::Arg(found) = &instruction.value {
            declared.extend(found.iter().map(|arg| arg.name.as_str()));
        }
    }
    args.keys()
        .filter(|name| !declared.contains(name.as_str()) && !PROXY.contains(&name.as_str()))
        .cloned()
        .collect()
}
