//! OCI image layouts, as directories and as archives.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::archive::Archive;
use super::error::{TransferError, io_error};
use super::import::{ImportOptions, Imported, file_images};
use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest, Hasher};
use crate::image::{
    ImageError, features, find_manifest, is_config, is_index, is_layer, is_manifest, nearest,
};
use crate::json;
use crate::layer::inspect;
use crate::layout::{Layout, LayoutError, MAX_JSON, REF_NAME, parse_json};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::tar::{END, Entry, Kind, write_header, write_padding};

/// The annotation that holds an image's complete name in archives that containerd and Docker load.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How deep indexes may name indexes.
const MAX_DEPTH: usize = 8;

/// A blob that is read, and its size in bytes.
type OpenBlob<'a> = (Box<dyn Read + Send + 'a>, u64);

/// Where blobs come from.
#[derive(Debug)]
pub(super) enum Source {
    Directory(Layout),
    Archive(Archive),
}

impl Source {
    fn path(&self) -> &Path {
        match self {
            Self::Directory(layout) => layout.root(),
            Self::Archive(archive) => &archive.path,
        }
    }

    fn index(&self) -> Result<ImageIndex, TransferError> {
        match self {
            Self::Directory(layout) => Ok(layout.names().index()?),
            Self::Archive(archive) => {
                let bytes = archive.read("index.json")?.unwrap_or_default();
                Ok(parse_json(&bytes, || format!("index.json in {}", archive.path.display()))?)
            }
        }
    }

