mod given;
mod signals;
mod terminal;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use clap::Args;
use otoshi_engine::{Engine, OnStart, RunRequest, Started, Stdio};
use otoshi_project::Project;
use otoshi_store::Home;
use terminal::Terminal;

use super::{image::switch, network::Network};
use crate::{
    engine::{engine, remote},
    failure::Failure,
    named::find,
    progress,
    publish::{Offered, Published},
};

/// Run an app image of the project, or any image, in the sandbox, and exit with its exit code.
///
/// The command has its own network: it reaches the outside, and --publish makes its ports available here. On a terminal it gets
/// a terminal of its own. Signals are passed on. If the command is still running ten seconds after SIGINT or SIGTERM, or when a
/// second one arrives, it is killed; on a terminal, by the third interrupt within three seconds.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A process of the project, or the name of an image [default: the only process, or `web`]
    process: Option<String>,
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Set an environment variable; NAME alone passes on the current value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Keep standard input open (always the case; accepted for compatibility)
    #[arg(short, long)]
    interactive: bool,
    /// Allocate a terminal (done anyway when run on one)
    #[arg(short, long)]
    tty: bool,
    /// Program to run instead of the image's ENTRYPOINT and CMD, with COMMAND as its arguments; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Nothing is left behind that could be removed
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    /// The sandbox has a first process that reaps others, always
    #[arg(long, hide = true, value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    /// Nothing is left that could have a name
    #[arg(long, hide = true)]
    name: Option<String>,
    /// Mount a file or directory: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Working directory [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, as in a Dockerfile's USER [default: the image's]
    #[arg(short, long)]
    user: Option<String>,
    /// Network of the command
    #[arg(long, value_enum, default_value_t = Network::Default)]
    network: Network,
    /// Publish a port of the command: [[ADDRESS:]PORT:]PORT
    ///
    /// The default address is 127.0.0.1. At port 0 a free one is taken, and shown on standard error.
    #[arg(short, long, value_name = "PORTS")]
    publish: Vec<Published>,
    /// Command to run instead of the image's
    #[arg(last = true)]
    command: Vec<String>,
}

impl Run {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        if self.rm == Some(false) {
            errln!("warning: --rm=false: what the command writes outside volumes is gone when it ends");
        }
        let name = image_name(&self.project, self.process)?;
        let image = find(home, &name).map_err(|failure| meant(failure, &self.project, &name))?;
        let mut env = given::environment(&self.env_file, &self.env)?;
        let terminal = Terminal::wanted(self.interactive, self.tty)?;
        if terminal.is_some() && !env.iter().any(|(name, _)| name == "TERM") {
            // As Docker has it.
            env.insert(0, ("TERM".into(), "xterm".into()));
        }
        let network = self.network.into();
        let offered = |published: &Published| {
            published.take(network).map_err(Failure::io("publishing", published.to_string()))
        };
        let offered: Vec<_> = self.publish.iter().map(offered).collect::<Result<_, _>>()?;
        for offered in offered.iter().flatten() {
            if let Some(address) = offered.chosen() {
                errln!("port {} is published at {address}", offered.port());
            }
        }
        let (entrypoint, command) = given::command(self.entrypoint.as_deref(), self.command)?;
        let signals = Mutex::new(signals::collect());
        let shared = terminal.clone();
        let started = move |started: Started| {
            offered.iter().flatten().for_each(|offered| serve(offered, &started));
            let signals = signals.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(terminal), Some(other_end)) = (&shared, started.terminal) {
                terminal.connect(other_end, &started.handle);
            }
            let shared = shared.clone();
            let resized = move || shared.as_ref().is_some_and(Terminal::resize);
            signals::forward(signals, started.handle, resized);
        };
        let request = RunRequest {
            entrypoint,
            env,
            cwd: self.workdir,
            user: self.user,
            network,
            volumes: self.volume.iter().map(|text| given::volume(text)).collect::<Result<_, _>>()?,
            stdio: if terminal.is_some() { Stdio::Terminal } else { Stdio::Inherit },
            started: Some(OnStart::new(started)),
            ..RunRequest::new(image.digest, name, command)
        };
        let outcome = engine(home, &remote(home)).run(&request, progress::to_standard_error(true).as_ref());
        if let Some(terminal) = &terminal {
            terminal.finish();
        }
        Ok(ExitCode::from(u8::try_from(outcome?.code).unwrap_or(1)))
    }
}

fn serve(offered: &Offered, started: &Started) {
    if let Err(error) = offered.serve(&started.handle) {
        errln!("warning: a port is not published: {error}");
    }
}

/// The image that is asked for: a process's of the project, else one of that name.
fn image_name(directory: &Path, asked: Option<String>) -> Result<String, Failure> {
    let project = Project::find(directory);
    let of = |project: &Project, process: &str| format!("{}/{process}", project.manifest.project.name);
    match (asked, project) {
        (Some(name), Ok(project)) if project.processes.iter().any(|process| process.name == name) => {
            Ok(of(&project, &name))
        }
        (Some(name), _) => Ok(name),
        (None, project) => {
            let project = project.map_err(Box::new)?;
            let names: Vec<&str> = project.processes.iter().map(|process| process.name.as_str()).collect();
            match names[..] {
                [only] => Ok(of(&project, only)),
                _ if names.contains(&"web") => Ok(of(&project, "web")),
                [] => Err(Failure::usage(
                    "the project has no process",
                    Some("add [processes] to otoshi.toml, or a Procfile; or name an image".to_owned()),
                )),
                _ => Err(Failure::usage(
                    "there are several processes",
                    Some(format!("name one of {}", names.join(", "))),
                )),
            }
        }
    }
}

/// Names the processes, where no image has the name that was asked for.
fn meant(failure: Failure, directory: &Path, name: &str) -> Failure {
    let Failure::Usage { message, .. } = &failure else { return failure };
    let project = match Project::find(directory) {
        Ok(project) => project,
        // What is wrong there is why there is no such process.
        Err(error) if Project::is_above(directory) => return Box::new(error).into(),
        Err(_) => return failure,
    };
    let names: Vec<&str> = project.processes.iter().map(|process| process.name.as_str()).collect();
    let hint = match otoshi_dockerfile::suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean the process {near}?"),
        None if names.contains(&name.rsplit('/').next().unwrap_or(name)) => {
            "otoshi build makes its image".to_owned()
        }
        None if names.is_empty() => {
            "the project has no process: add [processes] to otoshi.toml, or a Procfile; otoshi images lists what is there".to_owned()
        }
        None => {
            format!("the project's processes are {}; otoshi images lists what is there", names.join(", "))
        }
    };
    Failure::usage(message.clone(), Some(hint))
}
