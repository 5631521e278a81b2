//! What the roles' Dockerfiles ask for by name, and whether the project gives it: told before anything is built.

use std::collections::BTreeSet;

use otoshi_dockerfile::{BuildArgs, Dockerfile, Instruction, Located, suggest};

use otoshi_project::{Phase, Role};

use crate::PipelineError;

/// Arguments that are there without being declared anywhere, or that mean something to the builder.
/// Source: Dockerfile reference, predefined ARGs and ARGs in the global scope.
fn is_predefined(name: &str) -> bool {
    let upper = name.to_uppercase();
    ["TARGET", "BUILD", "BUILDKIT_"].iter().any(|start| upper.starts_with(start))
        || upper.ends_with("_PROXY")
        || name == "SOURCE_DATE_EPOCH"
}

/// One role's Dockerfile.
pub(crate) struct Asked<'a> {
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) args: &'a BuildArgs,
    /// The build arguments that name other roles' images, and the roles.
    pub(crate) roles: [(&'a str, Role); 2],
}

impl Asked<'_> {
    /// Fails where a FROM has no image because an argument has no value, and where it or `--from` has a role's name.
    pub(crate) fn check(&self) -> Result<(), PipelineError> {
        for stage in &self.dockerfile.stages {
            for name in variables(&stage.from.value.image.0) {
                if !self.has_value(name) {
                    return Err(self.wrong(
                        &stage.from,
                        format!("FROM uses ${{{name}}}, which has no value"),
                        self.near(name),
                    ));
                }
            }
            if let Some(hint) = self.as_role(&stage.from.value.image.0, "FROM ") {
                let message = format!("{} is no stage before this one", stage.from.value.image.0);
                return Err(self.wrong(&stage.from, message, hint));
            }
            for located in &stage.instructions {
                let Instruction::Copy(copy) = &located.value else { continue };
                let Some(from) = &copy.from else { continue };
                if let Some(hint) = self.as_role(&from.0, "--from=") {
                    let message = format!("{} is not a stage of this Dockerfile", from.0);
                    return Err(self.wrong(located, message, hint));
                }
            }
        }
        Ok(())
    }

    /// What to write in place of a name that is a role's and no stage's; nothing for other names.
    fn as_role(&self, name: &str, place: &str) -> Option<String> {
        let is_phase = Phase::ALL.iter().any(|phase| phase.as_str() == name);
        if !is_phase || self.dockerfile.stage_named(name).is_some() {
            return None;
        }
        Some(match self.roles.iter().find(|(_, role)| role.as_str() == name && *role != self.role) {
            Some((argument, _)) => {
                format!("write `ARG {argument}` before the first FROM, and {place}${{{argument}}}")
            }
            _ => "name a stage with `FROM ... AS NAME`, or an image of [bases] with `ARG NAME` before the first FROM and ${NAME}".to_owned(),
        })
    }

    /// Says which declared arguments have no value: nothing gives them one, and they have no default.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut warnings = Vec::new();
        for located in self.dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
            let Instruction::Arg(args) = &located.value else { continue };
            for arg in args.iter().filter(|arg| arg.default.is_none()) {
                if !self.has_value(&arg.name) && seen.insert(&arg.name) {
                    let (name, file, line) = (&arg.name, &self.dockerfile.name, located.line);
                    warnings.push(format!(
                        "{file}:{line}: ARG {name} has no value and no default: {}",
                        self.near(name)
                    ));
                }
            }
        }
        warnings
    }

    fn has_value(&self, name: &str) -> bool {
        let default =
            |arg: &Located<otoshi_dockerfile::Arg>| arg.value.name == name && arg.value.default.is_some();
        self.args.contains_key(name) || is_predefined(name) || self.dockerfile.globals.iter().any(default)
    }

    fn near(&self, name: &str) -> String {
        match suggest(name, self.args.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "[versions], [bases] and [args] of otoshi.toml have none of that name".to_owned(),
        }
    }

    fn wrong<T>(&self, located: &Located<T>, message: String, hint: String) -> PipelineError {
        let error = self.dockerfile.error_at(located.span.clone(), message, Some(hint));
        PipelineError::dockerfile(self.phase)(error)
    }
}

/// The names of the variables in a word that must have a value: those without a default of their own.
fn variables(word: &str) -> impl Iterator<Item = &str> {
    word.split('$').skip(1).filter_map(|rest| {
        let (name, after) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_at(inner.find(|sign: char| !is_name(sign))?),
            None => rest.split_at(rest.find(|sign: char| !is_name(sign)).unwrap_or(rest.len())),
        };
        let has_default = rest.starts_with('{') && !after.starts_with('}');
        (!name.is_empty() && !has_default).then_some(name)
    })
}

fn is_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    #[test]
    fn variables_without_a_default_are_found() {
        let found = |word| variables(word).collect::<Vec<_>>();
        assert_eq!(found("${BASE}:$TAG-slim"), ["BASE", "TAG"]);
        assert_eq!(found("${BASE:-debian}/${A-b}"), [""; 0]);
        assert_eq!(found("debian:12"), [""; 0]);
    }

    fn check(text: &str) -> (Option<String>, Vec<String>) {
        let dockerfile = Dockerfile::parse("runner.Dockerfile", text).unwrap();
        let args = BuildArgs::from([
            ("RUN".to_owned(), "debian:12".to_owned()),
            ("BOTTLE_VERSION".to_owned(), "1".to_owned()),
        ]);
        let asked = Asked {
            role: Role::Runner,
            phase: Phase::Runner,
            dockerfile: &dockerfile,
            args: &args,
            roles: [("BUILDER", Role::Builder), ("RUNNER", Role::Runner)],
        };
        let error =
            asked.check().err().map(|error| format!("{error} | {}", error.hint().unwrap_or_default()));
        (error, asked.warnings())
    }

    #[test]
    fn what_nothing_gives_is_told() {
        let (error, _) = check("ARG RNU\nFROM ${RNU}\n");
        assert!(error.is_some_and(|error| error.contains("FROM uses ${RNU}, which has no value")));
        assert_eq!(
            check("ARG RUN\nFROM ${RUN}\nARG TARGETARCH\nARG http_proxy\nARG X=1\n"),
            (None, Vec::new())
        );
        let (error, warnings) =
            check("ARG RUN\nFROM ${RUN}\nARG BOTTLE\nRUN pip install bottle==${BOTTLE}\n");
        assert_eq!(error, None);
        assert_eq!(
            warnings,
            ["runner.Dockerfile:3: ARG BOTTLE has no value and no default: did you mean BOTTLE_VERSION?"]
        );
        let (error, _) = check("ARG RUN\nFROM ${RUN}\nCOPY --from=builder /a /a\n");
        assert!(error.is_some_and(|error| error.contains("builder is not a stage of this Dockerfile")));
        for role in ["builder", "runner", "app", "compile"] {
            let (error, _) = check(&format!("FROM {role}\n"));
            assert!(error.is_some_and(|error| error.contains(" is no stage before this one")), "{role}");
            let (error, _) = check(&format!("FROM debian\nCOPY --from={role} /a /a\n"));
            assert!(
                error.is_some_and(|error| error.contains(" is not a stage of this Dockerfile")),
                "{role}"
            );
        }
        assert_eq!(check("FROM debian AS builder\nFROM builder\n").0, None);
        assert_eq!(check("FROM debian AS builder\nFROM debian\nCOPY --from=builder /a /a\n").0, None);
    }
}
