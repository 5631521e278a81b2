//! Layers made of a few files, and libraries made by the C compiler.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::fs;
use std::process::Command;

use otoshi_oci::config::History;
use otoshi_oci::contents::Layer;
use otoshi_oci::layer::store_tar;
use otoshi_oci::tar::{self, Entry, Kind};
use otoshi_oci::{Descriptor, Image, ImageConfig, ImageLayer, Layout, Platform, write_image};
use otoshi_rebase::Facts;
use otoshi_rebase::proof::of_layer;
use otoshi_test::{Missing, Need, require};

/// One entry of a layer.
pub enum File {
    Bytes(&'static str, Vec<u8>, u32),
    Owned(&'static str, u32),
    Link(&'static str, &'static str),
    Directory(&'static str),
    Gone(&'static str),
}

pub fn text(path: &'static str, content: &str) -> File {
    File::Bytes(path, content.as_bytes().to_vec(), 0o644)
}

pub fn script(path: &'static str, content: &str) -> File {
    File::Bytes(path, content.as_bytes().to_vec(), 0o755)
}

pub fn program(path: &'static str, bytes: &[u8]) -> File {
    File::Bytes(path, bytes.to_vec(), 0o755)
}

/// Writes a tar.
pub fn archive(files: &[File]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let (entry, bytes): (Entry, &[u8]) = match file {
            File::Bytes(path, bytes, mode) => {
                let mut entry = Entry::new(*path, Kind::File, *mode);
                entry.size = bytes.len() as u64;
                (entry, bytes)
            }
            File::Owned(path, uid) => {
                let mut entry = Entry::new(*path, Kind::File, 0o644);
                entry.uid = *uid;
                (entry, &[])
            }
            File::Link(path, target) => {
                let mut entry = Entry::new(*path, Kind::Symlink, 0o777);
                entry.link = target.as_bytes().to_vec();
                (entry, &[])
            }
            File::Directory(path) => (Entry::new(*path, Kind::Directory, 0o755), &[]),
            File::Gone(path) => {
                let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                let name = if directory.is_empty() {
                    format!(".wh.{name}")
                } else {
                    format!("{directory}/.wh.{name}")
                };
                (Entry::new(name, Kind::File, 0o644), &[])
            }
        };
        tar::write_header(&mut out, &entry);
        out.extend_from_slice(bytes);
        tar::write_padding(&mut out, bytes.len() as u64);
    }
    out.extend_from_slice(&tar::END);
    out
}

/// A layout with images in it.
pub struct Store {
    _dir: tempfile::TempDir,
    pub layout: Layout,
}

impl Store {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create_or_open(dir.path().join("layout")).unwrap();
        Self { _dir: dir, layout }
    }

    pub fn layer(&self, files: &[File]) -> (Descriptor, ImageConfig) {
        let tar = archive(files);
        let stored =
            store_tar(&self.layout, &tar[..], otoshi_oci::layer::Compression::Gzip, 1, "layer").unwrap();
        let mut config = ImageConfig::new(&Platform::host());
        config.rootfs.diff_ids.push(stored.diff_id);
        (stored.descriptor, config)
    }

    /// An image of these layers; `change` sets the rest of its config.
    pub fn image(&self, layers: &[&[File]], change: impl FnOnce(&mut ImageConfig)) -> Image {
        let mut config = ImageConfig::new(&Platform::host());
        let mut descriptors = Vec::new();
        for (number, files) in layers.iter().enumerate() {
            let (descriptor, of_layer) = self.layer(files);
            descriptors.push(descriptor);
            config.rootfs.diff_ids.extend(of_layer.rootfs.diff_ids);
            config.history.push(History { created_by: Some(format!("step {number}")), ..History::default() });
        }
        change(&mut config);
        self.write(&config, &descriptors)
    }

    /// An image on a base.
    pub fn on(&self, base: &Image, layers: &[&[File]], change: impl FnOnce(&mut ImageConfig)) -> Image {
        let mut config = base.config.clone();
        let mut descriptors: Vec<Descriptor> =
            base.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        for files in layers {
            let (descriptor, of_layer) = self.layer(files);
            descriptors.push(descriptor);
            config.rootfs.diff_ids.extend(of_layer.rootfs.diff_ids);
            config.history.push(History { created_by: Some("COPY app".to_owned()), ..History::default() });
        }
        change(&mut config);
        self.write(&config, &descriptors)
    }

    pub fn write(&self, config: &ImageConfig, layers: &[Descriptor]) -> Image {
        let written =
            write_image(&self.layout, config, layers, &std::collections::BTreeMap::default()).unwrap();
        let digest = otoshi_oci::Digest::of(&written).unwrap();
        Image::load(&self.layout, &digest, &Platform::host()).unwrap()
    }

    pub fn facts(&self, layers: &[ImageLayer]) -> Vec<Layer<Facts>> {
        layers.iter().map(|layer| of_layer(&self.layout, layer).unwrap()).collect()
    }
}

/// Compiles C to a shared library or program.
pub fn cc(source: &str, arguments: &[&str], libraries: &[(&str, &[u8])]) -> Result<Vec<u8>, Missing> {
    require(&[Need::Tool("gcc")])?;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.c"), source).unwrap();
    for (name, bytes) in libraries {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mut command = Command::new("/usr/bin/gcc");
    command.args(["-o", "out", "x.c", "-L."]).args(arguments).current_dir(dir.path());
    for (name, _) in libraries.iter().filter(|(name, _)| name.contains(".so")) {
        command.arg(name);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::read(dir.path().join("out")).unwrap())
}

/// A library of this name that defines functions under versions, in a version script's form.
pub fn library(soname: &str, source: &str, versions: &str) -> Result<Vec<u8>, Missing> {
    let name = format!("-Wl,-soname,{soname}");
    let mut arguments = vec!["-shared", "-fPIC", "-nostdlib", &name];
    if !versions.is_empty() {
        arguments.push("-Wl,--version-script=v.map");
    }
    cc(source, &arguments, &[("v.map", versions.as_bytes())])
}
