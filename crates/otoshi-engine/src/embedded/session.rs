//! Running a command in an image: RUN steps, the compile phase, computed arguments, `otoshi run`.

use std::{
    fs::{self, File},
    io::Read,
    net::IpAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use otoshi_dockerfile::Ignore;
use otoshi_oci::{Digest, Fields};
use otoshi_relay::Admission;
use otoshi_sandbox::{self as sandbox, Limits, Network, Sandbox, Spec, StdioSpec, Stream};
use otoshi_store::{Draft, SnapshotId};
use rustix::fs::{FlockOperation, flock};

use super::{
    EmbeddedEngine,
    accounts::Account,
    chain::Chain,
    mount::{OverlayMount, in_user_namespace},
    proxy, relay, secret, ssh, stage,
};
use crate::{
    EngineError, Event, Events, NetworkCache, RunOutcome, RunRequest, Started, Stdio, StepId,
    content::hash_tree, devices::Given, names,
};

/// What must live as long as a command runs.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) mounts: Vec<OverlayMount>,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) agents: Vec<ssh::Forwarded>,
    /// Cache directories to lock before the command runs.
    pub(crate) caches: Vec<PathBuf>,
    locks: Vec<File>,
}

impl Held {
    /// Waits for the caches that nobody else may use meanwhile; in one order, so that two steps never wait for each other.
    pub(crate) fn lock(&mut self) -> Result<(), EngineError> {
        self.caches.sort();
        self.caches.dedup();
        for cache in &self.caches {
            let lock = File::open(cache).map_err(EngineError::io("opening the cache", cache))?;
            flock(&lock, FlockOperation::LockExclusive)
                .map_err(EngineError::io("locking the cache", cache))?;
            self.locks.push(lock);
        }
        Ok(())
    }

    /// Takes a cache for this command alone, where nobody else has it; says whether that could be done.
    pub(crate) fn take(&mut self, cache: &Path) -> Result<bool, EngineError> {
        let lock = File::open(cache).map_err(EngineError::io("opening the cache", cache))?;
        let taken = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if taken {
            self.locks.push(lock);
        }
        Ok(taken)
    }
}

/// A command with all that it sees.
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    /// What the machine is called.
    pub(crate) hostname: String,
    pub(crate) mounts: Vec<sandbox::Mount>,
    pub(crate) ca_certificates: Option<PathBuf>,
    pub(crate) network: Network,
    pub(crate) network_cache: NetworkCache,
    /// Whether the command has all of this process's capabilities and may make any system call.
    pub(crate) insecure: bool,
    /// The host's devices that it is given; their variables are in `env` already.
    pub(crate) devices: Given,
}

/// Where a command finds the certificate authorities that the host offers.
const CA_TARGET: &str = "/run/otoshi/ca-certificates.crt";

/// The variables by which common programs find a bundle of certificate authorities.
const CA_VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];

/// What a command runs with, which must live as long.
pub(crate) struct Prepared {
    pub(crate) spec: Spec,
    admission: Option<Admission>,
}

impl Prepared {
    /// The hosts for which the command did not trust the network cache.
    pub(crate) fn distrusted(&self) -> Vec<String> {
        self.admission.as_ref().map(Admission::distrusted).unwrap_or_default()
    }
}

/// Says that a command runs again because of these hosts.
pub(crate) fn runs_again(what: &str, hosts: &[String]) -> Event {
    Event::Warning(format!(
        "{what}: a program in it has certificate authorities of its own for {}: it runs again, and its HTTPS goes past the network cache",
        hosts.join(", ")
    ))
}

impl Command {
    /// Lets the command in at the network cache, as far as it may use it.
    fn admission(&self, engine: &EmbeddedEngine) -> Result<Option<Admission>, EngineError> {
        if self.network != Network::Own || self.network_cache == NetworkCache::Off {
            return Ok(None);
        }
        let has_own = self.env.iter().any(|(name, _)| CA_VARIABLES.contains(&name.as_str()));
        let looks_into = self.network_cache == NetworkCache::Https && !has_own;
        let bundle = self.ca_certificates.as_deref().filter(|_| looks_into);
        let Some(relay) = engine.relay() else { return Ok(None) };
        let (action, place) = match bundle {
            Some(bundle) => ("reading the certificate authorities in", bundle),
            None => ("letting a command into", Path::new("the network cache")),
        };
        relay.admit(bundle).map(Some).map_err(EngineError::io(action, place))
    }

