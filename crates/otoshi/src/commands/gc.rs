use std::{process::ExitCode, time::Duration};

use clap::Args;
use otoshi_explain::Kind;
use otoshi_store::{GcPolicy, Home};

use crate::{exit, failure::Failure, words::counted};

/// Remove everything that no named image and no recent build needs.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Forget results that have not been used for this many days
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    unused_for: u64,
    /// Empty the cache mounts as well
    #[arg(long)]
    caches: bool,
    /// Wait this long for other commands to release the store; new ones wait meanwhile
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
}

impl Gc {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let unused_for = Duration::from_secs(self.unused_for.saturating_mul(24 * 3600));
        let collected =
            home.gc(GcPolicy { unused_for, caches: self.caches, wait: Duration::from_secs(self.wait) })?;
        outln!(
            "removed {}, {}, {}: {:.1} MB",
            counted(collected.records as u64, "record"),
            counted(collected.snapshots as u64, "snapshot"),
            counted(collected.blobs as u64, "blob"),
            collected.bytes as f64 / 1e6
        );
        for error in &collected.failed {
            errln!("left in the store: {error}");
        }
        Ok(if collected.failed.is_empty() { ExitCode::SUCCESS } else { exit::of(Kind::Machine) })
    }
}
