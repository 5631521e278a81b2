use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_project::Project;
use otoshi_store::Home;
use otoshi_updates::{UpdateOptions, Updated};

use super::short;
use crate::{exit, failure::Failure};

/// Writes newer versions into otoshi.toml, moves otoshi.lock, and builds nothing.
///
/// Without names everything is taken in that `otoshi check` finds, except other major versions, other releases of a distribution,
/// and what [check] holds or ignores; what is left is told with the reason. What is named is taken in all the same. In otoshi.toml
/// only the values change, no other byte. Both files are written, or none: where no build could be planned with them, they stay as
/// they are. Exit codes: 0 done; 20 some bases could not be looked at.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// A version or base of otoshi.toml, or a base's reference; with =VALUE that value, else the newest
    #[arg(value_name = "NAME[=VALUE]")]
    names: Vec<String>,
    /// The project's directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Take only what has security updates for the packages in bases: where a tag moved to, else the next patch of a version
    #[arg(long, conflicts_with_all = ["names", "major"])]
    security: bool,
    /// Take other major versions too, and other releases of distributions
    #[arg(long)]
    major: bool,
    /// Print what would change as a diff, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `version`, `project`, `written`, `settings`, `moved`, `phases`, `left`, `failed`, `unknown`, `diff`
    #[arg(long)]
    json: bool,
}

impl Update {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = super::remote(home);
        let engine = super::engine(home, &remote);
        let options = UpdateOptions {
            names: self.names,
            security: self.security,
            major: self.major,
            dry_run: self.dry_run,
        };
        let update = otoshi_updates::Update::new(home, &engine, &project, &remote);
        let updated = update.run(&options).map_err(Box::new)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&updated).unwrap_or_default());
        } else if self.dry_run {
            print!("{}", updated.diff);
            eprint!("{}", text(&updated));
        } else {
            print!("{}", text(&updated));
            if updated.written {
                eprintln!("\nhint: otoshi build makes the images");
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
        text.push_str("nothing to take in\n");
    }
    text
}
