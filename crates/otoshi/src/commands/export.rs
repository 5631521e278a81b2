use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use otoshi_engine::EmbeddedEngine;
use otoshi_oci::{
    Image, Platform, Reference, layer,
    transfer::{DockerHost, export_docker_archive, export_oci_archive, export_oci_dir, load_into_docker},
};
use otoshi_pipeline::Pipeline;
use otoshi_project::Project;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote},
    failure::Failure,
    files,
    named::find,
    output_file::OutputFile,
    words::megabytes,
};

/// Write an image to a file, a directory or a running Docker daemon.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The image's name or digest; with --compiled, the destination
    image: String,
    /// A file or directory; `-` for standard output; `docker-daemon:` or `docker-daemon:NAME` for Docker
    #[arg(required_unless_present = "compiled", conflicts_with = "compiled")]
    dest: Option<String>,
    /// Write the project's compiled application with its source, as a directory, or as a tar if the name ends in .tar
    #[arg(long, conflicts_with = "format")]
    compiled: bool,
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Format of the file or directory
    #[arg(long, value_enum, default_value_t = Format::OciArchive)]
    format: Format,
    /// Overwrite an existing file
    #[arg(short, long)]
    force: bool,
}

/// The forms that an image can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An OCI image layout, as a directory
    Oci,
    /// An OCI image layout, as a tar
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
    /// The root file system as a tar, with all layers merged
    Rootfs,
}

impl Export {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let Some(dest) = &self.dest else { return self.compiled(home) };
        let image = find(home, &self.image)?;
        remote(home).complete(&image)?;
        let own_name = Reference::parse(&self.image).ok().filter(|name| name.digest().is_none());
        if let Some(name) = dest.strip_prefix("docker-daemon:") {
            let given = if name.is_empty() { None } else { Some(Reference::parse(name)?) };
            let names = given.or(own_name).into_iter().collect();
            for line in load_into_docker(home.layout(), &[(names, image)], &DockerHost::from_env()?)? {
                outln!("{}", line.trim_end());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let described = home.layout().describe(&image.digest)?;
        let images = [(own_name.clone(), described)];
        if self.format == Format::Oci {
            export_oci_dir(home.layout(), &images, Path::new(dest))?;
            wrote(dest);
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = self.open(dest)?;
        match self.format {
            Format::Oci => {}
            Format::OciArchive => export_oci_archive(home.layout(), &images, &mut out)?,
            Format::DockerArchive => {
                export_docker_archive(home.layout(), &[(own_name.into_iter().collect(), image)], &mut out)?;
            }
            Format::Rootfs => {
                files::write_tar(&EmbeddedEngine::new(Arc::clone(home)), &image, &mut out)?;
            }
        }
        out.finish()?;
        wrote(dest);
        Ok(ExitCode::SUCCESS)
    }

    /// Opens what is written to; a file with content is only replaced where that is asked for.
    fn open(&self, dest: &str) -> Result<OutputFile, Failure> {
        let holds_something = fs::metadata(dest).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        if holds_something && !self.force && dest != "-" {
            let hint = "--force overwrites it".to_owned();
            return Err(Failure::usage(format!("the file {dest} already exists"), Some(hint)));
        }
        OutputFile::named(dest)
    }

    /// Source and compiled output merged, in a directory or a tar, with the owners and modes that they have.
    fn compiled(&self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let dest = &self.image;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = remote(home);
        let engine = engine(home, &remote);
        let digest =
            Pipeline::new(home, &engine, &project).with_remote(&remote).compiled().map_err(Box::new)?;
        let image = Image::load(home.layout(), &digest, &Platform::host())?;
        let options = layer::WriteOptions::default();
        let is_tar = dest == "-" || Path::new(dest).extension().is_some_and(|extension| extension == "tar");
        if is_tar {
            let mut out = self.open(dest)?;
            engine.with_root_of(&image, |root| layer::write_tar(root, &mut out, &options))??;
            out.finish()?;
            wrote(dest);
            return Ok(ExitCode::SUCCESS);
        }
        if fs::read_dir(dest).is_ok_and(|mut entries| entries.next().is_some()) {
            let hint = "name one that does not exist, or is empty".to_owned();
            return Err(Failure::usage(format!("the directory {dest} is not empty"), Some(hint)));
        }
        let unpack = layer::UnpackOptions { whiteouts: false, ..layer::UnpackOptions::default() };
        engine.with_root_of(&image, |root| files::copy(root, Path::new(dest), &options, &unpack))??;
        wrote(dest);
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what was written, beside the data.
fn wrote(dest: &str) {
    if dest == "-" {
        return;
    }
    let size = fs::metadata(dest).ok().filter(fs::Metadata::is_file).map(|meta| megabytes(meta.len()));
    errln!("wrote {dest}{}", size.map(|size| format!(" ({size})")).unwrap_or_default());
}
