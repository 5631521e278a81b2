//! What `otoshi.toml` may not say: names that name nothing, and values that cannot be what they stand for.

use std::{fs, io::ErrorKind, net::IpAddr, path::Path};

use otoshi_explain::Explain;
use otoshi_http::SafeUrl;
use otoshi_oci::{OWN_HOST, Reference, SOURCE_DATE_EPOCH, source_date};

use crate::{
    Argument, Base, Build, BuildNetwork, Command, Manifest, Process, ProcessTable, ProjectError, Secret,
    Switch,
    faults::Faults,
    manifest::{PROCESS_NAME, is_port, is_process_name},
    paths,
    project::problems_of,
};

impl Manifest {
    /// Notes all that is wrong, besides the form of the file.
    pub(crate) fn look(&self, faults: &mut Faults<'_>) {
        self.look_at_names(faults);
        self.look_at_values(faults);
        self.look_at_network(faults);
        self.look_at_registry(faults);
        self.look_at_compile(faults);
        self.look_at_processes(faults);
        self.look_at_verify(faults);
        if let Err(error) = self.refresh.builder_max_age() {
            faults.add(&["refresh", "builder-max-age"], error);
        }
        self.look_at_build(faults);
        self.look_at_secrets(faults);
        let known: Vec<&str> = self.versions.keys().chain(self.bases.keys()).map(String::as_str).collect();
        self.check.look(faults, &known);
    }

