//! Where an image goes besides the store: `--output`.

use std::{io::Write, path::PathBuf, str::FromStr};

use otoshi_engine::EmbeddedEngine;
use otoshi_oci::{
    Digest, Image, Platform, Reference,
    transfer::{DockerHost, export_docker_archive, export_oci_archive, export_oci_dir, load_into_docker},
};
use otoshi_store::Home;

use super::given;
use crate::{failure::Failure, files, output_file::OutputFile};

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// The files of the image, in a directory.
    Local(PathBuf),
    /// The files of the image, in a tar.
    Tar(Place),
    /// An OCI layout in a tar.
    OciArchive(Place),
    /// An OCI layout.
    OciDirectory(PathBuf),
    /// What `docker load` reads.
    DockerArchive(Place),
    /// A Docker daemon.
    Docker,
    /// The store, where it is anyway.
    Store,
    /// The registries of its names.
    Registry,
}

/// A file, or standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    StandardOutput,
    File(PathBuf),
}

/// One `--output`, with what it says about the image besides where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) destination: Destination,
    /// `rewrite-timestamp=true`: files that are later than `SOURCE_DATE_EPOCH` get that time, and others keep theirs.
    pub(super) clamps: bool,
}

impl FromStr for Sent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (asked, other): (Vec<&str>, Vec<&str>) =
            text.split(',').partition(|field| field.starts_with("rewrite-timestamp"));
        let clamps = match asked.last() {
            None | Some(&"rewrite-timestamp=false") => false,
            Some(&("rewrite-timestamp" | "rewrite-timestamp=true")) => true,
            Some(other) => return Err(format!("{other}: it must be true or false")),
        };
        Ok(Self { destination: other.join(",").parse()?, clamps })
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(match text {
                "" => return Err("it is empty".into()),
                "-" => Self::Tar(Place::StandardOutput),
                directory => Self::Local(directory.into()),
            });
        }
        // The form of an image is one and the same here.
        let known = [
            "type",
            "dest",
            "tar",
            "name",
            "push",
            "push-by-digest",
            "store",
            "unpack",
            "compression",
            "compression-level",
            "force-compression",
            "oci-mediatypes",
            "oci-artifact",
            "registry.insecure",
            "name-canonical",
            "platform-split",
        ];
        let fields = given::fields("--output", text, &known).map_err(|failure| failure.to_string())?;
        let dest = fields.get("dest").copied();
        let place = |dest: Option<&str>| match dest {
            None | Some("-") => Place::StandardOutput,
            Some(path) => Place::File(path.into()),
        };
        let directory =
            || dest.filter(|dest| *dest != "-").map(PathBuf::from).ok_or("it needs dest=DIR".to_owned());
        Ok(match fields.get("type").copied() {
            Some("local") => Self::Local(directory()?),
            Some("tar") => Self::Tar(place(dest)),
            Some("oci") if fields.get("tar") == Some(&"false") => Self::OciDirectory(directory()?),
            Some("oci") => Self::OciArchive(place(dest)),
            Some("docker") if dest.is_none() => Self::Docker,
            Some("docker") => Self::DockerArchive(place(dest)),
            Some("image") if fields.get("push") == Some(&"true") => Self::Registry,
            Some("image" | "cacheonly") => Self::Store,
            Some("registry") => Self::Registry,
            Some(other) => {
                return Err(format!(
                    "there is no type {other:?}; one of local, tar, oci, docker, image, registry"
                ));
            }
            None => return Err("it needs a type: local, tar, oci, docker, image or registry".into()),
        })
    }
}

/// An image that was made, and the names that it has.
#[derive(Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) digest: &'a Digest,
    pub(super) platform: &'a Platform,
    pub(super) names: &'a [Reference],
}

impl Destination {
    pub(super) fn is_standard_output(&self) -> bool {
        matches!(
            self,
            Self::Tar(Place::StandardOutput)
                | Self::OciArchive(Place::StandardOutput)
                | Self::DockerArchive(Place::StandardOutput)
        )
    }

    /// Writes an image there.
    pub(super) fn write(
        &self,
        home: &Home,
        engine: &EmbeddedEngine,
        Made { digest, platform, names }: Made<'_>,
    ) -> Result<(), Failure> {
        let layout = home.layout();
        let image = || Image::load(layout, digest, platform);
        let described = || -> Result<Vec<_>, Failure> {
            let described = layout.describe(digest)?;
            if names.is_empty() {
                return Ok(vec![(None, described)]);
            }
            Ok(names.iter().map(|name| (Some(name.clone()), described.clone())).collect())
        };
        match self {
            Self::Store | Self::Registry => {}
            Self::Docker => {
                for line in load_into_docker(layout, &[(names.to_vec(), image()?)], &DockerHost::from_env()?)?
                {
                    errln!("{}", line.trim_end());
                }
            }
            Self::OciDirectory(directory) => export_oci_dir(layout, &described()?, directory)?,
            Self::Local(directory) => files::write_directory(engine, &image()?, directory)?,
            Self::Tar(place) => {
                let image = image()?;
                place.write(|out| files::write_tar(engine, &image, out))?;
            }
            Self::OciArchive(place) => {
                let described = described()?;
                place.write(|out| Ok(export_oci_archive(layout, &described, out)?))?;
            }
            Self::DockerArchive(place) => {
                let images = [(names.to_vec(), image()?)];
                place.write(|out| Ok(export_docker_archive(layout, &images, out)?))?;
            }
        }
        Ok(())
    }
}

impl Place {
    /// Calls with the stream; a file has its name only when it is whole.
    fn write(&self, call: impl FnOnce(&mut dyn Write) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut out = match self {
            Self::File(path) => OutputFile::at(path)?,
            Self::StandardOutput => OutputFile::standard_output(),
        };
        call(&mut out)?;
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_clamped_where_it_is_said() {
        for (text, clamps) in [
            ("type=oci,dest=x,rewrite-timestamp=true", true),
            ("type=oci,rewrite-timestamp=false,dest=x", false),
            ("type=oci,dest=x", false),
        ] {
            let sent = text.parse::<Sent>().unwrap();
            assert_eq!(
                (sent.destination, sent.clamps),
                (Destination::OciArchive(Place::File("x".into())), clamps)
            );
        }
        assert!("type=oci,rewrite-timestamp=maybe".parse::<Sent>().is_err());
    }

    #[test]
    fn outputs_are_written_as_for_docker_build() {
        let file = |path: &str| Place::File(path.into());
        for (text, expected) in [
            ("out", Destination::Local("out".into())),
            ("-", Destination::Tar(Place::StandardOutput)),
            ("type=local,dest=a/b", Destination::Local("a/b".into())),
            ("type=tar", Destination::Tar(Place::StandardOutput)),
            ("type=tar,dest=x.tar", Destination::Tar(file("x.tar"))),
            ("dest=x.tar,type=oci", Destination::OciArchive(file("x.tar"))),
            ("type=oci,dest=x,tar=false", Destination::OciDirectory("x".into())),
            ("type=docker", Destination::Docker),
            ("type=docker,dest=-", Destination::DockerArchive(Place::StandardOutput)),
            ("type=image", Destination::Store),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap(), expected, "{text}");
        }
        for (text, message) in [
            ("type=local", "it needs dest=DIR"),
            ("type=rar,dest=x", "there is no type \"rar\""),
            ("dest=x", "it needs a type"),
            ("type=oci,dst=x", "there is no field \"dst\""),
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