    /// Opens a blob and returns it with its size, or nothing if it is not there.
    fn open(&self, digest: &Digest) -> Result<Option<OpenBlob<'_>>, TransferError> {
        match self {
            Self::Directory(layout) => match layout.open_blob(digest) {
                Ok(file) => {
                    let size = file.metadata().map_err(io_error("look at", layout.root()))?.len();
                    Ok(Some((Box::new(file), size)))
                }
                Err(LayoutError::Missing { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Archive(archive) => Ok(archive.find(&blob_name(digest)).map(|section| {
                let size = section.size();
                (Box::new(section) as Box<dyn Read + Send + '_>, size)
            })),
        }
    }

    fn has(&self, digest: &Digest) -> Result<bool, TransferError> {
        Ok(self.open(digest)?.is_some())
    }
}

/// Imports the images of an OCI layout, a directory or an archive of one.
///
/// Fails where the source lacks a file, or a blob or diff id does not match; blobs that were stored stay without a
/// name.
pub fn import_oci(
    layout: &Layout,
    path: &Path,
    options: &ImportOptions,
) -> Result<Vec<Imported>, TransferError> {
    let source = if path.is_dir() {
        Source::Directory(Layout::open(path)?)
    } else {
        let file = File::open(path).map_err(io_error("open", path))?;
        let archive = Archive::open(layout, file, path)?;
        if !archive.is_oci() {
            let reason = "it has no oci-layout and index.json".to_owned();
            return Err(TransferError::Invalid { path: path.to_owned(), reason });
        }
        Source::Archive(archive)
    };
    import(layout, &source, options)
}

pub(super) fn import(
    layout: &Layout,
    source: &Source,
    options: &ImportOptions,
) -> Result<Vec<Imported>, TransferError> {
    let index = source.index()?;
    let mut images: Vec<(Option<Reference>, Descriptor)> = Vec::new();
    for entry in index.manifests() {
        images.push((name_of(entry, source.path())?, entry.clone()));
    }
    if images.is_empty() {
        let reason = "it holds no image".to_owned();
        return Err(TransferError::Invalid { path: source.path().to_owned(), reason });
    }
    if let Some(name) = &options.name {
        // The name chooses an image if one has it; else it names the only one.
        if images.iter().any(|(own, _)| own.as_ref() == Some(name)) {
            images.retain(|(own, _)| own.as_ref() == Some(name));
        } else if images.iter().map(|(_, entry)| entry.digest()).collect::<HashSet<_>>().len() > 1 {
            let names = images.iter().map(|(own, entry)| {
                own.as_ref().map_or_else(|| entry.digest().to_string(), Reference::familiar)
            });
            return Err(TransferError::Ambiguous { path: source.path().to_owned(), names: names.collect() });
        } else {
            images.truncate(1);
            images[0].0 = Some(name.clone());
        }
    }
    let mut copy = Copy { layout, source, options, is_foreign: true, done: HashSet::new() };
    let mut files = Vec::new();
    for (name, entry) in images {
        let mut descriptor = copy.image(&entry)?;
        // Names are the layout's own business.
        let mut annotations = descriptor.annotations().clone().unwrap_or_default();
        annotations.remove(REF_NAME);
        annotations.remove(CONTAINERD_NAME);
        descriptor.set_annotations((!annotations.is_empty()).then_some(annotations));
        files.push((name, descriptor));
    }
    file_images(layout, files)
}

/// The complete name that an entry carries. A mere tag (`latest`) is none.
fn name_of(entry: &Descriptor, path: &Path) -> Result<Option<Reference>, TransferError> {
    let Some(annotations) = entry.annotations() else { return Ok(None) };
    let parse = |name: &String| {
        Reference::parse(name).map(Some).map_err(|source| TransferError::Name {
            path: path.to_owned(),
            name: name.clone(),
            source,
        })
    };
    match (annotations.get(CONTAINERD_NAME), annotations.get(REF_NAME)) {
        (Some(name), _) => parse(name),
        (None, Some(name)) if name.contains([':', '/', '@']) => parse(name),
        _ => Ok(None),
    }
}

struct Copy<'a> {
    layout: &'a Layout,
    source: &'a Source,
    options: &'a ImportOptions,
    /// Whether somebody else wrote what is copied, so that nobody has looked at it yet.
    is_foreign: bool,
    done: HashSet<Digest>,
}

impl Copy<'_> {
    /// Copies an image. Of an index that lacks some of its images, only the one for the platform.
    fn image(&mut self, entry: &Descriptor) -> Result<Descriptor, TransferError> {
        let mut entry = entry.clone();
        for _ in 0..MAX_DEPTH {
            if !is_index(entry.media_type()) {
                break;
            }
            let bytes = self.document(&entry)?;
            let mut index: ImageIndex = parse_json(&bytes, || format!("index {}", entry.digest()))?;
            let mut whole = true;
            for child in index.manifests() {
                whole &= self.source.has(&Digest::of(child)?)?;
            }
            if whole {
                break;
            }
            let needed = features(&parse_json(&bytes, || format!("index {}", entry.digest()))?);
            let is_here =
                |child: &Descriptor| Digest::of(child).is_ok_and(|d| self.source.has(&d).unwrap_or(false));
            let (here, needed): (Vec<Descriptor>, Vec<Vec<String>>) = index
                .manifests()
                .iter()
                .zip(needed)
                .filter(|(child, _)| is_here(child))
                .map(|(child, needed)| (child.clone(), needed))
                .unzip();
            let chosen = nearest(&here, &needed, &self.options.platform).cloned();
            index.set_manifests(here);
            entry = chosen.ok_or_else(|| {
                Digest::of(&entry).map_or_else(TransferError::from, |digest| {
                    ImageError::no_platform(&digest, &self.options.platform, &index, &needed).into()
                })
            })?;
        }
        self.blob(&entry, 0)?;
        Ok(entry)
    }

    /// Copies a blob and everything that it names, that first.
    fn blob(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), TransferError> {
        let digest = Digest::of(descriptor)?;
        if !self.done.insert(digest.clone()) {
            return Ok(());
        }
        let children: Vec<Descriptor> = if is_index(descriptor.media_type()) && depth < MAX_DEPTH {
            let index: ImageIndex = parse_json(&self.document(descriptor)?, || format!("index {digest}"))?;
            if index.manifests().is_empty() && depth == 0 {
                return Err(self.invalid(format!("the index {digest} lists no image")));
            }
            index.manifests().clone()
        } else if is_manifest(descriptor.media_type()) {
            let manifest: ImageManifest =
                parse_json(&self.document(descriptor)?, || format!("manifest {digest}"))?;
            if self.is_foreign {
                self.check(&digest, &manifest)?;
            }
            std::iter::once(manifest.config()).chain(manifest.layers()).cloned().collect()
        } else {
            Vec::new()
        };
        for child in &children {
            self.blob(child, depth + 1)?;
        }
        if self.layout.size(&digest).is_ok_and(|size| size == descriptor.size())
            && self.layout.reuse(&digest)?
        {
            return Ok(());
        }
        let (mut reader, size) = self.open(&digest)?;
        check_size(&digest, descriptor.size(), size)?;
        let mut writer = self.layout.blob_writer_with(digest.algorithm())?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => writer.put(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read", self.source.path())(error)),
            }
        }
        writer.commit_expecting(&digest)?;
        Ok(())
    }

