//! RUN and WORKDIR: what a command leaves in the file system, and a working directory that is new.
//!
//! Each has a key made of all that it can observe. The result of an earlier step with the same key is used again.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use otoshi_dockerfile::{InlineFile, Run};
use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Fields};
use otoshi_sandbox::{self as sandbox, Limits, Network};
use otoshi_store::{Draft, Implied, SnapshotId};

use super::{
    EmbeddedEngine,
    accounts::Accounts,
    build::Build,
    copy::{Copier, Overrides},
    rootfs,
    run_mount::{RunMounts, Seen},
    session::{self, Command},
    stage::Stage,
};
use crate::{
    BuildRequest, EngineError, NetworkCache, StepId,
    content::hash_items,
    devices::StepDevices,
    records::{HasWorkdir, StepSnapshot},
};

/// What an instruction left, and whether it was there already.
pub(crate) struct Stepped {
    pub(crate) snapshot: SnapshotId,
    pub(crate) cached: bool,
}

impl EmbeddedEngine {
    /// The snapshot recorded for a step's key, if it is still there.
    pub(crate) fn recall(&self, key: &Digest) -> Option<SnapshotId> {
        let StepSnapshot(id) = self.home().records().get(key.hex())?;
        self.home().snapshots().get(&id)?;
        self.home().records().touch::<StepSnapshot>(key.hex());
        Some(id)
    }

    /// Makes a draft the snapshot of a step.
    pub(crate) fn keep(
        &self,
        draft: Draft,
        content: &Digest,
        keys: &[&Digest],
    ) -> Result<SnapshotId, EngineError> {
        let id = SnapshotId::of_key(content);
        draft.commit(&id)?;
        for key in keys {
            self.home().records().put(key.hex(), &StepSnapshot(id.clone()))?;
        }
        Ok(id)
    }
}

/// What the machine of a RUN is called with BuildKit.
const HOSTNAME: &str = "buildkitsandbox";

/// The longest name of a machine, in bytes (`sethostname(2)`).
const LONGEST_HOSTNAME: usize = 64;

/// What the machine of a RUN is called: BuildKit's name for it, or that of a build argument.
///
/// Fails for what cannot be a name.
fn hostname(request: &BuildRequest) -> Result<&str, EngineError> {
    const ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";
    let Some(name) = request.args.get(ARGUMENT).filter(|name| !name.is_empty()) else { return Ok(HOSTNAME) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.len() > LONGEST_HOSTNAME || !name.bytes().all(plain) {
        return Err(EngineError::Invalid {
            message: format!("{ARGUMENT}: {name:?} cannot be the name of a machine"),
            hint: Some(format!("at most {LONGEST_HOSTNAME} letters, digits, -, _ and .").into()),
        });
    }
    Ok(name)
}

/// Runs a command on top of a stage.
pub(crate) fn run(
    build: &Build<'_>,
    stage: &Stage,
    index: usize,
    run: &Run,
    step: StepId,
) -> Result<Stepped, EngineError> {
    let (engine, request) = (build.engine, build.request);
    let (command, script) = run.invocation();
    let argv = stage.argv(&command);
    let insecure = run.security.as_deref() == Some("insecure");
    permitted(insecure, request.allow_insecure, "RUN --security=insecure", "security.insecure")?;
    let host = run.network.as_deref() == Some("host");
    permitted(host, request.allow_host_network, "RUN --network=host", "network.host")?;
    let network = match run.network.as_deref() {
        Some("none") => Network::None,
        Some("host") => Network::Host,
        _ => request.network,
    };
    if argv.is_empty() {
        return Err(EngineError::invalid("RUN []: there is nothing to run"));
    }
    stage.must_run_here()?;
    let env = stage.scope.run_env();
    let mut key = Fields::new("run 3")
        .text(stage.chain.key.as_str())
        .list(&argv)
        .list(env.iter().flat_map(|(name, value)| [name, value]))
        .text(stage.cwd())
        .text(&stage.config.config.user)
        .text(word(network))
        .flag(request.ca_certificates.is_some())
        .flag(insecure)
        .option(script.as_ref().map(|script| &script.content));
    let devices = StepDevices::of(&run.devices, request)?;
    key = devices.count(key)?;
    let hostname = hostname(request)?;
    if hostname != HOSTNAME {
        key = key.text(format!("hostname {hostname}"));
    }
    let of_run = RunMounts { build, stage, index };
    for mount in &run.mounts {
        key = key.text(of_run.key(mount)?.as_str());
    }
    let key = key.digest();
    if !request.no_cache
        && let Some(snapshot) = engine.recall(&key)
    {
        return Ok(Stepped { snapshot, cached: true });
    }
    let attempt = Attempt { of_run, run, step, argv, network, hostname, insecure, devices, script, env };
    let mut ran = attempt.run(request.network_cache)?;
    if !ran.distrusted.is_empty() {
        build.events.event(session::runs_again("RUN", &ran.distrusted));
        ran = attempt.run(NetworkCache::Http)?;
    }
    if ran.code != 0 {
        return Err(EngineError::Command { what: "the command".into(), code: ran.code, at: None });
    }
    let snapshot = engine.keep(ran.draft, &build.result_key(&key), &[&key])?;
    Ok(Stepped { snapshot, cached: false })
}

/// A RUN with all that it is, ready to be run.
struct Attempt<'a> {
    of_run: RunMounts<'a>,
    run: &'a Run,
    step: StepId,
    argv: Vec<String>,
    network: Network,
    hostname: &'a str,
    insecure: bool,
    devices: StepDevices,
    script: Option<InlineFile>,
    env: Vec<(String, String)>,
}

