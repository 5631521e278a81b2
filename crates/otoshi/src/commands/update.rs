use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_project::Project;
use otoshi_store::Home;
use otoshi_updates::{UpdateOptions, Updated};

use crate::{
    engine::{engine, remote},
    exit,
    failure::Failure,
    remedy::words,
    words::short,
};

/// Write newer versions to otoshi.toml and otoshi.lock, without building.
///
/// Without names, this takes everything that `otoshi check` finds, except new major versions, new releases of a distribution,
/// and what [check] holds or ignores; what is skipped is listed with the reason. Whatever is named is always taken. In
/// otoshi.toml only the values change. Either both files are written or neither: if no build could be planned with them, they
/// stay as they are. Exit codes: 0 success; 20 some bases could not be checked.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// A version or base in otoshi.toml, or a base's reference; set to VALUE, or to the newest
    #[arg(value_name = "NAME[=VALUE]")]
    names: Vec<String>,
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Only take security updates of packages in bases: a moved tag, or the next patch version
    #[arg(long, conflicts_with_all = ["names", "major"])]
    security: bool,
    /// Also take new major versions and new releases of distributions
    #[arg(long)]
    major: bool,
    /// Show the changes as a diff, without writing them
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `version`, `project`, `written`, `settings`, `moved`, `phases`, `left`, `failed`, `unknown`, `diff`
    #[arg(long)]
    json: bool,
}

impl Update {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = remote(home);
        let engine = engine(home, &remote);
        let options = UpdateOptions {
            names: self.names,
            security: self.security,
            major: self.major,
            dry_run: self.dry_run,
        };
        let update = otoshi_updates::Update::new(home, &engine, &project, &remote, &words);
        let updated = update.run(&options).map_err(Box::new)?;
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&updated).unwrap_or_default());
        } else if self.dry_run {
            out!("{}", updated.diff);
            errln!("{}", text(&updated));
        } else {
            out!("{}", text(&updated));
            if updated.written {
                errln!("\nhint: otoshi build makes the images");
            }
        }
        Ok(if updated.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::NOT_KNOWN) })
    }
}

fn text(updated: &Updated) -> String {
    let mut text = String::new();
    for setting in &updated.settings {
        text.push_str(&format!("{}  {} → {}\n", setting.name, setting.from, setting.to));
    }
    for change in &updated.moved {
        if let (Some(from), Some(to)) = (&change.from, &change.to) {
            let (reference, role) = (&change.reference, &change.role);
            text.push_str(&format!("{reference} of the {role}  {} → {}\n", short(from), short(to)));
        }
    }
    for phase in &updated.phases {
        let reason = phase.reasons.first().map(otoshi_pipeline::Reason::text).unwrap_or_default();
        text.push_str(&format!("{:9}will run {} {} because {reason}\n", "", phase.number, phase.phase));
    }
    for left in &updated.left {
        let until = left.until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
        text.push_str(&format!("left     {}  {}: {}{until}\n", left.name, left.text, left.because));
    }
    for failed in &updated.failed {
        text.push_str(&format!("failed   {}  {}\n", failed.reference, failed.message));
    }
    text.push_str(&super::check::unknown_lines(&updated.unknown));
    if updated.settings.is_empty() && updated.moved.is_empty() {
        text.push_str("nothing to update\n");
    }
    text
}
