//! `otoshi.toml` as types.

use std::{collections::BTreeMap, fmt, time::Duration};

use otoshi_oci::{OWN_HOST, Reference};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use sha2::{Digest as _, Sha256};

use crate::{
    Check, Entitlement, ProjectError, Refresh,
    duration::duration,
    form::{Form, NoTable},
};

/// What the names of bases made of packages start with.
pub(crate) fn packages_prefix() -> String {
    format!("{OWN_HOST}/packages/")
}

/// All of `otoshi.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the project is called.
    pub project: ProjectTable,
    /// Versions, each a build argument of the same name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Base images, each a build argument of the same name; may use `{VERSION}`.
    #[serde(default)]
    pub bases: BTreeMap<String, Base>,
    /// Further build arguments; plain ones may use `{VERSION}` and `{OTHER}`.
    #[serde(default)]
    pub args: BTreeMap<String, Argument>,
    /// Secrets: seen by `RUN --mount=type=secret,id=NAME`, and by the compile command where it asks for them.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// How images are built.
    #[serde(default)]
    pub build: Build,
    /// The registry that keeps what the phases made.
    pub registry: Option<Registry>,
    /// What is wanted of what is newer outside.
    #[serde(default)]
    pub check: Check,
    /// The builder image.
    pub builder: Option<Image>,
    /// How the application is compiled.
    pub compile: Option<Compile>,
    /// The runner image.
    pub runner: Image,
    /// The application's images.
    #[serde(default)]
    pub app: App,
    /// How far `otoshi refresh` goes.
    #[serde(default)]
    pub refresh: Refresh,
    /// What is tried in new images before their names move.
    pub verify: Option<Verify>,
    /// The processes; in place of a `Procfile`.
    #[serde(default)]
    pub processes: BTreeMap<String, Process>,
}

/// A base: the name of an image, or packages that one is made of.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Base {
    /// The name of an image.
    Image(String),
    /// Packages of a distribution.
    Packages(Packages),
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self::Image(text)),
            Form::Table(packages) => Ok(Self::Packages(packages)),
            Form::List(_) => Err(D::Error::custom("a base is an image's name, or a table of `packages`")),
        }
    }
}

/// Packages that a base is made of.
///
/// They come from `mirror`, else from where this machine's apt has the release from, else from where the distribution publishes it; signed
/// by who this machine trusts for that, else by the distribution's own keys, which are part of the program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Packages {
    /// Debian's release, as in `trixie` or `13`.
    pub debian: Option<String>,
    /// Ubuntu's release, as in `noble` or `24.04`.
    pub ubuntu: Option<String>,
    /// The packages; what they depend on comes with them.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What is made of them.
    #[serde(default)]
    pub variant: Variant,
    /// The suites that they come from [default: the release, its updates and its security updates].
    pub suites: Option<Vec<String>>,
    /// The address of the repository, as in `http://mirror.example/debian`, for all suites but those for security.
    pub mirror: Option<String>,
    /// The address of the repository of security updates.
    pub security_mirror: Option<String>,
    /// Leaves out documentation, manuals and translations, and keeps licences; what is installed later is as slim.
    #[serde(default)]
    pub slim: bool,
}

/// What is made of packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The essential packages, apt and these, installed: for images that install more.
    #[default]
    Apt,
    /// The essential packages and these, installed, and no apt unless it is one of them.
    Minimal,
    /// Their files alone: no shell, no package manager, and no scripts are run.
    Distroless,
}

impl Variant {
    /// Its form in what the names of bases are made of.
    fn field(self) -> &'static str {
        match self {
            Self::Apt => "Apt",
            Self::Minimal => "Minimal",
            Self::Distroless => "Distroless",
        }
    }
}

impl Packages {
    /// The distribution and its release, as in `debian` and `bookworm`.
    pub fn release(&self) -> Option<(&'static str, &str)> {
        match (&self.debian, &self.ubuntu) {
            (Some(release), None) => Some(("debian", release)),
            (None, Some(release)) => Some(("ubuntu", release)),
            _ => None,
        }
    }

