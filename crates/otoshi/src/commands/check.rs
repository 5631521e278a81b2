use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_project::Project;
use otoshi_store::Home;
use otoshi_updates::{Report, State};

use crate::failure::Failure;

/// Says what is newer outside than what a project uses, and which phases that would make run; runs nothing.
///
/// Exit codes: 0 nothing is newer; 10 something is; 20 some bases could not be looked at.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The project's directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Print JSON: `version`, `project`, `findings`, `failed`, `fresh`, `counts`, `cycles`, `requests`
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = super::remote(home);
        let engine = super::engine(home, &remote);
        let report = otoshi_updates::Check::new(home, &engine, &project, &remote).run().map_err(Box::new)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            print(&report);
        }
        Ok(ExitCode::from(report.exit_code()))
    }
}

fn print(report: &Report) {
    for finding in &report.findings {
        let word = match finding.state {
            State::Found => "found",
            State::Held => "held",
            State::Ignored => "ignored",
        };
        println!("{word:8} {}  {}", finding.name, finding.text);
        if let Some(because) = &finding.because {
            let until = finding.until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
            println!("{:9}because {because}{until}", "");
        }
        if let Some(first) = &finding.first_seen {
            println!("{:9}first seen {first}", "");
        }
        for phase in &finding.phases {
            let reason = phase.reasons.first().map(otoshi_pipeline::Reason::text).unwrap_or_default();
            println!("{:9}would run {} {} because {reason}", "", phase.number, phase.phase);
        }
        if let Some(command) = finding.command.as_ref().filter(|_| finding.state == State::Found) {
            println!("{:9}take it in: {command}", "");
        }
    }
    for failed in &report.failed {
        println!("{:8} {}  {}", "failed", failed.reference, failed.message);
    }
    let counts = report.counts;
    println!(
        "{} found, {} held, {} ignored, {} failed, {} fresh",
        counts.found, counts.held, counts.ignored, counts.failed, counts.fresh
    );
    eprintln!("ends of life as of {}, {} days ago", report.cycles.date, report.cycles.age_days);
}
