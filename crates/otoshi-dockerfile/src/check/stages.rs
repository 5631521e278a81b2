//! What is seen only with the values of variables: a walk through all stages, each on what it starts from.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{BaseFacts, Checker, Place, Rule, Surrounding};
use crate::{
    Arg, BuildArgs, CommandForm, Copy, DockerfileError, GlobalScope, Instruction, Located, Mount, Scope,
    Stage, Word, suggest,
};

/// Words in a name that mean a secret, and those that mean that it is none.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const NO_SECRET: [&str; 3] = ["public", "file", "version"];

/// A stage as far as the walk has come.
#[derive(Clone)]
struct Walked {
    scope: Scope,
    /// Whether all variables of what it starts from are known.
    known: bool,
    declared: BTreeSet<String>,
    has_shell: bool,
    has_workdir: bool,
}

impl Checker<'_> {
    /// Checks all stages, also those that no target reaches.
    pub(super) fn stages(&mut self, around: &Surrounding<'_>) -> Result<(), DockerfileError> {
        let file = self.dockerfile;
        let evaluate = |args: &BuildArgs| {
            GlobalScope::evaluate(file, args, around.target_platform, around.build_platform)
        };
        let globals = evaluate(around.args)?;
        let defaults = evaluate(&BuildArgs::new()).ok();
        for global in &file.globals {
            self.enter(global.span.start);
            self.secret("ARG", &global.value.name, &global.span);
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut walked: Vec<Walked> = Vec::new();
        for stage in &file.stages {
            self.enter(stage.from.span.start);
            self.variables_of_from(stage, &globals, defaults.as_ref(), around);
            let name = stage.name.as_deref();
            if let Some(name) = name {
                self.stage_name(stage, name, names.contains_key(name));
            }
            let image = globals.expand(&stage.from.value.image).unwrap_or_default();
            let mut here = match names.get(image.as_str()) {
                Some(&parent) => walked[parent].clone(),
                None => self.start(stage, &globals, &image, around),
            };
            self.instructions(stage, &mut here, around);
            walked.push(here);
            if let Some(name) = name {
                names.insert(name, stage.index);
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        stage: &Stage,
        globals: &GlobalScope,
        image: &str,
        around: &Surrounding<'_>,
    ) -> Walked {
        let from = &stage.from.value;
        let platform = from.platform.as_ref().and_then(|platform| globals.expand(platform).ok());
        let platform = platform.unwrap_or_else(|| around.target_platform.to_owned());
        let facts =
            if image == "scratch" { Some(BaseFacts::default()) } else { (around.base)(image, &platform) };
        if let Some(other) = facts.as_ref().and_then(|facts| facts.other_platform.as_ref()) {
            let message = format!("the base {image} is for {other}, and the stage for {platform}");
            self.report(
                Rule::InvalidBaseImagePlatform,
                Place::of(&stage.from.span, &from.image.0),
                message,
                None,
            );
        }
        let known = facts.is_some();
        let mut facts = facts.unwrap_or_default();
        if !facts.env.iter().any(|(name, _)| name == "PATH") {
            facts.env.push(("PATH".into(), String::new()));
        }
        Walked {
            scope: Scope::for_base(globals, around.args, facts.env),
            known,
            declared: BTreeSet::new(),
            has_shell: facts.has_shell,
            has_workdir: false,
        }
    }

    fn stage_name(&mut self, stage: &Stage, name: &str, is_taken: bool) {
        // The name is the last word of FROM.
        let at = &stage.from.span;
        let text = self.dockerfile.text.get(at.clone()).unwrap_or_default();
        let at = at.start + text.rfind(char::is_whitespace).map_or(0, |space| space + 1)..at.end;
        if is_taken {
            let message = format!("another stage is also called {name:?}");
            self.report(Rule::DuplicateStageName, Place::of(&at, ""), message, None);
        }
        if matches!(name, "scratch" | "context") {
            let message = format!("a stage should not be called {name:?}, which is a reserved name");
            self.report(Rule::ReservedStageName, Place::of(&at, ""), message, None);
        }
    }

    /// The variables of FROM.
    fn variables_of_from(
        &mut self,
        stage: &Stage,
        globals: &GlobalScope,
        defaults: Option<&GlobalScope>,
        around: &Surrounding<'_>,
    ) {
        let (at, from) = (&stage.from.span, &stage.from.value);
        let declared: BTreeSet<&str> = self
            .dockerfile
            .globals
            .iter()
            .map(|arg| arg.value.name.as_str())
            .chain(globals.names())
            .collect();
        for word in std::iter::once(&from.image).chain(&from.platform) {
            for name in globals.looked_up(word).unset {
                if !declared.contains(name.as_str()) {
                    let near = suggest(&name, declared.iter().copied());
                    let hint = near.map(|near| format!("did you mean ${near}?"));
                    let message = format!("no ARG before FROM declares {name}");
                    let needle = self.use_of(at, &name);
                    self.report(Rule::UndefinedArgInFrom, Place::of(at, &needle), message, hint);
                }
            }
        }
        let name = defaults.and_then(|defaults| defaults.expand(&from.image).ok());
        if name.is_some_and(|name| !(around.is_reference)(&name)) {
            let message = format!("without build arguments, {} names no image", from.image.0);
            let hint = Some("give its ARG a default before FROM".into());
            self.report(Rule::InvalidDefaultArgInFrom, Place::of(at, &from.image.0), message, hint);
        }
        let Some(platform) = &from.platform else { return };
        let found = globals.looked_up(platform);
        let value = globals.expand(platform).unwrap_or_default();
        if found.unset.is_empty() && found.set == ["TARGETPLATFORM"] && value == around.target_platform {
            let message = format!("{} is the platform that FROM uses by default", platform.0);
            let needle = format!("--platform={}", platform.0);
            self.report(
                Rule::RedundantTargetPlatform,
                Place::of(at, &needle),
                message,
                Some("leave it out".into()),
            );
        }
        if found.unset.is_empty() && found.set.is_empty() {
            let (os, architecture) = value.split_once('/').unwrap_or(("linux", &value));
            let architecture = architecture.split('/').next().unwrap_or_default();
            let architecture = match architecture {
                "x86_64" | "x86-64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            };
            let says = |part: &str| stage.name.as_deref().is_some_and(|name| name.contains(part));
            if !says(os) && !says(architecture) {
                let message = format!("the stage is bound to the platform {value}");
                let hint = Some(
                    "use $BUILDPLATFORM or $TARGETPLATFORM, or name the stage after the platform".into(),
                );
                self.report(Rule::FromPlatformFlagConstDisallowed, Place::of(at, &value), message, hint);
            }
        }
    }

    fn instructions(&mut self, stage: &Stage, here: &mut Walked, around: &Surrounding<'_>) {
        let mut last: BTreeMap<&str, &Range<usize>> = BTreeMap::new();
        for located in &stage.instructions {
            self.enter(located.span.start);
            self.instruction(located, here, around);
            let keyword = match &located.value {
                Instruction::Cmd(_) => "CMD",
                Instruction::Entrypoint(_) => "ENTRYPOINT",
                Instruction::Healthcheck(_) => "HEALTHCHECK",
                _ => continue,
            };
            if let Some(earlier) = last.insert(keyword, &located.span) {
                let message = format!("this {keyword} has no effect: another follows in the same stage");
                self.enter(earlier.start);
                self.report(
                    Rule::MultipleInstructionsDisallowed,
                    Place::of(earlier, ""),
                    message,
                    Some("remove it".into()),
                );
            }
        }
    }

    fn instruction(&mut self, located: &Located<Instruction>, here: &mut Walked, around: &Surrounding<'_>) {
        let at = &located.span;
        self.variables(&words(&located.value), at, here);
        match &located.value {
            Instruction::Arg(args) => {
                for arg in args {
                    self.argument(arg, at, here, around);
                }
            }
            Instruction::Env(pairs) => {
                for (name, _) in pairs {
                    self.secret("ENV", &name.0, at);
                }
                // What cannot be expanded fails in the build, which says where.
                here.known &= here.scope.set_env(pairs).is_ok();
            }
            Instruction::Shell(_) => here.has_shell = true,
            Instruction::Cmd(CommandForm::Shell(text)) if !here.has_shell => self.shell_form("CMD", text, at),
            Instruction::Entrypoint(CommandForm::Shell(text)) if !here.has_shell => {
                self.shell_form("ENTRYPOINT", text, at);
            }
            Instruction::Workdir(path) => {
                let path = here.scope.expand(path).unwrap_or_else(|_| path.0.clone());
                if !here.has_workdir && !path.starts_with('/') && here.known {
                    let message =
                        format!("the relative path {path:?} depends on the base's working directory");
                    self.report(
                        Rule::WorkdirRelativePath,
                        Place::of(at, &path),
                        message,
                        Some(format!("WORKDIR /{path}")),
                    );
                }
                here.has_workdir = true;
            }
            Instruction::Expose(ports) => {
                for word in ports {
                    for port in here.scope.expand_many(word).unwrap_or_default() {
                        self.port(&port, at);
                    }
                }
            }
            Instruction::Copy(copy) if copy.from.is_none() => {
                self.ignored("COPY", &here.sources(copy), at, around);
            }
            Instruction::Add(add) => self.ignored("ADD", &here.sources(&add.copy), at, around),
            _ => {}
        }
    }

    fn argument(&mut self, arg: &Arg, at: &Range<usize>, here: &mut Walked, around: &Surrounding<'_>) {
        self.secret("ARG", &arg.name, at);
        let is_given = around.args.contains_key(&arg.name);
        if let (Some(default), false) = (&arg.default, is_given) {
            self.variables(std::slice::from_ref(default), at, here);
        }
        here.known &= here.scope.declare(arg).is_ok();
        here.declared.insert(arg.name.clone());
    }

    fn shell_form(&mut self, keyword: &str, text: &str, at: &Range<usize>) {
        let message =
            format!("{keyword} runs through a shell, which does not pass signals on to the program");
        let is_plain = !text.contains(['$', '"', '\'', '\\', '|', '&', ';', '<', '>', '(', '`', '*', '\n']);
        let list = text.split_whitespace().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let hint =
            if is_plain { format!("{keyword} [{list}]") } else { "a list of strings, or SHELL".into() };
        self.report(Rule::JSONArgsRecommended, Place::of(at, text), message, Some(hint));
    }

    fn secret(&mut self, keyword: &str, name: &str, at: &Range<usize>) {
        let lower = name.to_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
        if has(&SECRET) && !has(&NO_SECRET) {
            let message = format!("{keyword} {name} looks like a secret, and is kept in the image");
            let hint = Some("RUN --mount=type=secret,id=…".into());
            self.report(Rule::SecretsUsedInArgOrEnv, Place::of(at, name), message, hint);
        }
    }

    fn port(&mut self, text: &str, at: &Range<usize>) {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
        if protocol != protocol.to_lowercase() {
            let message = format!("the protocol of EXPOSE {text} is not in lower case");
            let hint = Some(format!("{ports}/{}", protocol.to_lowercase()));
            self.report(Rule::ExposeProtoCasing, Place::of(at, text), message, hint);
        }
        if let Some((_, port)) = ports.rsplit_once(':') {
            let message = format!("EXPOSE {text} names an address or a port of the host");
            let slash = if protocol.is_empty() { "" } else { "/" };
            let hint = Some(format!("{port}{slash}{protocol}"));
            self.report(Rule::ExposeInvalidFormat, Place::of(at, text), message, hint);
        }
    }

    /// Sources that the ignore file leaves out; with exceptions in it nothing can be said.
    fn ignored(
        &mut self,
        keyword: &str,
        sources: &[(&Word, String)],
        at: &Range<usize>,
        around: &Surrounding<'_>,
    ) {
        let Some(ignore) = around.ignore.filter(|ignore| !ignore.has_exceptions()) else { return };
        for (word, source) in sources {
            if source.contains("://") || source.starts_with("git@") {
                continue;
            }
            let clean =
                source.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/");
            let is_left_out =
                if clean.is_empty() { ignore.leaves_nothing() } else { ignore.excludes(&clean, false) };
            if is_left_out {
                let message = format!("{keyword} {source}: .dockerignore excludes it");
                self.report(Rule::CopyIgnoredFile, Place::of(at, &word.0), message, None);
            }
        }
    }

    /// Variables that are used and not set.
    fn variables(&mut self, words: &[Word], at: &Range<usize>, here: &Walked) {
        if !here.known {
            return;
        }
        for word in words {
            for name in here.scope.looked_up(word).unset {
                if !here.declared.contains(&name) {
                    let known = here.scope.names().map(str::to_owned).collect::<Vec<_>>();
                    let near = suggest(&name, known.iter().map(String::as_str));
                    let hint = near.map(|near| format!("did you mean ${near}?"));
                    let message = format!("the variable {name} is not set");
                    let needle = self.use_of(at, &name);
                    self.report(Rule::UndefinedVar, Place::of(at, &needle), message, hint);
                }
            }
        }
    }

    /// How a variable is written where an instruction uses it first.
    fn use_of(&self, at: &Range<usize>, name: &str) -> String {
        let text = self.dockerfile.text.get(at.clone()).unwrap_or_default();
        let ends = |end: usize| !text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let needle = [format!("${name}"), format!("${{{name}")]
            .into_iter()
            .find(|form| text.match_indices(form.as_str()).any(|(start, form)| ends(start + form.len())));
        needle.unwrap_or_default()
    }
}

impl Walked {
    /// The sources of a copy with what they are after expansion, as far as that can be told.
    fn sources<'c>(&self, copy: &'c Copy) -> Vec<(&'c Word, String)> {
        copy.sources.iter().filter_map(|word| Some((word, self.scope.expand(word).ok()?))).collect()
    }
}

/// The words of an instruction that are expanded before it is carried out.
fn words(instruction: &Instruction) -> Vec<Word> {
    let copy = |copy: &Copy| {
        let optional = [&copy.chown, &copy.chmod].into_iter().flatten();
        optional.chain(&copy.sources).chain([&copy.dest]).chain(&copy.exclude).cloned().collect::<Vec<_>>()
    };
    match instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect()
        }
        Instruction::Copy(found) => copy(found),
        Instruction::Add(add) => copy(&add.copy).into_iter().chain(add.checksum.clone()).collect(),
        Instruction::Workdir(word) | Instruction::User(word) | Instruction::StopSignal(word) => {
            vec![word.clone()]
        }
        Instruction::Expose(words) | Instruction::Volume(words) => words.clone(),
        Instruction::Run(run) => run.mounts.iter().flat_map(mount_words).collect(),
        _ => Vec::new(),
    }
}

fn mount_words(mount: &Mount) -> Vec<Word> {
    let words: Vec<Option<&Word>> = match mount {
        Mount::Bind { target, source, .. } => vec![Some(target), source.as_ref()],
        Mount::Cache { target, id, source, .. } => vec![Some(target), id.as_ref(), source.as_ref()],
        Mount::Tmpfs { target, .. } => vec![Some(target)],
        Mount::Secret { id, target, .. } | Mount::Ssh { id, target, .. } => {
            vec![id.as_ref(), target.as_ref()]
        }
        Mount::Later { text, .. } => return vec![Word(text.clone())],
    };
    words.into_iter().flatten().cloned().collect()
}