    /// The name that the image has here; other packages give another name. No registry has an image of that name.
    pub fn reference(&self) -> Option<String> {
        let (distribution, release) = self.release()?;
        let mut packages = self.packages.clone();
        packages.sort_unstable();
        packages.dedup();
        let mut text = format!("{} {}", self.variant.field(), packages.join(" "));
        if let Some(suites) = &self.suites {
            text += &format!(" from {}", suites.join(" "));
        }
        for address in [&self.mirror, &self.security_mirror].into_iter().flatten() {
            text += &format!(" at {address}");
        }
        if self.slim {
            text += ", slim";
        }
        let sum = hex::encode(Sha256::digest(text));
        Some(format!("{}{distribution}:{release}-{}", packages_prefix(), &sum[..12]))
    }
}

/// `[project]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectTable {
    /// The name, part of the images' names.
    pub name: String,
}

/// `[build]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Build {
    /// `host`, or a file: certificate authorities that commands trust, and that no layer holds.
    pub ca_certificates: Option<String>,
    /// The build argument under which later Dockerfiles see the builder.
    pub builder_arg: String,
    /// The build argument under which the app's Dockerfile sees the runner.
    pub runner_arg: String,
    /// What the Dockerfiles may do beyond the usual.
    pub allow: Vec<Entitlement>,
    /// The network of the commands that say none themselves: of RUN, compile, newer packages and `[verify]`.
    pub network: BuildNetwork,
    /// Whether plain HTTP of these commands may be answered with what any of them fetched before, as far as the server allows.
    pub network_cache: Switch,
    /// Whether their HTTPS may be as well, where `ca-certificates` vouches for the server: this process then speaks with it in their
    /// place, and they trust an authority of its own, which ends with it.
    pub inspect_https: bool,
}

/// Something that is done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// The network of a project's commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuildNetwork {
    /// One of its own for each, from which it reaches the outside, and not this machine's loopback.
    #[default]
    Default,
    /// This machine's.
    Host,
    /// None.
    None,
}

impl Default for Build {
    fn default() -> Self {
        let (builder_arg, runner_arg) = ("BUILDER".into(), "RUNNER".into());
        Self {
            ca_certificates: None,
            builder_arg,
            runner_arg,
            allow: Vec::new(),
            network: BuildNetwork::Default,
            network_cache: Switch::On,
            inspect_https: false,
        }
    }
}

/// `[registry]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The repository that keeps what every phase made, for other machines to find; as in `registry.example/team/shop`.
    pub repository: String,
    /// Where the app images go for those who run them, with `{process}` in it, as in `registry.example/team/shop-{process}`;
    /// without it they are tags of `repository`, named after their processes.
    pub images: Option<String>,
}

/// A build argument: a text, or what a command prints.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Argument {
    /// A text.
    Plain(String),
    /// What a command prints in a base image, without the last line break; remembered for that image.
    Computed(Computed),
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self::Plain(text)),
            Form::Table(computed) => Ok(Self::Computed(computed)),
            Form::List(_) => Err(D::Error::custom("an argument is a string, or a table of `in` and `run`")),
        }
    }
}

/// A build argument that a command computes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Computed {
    /// The name of the base, as in `[bases]`.
    #[serde(rename = "in")]
    pub base: String,
    /// The command, for a shell.
    pub run: String,
}

/// Where a secret comes from; its value is in no layer, key, log or error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Secret {
    /// A file, relative to the project.
    File(String),
    /// An environment variable.
    Env(String),
}

/// `[builder]` and `[runner]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The Dockerfile, relative to the project.
    pub dockerfile: String,
    /// The stage; the last when there is none.
    pub target: Option<String>,
}

/// `[compile]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// The command.
    pub run: Command,
    /// Where the source is seen.
    #[serde(default = "app_directory")]
    pub workdir: String,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Directories kept between runs.
    #[serde(default)]
    pub caches: Vec<String>,
    /// Paths that are kept of what the command wrote; everything when empty.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Patterns of what is not kept.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Secrets that the command reads at `/run/secrets/NAME`.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Whether the builder's ENTRYPOINT comes before the command.
    #[serde(default)]
    pub entrypoint: bool,
}

