//! docker-archive: what `docker save` writes and `docker load` reads.
//!
//! ```text
//! manifest.json       [{"Config": "<id>.json", "RepoTags": ["app:1"], "Layers": ["<diff id>.tar", …]}]
//! <id>.json           the config, whose digest is the image's id
//! <diff id>.tar       layers, uncompressed
//! ```
//!
//! Format: <https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format>

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::archive::Archive;
use super::error::{TransferError, io_error};
use super::import::{ImportOptions, Imported, file_images};
use super::oci::{TarFile, blob_name, export_with};
use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest};
use crate::image::{Image, ImageLayer, write_image_bytes};
use crate::layer::{WrittenLayer, decoder, measure, store_tar};
use crate::layout::{Layout, LayoutError, parse_json};
use crate::reference::Reference;

const MANIFEST: &str = "manifest.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchivedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Says whether an archive is a docker-archive: its `manifest.json` is a list of images, as no root file system's is.
pub(super) fn is_docker(archive: &Archive) -> bool {
    let bytes = archive.read(MANIFEST).ok().flatten().unwrap_or_default();
    let images: Option<Vec<Map<String, Value>>> = serde_json::from_slice(&bytes).ok();
    images.is_some_and(|images| images.iter().all(|image| image.contains_key("Config")))
}

fn manifest(archive: &Archive) -> Result<Vec<ArchivedImage>, TransferError> {
    let Some(bytes) = archive.read(MANIFEST)? else {
        return Err(invalid(archive, format!("it has no {MANIFEST}")));
    };
    Ok(parse_json(&bytes, || format!("{MANIFEST} in {}", archive.path.display()))?)
}

fn invalid(archive: &Archive, reason: String) -> TransferError {
    TransferError::Invalid { path: archive.path.clone(), reason }
}

/// Imports the images of a docker-archive.
///
/// Fails where the source lacks a file, or a blob or diff id does not match; blobs that were stored stay without a
/// name.
pub fn import_docker_archive(
    layout: &Layout,
    path: &Path,
    options: &ImportOptions,
) -> Result<Vec<Imported>, TransferError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    import(layout, &Archive::open(layout, file, path)?, options)
}

pub(super) fn import(
    layout: &Layout,
    archive: &Archive,
    options: &ImportOptions,
) -> Result<Vec<Imported>, TransferError> {
    let mut images = manifest(archive)?;
    if images.is_empty() {
        return Err(invalid(archive, format!("its {MANIFEST} lists no image")));
    }
    if let Some(name) = &options.name {
        let has = |image: &ArchivedImage| {
            let tags = image.repo_tags.iter().flatten();
            tags.filter_map(|tag| Reference::parse(tag).ok()).any(|tag| tag == *name)
        };
        if images.iter().any(has) {
            images.retain(has);
        } else if images.len() > 1 {
            let names = images.iter().map(|image| match image.repo_tags.iter().flatten().next() {
                Some(tag) => tag.clone(),
                None => image.config.clone(),
            });
            return Err(TransferError::Ambiguous { path: archive.path.clone(), names: names.collect() });
        }
        for image in &mut images {
            image.repo_tags = Some(vec![name.to_string()]);
        }
    }
    // Images share layers: each is stored once.
    let mut stored: HashMap<u64, WrittenLayer> = HashMap::new();
    let mut files = Vec::new();
    for image in images {
        let descriptor = import_image(layout, archive, &image, options, &mut stored)?;
        let mut names = Vec::new();
        for name in image.repo_tags.unwrap_or_default() {
            let reference = Reference::parse(&name).map_err(|source| TransferError::Name {
                path: archive.path.clone(),
                name,
                source,
            })?;
            names.push(reference);
        }
        if names.is_empty() {
            files.push((None, descriptor.clone()));
        }
        files.extend(names.into_iter().map(|name| (Some(name), descriptor.clone())));
    }
    file_images(layout, files)
}

fn import_image(
    layout: &Layout,
    archive: &Archive,
    image: &ArchivedImage,
    options: &ImportOptions,
    stored: &mut HashMap<u64, WrittenLayer>,
) -> Result<Descriptor, TransferError> {
    let config_bytes =
        archive.read(&image.config)?.ok_or_else(|| invalid(archive, format!("it lacks {}", image.config)))?;
    let config: ImageConfig =
        parse_json(&config_bytes, || format!("{} in {}", image.config, archive.path.display()))?;
    let names = image.layers.as_deref().unwrap_or_default();
    let diff_ids = &config.rootfs.diff_ids;
    if names.len() != diff_ids.len() {
        let reason = format!("{} lists {} diff ids for {} layers", image.config, diff_ids.len(), names.len());
        return Err(invalid(archive, reason));
    }
    let mut layers = Vec::new();
    for (name, expected) in names.iter().zip(diff_ids) {
        let section = archive.find(name).ok_or_else(|| invalid(archive, format!("it lacks {name}")))?;
        let start = section.start();
        let layer = if let Some(layer) = stored.get(&start) {
            layer
        } else {
            let what = format!("{name} in {}", archive.path.display());
            let layer = store_tar(layout, section, options.compression, options.threads, &what)?;
            stored.entry(start).or_insert(layer)
        };
        if layer.diff_id != *expected {
            return Err(TransferError::DiffId {
                layer: name.clone(),
                expected: expected.clone(),
                found: layer.diff_id.clone(),
            });
        }
        layers.push(layer.descriptor.clone());
    }
    // The config's own bytes: the image keeps the id that Docker knows it by.
    Ok(write_image_bytes(layout, &config_bytes, &config, &layers, &BTreeMap::new())?)
}