    /// The Dockerfiles that are not there, with the tables that name them.
    pub(crate) fn missing_dockerfiles(&self, root: &Path) -> Vec<(&'static str, ProjectError)> {
        let images = [("builder", self.builder.as_ref()), ("runner", Some(&self.runner))];
        let images = images.into_iter().filter_map(|(table, image)| Some((table, &image?.dockerfile)));
        let all = images.chain(self.app.dockerfile.as_ref().map(|path| ("app", path)));
        let is_missing = |path: &str| {
            fs::metadata(root.join(path)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        all.filter(|(_, path)| is_missing(path))
            .map(|(table, path)| {
                let error =
                    ProjectError::new("otoshi.toml", format!("[{table}] dockerfile: {path} does not exist"));
                (table, error.with_suggestion(path, beside(root, path).iter()))
            })
            .collect()
    }

    fn look_at_names(&self, faults: &mut Faults<'_>) {
        let name = &self.project.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if !name.chars().all(plain) || Reference::parse(&format!("{OWN_HOST}/{name}")).is_err() {
            faults.at(
                &["project", "name"],
                format!("the project's name {name:?} cannot be part of an image's name"),
                "lower-case letters and digits, with one of -, _ and . between them",
            );
        }
        let names = [
            ("versions", self.versions.keys().collect::<Vec<_>>()),
            ("bases", self.bases.keys().collect()),
            ("args", self.args.keys().collect()),
        ];
        let taken = [&self.build.builder_arg, &self.build.runner_arg];
        for (index, (table, keys)) in names.iter().enumerate() {
            for key in keys {
                if !is_argument_name(key) {
                    faults.at_key(
                        &[table, key],
                        format!("[{table}] {key:?} cannot be the name of a build argument"),
                        ARGUMENT_NAME,
                    );
                }
                if taken.contains(key) {
                    faults.at_key(
                        &[table, key],
                        format!(
                            "[{table}] {key} is the name under which Dockerfiles see another role's image"
                        ),
                        "choose another name, or another builder-arg or runner-arg in [build]",
                    );
                }
                if let Some((other, _)) = names[..index].iter().find(|(_, others)| others.contains(key)) {
                    faults.at_key(
                        &[table, key],
                        format!("{key} is set twice, in [{other}] and [{table}]"),
                        "remove one of them",
                    );
                }
            }
        }
    }

    fn look_at_values(&self, faults: &mut Faults<'_>) {
        for (name, value) in &self.versions {
            if let Some(used) = names_used(value).next() {
                faults.at(
                    &["versions", name],
                    format!(
                        "[versions] {name}: {{{used}}} is not replaced here: a version is taken as it is"
                    ),
                    "[args] may use {NAME} of versions and of other arguments, and [bases] of versions",
                );
            }
        }
        for (name, base) in &self.bases {
            let template = match base {
                Base::Image(template) => template,
                Base::Packages(packages) => {
                    for (keys, error) in problems_of(name, packages) {
                        let keys = keys.iter().map(String::as_str);
                        let path: Vec<&str> = ["bases", name].into_iter().chain(keys).collect();
                        faults.add(&path, error);
                    }
                    continue;
                }
            };
            let mut known = true;
            for used in names_used(template) {
                if self.versions.contains_key(used) {
                    continue;
                }
                known = false;
                let message = if self.bases.contains_key(used) {
                    format!("[bases] {name} uses {{{used}}}, which is a base; a base may use versions only")
                } else {
                    format!("[bases] {name} uses {{{used}}}, and [versions] has none of that name")
                };
                faults.add(
                    &["bases", name],
                    ProjectError::new("otoshi.toml", message).with_suggestion(used, self.versions.keys()),
                );
            }
            let filled = self
                .versions
                .iter()
                .fold(template.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
            if known && let Err(error) = Reference::parse(&filled) {
                faults.at(
                    &["bases", name],
                    format!("[bases] {name}: {filled:?} is not the name of an image: {error}"),
                    error.hint().unwrap_or_else(|| "as in \"registry.example/team/base:1\"".to_owned()),
                );
            }
        }
        self.look_at_arguments(faults);
    }

    fn look_at_arguments(&self, faults: &mut Faults<'_>) {
        self.look_at_circles(faults);
        for (name, argument) in &self.args {
            let computed = match argument {
                Argument::Computed(computed) => computed,
                Argument::Plain(template) => {
                    let known = || self.versions.keys().chain(self.args.keys());
                    for used in names_used(template).filter(|used| !known().any(|known| known == used)) {
                        let message =
                            format!("[args] {name} uses {{{used}}}, and there is nothing of that name");
                        let error = ProjectError::new("otoshi.toml", message);
                        faults.add(&["args", name], error.with_suggestion(used, known()));
                    }
                    continue;
                }
            };
            if !self.bases.contains_key(&computed.base) {
                let message = format!(
                    "[args] {name} is computed in {}, and [bases] has none of that name",
                    computed.base
                );
                let error = ProjectError::new("otoshi.toml", message);
                let error = error.with_suggestion(&computed.base, self.bases.keys());
                faults.add(&["args", name, "in"], error);
            }
            if let Some(problem) = Command::Shell(computed.run.clone()).problem() {
                let hint = "as in { in = \"BASE\", run = \"ruby -e 'puts RUBY_VERSION'\" }";
                faults.at(&["args", name, "run"], format!("[args] {name}: the command {problem}"), hint);
            }
        }
        let time = |argument: &Argument| match argument {
            Argument::Plain(text) if !text.contains('{') => Some(text.clone()),
            _ => None,
        };
        let times = [
            ("versions", self.versions.get(SOURCE_DATE_EPOCH).cloned()),
            ("args", self.args.get(SOURCE_DATE_EPOCH).and_then(time)),
        ];
        for (table, text) in times {
            if let Some(Err(error)) = text.as_deref().map(source_date) {
                let hint = error.hint().unwrap_or_default();
                faults.at(&[table, SOURCE_DATE_EPOCH], format!("[{table}] {error}"), hint);
            }
        }
    }

    /// Notes each circle in which arguments use each other, at its first one.
    fn look_at_circles(&self, faults: &mut Faults<'_>) {
        let mut told: Vec<&str> = Vec::new();
        for name in self.args.keys().map(String::as_str) {
            let mut way = vec![name];
            if !told.contains(&name) && self.leads_back(name, &mut way, &mut Vec::new()) {
                let shown = way.iter().chain([&name]).copied().collect::<Vec<_>>().join(" → ");
                let message = format!("[args] refer to each other in a circle: {shown}");
                faults.at(&["args", name], message, "give one of them a value of its own");
                told.extend(way);
            }
        }
    }

    /// Whether an argument uses the first one of `way`, directly or not; `way` becomes those that lead there. Those in `seen` were
    /// looked at before.
    fn leads_back<'a>(&'a self, name: &str, way: &mut Vec<&'a str>, seen: &mut Vec<&'a str>) -> bool {
        let Some(Argument::Plain(template)) = self.args.get(name) else { return false };
        names_used(template).any(|used| {
            if way.first() == Some(&used) {
                return true;
            }
            let Some((used, _)) = self.args.get_key_value(used) else { return false };
            if seen.contains(&used.as_str()) {
                return false;
            }
            seen.push(used);
            way.push(used);
            let found = self.leads_back(used, way, seen);
            if !found {
                way.pop();
            }
            found
        })
    }

    fn look_at_secrets(&self, faults: &mut Faults<'_>) {
        for (name, secret) in &self.secrets {
            let (Secret::File(value) | Secret::Env(value)) = secret;
            if value.trim().is_empty() || matches!(secret, Secret::Env(_)) && value.contains(['=', '\0']) {
                faults.at(
                    &["secrets", name],
                    format!("[secrets] {name} has no source"),
                    "as in { env = \"TOKEN\" }, or { file = \"token.txt\" }",
                );
            }
            // It is the name of a file in /run/secrets.
            if name.is_empty() || matches!(name.as_str(), "." | "..") || name.contains(['/', '\0', ',']) {
                let message = format!("[secrets] {name:?} cannot be the name of a secret");
                faults.at_key(&["secrets", name], message, "a name without / and ,");
            }
        }
    }

    fn look_at_build(&self, faults: &mut Faults<'_>) {
        let (builder, runner) = (&self.build.builder_arg, &self.build.runner_arg);
        for (key, name) in [("builder-arg", builder), ("runner-arg", runner)] {
            if !is_argument_name(name) {
                let message = format!("[build] {key}: {name:?} cannot be the name of a build argument");
                faults.at(&["build", key], message, ARGUMENT_NAME);
            }
        }
        if builder == runner {
            let message = format!("[build] runner-arg: {runner} is the name of the builder as well");
            let key = if runner == &Build::default().runner_arg { "builder-arg" } else { "runner-arg" };
            faults.at(
                &["build", key],
                message,
                "as in builder-arg = \"BUILDER\", and runner-arg = \"RUNNER\"",
            );
        }
    }

    fn look_at_network(&self, faults: &mut Faults<'_>) {
        let build = &self.build;
        if !build.inspect_https {
            return;
        }
        let (problem, hint) = if build.ca_certificates.is_none() {
            (
                "needs ca-certificates: the authorities to trust on the commands' behalf",
                "ca-certificates = \"host\", for this machine's",
            )
        } else if build.network_cache == Switch::Off {
            ("has no effect while network-cache is off", "leave one of them out")
        } else if build.network != BuildNetwork::Default {
            ("reaches only commands that have a network of their own", "leave network out, or inspect-https")
        } else {
            return;
        };
        faults.at(&["build", "inspect-https"], format!("[build] inspect-https {problem}"), hint);
    }

    fn look_at_registry(&self, faults: &mut Faults<'_>) {
        let Some(registry) = &self.registry else { return };
        let images = registry.images.iter().map(|images| ("images", images));
        for (key, name) in images.chain([("repository", &registry.repository)]) {
            let filled = if key == "images" { name.replace("{process}", "web") } else { name.clone() };
            // Without a host it would be Docker Hub's, which nobody means here.
            let host = filled.split_once('/').map(|(host, _)| host);
            let has_host = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
            let reference = Reference::parse(&filled).ok();
            let plain = reference
                .filter(|parsed| parsed.digest().is_none() && parsed.tag().is_none_or(|_| !tagged(&filled)));
            if plain.is_none() || !has_host {
                let hint = match Reference::parse(&filled.to_lowercase()) {
                    Ok(_) if has_host && filled.to_lowercase() != filled => format!("in lower case: {:?}", name.to_lowercase()),
                    _ if filled.contains("://") => "a registry's host and a path, without http:// or https://, as in \"registry.example/team/shop\"".to_owned(),
                    _ => "a registry's host and a path, without a tag, as in \"registry.example/team/shop\"".to_owned(),
                };
                faults.at(
                    &["registry", key],
                    format!("[registry] {key}: {name:?} is not a repository"),
                    hint,
                );
            }
        }
        if let Some(images) = registry.images.as_ref().filter(|images| !images.contains("{process}")) {
            faults.at(
                &["registry", "images"],
                format!("[registry] images: {images:?} has no {{process}}"),
                "each process is an image of its own, as in \"registry.example/team/shop-{process}\"",
            );
        }
    }

    fn look_at_compile(&self, faults: &mut Faults<'_>) {
        if let Some(compile) = &self.compile {
            if let Some(problem) = compile.run.problem() {
                faults.at(
                    &["compile", "run"],
                    format!("[compile] run {problem}"),
                    "as in run = \"npm run build\"",
                );
            }
            if let Some(problem) = paths::on_image(&compile.workdir) {
                let message = format!("[compile] workdir: {:?} {problem}", compile.workdir);
                faults.at(&["compile", "workdir"], message, ABSOLUTE);
            }
            look_at_list(faults, ["compile", "caches"], &compile.caches, ABSOLUTE, |path| {
                let hides = paths::hides(path, &compile.workdir).then_some("would hide the source directory");
                paths::on_image(path).or(hides)
            });
            look_at_list(
                faults,
                ["compile", "outputs"],
                &compile.outputs,
                "as in \"public/assets\"",
                |path| paths::is_outside(path).then_some("is not a path in the source directory"),
            );
            look_at_list(faults, ["compile", "exclude"], &compile.exclude, "as in \"tmp/**\"", |pattern| {
                pattern.trim().is_empty().then_some("is empty")
            });
            for (index, name) in compile.secrets.iter().enumerate() {
                if !self.secrets.contains_key(name) {
                    let message = format!("[compile] asks for the secret {name:?}, and [secrets] has none");
                    let error = ProjectError::new("otoshi.toml", message);
                    let error = error.with_suggestion(name, self.secrets.keys());
                    faults.add(&["compile", "secrets", &index.to_string()], error);
                }
            }
        }
        look_at_list(
            faults,
            ["app", "dependencies"],
            &self.app.dependencies,
            "an absolute path in the builder, as in \"/opt/venv\"",
            paths::in_image,
        );
        if let Some(dir) = &self.app.dir
            && let Some(problem) = paths::in_image(dir)
        {
            faults.at(&["app", "dir"], format!("[app] dir: {dir:?} {problem}"), ABSOLUTE);
        }
        if let Some(user) = &self.app.user
            && let Some(problem) = problem_of_user(user)
        {
            let hint = "a name or number, as in \"app\" or \"1000:1000\"";
            faults.at(&["app", "user"], format!("[app] user {problem}"), hint);
        }
        let env = self.compile.iter().map(|compile| (["compile", "env"], &compile.env));
        for (path, env) in env.chain([(["app", "env"], &self.app.env)]) {
            look_at_env(faults, &path, env.keys());
        }
    }

    fn look_at_processes(&self, faults: &mut Faults<'_>) {
        for (name, process) in &self.processes {
            let path = ["processes", name.as_str()];
            let table = match process {
                Process::Command(command) => {
                    ProcessTable { command: Some(command.clone()), ..ProcessTable::default() }
                }
                Process::Table(table) => table.clone(),
            };
            if !is_process_name(name) {
                faults.at_key(&path, format!("a process cannot be named {name:?}"), PROCESS_NAME);
            }
            match table.command.as_ref().map(Command::problem) {
                Some(Some(problem)) => {
                    faults.at(&path, format!("[processes] {name}: the command {problem}"), COMMAND);
                }
                Some(None) => {}
                None if self.app.dockerfile.is_none() => {
                    faults.at(&path, format!("[processes] {name} has no command"), COMMAND);
                }
                None => {}
            }
            if table.target.is_some() && self.app.dockerfile.is_none() {
                faults.at(
                    &["processes", name, "target"],
                    format!("[processes] {name}: a target is a stage of the app's Dockerfile, and [app] names none"),
                    "add dockerfile to [app], or take target out",
                );
            }
            look_at_env(faults, &["processes", name, "env"], table.env.keys());
            look_at_ports(
                faults,
                &["processes", name, "expose"],
                &format!("[processes] {name}: expose"),
                &table.expose,
            );
        }
        look_at_ports(faults, &["app", "expose"], "[app] expose", &self.app.expose);
    }

    fn look_at_verify(&self, faults: &mut Faults<'_>) {
        let Some(verify) = &self.verify else { return };
        match verify.timeout() {
            Ok(timeout) if timeout.is_zero() => {
                let message = "[verify] timeout: it must be longer than 0";
                faults.at(&["verify", "timeout"], message, "as in \"30s\"");
            }
            Ok(_) => {}
            Err(error) => faults.add(&["verify", "timeout"], error),
        }
        if verify.run.is_some() == verify.http.is_some() {
            faults.at(
                &["verify"],
                "[verify] needs either run or http",
                "run = [\"/app/check\"], or http = \"http://localhost:8080/health\"",
            );
        }
        if let Some(problem) = verify.run.as_ref().and_then(Command::problem) {
            faults.at(&["verify", "run"], format!("[verify] run {problem}"), "as in run = [\"bin/check\"]");
        }
        if let Some(http) = verify.http.as_ref().filter(|http| !is_own_address(http)) {
            let message =
                format!("[verify] http: {} is not an address of the process itself", SafeUrl::new(http));
            faults.at(&["verify", "http"], message, "as in \"http://localhost:8080/health\"");
        }
        if let Some(process) = verify.process.as_ref().filter(|name| !self.processes.contains_key(*name))
            && !self.processes.is_empty()
        {
            let message = format!("[verify] process: there is no process {process:?}");
            faults.add(
                &["verify", "process"],
                ProjectError::new("otoshi.toml", message).with_suggestion(process, self.processes.keys()),
            );
        }
    }
}

const ABSOLUTE: &str = "an absolute path in the image, as in \"/app\"";
const ARGUMENT_NAME: &str = "letters, digits and _, starting with a letter";

/// Whether a build argument may be called so.
fn is_argument_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// Notes each item of a list that cannot be what it stands for.
fn look_at_list(
    faults: &mut Faults<'_>,
    path: [&str; 2],
    items: &[String],
    hint: &str,
    problem: impl Fn(&str) -> Option<&'static str>,
) {
    let [table, key] = path;
    for (index, item) in items.iter().enumerate() {
        if let Some(problem) = problem(item) {
            faults.at_item(&path, index, format!("[{table}] {key}: {item:?} {problem}"), hint);
        }
    }
}

/// Why a text names no user, with or without a group.
fn problem_of_user(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("is empty");
    }
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let is_plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == ':');
    (!is_plain(user) || group.is_some_and(|group| !is_plain(group)))
        .then_some("is neither a user nor USER:GROUP")
}

