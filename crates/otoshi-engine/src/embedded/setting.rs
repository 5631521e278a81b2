//! Instructions that change the config only.

use otoshi_dockerfile::{CommandForm, DockerfileError, Healthcheck, Instruction, exposed_ports, stop_signal};
use otoshi_explain::Explain;

use super::stage::{Stage, argv};
use crate::EngineError;

/// Carries out an instruction that changes the config only.
pub(super) fn apply(stage: &mut Stage, instruction: &Instruction) -> Result<(), EngineError> {
    let run = &mut stage.config.config;
    match instruction {
        Instruction::Arg(args) => {
            for arg in args {
                stage.scope.declare(arg)?;
            }
        }
        Instruction::Env(pairs) => {
            for (name, value) in stage.scope.set_env(pairs)? {
                run.set_env(&name, &value);
            }
        }
        Instruction::Label(pairs) => {
            for (name, value) in pairs {
                run.labels.insert(stage.scope.expand(name)?, stage.scope.expand(value)?);
            }
        }
        Instruction::User(user) => run.user = stage.scope.expand(user)?,
        Instruction::Shell(shell) => run.shell = Some(shell.clone()),
        Instruction::Entrypoint(command) => {
            run.entrypoint =
                Some(argv(run.shell.as_deref(), command)).filter(|argv| !is_empty_exec(command, argv));
            if !stage.cmd_is_own {
                run.cmd = None;
            }
        }
        Instruction::Cmd(command) => {
            run.cmd = Some(argv(run.shell.as_deref(), command));
            stage.cmd_is_own = true;
        }
        Instruction::Expose(ports) => {
            for word in ports {
                for port in stage.scope.expand_many(word)? {
                    run.exposed_ports.extend(exposed_ports(&port).map_err(said)?);
                }
            }
        }
        Instruction::Volume(paths) => {
            for path in paths {
                run.volumes.insert(stage.scope.expand(path)?);
            }
        }
        Instruction::StopSignal(signal) => {
            run.stop_signal = Some(stop_signal(&stage.scope.expand(signal)?).map_err(said)?);
        }
        Instruction::Healthcheck(check) => {
            run.healthcheck = Some(healthcheck(check));
        }
        Instruction::Maintainer(name) => stage.config.author = Some(name.clone()),
        Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Workdir(_)
        | Instruction::Onbuild(_) => {}
    }
    Ok(())
}

/// An error whose place is that of the instruction.
fn said(error: DockerfileError) -> EngineError {
    EngineError::Invalid { message: error.to_string(), hint: error.remedy() }
}

fn is_empty_exec(command: &CommandForm, argv: &[String]) -> bool {
    matches!(command, CommandForm::Exec(_)) && argv.is_empty()
}

fn healthcheck(check: &Healthcheck) -> otoshi_oci::config::Healthcheck {
    let nanos = |time: Option<std::time::Duration>| time.map_or(0, |time| time.as_nanos() as i64);
    match check {
        Healthcheck::None => {
            otoshi_oci::config::Healthcheck { test: vec!["NONE".into()], ..Default::default() }
        }
        Healthcheck::Test { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandForm::Exec(argv) => ["CMD".to_owned()].into_iter().chain(argv.clone()).collect(),
                // Whoever runs the test looks up the image's shell.
                CommandForm::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            };
            otoshi_oci::config::Healthcheck {
                test,
                interval: nanos(*interval),
                timeout: nanos(*timeout),
                start_period: nanos(*start_period),
                start_interval: nanos(*start_interval),
                retries: retries.map_or(0, i64::from),
                ..Default::default()
            }
        }
    }
}
