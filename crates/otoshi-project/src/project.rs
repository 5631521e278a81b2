//! A project: its directory, its manifest, its processes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use otoshi_dockerfile::encoding::is_utf16;
use otoshi_explain::Remedy;
use otoshi_oci::Reference;

use crate::{
    Argument, Base, Command, Computed, Manifest, Packages, Process, ProcessTable, ProjectError, Variant,
    faults::Faults,
    manifest::{PROCESS_NAME, is_process_name},
};

/// A loaded project.
#[derive(Debug, Clone)]
pub struct Project {
    /// The directory that holds `otoshi.toml`.
    pub root: PathBuf,
    /// What `otoshi.toml` says.
    pub manifest: Manifest,
    /// The processes, by name.
    pub processes: Vec<NamedProcess>,
    /// What is there and has no effect.
    pub warnings: Vec<String>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProcess {
    /// Its name.
    pub name: String,
    /// Its command, unless a stage says it.
    pub command: Option<Command>,
    /// The stage of the app's Dockerfile.
    pub target: String,
    /// Environment of its image, on top of what that has.
    pub env: BTreeMap<String, String>,
    /// Ports of its image, as in EXPOSE.
    pub expose: Vec<String>,
}

impl Project {
    /// The repository that `[registry]` names; that it is one was found out when the file was read.
    pub fn repository(&self) -> Option<Reference> {
        Reference::parse(&self.manifest.registry.as_ref()?.repository).ok()
    }

    /// Loads the project of a directory, or of the nearest one above that has an `otoshi.toml`.
    ///
    /// Fails where there is no otoshi.toml, where it is not UTF-8, and with all mistakes of form and content at once.
    pub fn find(from: &Path) -> Result<Self, ProjectError> {
        let from = from
            .canonicalize()
            .map_err(|error| ProjectError::new(from.display().to_string(), error.to_string()))?;
        let root = root_above(&from).ok_or_else(|| {
            let dockerfile = from.join("Dockerfile").is_file();
            ProjectError::new("otoshi.toml", format!("there is none in {} or above", from.display()))
                .with_hint(Remedy::DescribeProject { dockerfile })
        })?;
        let bytes = fs::read(root.join("otoshi.toml"))
            .map_err(|error| ProjectError::new("otoshi.toml", error.to_string()))?;
        let manifest = Manifest::parse("otoshi.toml", &text("otoshi.toml", bytes)?)?;
        let procfile = procfile(root)?;
        let processes = processes(&manifest, procfile.as_deref())?;
        let mut warnings = Vec::new();
        if procfile.is_some() && !manifest.processes.is_empty() {
            warnings.push("Procfile is not used: otoshi.toml has [processes]; remove one of them".to_owned());
        }
        if processes.is_empty() {
            warnings.push(
                "there are no processes, so there is no app image: add [processes] to otoshi.toml, or a Procfile"
                    .to_owned(),
            );
        }
        Ok(Self { root: root.to_path_buf(), manifest, processes, warnings })
    }

    /// Says whether a directory belongs to a project, whatever its `otoshi.toml` says.
    pub fn is_above(directory: &Path) -> bool {
        directory.canonicalize().is_ok_and(|directory| root_above(&directory).is_some())
    }

    /// The text of `otoshi.toml`, to show a place in it; empty where that cannot be read any more.
    pub(crate) fn text_of_manifest(&self) -> String {
        let bytes = fs::read(self.root.join("otoshi.toml")).unwrap_or_default();
        text("otoshi.toml", bytes).unwrap_or_default()
    }

    /// Makes sure that the Dockerfiles are there; fails with all that are not, each in its place in otoshi.toml.
    pub fn check_dockerfiles(&self) -> Result<(), ProjectError> {
        let missing = self.manifest.missing_dockerfiles(&self.root);
        if missing.is_empty() {
            return Ok(());
        }
        let content = self.text_of_manifest();
        let mut faults = Faults::new("otoshi.toml", &content);
        for (table, error) in missing {
            faults.add(&[table, "dockerfile"], error);
        }
        faults.end()
    }

