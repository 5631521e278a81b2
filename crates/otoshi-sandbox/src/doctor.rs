//! Whether commands can run here: every right and feature that a sandbox needs is tried, and what is missing is named.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use otoshi_explain::Explain;
use serde::Serialize;

use crate::{
    Limits, Mount, Network, Privilege, Root, Sandbox, SandboxError, Spec, StdioSpec, Stream, enter_namespace,
    kernel_is_at_least,
};

/// How well one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Good,
    /// Works, with something missing.
    Limited,
    /// Nothing can be built.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a word that stays the same.
    pub name: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do, where something is missing.
    pub hint: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, health: Health::Good, found: found.into(), hint: None }
    }

    /// Something that works with a part missing.
    pub fn limited(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, health: Health::Limited, found: found.into(), hint: Some(hint.into()) }
    }

    /// Something without which nothing can be built.
    pub fn bad(name: &'static str, error: &SandboxError) -> Self {
        Self { name, health: Health::Bad, found: error.to_string(), hint: error.hint() }
    }
}

/// Looks at the kernel and at the rights of this process, which gets namespaces of its own; call it before any thread is started.
pub fn examine_rights() -> Vec<Finding> {
    let mut findings = vec![kernel()];
    match enter_namespace() {
        Ok(privilege) => findings.push(rights(privilege)),
        Err(error) => findings.push(Finding::bad("rights", &error)),
    }
    findings
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = format!("Linux {}", uname.release().to_string_lossy());
    if kernel_is_at_least(6, 14) {
        Finding::good("kernel", release)
    } else if kernel_is_at_least(6, 8) {
        Finding::limited(
            "kernel",
            release,
            "before Linux 6.14 nothing limits how many processes a step starts",
        )
    } else {
        Finding::limited(
            "kernel",
            release,
            "before Linux 6.8 an image can have at most a few hundred layers, and nothing limits how many processes a step starts",
        )
    }
}

fn rights(privilege: Privilege) -> Finding {
    match privilege {
        Privilege::Root => Finding::good("rights", "root"),
        Privilege::UserNamespace { sub_ids: true } => {
            Finding::good("rights", "an ordinary user with subordinate ids, in a user namespace")
        }
        Privilege::UserNamespace { sub_ids: false } => {
            let hint = if Path::new("/usr/bin/newuidmap").exists() {
                "give the user ranges: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
            } else {
                "install newuidmap and newgidmap (Debian: uidmap), and give the user ranges in /etc/subuid and /etc/subgid"
            };
            Finding::limited(
                "rights",
                "an ordinary user with one id, in a user namespace: steps cannot change owners or run as another user, and bases made of packages can only have the variant distroless",
                hint,
            )
        }
    }
}

/// Runs a command of the host in a sandbox, with an overlay below `work`, which is on the store's file system.
///
/// Stops at the first thing that fails: what comes later would fail for the same reason.
pub fn examine_sandbox(work: &Path, init_exe: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tries =
        [("sandbox", Network::Host), ("no network", Network::None), ("network of its own", Network::Own)];
    for (name, network) in tries {
        let started = Instant::now();
        match run_true(&work.join(name.replace(' ', "-")), network, init_exe) {
            Ok(()) => {
                let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
                findings.push(Finding::good(name, format!("a command ran in {milliseconds:.0} ms")));
            }
            // On the host's network, images can be built all the same.
            Err(error) if network == Network::Own => {
                findings.push(Finding { health: Health::Limited, ..Finding::bad(name, &error) });
            }
            Err(error) => {
                findings.push(Finding::bad(name, &error));
                break;
            }
        }
    }
    findings
}

/// Runs the host's `true` on an empty overlay, with the host's programs and libraries mounted read-only.
fn run_true(directory: &Path, network: Network, init_exe: Option<&Path>) -> Result<(), SandboxError> {
    let make = |name: &str| -> Result<PathBuf, SandboxError> {
        let path = directory.join(name);
        fs::create_dir_all(&path)
            .map_err(SandboxError::setup(format!("making a directory in {}", directory.display())))?;
        Ok(path)
    };
    let root = Root::Overlay {
        lowers: vec![make("lower")?],
        upper: make("upper")?,
        work: make("work")?,
        userxattr: matches!(crate::privilege(), Privilege::UserNamespace { .. }),
    };
    let there =
        ["/usr", "/bin", "/lib", "/lib32", "/lib64"].into_iter().filter(|path| Path::new(path).is_dir());
    let limits = Limits::READ_ONLY;
    let mount = |path: &str| Mount::Bind { source: path.into(), target: path.into(), limits };
    let spec = Spec {
        argv: vec!["true".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        mounts: there.map(mount).collect(),
        network,
        ..Spec::new(root)
    };
    let stdio = StdioSpec { stdin: Stream::Null, stdout: Stream::Null, stderr: Stream::Null };
    let status = Sandbox::spawn(&spec, stdio, init_exe.map(Path::to_owned))?.wait()?;
    if status.code == Some(0) {
        return Ok(());
    }
    Err(SandboxError::invalid("running true", format!("it ended with {status:?}")))
}
