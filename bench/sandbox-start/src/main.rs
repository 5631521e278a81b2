//! Times the start and end of `/bin/true` in several kinds of sandbox, in turns, and prints medians.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use libcontainer::{
    container::builder::ContainerBuilder, oci_spec::runtime::Spec as OciSpec, syscall::syscall::SyscallType,
};
use otoshi_sandbox::{Root, Sandbox, Spec, StdioSpec, Stream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    otoshi_sandbox::init_if_requested();
    otoshi_sandbox::enter_namespace()?;
    let rounds: usize = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let bench = Bench::new()?;
    let mut kinds = vec![
        Kind::new("bare fork and exec", |_| Ok(Box::new(bare))),
        Kind::new("otoshi-sandbox, a directory as root", |_| Ok(own(bench.directory_spec()))),
        Kind::new("otoshi-sandbox, overlay of 5 layers", |round| {
            Ok(own(bench.overlay_spec(&format!("round-{round}"))?))
        }),
        Kind::new("the same without seccomp", |round| {
            Ok(own(Spec { seccomp: false, ..bench.overlay_spec(&format!("plain-{round}"))? }))
        }),
        Kind::new("libcontainer, a directory as root", |round| bench.libcontainer(round)),
    ];
    kinds.retain(|kind| match (kind.prepare)(usize::MAX).and_then(|run| run()) {
        Ok(()) => true,
        Err(error) => {
            println!("{}: does not run here: {}", kind.name, chain(&*error));
            false
        }
    });
    let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for round in 0..rounds {
        for (index, kind) in kinds.iter().enumerate() {
            let run = (kind.prepare)(round)?;
            let start = Instant::now();
            run()?;
            times.entry(index).or_default().push(start.elapsed());
        }
    }
    println!("{rounds} rounds in turns; milliseconds: median, 10 %, 90 %");
    for (index, times) in &mut times {
        times.sort();
        let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
        println!("{:42} {:7.2} {:7.2} {:7.2}", kinds[*index].name, at(50), at(10), at(90));
    }
    seccompiler_alone(rounds)
}

/// One of the things measured: what is prepared is not timed, running it is.
struct Kind<'a> {
    name: &'static str,
    prepare: Box<dyn Fn(usize) -> Result<Run<'a>> + 'a>,
}

type Run<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

impl<'a> Kind<'a> {
    fn new(name: &'static str, prepare: impl Fn(usize) -> Result<Run<'a>> + 'a) -> Self {
        Self { name, prepare: Box::new(prepare) }
    }
}

fn chain(error: &dyn Error) -> String {
    let next = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", next.unwrap_or_default())
}

fn bare() -> Result<()> {
    let status = Command::new("/bin/busybox").arg("true").status()?;
    if status.success() { Ok(()) } else { Err("true failed".into()) }
}

fn own(spec: Spec) -> Run<'static> {
    Box::new(move || {
        let stdio = StdioSpec { stdin: Stream::Null, stdout: Stream::Inherit, stderr: Stream::Inherit };
        match Sandbox::spawn(&spec, stdio, None)?.wait()?.code {
            Some(0) => Ok(()),
            other => Err(format!("true ended with {other:?}").into()),
        }
    })
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let bench = Self { dir: tempfile::tempdir()? };
        // The places that a sandbox mounts on, as in a usual image.
        let bundle = bench.path("bundle/rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(bundle.join(name))?;
        }
        for name in ["hosts", "hostname", "resolv.conf"] {
            fs::write(bundle.join("etc").join(name), "")?;
        }
        fs::copy("/bin/busybox", bundle.join("bin/busybox"))?;
        symlink("busybox", bundle.join("bin/true"))?;
        for number in 0..4 {
            let layer = bench.path(&format!("layer-{number}/usr"));
            fs::create_dir_all(&layer)?;
            fs::write(layer.join(number.to_string()), "x")?;
        }
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spec(root: Root) -> Spec {
        Spec { argv: vec!["/bin/true".into()], env: vec![("PATH".into(), "/bin".into())], ..Spec::new(root) }
    }

    fn directory_spec(&self) -> Spec {
        Self::spec(Root::Dir(self.path("bundle/rootfs")))
    }

    /// Each round writes to directories of its own, as each step of a build does.
    fn overlay_spec(&self, name: &str) -> Result<Spec> {
        let own = self.path(name);
        let (upper, work) = (own.join("upper"), own.join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let mut lowers: Vec<PathBuf> = (0..4).map(|number| self.path(&format!("layer-{number}"))).collect();
        lowers.push(self.path("bundle/rootfs"));
        Ok(Self::spec(Root::Overlay { lowers, upper, work, userxattr: false }))
    }

    /// Creates, starts, waits for and deletes a container of the default specification.
    fn libcontainer(&self, round: usize) -> Result<Run<'_>> {
        let bundle = self.path("bundle");
        self.write_config(&bundle)?;
        Ok(Box::new(move || {
            let mut container = ContainerBuilder::new(format!("bench-{round}"), SyscallType::default())
                .with_root_path(self.path("state"))?
                .as_init(&bundle)
                .with_systemd(false)
                .with_detach(false)
                .build()?;
            let pid = container.pid().ok_or("no process")?;
            container.start()?;
            wait_for(pid.as_raw())?;
            container.delete(true)?;
            Ok(())
        }))
    }

    fn write_config(&self, bundle: &Path) -> Result<()> {
        let file = bundle.join("config.json");
        if file.exists() {
            return Ok(());
        }
        let mut config = serde_json::to_value(OciSpec::default())?;
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["process"]["terminal"] = false.into();
        config["process"]["rlimits"] = serde_json::json!([]);
        // As our own: the host's network, no control groups.
        let other = |mount: &serde_json::Value| mount["type"] != "cgroup";
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.retain(other);
        }
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network" && namespace["type"] != "cgroup");
        }
        fs::write(file, serde_json::to_string(&config)?)?;
        Ok(())
    }
}

fn wait_for(pid: i32) -> Result<()> {
    let mut status = 0;
    // SAFETY: `status` is a valid place to write to.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if waited == pid && status == 0 { Ok(()) } else { Err(format!("true ended with status {status}").into()) }
}

/// What compiling and loading a filter of 300 system calls takes with seccompiler, each in a thread of its own.
fn seccompiler_alone(rounds: usize) -> Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let mut times: Vec<(Duration, Duration)> = Vec::new();
    for _ in 0..rounds {
        let measured = std::thread::spawn(|| -> std::result::Result<_, String> {
            let start = Instant::now();
            let rules = (0..300).map(|number| (number, vec![])).collect();
            let errno = SeccompAction::Errno(libc::EPERM as u32);
            let architecture = std::env::consts::ARCH.try_into().map_err(|_| "architecture")?;
            let program: BpfProgram = SeccompFilter::new(rules, errno, SeccompAction::Allow, architecture)
                .and_then(TryInto::try_into)
                .map_err(|error| error.to_string())?;
            let compiled = start.elapsed();
            let start = Instant::now();
            seccompiler::apply_filter(&program).map_err(|error| error.to_string())?;
            Ok((compiled, start.elapsed()))
        });
        times.push(measured.join().map_err(|_| "a thread panicked")??);
    }
    times.sort_by_key(|(compile, load)| *compile + *load);
    let (compile, load) = times[times.len() / 2];
    println!("seccompiler, 300 calls: {compile:.0?} to compile, {load:.0?} to load");
    Ok(())
}