/// Writes images as a docker-archive, the same bytes for the same images. Layers are verified before the first byte.
///
/// Fails where a blob is missing or damaged.
pub fn export_docker_archive(
    layout: &Layout,
    images: &[(Vec<Reference>, Image)],
    out: impl Write,
) -> Result<(), TransferError> {
    let mut layers: BTreeMap<DiffId, (&ImageLayer, u64)> = BTreeMap::new();
    for layer in images.iter().flat_map(|(_, image)| image.layers()) {
        layers.insert(layer.diff_id.clone(), (layer, 0));
    }
    measure_all(layout, &mut layers)?;

    let file_of = |diff_id: &DiffId| format!("{}.tar", diff_id.0.hex());
    let mut tar = TarFile::new(out);
    for (diff_id, (layer, size)) in &layers {
        let blob = layout.open_blob(&layer.digest)?;
        let (_, mut plain) = decoder(blob).map_err(io_error("read", &layout.blob_path(&layer.digest)))?;
        tar.stream(&file_of(diff_id), &mut plain, *size)?;
    }
    let mut configs: BTreeMap<Digest, &[u8]> = BTreeMap::new();
    let mut manifest = Vec::new();
    for (names, image) in images {
        configs.insert(image.id(), &image.config_bytes);
        manifest.push(ArchivedImage {
            config: format!("{}.json", image.id().hex()),
            repo_tags: Some(names.iter().map(|name| name.without_digest().familiar()).collect()),
            layers: Some(image.layers().iter().map(|layer| file_of(&layer.diff_id)).collect()),
        });
    }
    for (id, bytes) in configs {
        tar.bytes(&format!("{}.json", id.hex()), bytes)?;
    }
    tar.bytes(MANIFEST, &json_of(&manifest)?)?;
    tar.finish()
}

fn json_of(manifest: &[ArchivedImage]) -> Result<Vec<u8>, TransferError> {
    serde_json::to_vec(manifest)
        .map_err(|source| LayoutError::Json { what: MANIFEST.to_owned(), source }.into())
}

/// Writes images as a daemon takes them best: an OCI archive, which keeps manifests and compressed layers as they are, with the
/// `manifest.json` by which daemons without containerd's store find the same files. `docker save` does so since Docker 25.
///
/// Layers are verified before the first byte.
pub(super) fn export_for_daemon(
    layout: &Layout,
    images: &[(Vec<Reference>, Image)],
    out: impl Write,
) -> Result<(), TransferError> {
    let mut entries = Vec::new();
    let mut manifest = Vec::new();
    for (names, image) in images {
        let descriptor = layout.describe(&image.digest)?;
        if names.is_empty() {
            entries.push((None, descriptor.clone()));
        }
        entries.extend(names.iter().map(|name| (Some(name.without_digest()), descriptor.clone())));
        manifest.push(ArchivedImage {
            config: blob_name(&Digest::of(image.manifest.config())?),
            repo_tags: Some(names.iter().map(|name| name.without_digest().familiar()).collect()),
            layers: Some(image.layers().iter().map(|layer| blob_name(&layer.digest)).collect()),
        });
    }
    export_with(layout, &entries, &[(MANIFEST, &json_of(&manifest)?)], out)
}

/// Finds out the uncompressed size of layers, several at a time, and checks that they are what the image says.
fn measure_all(
    layout: &Layout,
    layers: &mut BTreeMap<DiffId, (&ImageLayer, u64)>,
) -> Result<(), TransferError> {
    let work: Mutex<Vec<_>> = Mutex::new(layers.iter_mut().collect());
    let failed: Mutex<Option<TransferError>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((diff_id, (layer, size))) = work.lock().ok().and_then(|mut work| work.pop()) {
                    match measure_one(layout, diff_id, layer) {
                        Ok(found) => *size = found,
                        Err(error) => {
                            if let (Ok(mut failed), Ok(mut work)) = (failed.lock(), work.lock()) {
                                failed.get_or_insert(error);
                                work.clear();
                            }
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(TransferError::Invalid {
            path: layout.root().to_owned(),
            reason: "a layer could not be measured".to_owned(),
        }),
    }
}

fn measure_one(layout: &Layout, expected: &DiffId, layer: &ImageLayer) -> Result<u64, TransferError> {
    let (found, size) = measure(layout.open_blob(&layer.digest)?, &format!("layer {}", layer.digest))?;
    if found == *expected {
        Ok(size)
    } else {
        Err(TransferError::DiffId { layer: layer.digest.to_string(), expected: expected.clone(), found })
    }
}
