//! A layout with one image in it, and that image in every form that goes out.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;

use otoshi_oci::layer::{Compression, WriteOptions, write_layer};
use otoshi_oci::transfer::{export_docker_archive, export_oci_archive};
use otoshi_oci::{Descriptor, Digest, Image, ImageConfig, Layout, Platform, Reference, write_image};
use otoshi_test::Missing;

use crate::support::{layout, sample};

pub fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// A layout with the image `app:1` of two layers.
pub struct Shop {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub image: Descriptor,
}

impl Shop {
    pub fn new() -> Result<Self, Missing> {
        Self::compressed(Compression::Zstd)
    }

    /// The second layer is compressed as asked.
    pub fn compressed(second: Compression) -> Result<Self, Missing> {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let small = tempfile::tempdir().unwrap();
        fs::write(small.path().join("hello"), "hello").unwrap();
        let mut config = ImageConfig::new(&Platform::host());
        config.config.cmd = Some(vec!["/hello".into()]);
        config.config.extra.insert("Hostname".into(), "kept".into());
        let mut layers = Vec::new();
        for (tree, compression) in [(sample()?, Compression::Gzip), (small, second)] {
            let options = WriteOptions { compression, ..WriteOptions::default() };
            let layer = write_layer(&layout, tree.path(), &options).unwrap();
            config.rootfs.diff_ids.push(layer.diff_id);
            layers.push(layer.descriptor);
        }
        let image = write_image(&layout, &config, &layers, &BTreeMap::new()).unwrap();
        layout.names().tag(&reference("app:1"), image.clone()).unwrap();
        Ok(Self { dir, layout, image })
    }

    pub fn images(&self) -> Vec<(Option<Reference>, Descriptor)> {
        vec![(Some(reference("app:1")), self.image.clone())]
    }

    pub fn loaded(&self) -> Vec<(Vec<Reference>, Image)> {
        let digest = Digest::of(&self.image).unwrap();
        let image = Image::load(&self.layout, &digest, &Platform::host()).unwrap();
        vec![(vec![reference("app:1"), reference("ghcr.io/team/app:1")], image)]
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn oci_archive(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        export_oci_archive(&self.layout, &self.images(), &mut bytes).unwrap();
        bytes
    }

    pub fn docker_archive(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        export_docker_archive(&self.layout, &self.loaded(), &mut bytes).unwrap();
        bytes
    }
}
