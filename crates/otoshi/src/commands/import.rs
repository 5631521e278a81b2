use std::{path::Path, process::ExitCode};

use clap::Args;
use otoshi_oci::{
    Platform, Reference,
    transfer::{ImportOptions, import_any, import_any_from},
};
use otoshi_store::Home;

use crate::failure::Failure;

/// Import images: a root file system as a tar, an OCI archive or directory, or the output of `docker save`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive (plain, gzip or zstd) or directory; `-` is standard input
    path: String,
    /// Name for the image, instead of the one it has
    #[arg(long, value_name = "REF")]
    name: Option<String>,
    /// Platform, if the archive names none or several [default: this machine's]
    #[arg(long)]
    platform: Option<String>,
}

impl Import {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let parsed =
            |text: &String| text.parse::<Platform>().map_err(|error| Failure::usage(error.to_string(), None));
        let options = ImportOptions {
            name: self.name.as_ref().map(|name| Reference::parse(name)).transpose()?,
            platform: self.platform.as_ref().map(parsed).transpose()?.unwrap_or_else(Platform::host),
            ..ImportOptions::default()
        };
        let (_, images) = if self.path == "-" {
            import_any_from(home.layout(), std::io::stdin(), Path::new("standard input"), &options)?
        } else {
            import_any(home.layout(), Path::new(&self.path), &options)?
        };
        for image in images {
            let name =
                image.reference.map_or_else(|| "(no name)".to_owned(), |reference| reference.familiar());
            outln!("{name} {}", image.digest);
        }
        Ok(ExitCode::SUCCESS)
    }
}