    /// What the sandbox is told; with a draft, what the command writes is left in its tree.
    pub(crate) fn prepare(
        &self,
        engine: &EmbeddedEngine,
        chain: &Chain,
        draft: Option<&Draft>,
    ) -> Result<Prepared, EngineError> {
        let admission = self.admission(engine)?;
        let mut lowers = chain.lowers(engine)?;
        let account = self.account(engine, chain)?;
        let additional_gids = account.groups.iter().chain(&self.devices.groups).copied().collect();
        let mut env = self.env.clone();
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.push(("PATH".into(), otoshi_oci::config::DEFAULT_PATH.into()));
        }
        if !env.iter().any(|(name, _)| name == "HOME") {
            env.push(("HOME".into(), account.home.clone()));
        }
        let mut mounts = self.devices.mounts.clone();
        mounts.extend(self.mounts.iter().cloned());
        let given = admission.as_ref().and_then(Admission::bundle);
        if let Some(bundle) = given.or(self.ca_certificates.as_deref()) {
            mounts.push(sandbox::Mount::Bind {
                source: bundle.to_owned(),
                target: CA_TARGET.into(),
                limits: Limits::READ_ONLY,
            });
            for name in CA_VARIABLES {
                if !env.iter().any(|(set, _)| set == name) {
                    env.push((name.into(), CA_TARGET.into()));
                }
            }
        }
        let root = match draft {
            Some(draft) => {
                if lowers.is_empty() {
                    // Overlayfs wants something below.
                    let empty = draft.work().join("empty");
                    fs::create_dir_all(&empty).map_err(EngineError::io("creating", &empty))?;
                    lowers.push(empty);
                } else {
                    copy_root(&lowers[0], &draft.tree())?;
                }
                let work = draft.work().join("overlay");
                fs::create_dir_all(&work).map_err(EngineError::io("creating", &work))?;
                sandbox::Root::Overlay { lowers, upper: draft.tree(), work, userxattr: in_user_namespace() }
            }
            None => sandbox::Root::ReadOnlyOverlay { lowers, userxattr: in_user_namespace() },
        };
        let spec = Spec {
            argv: self.argv.clone(),
            env,
            cwd: self.cwd.clone(),
            hostname: self.hostname.clone(),
            devices: self.devices.files(account.uid, account.gid),
            user: sandbox::UserSpec { uid: account.uid, gid: account.gid, additional_gids },
            mounts,
            network: self.network,
            relay: admission.as_ref().map(Admission::entrance),
            capabilities: if self.insecure {
                sandbox::Capabilities::All
            } else {
                sandbox::Capabilities::DockerDefault
            },
            seccomp: !self.insecure,
            ..Spec::new(root)
        };
        Ok(Prepared { spec, admission })
    }

    fn account(&self, engine: &EmbeddedEngine, chain: &Chain) -> Result<Account, EngineError> {
        chain.accounts(engine)?.process(&self.user)
    }
}

/// The topmost root directory's mode is the one that a merged view shows.
fn copy_root_mode(from: &Path, to: &Path) -> Result<(), EngineError> {
    let meta = fs::metadata(from).map_err(EngineError::io("reading", from))?;
    fs::set_permissions(to, meta.permissions()).map_err(EngineError::io("setting the mode of", to))
}

