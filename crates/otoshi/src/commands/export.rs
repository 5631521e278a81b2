use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use otoshi_engine::EmbeddedEngine;
use otoshi_oci::{
    Reference, layer,
    transfer::{DockerHost, export_docker_archive, export_oci_archive, export_oci_dir, load_into_docker},
};
use otoshi_store::Home;

use crate::failure::Failure;

/// Writes an image to a file or directory, or into a running Docker daemon.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The image's name or digest
    image: String,
    /// A file or directory; `-` is standard output; `docker-daemon:` or `docker-daemon:NAME` is Docker
    dest: String,
    /// The form of a file or directory
    #[arg(long, value_enum, default_value_t = Format::OciArchive)]
    format: Format,
}

/// The forms that an image can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A directory that is an OCI image layout
    Oci,
    /// A tar of one
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
    /// A tar of the root file system, layers merged
    Rootfs,
}

impl Export {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let image = super::find(home, &self.image)?;
        super::remote(home).complete(&image)?;
        let own_name = Reference::parse(&self.image).ok().filter(|name| name.digest().is_none());
        if let Some(name) = self.dest.strip_prefix("docker-daemon:") {
            let given = if name.is_empty() { None } else { Some(Reference::parse(name)?) };
            let names = given.or(own_name).into_iter().collect();
            for line in load_into_docker(home.layout(), &[(names, image)], &DockerHost::from_env()?)? {
                println!("{}", line.trim_end());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let described = home.layout().describe(&image.digest)?;
        let images = [(own_name.clone(), described)];
        if self.format == Format::Oci {
            export_oci_dir(home.layout(), &images, Path::new(&self.dest))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out: Box<dyn Write> = if self.dest == "-" {
            Box::new(std::io::stdout().lock())
        } else {
            Box::new(BufWriter::new(File::create(&self.dest).map_err(Failure::io("creating", &self.dest))?))
        };
        match self.format {
            Format::Oci => {}
            Format::OciArchive => export_oci_archive(home.layout(), &images, &mut out)?,
            Format::DockerArchive => {
                export_docker_archive(home.layout(), &[(own_name.into_iter().collect(), image)], &mut out)?;
            }
            Format::Rootfs => {
                let engine = EmbeddedEngine::new(Arc::clone(home));
                let options =
                    layer::WriteOptions { mtime: layer::Mtime::Keep, ..layer::WriteOptions::default() };
                let write = |root: &Path| layer::write_tar(root, &mut out, &options);
                engine.with_root_of(&image, write)??;
            }
        }
        out.flush().map_err(Failure::io("writing", &self.dest))?;
        Ok(ExitCode::SUCCESS)
    }
}