/// What a command has left.
struct Ran {
    draft: Draft,
    code: i32,
    /// The hosts for which it did not trust the network cache.
    distrusted: Vec<String>,
}

impl Attempt<'_> {
    fn run(&self, network_cache: NetworkCache) -> Result<Ran, EngineError> {
        let RunMounts { build, stage, .. } = self.of_run;
        let (engine, request) = (build.engine, build.request);
        // Held while the step runs: merged views, locks on caches, private copies, agents.
        let mut held = session::Held::default();
        let mut seen = Seen::default();
        for mount in &self.run.mounts {
            self.of_run.prepare(mount, &mut held, &mut seen)?;
        }
        if let Some(InlineFile { path, content }) = &self.script {
            seen.mounts.push(script_mount(engine, path.clone(), content, &mut held)?);
        }
        held.lock()?;
        let mut env = self.env.clone();
        env.retain(|(name, _)| !seen.env.iter().any(|(given, _)| given == name));
        env.extend(seen.env);
        env.extend(stage.scope.proxy_env());
        let devices = self.devices.given(build.events)?;
        devices.set_env(&mut env);
        if self.network == Network::Own {
            build.warn_of_proxies(&env);
        }
        let draft = engine.home().snapshots().draft()?;
        let command = Command {
            argv: self.argv.clone(),
            env,
            cwd: stage.cwd().to_owned(),
            user: stage.config.config.user.clone(),
            hostname: self.hostname.to_owned(),
            mounts: seen.mounts,
            ca_certificates: request.ca_certificates.clone(),
            network: self.network,
            network_cache,
            insecure: self.insecure,
            devices,
        };
        let prepared = command.prepare(engine, &stage.chain, Some(&draft))?;
        let code = session::run_logged(engine, &prepared.spec, build.number, self.step, build.events)?;
        if build.is_stopped() {
            return Err(EngineError::Stopped);
        }
        Ok(Ran { draft, code, distrusted: prepared.distrusted() })
    }
}

/// What a step's key has for its network.
fn word(network: Network) -> &'static str {
    match network {
        Network::Own => "true",
        Network::None => "false",
        Network::Host => "host",
    }
}

/// Fails where a step asks for more than the build is allowed. Source: BuildKit's entitlements.
fn permitted(asked: bool, allowed: bool, what: &str, entitlement: &str) -> Result<(), EngineError> {
    if !asked || allowed {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!("{what} is not allowed"),
        hint: Some(Remedy::Allow { entitlements: vec![entitlement.to_owned()] }),
    })
}

/// A file that can be executed and not written.
fn script_mount(
    engine: &EmbeddedEngine,
    target: String,
    content: &str,
    held: &mut session::Held,
) -> Result<sandbox::Mount, EngineError> {
    let draft = engine.home().snapshots().draft()?;
    let source = draft.tree().join("script");
    fs::write(&source, content).map_err(EngineError::io("writing", &source))?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755))
        .map_err(EngineError::io("setting the mode of", &source))?;
    held.drafts.push(draft);
    Ok(sandbox::Mount::Bind { source, target, limits: Limits::READ_ONLY })
}

/// Makes a stage's working directory; `None` when it is there already.
pub(crate) fn workdir(
    engine: &EmbeddedEngine,
    stage: &Stage,
    path: &str,
    no_cache: bool,
) -> Result<Option<Stepped>, EngineError> {
    let key = Fields::new("workdir 2")
        .text(stage.chain.key.as_str())
        .text(path)
        .text(&stage.config.config.user)
        .digest();
    if !no_cache {
        if let Some(snapshot) = engine.recall(&key) {
            return Ok(Some(Stepped { snapshot, cached: true }));
        }
        if let Some(HasWorkdir(true)) = engine.home().records().get(key.hex()) {
            return Ok(None);
        }
    }
    let below = stage.chain.mount(engine)?;
    let found = rootfs::resolve(below.path(), Path::new(path))?;
    if below.path().join(&found).is_dir() {
        engine.home().records().remember(key.hex(), &HasWorkdir(true))?;
        return Ok(None);
    }
    let user = &stage.config.config.user;
    if stage.chain.layers.is_empty() && !user.is_empty() && !user.split(':').all(is_number) {
        return Err(EngineError::Invalid {
            message: format!("no user {user:?}: the stage has no file yet, and so no /etc/passwd"),
            hint: Some("give numbers, or copy /etc/passwd first".into()),
        });
    }
    let owner = Accounts::in_tree(below.path()).workdir_owner(user);
    let draft = engine.home().snapshots().draft()?;
    let tree = draft.tree();
    let overrides = Overrides { owner: Some(owner), mode: None };
    Copier::new(&tree, below.path(), overrides, &|_| None).parent_directories(&found)?;
    let items = hash_items(&crate::content::walk(&tree)?)?;
    draft.implies(Implied { root: true, parents: false })?;
    let snapshot =
        engine.keep(draft, &Fields::new("made workdir 1").text(items.as_str()).digest(), &[&key])?;
    Ok(Some(Stepped { snapshot, cached: false }))
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}