const COMMAND: &str = "as in web = \"bin/web\", or web = [\"bin/web\", \"--port\", \"8080\"]";

/// Whether an address is one at which a process hears itself: `http://`, then its loopback or any of its own, and a port.
fn is_own_address(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "80"),
    };
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_own = match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    is_port && is_own && address.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a name ends with a tag.
fn tagged(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

fn look_at_env<'e>(faults: &mut Faults<'_>, path: &[&str], names: impl Iterator<Item = &'e String>) {
    for name in names.filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let (table, rest) = path.split_first().unwrap_or((&"", &[]));
        let place = format!("[{table}] {}", rest.join("."));
        faults.at(
            &[path, &[name.as_str()]].concat(),
            format!("{place}: {name:?} cannot be the name of a variable"),
            "a name without =",
        );
    }
}

fn look_at_ports(faults: &mut Faults<'_>, path: &[&str], place: &str, ports: &[String]) {
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| !is_port(port)) {
        let hint = "a port, as in \"8080\" or \"53/udp\"";
        faults.at_item(path, index, format!("{place}: {port:?} is not a port"), hint);
    }
}

/// The names in braces that a template uses, each from an opening brace to the next closing one.
fn names_used(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('{')?.1.split_once('}')?;
        rest = behind;
        Some(name)
    })
}