    /// Every base by name, with `{VERSION}` replaced.
    ///
    /// Fails where a base uses a version that is not there, and where what is said of a base's packages is wrong.
    pub fn bases(&self) -> Result<BTreeMap<String, String>, ProjectError> {
        let versions = &self.manifest.versions;
        let fill_base = |(name, base): (&String, &Base)| {
            let lookup = |key: &str| Ok(versions.get(key).cloned());
            let reference = match base {
                Base::Image(template) => fill(name, template, versions.keys(), lookup)?,
                Base::Packages(packages) => reference_of(name, packages)?,
            };
            Ok((name.clone(), reference))
        };
        self.manifest.bases.iter().map(fill_base).collect()
    }

    /// The bases that are made of packages, by the references that they have here.
    ///
    /// Fails where what is said of their packages is wrong.
    pub fn package_bases(&self) -> Result<BTreeMap<String, Packages>, ProjectError> {
        let packages = |(name, base): (&String, &Base)| match base {
            Base::Image(_) => None,
            Base::Packages(packages) => {
                Some(reference_of(name, packages).map(|reference| (reference, packages.clone())))
            }
        };
        self.manifest.bases.iter().filter_map(packages).collect()
    }

    /// The arguments that commands compute, each with its name and the base's reference.
    ///
    /// Fails as [`Project::bases`] does, and where one is computed in a base that is not there.
    pub fn computed(&self) -> Result<Vec<(String, String, Computed)>, ProjectError> {
        let bases = self.bases()?;
        let mut found = Vec::new();
        for (name, argument) in &self.manifest.args {
            let Argument::Computed(computed) = argument else { continue };
            let base = bases.get(&computed.base).ok_or_else(|| {
                let message =
                    format!("{name} is computed in {}, and [bases] has none of that name", computed.base);
                ProjectError::new("otoshi.toml", message).with_suggestion(&computed.base, bases.keys())
            })?;
            found.push((name.clone(), base.clone(), computed.clone()));
        }
        Ok(found)
    }

    /// Every build argument that comes from the manifest, with the values that were computed.
    ///
    /// Fails where a name is set twice, or arguments refer to each other in a circle.
    pub fn build_args(
        &self,
        computed: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, ProjectError> {
        let manifest = &self.manifest;
        let mut args = manifest.versions.clone();
        let twice =
            |name: &String| ProjectError::new("otoshi.toml", format!("{name} is set twice, in two tables"));
        for (name, value) in self.bases()? {
            if args.insert(name.clone(), value).is_some() {
                return Err(twice(&name));
            }
        }
        if let Some(name) = manifest.args.keys().find(|name| args.contains_key(*name)) {
            return Err(twice(name));
        }
        for name in manifest.args.keys() {
            args.insert(name.clone(), self.argument(name, computed, &mut Vec::new())?);
        }
        Ok(args)
    }

    /// The value of an argument; `above` are those whose values need it.
    fn argument(
        &self,
        name: &str,
        computed: &BTreeMap<String, String>,
        above: &mut Vec<String>,
    ) -> Result<String, ProjectError> {
        let manifest = &self.manifest;
        let template = match manifest.args.get(name) {
            None => return Ok(manifest.versions.get(name).cloned().unwrap_or_default()),
            Some(Argument::Computed(_)) => return Ok(computed.get(name).cloned().unwrap_or_default()),
            Some(Argument::Plain(template)) => template,
        };
        if let Some(start) = above.iter().position(|other| other == name) {
            let circle = above[start..].iter().chain([&above[start]]).map(String::as_str).collect::<Vec<_>>();
            return Err(ProjectError::new(
                "otoshi.toml",
                format!("[args] refer to each other in a circle: {}", circle.join(" → ")),
            ));
        }
        above.push(name.to_owned());
        let known = manifest.versions.keys().chain(manifest.args.keys());
        let value = fill(name, template, known, |key| {
            let there = manifest.versions.contains_key(key) || manifest.args.contains_key(key);
            if there { self.argument(key, computed, above).map(Some) } else { Ok(None) }
        });
        above.pop();
        value
    }
}

/// Replaces `{NAME}` by the value of that name.
fn fill<'a>(
    name: &str,
    template: &str,
    known: impl Iterator<Item = &'a String>,
    mut lookup: impl FnMut(&str) -> Result<Option<String>, ProjectError>,
) -> Result<String, ProjectError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        let key = &rest[start + 1..start + length];
        let Some(value) = lookup(key)? else {
            let message = format!("{name} uses {{{key}}}, and there is nothing of that name");
            return Err(ProjectError::new("otoshi.toml", message).with_suggestion(key, known));
        };
        out.push_str(&rest[..start]);
        out.push_str(&value);
        rest = &rest[start + length + 1..];
    }
    Ok(out + rest)
}

