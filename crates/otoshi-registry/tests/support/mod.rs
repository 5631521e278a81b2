//! Images to push, and clients whose waits are short.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otoshi_oci::layer::{Compression, WriteOptions, write_layer};
use otoshi_oci::{Descriptor, Digest, ImageConfig, Layout, Platform, Reference, write_image};
use otoshi_registry::{
    Client, Credentials, Depth, Event, Hosts, Item, NoOrigins, Progress, Pulled, Quiet, RegistryError,
    Repository, Retries, Settings, Summary, WantedImage,
};

/// A layout in a directory of its own.
pub struct Store {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
}

impl Store {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create_or_open(dir.path().join("layout")).unwrap();
        Self { dir, layout }
    }

    /// An image with layers of these sizes, of bytes that no compression makes smaller; equal seeds, equal layers.
    pub fn image(&self, layers: &[(u64, usize)], compression: Compression) -> Digest {
        let mut config = ImageConfig::new(&Platform::host());
        let mut descriptors = Vec::new();
        for (seed, size) in layers {
            let tree = tempfile::tempdir().unwrap();
            fs::write(tree.path().join("file"), noise(*seed, *size)).unwrap();
            let options = WriteOptions { compression, ..WriteOptions::default() };
            let layer = write_layer(&self.layout, tree.path(), &options).unwrap();
            config.rootfs.diff_ids.push(layer.diff_id);
            descriptors.push(layer.descriptor);
        }
        Digest::of(&write_image(&self.layout, &config, &descriptors, &BTreeMap::new()).unwrap()).unwrap()
    }

    /// A small image.
    pub fn small(&self, seed: u64) -> Digest {
        self.image(&[(seed, 1000)], Compression::Gzip)
    }

    /// What lies in the layout, temporary files included.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["blobs/sha256", "ingest"] {
            let entries = fs::read_dir(self.layout.root().join(directory)).into_iter().flatten();
            found.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        found.sort();
        found
    }

    /// Every blob that is there is what its name says.
    pub fn check(&self) {
        for name in self.files() {
            let digest: Digest = format!("sha256:{name}").parse().expect("no temporary files stay behind");
            self.layout.verify(&digest).unwrap();
        }
    }
}

pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

pub fn settings() -> Settings {
    let retries = Retries {
        attempts: 4,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(1500),
        ..Retries::default()
    };
    Settings { retries, ..Settings::plain() }
}

pub fn client() -> Client {
    Client::new(settings()).unwrap()
}

pub fn client_with(hosts: Hosts, credentials: Credentials) -> Client {
    Client::new(Settings { hosts, credentials, ..settings() }).unwrap()
}

pub fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub fn item(name: &str, digest: &Digest) -> Item {
    let reference = reference(name);
    let tag = reference.tag().map(str::to_owned);
    Item { repository: Repository::of(&reference), tag, digest: digest.clone() }
}

pub fn push(client: &Client, store: &Store, items: &[Item]) -> Result<Summary, RegistryError> {
    client.push(&store.layout, items, Arc::new(NoOrigins), Arc::new(Quiet))
}

pub fn pull(client: &Client, store: &Store, name: &str) -> Result<(Option<Pulled>, Summary), RegistryError> {
    let (reference, platform) = (reference(name), Platform::host());
    let wanted = WantedImage { reference: &reference, platform: &platform, depth: Depth::Layers };
    client.pull(&store.layout, wanted, Arc::new(Quiet))
}

/// Keeps what it is told.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<Event>>);

impl Progress for Notes {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

pub fn describe(store: &Store, digest: &Digest) -> Descriptor {
    store.layout.describe(digest).unwrap()
}