/// Runs a sandbox whose output becomes events; returns the exit code.
pub(crate) fn run_logged(
    engine: &EmbeddedEngine,
    spec: &Spec,
    build: usize,
    step: StepId,
    events: &dyn Events,
) -> Result<i32, EngineError> {
    let (reader, writer) = pipe()?;
    let second = writer.try_clone().map_err(EngineError::io("making a pipe for", "the step's output"))?;
    let stdio = StdioSpec { stdin: Stream::Null, stdout: Stream::Fd(writer), stderr: Stream::Fd(second) };
    let running = Sandbox::spawn(spec, stdio, engine.init())?;
    let pid = running.pid();
    engine.started(pid, build);
    forward(reader, |bytes| events.event(Event::Log { step, bytes: bytes.to_vec() }));
    let status = running.wait();
    engine.ended(pid);
    Ok(exit_code(&status?))
}

fn pipe() -> Result<(File, OwnedFd), EngineError> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(EngineError::io("making a pipe for", "the command's output"))?;
    Ok((File::from(reader), writer))
}

fn forward(mut reader: File, mut sink: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = reader.read(&mut buffer) {
        if count == 0 {
            break;
        }
        sink(&buffer[..count]);
    }
}

fn exit_code(status: &sandbox::ExitStatus) -> i32 {
    status.code.or_else(|| status.signal.map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Runs a command in an image and waits for it.
pub(crate) fn run(
    engine: &EmbeddedEngine,
    request: &RunRequest,
    events: &dyn Events,
) -> Result<RunOutcome, EngineError> {
    let mut network_cache = request.network_cache;
    loop {
        match run_with(engine, request, network_cache, events)? {
            Ran::Ended(outcome) => return Ok(outcome),
            Ran::Distrusts(hosts) => {
                events.event(runs_again(&request.name, &hosts));
                // Without HTTPS there is nothing to distrust.
                network_cache = NetworkCache::Http;
            }
        }
    }
}

/// How a command ended that may have looked at certificates.
enum Ran {
    Ended(RunOutcome),
    /// It is to run again: it did not trust the network cache for these hosts.
    Distrusts(Vec<String>),
}

fn run_with(
    engine: &EmbeddedEngine,
    request: &RunRequest,
    network_cache: NetworkCache,
    events: &dyn Events,
) -> Result<Ran, EngineError> {
    let image = engine.image(&request.image, &request.platform)?;
    let chain = Chain::of_image(&image);
    let config = &image.config.config;
    let mut env = stage::Stage::env_pairs(&image.config);
    for (name, value) in &request.env {
        env.retain(|(set, _)| set != name);
        env.push((name.clone(), value.clone()));
    }
    let mut held = Held::default();
    let mut mounts = Vec::new();
    let mut view_draft = None;
    if let Some(view) = &request.view {
        let draft = engine.home().snapshots().draft()?;
        copy_root(&view.tree, &draft.tree())?;
        mounts.push(sandbox::Mount::OverlayView {
            lowers: vec![view.tree.clone()],
            upper: draft.tree(),
            work: draft.work(),
            target: view.at.clone(),
        });
        view_draft = Some(draft);
    }
    for cache in &request.caches {
        let id = Fields::new("compile cache 1").text(&cache.id).digest();
        let source = engine.home().cache(&id, |_| Ok::<_, EngineError>(()))?;
        if cache.locked {
            held.caches.push(source.clone());
        }
        let (target, limits) = (cache.target.clone(), Limits::default());
        mounts.push(sandbox::Mount::Bind { source, target, limits });
    }
    mounts.extend(secret::secret_mounts(&request.secrets)?);
    mounts.extend(request.volumes.iter().map(|volume| sandbox::Mount::Bind {
        source: volume.source.clone(),
        target: volume.target.clone(),
        limits: Limits { read_only: volume.read_only, ..Limits::default() },
    }));
    held.lock()?;

    let mut argv =
        if request.entrypoint { config.entrypoint.clone().unwrap_or_default() } else { Vec::new() };
    match &request.command {
        Some(command) => argv.extend(stage::argv(config.shell.as_deref(), command)),
        None => argv.extend(config.cmd.clone().unwrap_or_default()),
    }
    if argv.is_empty() {
        return Err(EngineError::Invalid {
            message: format!("{}: the image has no command to run", request.name),
            hint: Some("give one, or set CMD in its Dockerfile".into()),
        });
    }
    let command = Command {
        argv,
        env,
        cwd: request.cwd.clone().unwrap_or_else(|| config.working_dir.clone()),
        user: request.user.clone().unwrap_or_else(|| config.user.clone()),
        hostname: "otoshi".to_owned(),
        mounts,
        ca_certificates: request.ca_certificates.clone(),
        network: request.network,
        network_cache,
        insecure: false,
        devices: Given::default(),
    };
    let scratch = engine.home().snapshots().draft()?;
    let mut prepared = command.prepare(engine, &chain, Some(&scratch))?;
    let spec = &mut prepared.spec;
    if spec.cwd.is_empty() {
        spec.cwd = "/".into();
    }
    spec.terminal = request.stdio == Stdio::Terminal;
    match request.network {
        // As with Docker, names that the host knows are known on its network.
        Network::Host => spec.extra_hosts = names_of_host(),
        Network::Own => {
            if let Some(proxy) = proxy::on_loopback(&spec.env) {
                events.event(Event::UnreachedProxy(proxy));
            }
        }
        Network::None => {}
    }
    let (code, stdout) = execute(engine, request, spec, events)?;
    let distrusted = prepared.distrusted();
    if !distrusted.is_empty() {
        return Ok(Ran::Distrusts(distrusted));
    }
    drop(held);
    let output = match view_draft {
        Some(draft) if request.keep && code == 0 => Some(keep_output(draft, request)?),
        _ => None,
    };
    Ok(Ran::Ended(RunOutcome { code, stdout, output }))
}

/// Gives the topmost directory of a view the mode and owner that it is to show.
pub(crate) fn copy_root(from: &Path, to: &Path) -> Result<(), EngineError> {
    copy_root_mode(from, to)?;
    copy_owner(from, to)
}

fn copy_owner(from: &Path, to: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::{MetadataExt, lchown};
    let meta = fs::metadata(from).map_err(EngineError::io("reading", from))?;
    lchown(to, Some(meta.uid()), Some(meta.gid())).map_err(EngineError::io("owning", to))
}

fn execute(
    engine: &EmbeddedEngine,
    request: &RunRequest,
    spec: &Spec,
    events: &dyn Events,
) -> Result<(i32, Vec<u8>), EngineError> {
    match request.stdio {
        Stdio::Inherit => {
            let (stdio, relays) = relay::without_terminals()?;
            let running = Sandbox::spawn(spec, stdio, engine.init())?;
            tell(request, &running)?;
            let status = running.wait();
            relays.finish();
            Ok((exit_code(&status?), Vec::new()))
        }
        Stdio::Terminal => {
            // The terminal takes their place.
            let stdio = StdioSpec { stdin: Stream::Null, stdout: Stream::Null, stderr: Stream::Null };
            let running = Sandbox::spawn(spec, stdio, engine.init())?;
            tell(request, &running)?;
            Ok((exit_code(&running.wait()?), Vec::new()))
        }
        Stdio::Events => {
            let (step, started) = (StepId::next(), std::time::Instant::now());
            events.event(Event::Started {
                step,
                stage: request.name.clone(),
                place: (1, 1),
                instruction: spec.argv.join(" "),
            });
            let code = run_logged(engine, spec, usize::MAX, step, events)?;
            events.event(match code {
                0 => Event::Done { step, cached: false, took: started.elapsed() },
                _ => Event::Failed { step },
            });
            Ok((code, Vec::new()))
        }
        Stdio::Capture => capture(engine, request, spec, events),
    }
}

/// The most that a command may print where that is wanted, in bytes: half of what Linux takes as one argument or variable.
const MOST_CAPTURED: usize = 64 << 10;

/// Runs a command for what it prints; what it says besides is shown where it fails.
fn capture(
    engine: &EmbeddedEngine,
    request: &RunRequest,
    spec: &Spec,
    events: &dyn Events,
) -> Result<(i32, Vec<u8>), EngineError> {
    let (output, output_writer) = pipe()?;
    let (errors, errors_writer) = pipe()?;
    let stdio = StdioSpec {
        stdin: Stream::Null,
        stdout: Stream::Fd(output_writer),
        stderr: Stream::Fd(errors_writer),
    };
    let running = Sandbox::spawn(spec, stdio, engine.init())?;
    tell(request, &running)?;
    let handle = running.handle();
    let (mut stdout, mut said, mut is_too_long) = (Vec::new(), Vec::new(), false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            forward(errors, |bytes| {
                said.extend_from_slice(bytes);
                // Its last words are what counts.
                let excess = said.len().saturating_sub(MOST_CAPTURED);
                said.drain(..excess);
            });
        });
        forward(output, |bytes| {
            if !is_too_long && stdout.len() + bytes.len() > MOST_CAPTURED {
                is_too_long = true;
                handle.kill();
            }
            if !is_too_long {
                stdout.extend_from_slice(bytes);
            }
        });
    });
    let code = exit_code(&running.wait()?);
    if is_too_long {
        return Err(EngineError::Invalid {
            message: format!("{}: the command prints more than {} KiB", request.name, MOST_CAPTURED >> 10),
            hint: Some("let it print one value, such as a version".into()),
        });
    }
    if code != 0 {
        let step = StepId::next();
        let (stage, instruction) = (request.name.clone(), spec.argv.join(" "));
        events.event(Event::Started { step, stage, place: (1, 1), instruction });
        events.event(Event::Log { step, bytes: said });
        events.event(Event::Failed { step });
    }
    Ok((code, stdout))
}

