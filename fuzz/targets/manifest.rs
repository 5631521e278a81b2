//! A manifest or index in an OCI layout: loaded as an image, followed to what it names, and swept.
#![no_main]

use std::{collections::HashSet, time::Duration};

use libfuzzer_sys::fuzz_target;
use otoshi_oci::{Digest, Image, Layout, Platform};

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::Builder::new().tempdir_in("/dev/shm").expect("making a directory");
    std::fs::create_dir_all(dir.path().join("blobs/sha256")).expect("making the layout");
    let layout = Layout::create_or_open(dir.path()).expect("making the layout");
    let digest = Digest::sha256_of(bytes);
    std::fs::write(layout.blob_path(&digest), bytes).expect("writing the blob");
    let _ = Image::load(&layout, &digest, &Platform::host());
    let _ = layout.describe(&digest);
    layout.reachable([digest.clone()]);
    std::fs::write(dir.path().join("index.json"), bytes).expect("writing the index");
    let whole = layout.names().tagged().is_ok();
    if layout.sweep(&HashSet::from([digest.clone()]), Duration::ZERO).is_ok() {
        assert!(whole, "an index that cannot be read is not swept");
        assert!(layout.has(&digest), "what is to be kept stays");
    }
});