fn app_directory() -> String {
    "/app".into()
}

/// `[app]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// The Dockerfile whose stages are the processes; without one the images are assembled.
    pub dockerfile: Option<String>,
    /// Where source and compiled output go; the compile command's directory when there is none.
    pub dir: Option<String>,
    /// Paths copied out of the builder image.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The user.
    pub user: Option<String>,
    /// Ports, as in EXPOSE.
    #[serde(default)]
    pub expose: Vec<String>,
}

/// `[verify]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The process; without it, all are tried with a command, and `web` or the only one with a request.
    pub process: Option<String>,
    /// A command that must end with 0 in the new image.
    pub run: Option<Command>,
    /// An address on this machine, as `http://localhost:8080/health`, that the process must answer with a status below 400.
    pub http: Option<String>,
    /// How long that may take, as in `30s`.
    pub timeout: Option<String>,
}

impl Verify {
    /// How long it may take; 60 seconds where nothing is said.
    ///
    /// Fails where it is no time span, as in `90s` or `30 days`.
    pub fn timeout(&self) -> Result<Duration, ProjectError> {
        let text = self.timeout.as_deref().unwrap_or("60s");
        duration("[verify] timeout", text)
    }
}

/// A command: text for a shell, or a list.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Command {
    /// Text for a shell.
    Shell(String),
    /// The program and its arguments.
    Exec(Vec<String>),
}

impl Command {
    /// Why the command cannot be run by anybody, if so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Shell(text) if text.trim().is_empty() => Some("is empty"),
            Self::Shell(text) if !is_closed(text) => Some("has a quote that is not closed"),
            Self::Exec(argv) if argv.is_empty() => Some("is an empty list"),
            Self::Exec(argv) if argv[0].is_empty() => Some("has no program"),
            _ => None,
        }
    }
}

/// Whether every quote is closed, as far as can be told without a shell: not where a comment, a document or a substitution in it can have
/// quotes of its own.
fn is_closed(text: &str) -> bool {
    let others = ["#", "<<", "`", "$(", "${", "$'"];
    others.iter().any(|other| text.contains(other)) || shlex::split(text.trim_end_matches('\\')).is_some()
}

impl fmt::Display for Command {
    /// As a shell takes it, or as a list in the form of JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(text) => f.write_str(text),
            Self::Exec(argv) => write!(f, "{}", serde_json::Value::from(argv.as_slice())),
        }
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::<NoTable>::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self::Shell(text)),
            Form::List(argv) => Ok(Self::Exec(argv)),
            Form::Table(_) => Err(D::Error::custom("a command is a string for a shell, or an array")),
        }
    }
}

/// A process: its command, or a table.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Process {
    /// The command alone.
    Command(Command),
    /// With settings of its own.
    Table(ProcessTable),
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => Self::Command(Command::Shell(text)),
            Form::List(argv) => Self::Command(Command::Exec(argv)),
            Form::Table(table) => Self::Table(table),
        })
    }
}

/// A process with settings of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessTable {
    /// The command; the stage's own CMD when there is none.
    pub command: Option<Command>,
    /// The stage of the app's Dockerfile; the process's name when there is none.
    pub target: Option<String>,
    /// Environment of this process's image, on top of what it has.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Ports of this process's image, as in EXPOSE.
    #[serde(default)]
    pub expose: Vec<String>,
}

/// What a process may be called.
pub(crate) const PROCESS_NAME: &str = "lower-case letters, digits, - and _; builder and runner are taken";

/// Says whether a process may be called so.
pub(crate) fn is_process_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    // It is the last part of an image's name.
    let is_part = Reference::parse(&format!("{OWN_HOST}/{name}")).is_ok();
    is_part && name.chars().all(plain) && !matches!(name, "builder" | "runner")
}

/// Whether this is a port with or without a protocol.
pub(crate) fn is_port(text: &str) -> bool {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && port.parse::<u16>().is_ok_and(|port| port > 0) && ["tcp", "udp", "sctp"].contains(&protocol)
}

/// The JSON schema of `otoshi.toml`, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
