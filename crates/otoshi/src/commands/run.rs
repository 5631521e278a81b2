use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::Args;
use otoshi_dockerfile::CommandForm;
use otoshi_engine::{Engine, RunRequest, Stdio};
use otoshi_project::Project;
use otoshi_store::Home;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::Signals,
};

use crate::{failure::Failure, progress, publish::Published};

/// Runs an app image of the project, or any image, in the sandbox, on the host's network; ends with its exit code.
///
/// Signals are handed to the command. One that does not end within ten seconds of SIGINT or SIGTERM, or at the second of them, is
/// killed; at a terminal, at the third interrupt within three seconds. Its ports are this machine's; --publish offers one at another address.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A process of the project, or an image's name [default: the only process, or `web`]
    process: Option<String>,
    /// The project's directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Offer a port of the command at another one: [[ADDRESS:]PORT:]PORT
    ///
    /// The address is 127.0.0.1 when there is none.
    #[arg(short, long, value_name = "PORTS")]
    publish: Vec<Published>,
    /// Another command, in place of the image's
    #[arg(last = true)]
    command: Vec<String>,
}

impl Run {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let name = image_name(&self.project, self.process)?;
        let image = super::find(home, &name).map_err(|failure| meant(failure, &self.project, &name))?;
        let pair = |text: &String| {
            let wrong = || Failure::usage(format!("--env {text}: not of the form NAME=VALUE"), None);
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
        };
        let command = (!self.command.is_empty()).then_some(CommandForm::Exec(self.command));
        let request = RunRequest {
            entrypoint: true,
            env: self.env.iter().map(pair).collect::<Result<_, _>>()?,
            stdio: Stdio::Inherit,
            started: Some(forward_signals),
            ..RunRequest::new(image.digest, name, command)
        };
        for published in &self.publish {
            let offered = published.offer();
            offered.map_err(Failure::io("publishing", published.to_string()))?;
        }
        collect_signals();
        let outcome = super::engine(home, &super::remote(home))
            .run(&request, progress::to_standard_error(true).as_ref())?;
        Ok(ExitCode::from(u8::try_from(outcome.code).unwrap_or(1)))
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
    let Ok(project) = Project::find(directory) else { return failure };
    let names: Vec<&str> = project.processes.iter().map(|process| process.name.as_str()).collect();
    let Failure::Usage { message, .. } = failure else { return failure };
    let hint = match otoshi_dockerfile::suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean the process {near}?"),
        None if names.contains(&name.rsplit('/').next().unwrap_or(name)) => {
            "otoshi build makes its image".to_owned()
        }
        None => {
            format!("the project's processes are {}; otoshi images lists what is there", names.join(", "))
        }
    };
    Failure::usage(message, Some(hint))
}

/// How long a command has to end once it was asked to, before it is killed. As `docker stop` has it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interrupts at a terminal that come so close together mean that the program is to end.
const INSISTING: Duration = Duration::from_secs(3);

/// The signals that arrive from now on, until the command takes them.
static SIGNALS: Mutex<Option<Signals>> = Mutex::new(None);

/// Begins to collect the signals that a command may want; before it starts, so that none is lost.
fn collect_signals() {
    match Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH]) {
        Ok(signals) => *SIGNALS.lock().unwrap_or_else(PoisonError::into_inner) = Some(signals),
        Err(error) => eprintln!("warning: signals do not reach the command: {error}"),
    }
}

/// Hands the collected signals on to the command, from a thread that ends with this process.
fn forward_signals(command: otoshi_sandbox::Handle) {
    if let Some(mut signals) = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner).take() {
        std::thread::spawn(move || {
            let interactive = std::io::stdin().is_terminal();
            let mut asked: Vec<Instant> = Vec::new();
            for signal in signals.forever() {
                command.signal(signal);
                if !matches!(signal, SIGINT | SIGTERM) {
                    continue;
                }
                // The first process of a pid namespace gets no signal that it has no handler for: who asks again is not left
                // waiting for ever. At a terminal the interrupt is also what a program like a shell goes on after.
                asked.push(Instant::now());
                let at_terminal = interactive && signal == SIGINT;
                let times = if at_terminal { 3 } else { 2 };
                let recent = asked.iter().filter(|time| !at_terminal || time.elapsed() < INSISTING).count();
                if recent >= times {
                    command.kill();
                } else if !at_terminal {
                    let command = command.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(PATIENCE);
                        command.kill();
                    });
                }
            }
        });
    }
}