/// Tells whoever asked that the command runs.
fn tell(request: &RunRequest, running: &sandbox::Running) -> Result<(), EngineError> {
    if let Some(started) = &request.started {
        let terminal = running.terminal().map(OwnedFd::try_clone).transpose();
        let terminal = terminal.map_err(EngineError::io("opening", "the command's terminal"))?;
        started.call(Started { handle: running.handle(), terminal });
    }
    Ok(())
}

/// The names of `/etc/hosts`. Format: `hosts(5)`.
fn names_of_host() -> Vec<(String, IpAddr)> {
    let text = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let names = lines.flat_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        words.filter_map(move |name| Some((name.to_owned(), address?)))
    });
    names.filter(|(name, _)| name != "localhost").collect()
}

/// Keeps what a command wrote to its view: what is asked for, named by its content.
fn keep_output(draft: Draft, request: &RunRequest) -> Result<(SnapshotId, Digest), EngineError> {
    let tree = draft.tree();
    let exclude = Ignore::parse(&request.exclude.join("\n"))?;
    prune(&tree, "", &request.outputs, &exclude)?;
    let content = hash_tree(&tree)?;
    let id = SnapshotId::of_key(&content);
    draft.commit(&id)?;
    Ok((id, content))
}

/// Removes what is not among `outputs` or is excluded; tells whether something is left.
fn prune(directory: &Path, below: &str, outputs: &[String], exclude: &Ignore) -> Result<bool, EngineError> {
    let mut left = false;
    for entry in fs::read_dir(directory).map_err(EngineError::io("reading", directory))?.flatten() {
        let name = names::to_text(entry.file_name().as_encoded_bytes());
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let within = |output: &String| {
            let output = output.trim_matches('/');
            output.is_empty() || path == output || path.starts_with(&format!("{output}/"))
        };
        let wanted =
            (outputs.is_empty() || outputs.iter().any(within)) && !exclude.excludes(&path, is_directory);
        let leads = is_directory
            && outputs.iter().any(|output| output.trim_matches('/').starts_with(&format!("{path}/")));
        let keep = match (wanted, is_directory) {
            (_, true) if wanted || leads => {
                let some = prune(&entry.path(), &path, outputs, exclude)?;
                some || wanted
            }
            (wanted, _) => wanted,
        };
        if keep {
            left = true;
        } else if is_directory {
            fs::remove_dir_all(entry.path()).map_err(EngineError::io("removing", entry.path()))?;
        } else {
            fs::remove_file(entry.path()).map_err(EngineError::io("removing", entry.path()))?;
        }
    }
    Ok(left)
}