/// The files in the directory in which a path of the project would lie, as the project would name them.
fn beside(root: &Path, path: &str) -> Vec<String> {
    const MOST: usize = 1000;
    let directory = Path::new(path).parent().unwrap_or(Path::new(""));
    let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten().take(MOST);
    let names =
        entries.filter_map(|entry| directory.join(entry.file_name()).into_os_string().into_string().ok());
    names.collect()
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::is_own_address;
    use crate::Manifest;

    #[test]
    fn what_names_nothing_and_what_cannot_be_is_told_in_every_table() {
        let text = r#"[project]
name = "shop-"
[versions]
SOURCE_DATE_EPOCH = "-1"
[bases]
ROOT = { debian = "Trixie", packages = ["libc6", "--help", "a b"], suites = ["../x"], mirror = "ftp://x", slim = true, variant = "distroless" }
[args]
A = "{BB}"
B = { in = "ROOT", run = " " }
C = { in = "ROOTS", run = "echo 'x" }
[build]
builder-arg = "IMAGE"
runner-arg = "IMAGE"
[check]
ignore = ["ROOTT"]
ranges = { ROOT = ">= 3, < 2" }
[runner]
dockerfile = "runner.Dockerfile"
[compile]
run = "make"
workdir = "/"
caches = ["npm", "/app/../", "/proc/cache"]
outputs = ["public", "/etc", ""]
exclude = [""]
secrets = ["token", "tokn"]
[secrets]
token = { env = "TOKEN" }
"a/b" = { env = "TOKEN" }
[app]
dir = "/dev/app"
dependencies = ["/opt", "/sys", "lib"]
user = "a:b:c"
expose = ["80", "0", "+80"]
[processes]
"web-" = "run"
[verify]
run = "true"
timeout = "0s"
"#;
        let error = Manifest::parse("otoshi.toml", text).unwrap_err();
        let all = std::iter::once(&error).chain(error.others()).map(|error| {
            let marked = error.excerpt().and_then(|excerpt| {
                let (line, mark) = excerpt.rsplit_once('\n')?;
                let line = line.rsplit_once('\n')?.1;
                let start = mark.find('^')?;
                Some(
                    line.chars().skip(start).take(mark.chars().filter(|sign| *sign == '^').count()).collect(),
                )
            });
            let marked: String = marked.unwrap_or_default();
            assert!(!marked.is_empty(), "{error}");
            format!("{error} [{marked}] {}", error.hint().unwrap_or_default()).trim_end().to_owned()
        });
        insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_cache_that_hides_the_source_is_told() {
        let read = |cache: &str| {
            let compile =
                format!("[compile]\nrun = \"make\"\nworkdir = \"/usr/src/app\"\ncaches = [\"{cache}\"]\n");
            let text = format!("[project]\nname = \"shop\"\n[runner]\ndockerfile = \"r\"\n{compile}");
            Manifest::parse("otoshi.toml", &text).map(drop).map_err(|error| error.to_string())
        };
        for cache in ["/usr/src/app/node_modules", "/root/.cache", "/usr/src/apps"] {
            assert_eq!(read(cache), Ok(()));
        }
        for cache in ["/usr/src/app", "/usr/src", "/usr/./src/app/"] {
            let expected =
                format!("otoshi.toml:8: [compile] caches: {cache:?} would hide the source directory");
            assert_eq!(read(cache), Err(expected));
        }
    }

    #[test]
    fn looking_into_https_needs_whom_to_trust_and_something_to_look_into() {
        let told = |build: &str| {
            let text = format!(
                "[project]\nname = \"shop\"\n[bases]\nB = \"b:1\"\n[build]\n{build}\n[runner]\ndockerfile = \"r\"\n\
                 [processes]\nweb = \"x\"\n"
            );
            crate::Manifest::parse("otoshi.toml", &text).map(drop).map_err(|error| error.to_string())
        };
        let alone = told("inspect-https = true").unwrap_err();
        assert!(alone.contains("[build] inspect-https needs ca-certificates"), "{alone}");
        let both = "inspect-https = true\nca-certificates = \"host\"";
        for (more, part) in [
            ("network-cache = \"off\"", "has no effect"),
            ("network = \"host\"", "have a network of their own"),
            ("network = \"none\"", "have a network of their own"),
        ] {
            let error = told(&format!("{both}\n{more}")).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(told(both).is_ok());
    }

    #[test]
    fn a_process_is_asked_at_an_address_of_its_own() {
        for own in [
            "http://localhost:8080/health",
            "http://localhost",
            "http://127.0.0.1:80",
            "http://127.1.2.3:8080?x=1",
            "http://0.0.0.0:18080/",
            "http://[::1]:8080/",
            "http://[::]",
            "http://app.localhost:3000/up",
        ] {
            assert!(is_own_address(own), "{own}");
        }
        for other in [
            "https://localhost:8080/",
            "http://localhost:99999/",
            "http://localhost:0/",
            "http://localhost:80 80/",
            "http://localhost:+80/",
            "http://example.org/",
            "http://192.0.2.1:8080/",
            "http://user@localhost:8080/",
            "http://localhost.example.org/",
            "http://",
            "localhost:8080",
        ] {
            assert!(!is_own_address(other), "{other}");
        }
    }
}
