use std::{collections::BTreeMap, fs::File, io::Read, process::ExitCode};

use clap::Args;
use otoshi_oci::{ImageConfig, Platform, Reference, layer, write_image};
use otoshi_store::Home;

use crate::failure::Failure;

/// Makes an image of a root file system's tar archive.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive (plain, gzip or zstd); `-` is standard input
    path: String,
    /// The image's name
    #[arg(long, value_name = "REF")]
    name: String,
}

impl Import {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let reference = Reference::parse(&self.name)?;
        let reader: Box<dyn Read + Send> = if self.path == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.path).map_err(Failure::io("opening", &self.path))?)
        };
        let stored = layer::store_tar(home.layout(), reader, layer::Compression::Gzip, 0, &self.path)?;
        let mut config = ImageConfig::new(&Platform::host());
        config.config.env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
        config.rootfs.diff_ids.push(stored.diff_id);
        let image = write_image(home.layout(), &config, &[stored.descriptor], &BTreeMap::new())?;
        println!("{} {}", reference.familiar(), image.digest());
        home.layout().tag(&reference, image)?;
        Ok(ExitCode::SUCCESS)
    }
}
