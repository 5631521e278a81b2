use std::process::ExitCode;

use clap::Args;
use otoshi_explain::Kind;
use otoshi_store::Home;

use crate::{exit, failure::Failure, words::counted};

/// Read the whole store and report damage.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Remove damaged items, so that they are made or fetched again
    #[arg(long)]
    remove: bool,
    /// Print JSON: an object with `blobs`, `records`, `snapshots` (how many were read) and `damage` (`path`, `reason`)
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let seen = home.verify(self.remove)?;
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&seen).unwrap_or_default());
        } else {
            outln!(
                "read {}, {}, {}: {} damaged",
                counted(seen.blobs as u64, "blob"),
                counted(seen.records as u64, "record"),
                counted(seen.snapshots as u64, "snapshot"),
                seen.damage.len()
            );
        }
        for damage in &seen.damage {
            let done = if self.remove { "removed" } else { "damaged" };
            errln!("{done}: {}: {}", damage.path.display(), damage.reason);
        }
        if seen.damage.is_empty() || self.remove {
            return Ok(ExitCode::SUCCESS);
        }
        errln!("\nhint: otoshi verify --remove removes these; builds and pulls make them again");
        Ok(exit::of(Kind::Machine))
    }
}