    /// Fails where no command could use an image: its config is none, or lists other layers; a layer is not there, is no tar, or leads
    /// out of the root. What the layout has already was looked at when it came there.
    fn check(&self, image: &Digest, manifest: &ImageManifest) -> Result<(), TransferError> {
        let layers = manifest.layers();
        if !is_config(manifest.config().media_type()) || !layers.iter().all(is_layer) {
            return Ok(());
        }
        let bytes = self.document(manifest.config())?;
        let config: ImageConfig = parse_json(&bytes, || format!("the config of image {image}"))?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(ImageError::LayerCount { image: image.clone(), layers, diff_ids }.into());
        }
        layers.iter().zip(diff_ids).try_for_each(|(layer, diff_id)| self.check_layer(layer, diff_id))
    }

    fn check_layer(&self, layer: &Descriptor, expected: &DiffId) -> Result<(), TransferError> {
        let digest = Digest::of(layer)?;
        if self.layout.holds(layer) {
            return Ok(());
        }
        let (reader, size) = self.open(&digest)?;
        check_size(&digest, layer.size(), size)?;
        let name = format!("layer {digest} in {}", self.source.path().display());
        let error = match inspect(reader, &name) {
            Ok(found) if found == *expected => return Ok(()),
            Ok(found) => {
                TransferError::DiffId { layer: digest.to_string(), expected: expected.clone(), found }
            }
            Err(error) => error.into(),
        };
        // A blob that is not what its name says explains the rest.
        let (reader, _) = self.open(&digest)?;
        let found = Hasher::new(digest.algorithm()).of_rest(reader);
        let found = found.map_err(io_error("read", self.source.path()))?;
        Err(if found == digest { error } else { LayoutError::Unexpected { expected: digest, found }.into() })
    }

    fn invalid(&self, reason: String) -> TransferError {
        TransferError::Invalid { path: self.source.path().to_owned(), reason }
    }

    /// Reads a manifest or index and verifies it.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransferError> {
        let digest = Digest::of(descriptor)?;
        let (reader, size) = self.open(&digest)?;
        if size > MAX_JSON {
            return Err(LayoutError::TooLarge { what: format!("blob {digest}"), size, most: MAX_JSON }.into());
        }
        let mut bytes = Vec::new();
        reader.take(MAX_JSON).read_to_end(&mut bytes).map_err(io_error("read", self.source.path()))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        if found == digest {
            Ok(bytes)
        } else {
            Err(LayoutError::Unexpected { expected: digest, found }.into())
        }
    }

    fn open(&self, digest: &Digest) -> Result<OpenBlob<'_>, TransferError> {
        self.source.open(digest)?.ok_or_else(|| TransferError::Missing {
            path: self.source.path().to_owned(),
            digest: digest.clone(),
        })
    }
}

fn check_size(digest: &Digest, expected: u64, found: u64) -> Result<(), TransferError> {
    if expected == found {
        Ok(())
    } else {
        Err(TransferError::Size { digest: digest.clone(), expected, found })
    }
}

/// Exports images into a directory that is, or becomes, an OCI layout. It holds what the specification names, and nothing else.
///
/// Fails where a blob is missing or damaged.
pub fn export_oci_dir(
    layout: &Layout,
    images: &[(Option<Reference>, Descriptor)],
    directory: &Path,
) -> Result<(), TransferError> {
    let target = Layout::create_or_open(directory)?;
    let source = Source::Directory(layout.clone());
    let options = ImportOptions::default();
    let mut copy =
        Copy { layout: &target, source: &source, options: &options, is_foreign: false, done: HashSet::new() };
    let mut files = Vec::new();
    for (reference, descriptor) in images {
        let descriptor = copy.image(&exported(descriptor, reference.as_ref()))?;
        files.push((reference.clone(), exported(&descriptor, reference.as_ref())));
    }
    target.names().file_elsewhere(&files)?;
    Ok(target.tidy()?)
}

/// Writes images as an OCI archive: an uncompressed tar of an image layout, the same bytes for the same images.
/// Blobs are verified before the first byte.
///
/// Fails where a blob is missing or damaged.
pub fn export_oci_archive(
    layout: &Layout,
    images: &[(Option<Reference>, Descriptor)],
    out: impl Write,
) -> Result<(), TransferError> {
    export_with(layout, images, &[], out)
}

