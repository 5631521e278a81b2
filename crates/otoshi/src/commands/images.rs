use std::{collections::BTreeSet, process::ExitCode};

use clap::Args;
use otoshi_oci::{Digest, Image, Platform};
use otoshi_store::Home;
use serde::Serialize;

use crate::failure::Failure;

/// List the images that have a name.
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print JSON: a list of objects with `reference`, `digest` and `size` (bytes of the compressed layers)
    #[arg(long)]
    json: bool,
    /// Print digests only, each once
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Accepted for compatibility: all named images are listed anyway
    #[arg(short, long, hide = true)]
    all: bool,
}

#[derive(Serialize)]
struct Row {
    reference: String,
    digest: String,
    size: u64,
}

impl Images {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let mut rows = Vec::new();
        for (reference, descriptor) in home.layout().names().tagged()? {
            let Ok(digest) = Digest::of(&descriptor) else { continue };
            let image = Image::load(home.layout(), &digest, &Platform::host());
            let size =
                image.map_or(0, |image| image.layers().iter().map(|layer| layer.descriptor.size()).sum());
            rows.push(Row { reference: reference.familiar(), digest: digest.to_string(), size });
        }
        rows.sort_by(|a, b| a.reference.cmp(&b.reference));
        if self.quiet {
            let digests: BTreeSet<&String> = rows.iter().map(|row| &row.digest).collect();
            for digest in digests {
                outln!("{digest}");
            }
        } else if self.json {
            outln!("{}", serde_json::to_string_pretty(&rows).unwrap_or_default());
        } else {
            let width = rows.iter().map(|row| row.reference.len()).max().unwrap_or(0);
            for row in rows {
                outln!("{:width$}  {}  {:>9.1} MB", row.reference, &row.digest[..19], row.size as f64 / 1e6);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
