use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_pipeline::{Pipeline, Status};
use otoshi_project::Project;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote},
    failure::Failure,
};

/// Show which phases a build would run, and why, without running anything.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Print JSON: `version`, `project`, `phases` (`phase`, `number`, `status`, `reasons`, `layers_written`), `images`
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = remote(home);
        let engine = engine(home, &remote);
        let plan = Pipeline::new(home, &engine, &project).with_remote(&remote).plan().map_err(Box::new)?;
        print(&plan, self.json, ["fresh", "stale", "pending"]);
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a plan; `words` say what fresh, stale and pending mean to the reader.
pub(crate) fn print(plan: &otoshi_pipeline::Plan, json: bool, words: [&str; 3]) {
    for warning in &plan.warnings {
        errln!("warning: {warning}");
    }
    if json {
        outln!("{}", serde_json::to_string_pretty(plan).unwrap_or_default());
        return;
    }
    for phase in &plan.phases {
        let word = match phase.status {
            Status::Fresh => words[0],
            Status::Stale => words[1],
            Status::Pending => words[2],
        };
        let mut reasons = phase.reasons.iter().map(|reason| reason.text.as_str());
        let found = phase.found_in.as_ref().map(|place| format!("found in {place}")).unwrap_or_default();
        let first = reasons.next().map_or(found, |text| format!("because {text}"));
        outln!("{}", format!("{} {:8} {word:8} {first}", phase.number, phase.phase).trim_end());
        for reason in reasons.by_ref().take(9) {
            outln!("{:20}and {reason}", "");
        }
        let rest = reasons.count();
        if rest > 0 {
            outln!("{:20}and {rest} more", "");
        }
    }
}