/// The same with further files at the end of the archive, by name.
pub(super) fn export_with(
    layout: &Layout,
    images: &[(Option<Reference>, Descriptor)],
    files: &[(&str, &[u8])],
    out: impl Write,
) -> Result<(), TransferError> {
    let mut blobs = BTreeSet::new();
    let mut entries = Vec::new();
    for (reference, descriptor) in images {
        let descriptor = whole(layout, descriptor)?;
        blobs.extend(layout.reachable([Digest::of(&descriptor)?]));
        entries.push(exported(&descriptor, reference.as_ref()));
    }
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let index = json::canonical(&index)
        .map_err(|source| LayoutError::Json { what: "index.json".to_owned(), source })?;

    for digest in &blobs {
        layout.verify(digest)?;
    }
    let mut tar = TarFile::new(out);
    let mut directory = None;
    tar.directory("blobs/")?;
    for digest in &blobs {
        if directory != Some(digest.algorithm()) {
            directory = Some(digest.algorithm());
            tar.directory(&format!("blobs/{}/", digest.algorithm()))?;
        }
        let size = layout.size(digest)?;
        let mut blob = layout.open_blob(digest)?;
        tar.stream(&blob_name(digest), &mut blob, size)?;
    }
    tar.bytes("index.json", &index)?;
    tar.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for (name, bytes) in files {
        tar.bytes(name, bytes)?;
    }
    tar.finish()
}

/// Where a blob lies in an archive.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// An entry as other tools want it: with its complete name, for each of them under its key.
fn exported(descriptor: &Descriptor, reference: Option<&Reference>) -> Descriptor {
    let mut descriptor = descriptor.clone();
    let mut annotations: HashMap<String, String> = descriptor.annotations().clone().unwrap_or_default();
    annotations.remove(REF_NAME);
    annotations.remove(CONTAINERD_NAME);
    if let Some(reference) = reference {
        annotations.insert(REF_NAME.to_owned(), reference.to_string());
        annotations.insert(CONTAINERD_NAME.to_owned(), reference.to_string());
    }
    descriptor.set_annotations((!annotations.is_empty()).then_some(annotations));
    descriptor
}

/// Returns an image of which every blob is there: itself, or of an index with gaps the image for this machine.
fn whole(layout: &Layout, descriptor: &Descriptor) -> Result<Descriptor, TransferError> {
    let missing =
        |root: &Digest| layout.reachable([root.clone()]).into_iter().find(|digest| !layout.has(digest));
    let digest = Digest::of(descriptor)?;
    let Some(gap) = missing(&digest) else { return Ok(descriptor.clone()) };
    let lacks = |digest| TransferError::Missing { path: layout.root().to_owned(), digest };
    if !is_index(descriptor.media_type()) {
        return Err(lacks(gap));
    }
    let manifest = find_manifest(layout, &digest, &Platform::host())?;
    match missing(&manifest) {
        Some(gap) => Err(lacks(gap)),
        None => Ok(layout.describe(&manifest)?),
    }
}

/// Writes the files of an archive, all of root's, without times.
pub(super) struct TarFile<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarFile<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: vec![0; 256 << 10] }
    }

    fn directory(&mut self, name: &str) -> Result<(), TransferError> {
        self.header(&Entry::new(name, Kind::Directory, 0o755))
    }

    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.stream(name, &mut &bytes[..], bytes.len() as u64)
    }

    /// Writes a file of exactly `size` bytes.
    pub(super) fn stream(
        &mut self,
        name: &str,
        reader: &mut dyn Read,
        size: u64,
    ) -> Result<(), TransferError> {
        let mut entry = Entry::new(name, Kind::File, 0o644);
        entry.size = size;
        self.header(&entry)?;
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match reader.read(&mut self.buffer[..length]) {
                Ok(0) => return Err(io_error("read", Path::new(name))(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.out.write_all(&self.buffer[..count]).map_err(written)?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read", Path::new(name))(error)),
            }
        }
        let mut padding = Vec::new();
        write_padding(&mut padding, size);
        self.out.write_all(&padding).map_err(written)
    }

    fn header(&mut self, entry: &Entry) -> Result<(), TransferError> {
        let mut header = Vec::new();
        write_header(&mut header, entry);
        self.out.write_all(&header).map_err(written)
    }

    pub(super) fn finish(mut self) -> Result<(), TransferError> {
        self.out.write_all(&END).and_then(|()| self.out.flush()).map_err(written)
    }
}

fn written(source: io::Error) -> TransferError {
    TransferError::Io { action: "write", path: "the archive".into(), source }
}