/// The nearest directory, this one or one above, that has an `otoshi.toml`.
fn root_above(from: &Path) -> Option<&Path> {
    from.ancestors().find(|directory| directory.join("otoshi.toml").is_file())
}

/// The text of the `Procfile`; `None` where there is none.
///
/// Fails where it cannot be read, since a process that is gone takes its image with it.
fn procfile(root: &Path) -> Result<Option<String>, ProjectError> {
    match fs::read(root.join("Procfile")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProjectError::new("Procfile", error.to_string())),
        Ok(bytes) => text("Procfile", bytes).map(Some),
    }
}

/// The text of a file, without a byte order mark.
///
/// Fails where it is not UTF-8.
fn text(file: &str, bytes: Vec<u8>) -> Result<String, ProjectError> {
    let refused = |encoding: &str| ProjectError::new(file, encoding).with_hint("save it as UTF-8");
    if is_utf16(&bytes) {
        return Err(refused("it is UTF-16"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

fn processes(manifest: &Manifest, procfile: Option<&str>) -> Result<Vec<NamedProcess>, ProjectError> {
    let mut found = BTreeMap::new();
    for (name, process) in &manifest.processes {
        let table = match process {
            Process::Command(command) => {
                ProcessTable { command: Some(command.clone()), ..ProcessTable::default() }
            }
            Process::Table(table) => table.clone(),
        };
        found.insert(name.clone(), table);
    }
    if found.is_empty() {
        for (index, line) in procfile.unwrap_or_default().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |message: String| ProjectError {
                line: Some(index + 1),
                ..ProjectError::new("Procfile", message)
            };
            let parts = line.split_once(':').map(|(name, command)| (name.trim(), command.trim()));
            if parts.is_some_and(|(_, command)| command.is_empty()) {
                return Err(wrong(format!("the process {} has no command", line.trim_end_matches(':'))));
            }
            let (name, command) =
                line.split_once(':').ok_or_else(|| wrong("not of the form `name: command`".into()))?;
            let (name, command) = (name.trim().to_owned(), Command::Shell(command.trim().to_owned()));
            if let Some(problem) = command.problem() {
                return Err(wrong(format!("the command of {name} {problem}")));
            }
            if !is_process_name(&name) {
                return Err(wrong(format!("a process cannot be named {name:?}")).with_hint(PROCESS_NAME));
            }
            let table = ProcessTable { command: Some(command), ..ProcessTable::default() };
            if found.insert(name.clone(), table).is_some() {
                return Err(wrong(format!("there are two processes named {name:?}")));
            }
        }
    }
    let named = |(name, table): (String, ProcessTable)| NamedProcess {
        target: table.target.unwrap_or_else(|| name.clone()),
        name,
        command: table.command,
        env: table.env,
        expose: table.expose,
    };
    Ok(found.into_iter().map(named).collect())
}

/// The name that a base of packages has here; fails with the first thing that is wrong with them.
pub(crate) fn reference_of(name: &str, packages: &Packages) -> Result<String, ProjectError> {
    match problems_of(name, packages).into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(packages.reference().unwrap_or_default()),
    }
}

/// All that is wrong with the packages of a base, each with the keys that lead there from the base.
pub(crate) fn problems_of(name: &str, packages: &Packages) -> Vec<(Vec<String>, ProjectError)> {
    let word = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain)
    };
    let suite = |text: &str| text.split('/').all(|part| word(part) && part != "..");
    let mut found = Vec::new();
    let mut wrong = |path: &[&str], message: String, hint: Option<&str>| {
        let error = ProjectError::new("otoshi.toml", message);
        let error = match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
        found.push((path.iter().map(|key| (*key).to_owned()).collect(), error));
    };
    match packages.release() {
        None => wrong(&[], format!("{name} needs either debian = \"…\" or ubuntu = \"…\""), None),
        Some((distribution, release)) if !word(release) => {
            wrong(&[distribution], format!("{name}: {release:?} is not a release"), None);
        }
        Some(_) => {}
    }
    let lists = [("packages", &packages.packages, "package", false)];
    let suites = packages.suites.as_ref().map(|suites| ("suites", suites, "suite", true));
    for (key, items, what, is_suite) in lists.into_iter().chain(suites) {
        let is_name = |text: &str| if is_suite { suite(text) } else { word(text) };
        for (index, other) in items.iter().enumerate().filter(|(_, text)| !is_name(text)) {
            let message = format!("{name}: {other:?} is not the name of a {what}");
            wrong(&[key, &index.to_string()], message, None);
        }
        if items.is_empty() && (is_suite || packages.variant == Variant::Distroless) {
            wrong(&[key], format!("{name} lists no {key}"), None);
        }
    }
    if packages.slim && packages.variant == Variant::Distroless {
        let message = format!("{name}: `slim` is only for the variants with dpkg: apt and minimal");
        wrong(&["slim"], message, None);
    }
    for (key, address) in [("mirror", &packages.mirror), ("security-mirror", &packages.security_mirror)] {
        let Some(address) = address else { continue };
        let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
        let plain = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if !rest.is_some_and(|rest| plain(rest) && !rest.contains(['@', '[', ']', '"', '#'])) {
            let hint = "as in http://mirror.example/debian, and without a password: images keep it";
            wrong(&[key], format!("{name}: a mirror's address is not valid"), Some(hint));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    const MINIMAL: &str = "[project]\nname = \"shop\"\n[runner]\ndockerfile = \"runner.Dockerfile\"\n";

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_a_suggestion() {
        let error =
            Manifest::parse("otoshi.toml", &format!("{MINIMAL}[complie]\nrun = \"x\"\n")).unwrap_err();
        assert_eq!(error.to_string(), "otoshi.toml:5: unknown key `complie`");
        assert_eq!(error.hint().as_deref(), Some("did you mean `compile`?"));
        let error = Manifest::parse("otoshi.toml", "[project]\nname = 3\n").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_deref()),
            ("otoshi.toml:2: `name` must be a string, not an integer", Some("quote it: \"3\""))
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_in_one_go_each_in_its_place() {
        let text = r#"[project]
name = "shop"
[versions]
X = "{Y}"
HUGO = "0.131"
[bases]
A = "{B}"
B = "example.org/b:{HUGOO}"
C = "Example.org/C D"
[args]
N = { in = "BB", run = "x" }
X = "again"
[registry]
repository = "https://127.0.0.1:5071/x"
images = "registry.example/Team/shop-{process}"
[compile]
run = " "
caches = ["npm"]
outputs = ["../x"]
secrets = ["tokn"]
[secrets]
token = { env = "TOKEN" }
[app]
user = ""
dir = "app"
[runner]
dockerfile = "runner.Dockerfile"
[processes]
web = ""
cli = []
jobs = { env = { A = "b" } }
mail = { command = "x", target = "y", expose = ["http"] }
Big = "x"
"#;
        let error = Manifest::parse("otoshi.toml", text).unwrap_err();
        let all: Vec<String> = std::iter::once(&error)
            .chain(error.others())
            .map(|error| {
                assert!(error.excerpt().is_some_and(|excerpt| excerpt.contains('^')), "{error}");
                format!("{error} | {}", error.hint().unwrap_or_default())
            })
            .collect();
        for (start, hint) in [
            ("otoshi.toml:4: [versions] X: {Y} is not replaced here", "[args] may use {NAME}"),
            ("otoshi.toml:7: [bases] A uses {B}, which is a base", ""),
            ("otoshi.toml:8: [bases] B uses {HUGOO}, and [versions] has none", "did you mean HUGO?"),
            ("otoshi.toml:9: [bases] C: \"Example.org/C D\" is not the name of an image", ""),
            ("otoshi.toml:11: [args] N is computed in BB, and [bases] has none", "did you mean B?"),
            ("otoshi.toml:12: X is set twice, in [versions] and [args]", ""),
            (
                "otoshi.toml:14: [registry] repository: \"https://127.0.0.1:5071/x\" is not a repository",
                "without http://",
            ),
            (
                "otoshi.toml:15: [registry] images: \"registry.example/Team/shop-{process}\" is no",
                "in lower case",
            ),
            ("otoshi.toml:17: [compile] run is empty", ""),
            ("otoshi.toml:18: [compile] caches: \"npm\" is not absolute", ""),
            ("otoshi.toml:19: [compile] outputs: \"../x\" is not a path", ""),
            ("otoshi.toml:20: [compile] asks for the secret \"tokn\"", "did you mean token?"),
            ("otoshi.toml:24: [app] user is empty", ""),
            ("otoshi.toml:25: [app] dir: \"app\" is not absolute", ""),
            ("otoshi.toml:29: [processes] web: the command is empty", ""),
            ("otoshi.toml:30: [processes] cli: the command is an empty list", ""),
            ("otoshi.toml:31: [processes] jobs has no command", ""),
            ("otoshi.toml:32: [processes] mail: a target is a stage", ""),
            ("otoshi.toml:32: [processes] mail: expose: \"http\" is not a port", ""),
            ("otoshi.toml:33: a process cannot be named \"Big\"", ""),
        ] {
            let found = all.iter().find(|error| error.starts_with(start));
            assert!(found.is_some_and(|error| error.contains(hint)), "{start}: {all:#?}");
        }
        assert_eq!(all.len(), 20, "{all:#?}");
        assert_eq!(error.excerpt(), Some("  |\n4 | X = \"{Y}\"\n  |     ^^^^^"));
        let number =
            Manifest::parse("otoshi.toml", &format!("{MINIMAL}[versions]\nHUGO = 0.131\n")).unwrap_err();
        assert_eq!(number.to_string(), "otoshi.toml:6: `HUGO` must be a string, not a float");
        assert_eq!(number.hint().as_deref(), Some("quote it: \"0.131\""));
    }

    #[test]
    fn mistakes_of_form_are_told_in_one_go_with_all_others_that_can_be_seen() {
        let text = r#"[project]
name = "shop"
[versions]
RUBY = 3.3
HUGO = "0.131"
[bases]
BASE = "example.org/ruby:{RUBYY}"
ROOT = { debian = "trixie", variant = "distrolesss", packages = ["libc6", 7] }
[compile]
workdir = "src"
caches = "/cache"
rum = "make"
[builder]
dockerfil = "builder.Dockerfile"
[build]
network = "none"
allow = [["network.host"]]
[complie]
run = "make"
"#;
        let all = |text: &str| {
            let error = Manifest::parse("otoshi.toml", text).unwrap_err();
            let all = std::iter::once(&error).chain(error.others());
            all.map(|error| format!("{error} | {}", error.hint().unwrap_or_default()).trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        insta::assert_snapshot!(all(text).join("\n"), @r#"
        otoshi.toml:4: `RUBY` must be a string, not a float | quote it: "3.3"
        otoshi.toml:8: `variant` cannot be "distrolesss" | did you mean "distroless"?
        otoshi.toml:8: an item of `packages` must be a string, not an integer | quote it: "7"
        otoshi.toml:11: `caches` must be an array, not a string |
        otoshi.toml:12: unknown key `rum` | did you mean `run`?
        otoshi.toml:14: unknown key `dockerfil` | did you mean `dockerfile`?
        otoshi.toml:17: an item of `allow` must be a string, not an array |
        otoshi.toml:18: unknown key `complie` | did you mean `compile`?
        otoshi.toml: missing key `runner` |
        "#);
        // What is as good as right is looked at further.
        let close = MINIMAL.to_owned()
            + "colour = \"red\"\n[versions]\nRUBY = 3.3\n[bases]\nBASE = \"example.org/ruby:{RUBYY}\"\nOTHER = \"example.org/ruby:{RUBY}\"\n";
        insta::assert_snapshot!(all(&close).join("\n"), @r#"
        otoshi.toml:5: unknown key `colour` | known keys: dockerfile, target
        otoshi.toml:7: `RUBY` must be a string, not a float | quote it: "3.3"
        otoshi.toml:9: [bases] BASE uses {RUBYY}, and [versions] has none of that name | did you mean RUBY?
        "#);
    }

    #[test]
    fn a_mistake_inside_a_value_of_several_forms_is_told_as_such() {
        let error = |more: &str| {
            let error = Manifest::parse("otoshi.toml", &format!("{MINIMAL}{more}")).unwrap_err();
            format!("{error} | {}", error.hint().unwrap_or_default())
        };
        assert_eq!(
            error("[processes]\nweb = \"run\"\ncli = { comand = \"x\" }\n"),
            "otoshi.toml:7: unknown key `comand` | did you mean `command`?"
        );
        assert_eq!(
            error("[args]\nA = { in = \"BASE\", ran = \"x\" }\n"),
            "otoshi.toml:6: unknown key `ran` | did you mean `run`?"
        );
        assert_eq!(
            error("[compile]\nrun = 3\n"),
            "otoshi.toml:6: `run` must be a string or an array, not an integer | quote it: \"3\""
        );
        assert_eq!(
            error("[compile]\nrun = {}\n"),
            "otoshi.toml:6: `run` must be a string or an array, not a table | "
        );
        assert_eq!(
            error("[app]\nexpose = [\"80\", \"http\"]\n"),
            "otoshi.toml:6: [app] expose: \"http\" is not a port | a port, as in \"8080\" or \"53/udp\""
        );
    }

    #[test]
    fn versions_reach_bases() {
        let text = format!("{MINIMAL}[versions]\nRUBY = \"3.1\"\n[bases]\nBASE = \"ruby:{{RUBY}}-slim\"\n");
        let manifest = Manifest::parse("otoshi.toml", &text).unwrap();
        let project = Project {
            root: "/".into(),
            processes: processes(&manifest, Some("web: run it\n")).unwrap(),
            warnings: Vec::new(),
            manifest,
        };
        let none = BTreeMap::new();
        assert_eq!(project.build_args(&none).unwrap()["BASE"], "ruby:3.1-slim");
        assert_eq!(project.processes[0].command, Some(Command::Shell("run it".into())));
    }

    fn project(more: &str) -> Project {
        let manifest = Manifest::parse("otoshi.toml", &format!("{MINIMAL}{more}")).unwrap();
        Project { root: "/".into(), processes: Vec::new(), warnings: Vec::new(), manifest }
    }

    #[test]
    fn a_base_may_be_made_of_packages() {
        let base = |table: &str| project(&format!("[bases]\nRUN = {table}\n"));
        let one =
            base("{ debian = \"bookworm\", packages = [\"ruby\", \"libpq5\"], variant = \"distroless\" }");
        let same =
            base("{ variant = \"distroless\", packages = [\"libpq5\", \"ruby\"], debian = \"bookworm\" }");
        let other = base("{ debian = \"bookworm\", packages = [\"ruby\"], variant = \"distroless\" }");
        let reference = one.bases().unwrap()["RUN"].clone();
        assert!(reference.starts_with("otoshi.invalid/packages/debian:bookworm-"), "{reference}");
        assert_eq!(same.bases().unwrap()["RUN"], reference);
        assert_ne!(other.bases().unwrap()["RUN"], reference);
        assert_eq!(one.package_bases().unwrap()[&reference].packages, ["ruby", "libpq5"]);
        let apt = |more: &str| {
            let table = format!("{{ debian = \"bookworm\", packages = [], variant = \"apt\"{more} }}");
            base(&table).bases().unwrap()["RUN"].clone()
        };
        let all = [
            apt(""),
            apt(", suites = [\"bookworm\"]"),
            apt(", mirror = \"http://mirror.test/debian\""),
            apt(", security-mirror = \"http://mirror.test/security\""),
            apt(", slim = true"),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(
            base("{ debian = \"bookworm\" }").bases().unwrap()["RUN"],
            all[0],
            "a release alone is enough"
        );
        for wrong in [
            "{ packages = [\"ruby\"], variant = \"distroless\" }",
            "{ debian = \"a\", ubuntu = \"b\", packages = [\"ruby\"], variant = \"distroless\" }",
            "{ debian = \"bookworm\", packages = [], variant = \"distroless\" }",
            "{ debian = \"bookworm\", packages = [\"--help\"], variant = \"distroless\" }",
            "{ debian = \"book worm\", packages = [\"ruby\"], variant = \"distroless\" }",
            "{ debian = \"bookworm\", packages = [\"ruby\"], variant = \"distroless\", slim = true }",
            "{ debian = \"bookworm\", packages = [], variant = \"apt\", suites = [\"../x\"] }",
            "{ debian = \"bookworm\", packages = [], variant = \"apt\", mirror = \"http://a:secret@b/debian\" }",
            "{ debian = \"bookworm\", packages = [], variant = \"apt\", mirror = \"ftp://b/debian\" }",
        ] {
            let text = format!("{MINIMAL}[bases]\nRUN = {wrong}\n");
            let error = Manifest::parse("otoshi.toml", &text).unwrap_err().to_string();
            assert!(error.starts_with("otoshi.toml:6: RUN"), "{wrong}: {error}");
        }
    }

    #[test]
    fn arguments_use_each_other_but_never_in_a_circle() {
        let none = BTreeMap::new();
        let good = project("[versions]\nV = \"1\"\n[args]\nA = \"{B}/{V}\"\nB = \"b{V}\"\n");
        assert_eq!(good.build_args(&none).unwrap()["A"], "b1/1");
        let circle = format!(
            "{MINIMAL}[args]\nA = \"{{B}}\"\nB = \"{{C}}\"\nC = \"{{A}}{{D}}{{B}}\"\nD = \"{{D}}\"\n"
        );
        let error = Manifest::parse("otoshi.toml", &circle).unwrap_err();
        let all: Vec<String> =
            std::iter::once(&error).chain(error.others()).map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "otoshi.toml:6: [args] refer to each other in a circle: A → B → C → A",
                "otoshi.toml:9: [args] refer to each other in a circle: D → D",
            ]
        );
        let computed = project(
            "[bases]\nNODE_BASE = \"n\"\n[args]\nA = { in = \"NODE_BASE\", run = \"x\" }\nB = \"{A}/bin\"\n",
        );
        assert_eq!(computed.computed().unwrap()[0].1, "n");
        assert_eq!(
            computed.build_args(&BTreeMap::from([("A".into(), "/opt".into())])).unwrap()["B"],
            "/opt/bin"
        );
    }

    #[test]
    fn dockerfiles_that_are_not_there_are_told_at_once_with_the_near_name() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("otoshi.toml", &format!("{MINIMAL}[builder]\ndockerfile = \"docker/build\"\n"));
        let told = || {
            let error = Project::find(dir.path()).unwrap().check_dockerfiles().unwrap_err();
            let all: Vec<_> = std::iter::once(&error).chain(&error.more).collect();
            all.iter()
                .map(|error| format!("{error} | {}", error.hint().unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(),
            [
                "otoshi.toml:4: [runner] dockerfile: runner.Dockerfile does not exist | ",
                "otoshi.toml:6: [builder] dockerfile: docker/build does not exist | ",
            ]
        );
        fs::create_dir(dir.path().join("docker")).unwrap();
        write("docker/builder", "");
        write("Runner.Dockerfile", "");
        assert_eq!(
            told(),
            [
                "otoshi.toml:4: [runner] dockerfile: runner.Dockerfile does not exist | did you mean Runner.Dockerfile?",
                "otoshi.toml:6: [builder] dockerfile: docker/build does not exist | did you mean docker/builder?",
            ]
        );
        write("runner.Dockerfile", "");
        write("docker/build", "");
        Project::find(dir.path()).unwrap().check_dockerfiles().unwrap();
    }

    #[test]
    fn a_text_is_utf8_with_or_without_a_mark() {
        let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        for bytes in ["web: a", "\u{feff}web: a"] {
            assert_eq!(text("Procfile", bytes.into()).unwrap(), "web: a");
        }
        for (bytes, wrong) in [
            (wide("web: a"), "it is UTF-16"),
            (wide("\u{feff}web: a"), "it is UTF-16"),
            (b"web: \xe4".to_vec(), "it is not UTF-8"),
        ] {
            assert_eq!(text("Procfile", bytes).unwrap_err().to_string(), format!("Procfile: {wrong}"));
        }
    }

    #[test]
    fn the_schema_knows_every_table() {
        let schema = crate::schema();
        for table in [
            "project",
            "versions",
            "bases",
            "args",
            "secrets",
            "build",
            "registry",
            "check",
            "builder",
            "compile",
            "runner",
            "app",
            "processes",
        ] {
            assert!(schema["properties"][table].is_object(), "{table}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn a_secret_that_stands_in_the_file_is_not_shown() {
        for secret in ["TOKEN = \"geheim\"", "TOKEN = { value = \"geheim\" }", "TOKEN = ['geheim']"] {
            let text = format!("{MINIMAL}[secrets]\n{secret}\n");
            let error = Manifest::parse("otoshi.toml", &text).unwrap_err();
            let told = format!("{error:?} {error} {:?}", error.hint());
            assert!(!told.contains("geheim") && told.contains("******"), "{told}");
        }
    }

    #[test]
    fn a_secret_is_either_of_a_file_or_of_a_variable() {
        for (secret, told) in [
            (
                "TOKEN = \"geheim\"",
                "`TOKEN` must be a table, not a string | as in { env = \"…\" }, or { file = \"…\" }",
            ),
            (
                "TOKEN = { file = \"a\", env = \"B\" }",
                "`TOKEN` must have either `env` or `file`, not several | as in { env = \"…\" }, or { file = \"…\" }",
            ),
            (
                "TOKEN = {}",
                "`TOKEN` must have either `env` or `file` | as in { env = \"…\" }, or { file = \"…\" }",
            ),
            ("TOKEN = { evn = \"B\" }", "unknown key `evn` | did you mean `env`?"),
            ("TOKEN = { env = \"B\", fiel = \"a\" }", "unknown key `fiel` | did you mean `file`?"),
            ("TOKEN = { value = \"geheim\" }", "unknown key `value` | known keys: env, file"),
            ("TOKEN = { env = 3 }", "`env` must be a string, not an integer | quote it: \"3\""),
        ] {
            let text = format!("{MINIMAL}[secrets]\n{secret}\n");
            let error = Manifest::parse("otoshi.toml", &text).unwrap_err();
            let excerpt = error.excerpt().unwrap();
            assert!(excerpt.contains("6 | TOKEN") && excerpt.contains('^'), "{excerpt}");
            let first = format!("{error} | {}", error.hint().unwrap_or_default());
            assert_eq!(first, format!("otoshi.toml:6: {told}"));
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told() {
        let manifest = Manifest::parse("otoshi.toml", MINIMAL).unwrap();
        let read = |command: &str| processes(&manifest, Some(&format!("web: {command}\n")));
        for command in ["echo 'a", "sh -c \"exec web"] {
            let error = read(command).unwrap_err().to_string();
            assert_eq!(error, "Procfile:1: the command of web has a quote that is not closed");
        }
        for command in [
            "echo 'a' \"it's\"",
            "echo ${A#'}",
            "echo $(echo \"'\")",
            "cat <<< 'x'",
            "a \\",
            "echo $'it\\'s'",
            "echo \"${A:-\"'\"}\"",
        ] {
            read(command).unwrap();
        }
    }

    #[test]
    fn a_procfile_line_without_a_colon_is_told() {
        let manifest = Manifest::parse("otoshi.toml", MINIMAL).unwrap();
        assert_eq!(
            processes(&manifest, Some("# c\nweb\n")).unwrap_err().to_string(),
            "Procfile:2: not of the form `name: command`"
        );
    }
}
