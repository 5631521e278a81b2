//! A layer of any compression, unpacked into a directory of its own. What lies beside that directory stays as it is.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use otoshi_oci::layer::{UnpackOptions, measure, unpack_layer};

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::Builder::new().tempdir_in("/dev/shm").expect("making a directory");
    let (root, beside) = (dir.path().join("root"), dir.path().join("beside"));
    fs::create_dir(&root).expect("making the root");
    fs::write(&beside, "beside").expect("writing beside the root");
    let unpacked = unpack_layer(bytes, &root, &UnpackOptions::default());
    assert_eq!(fs::read(&beside).expect("reading beside the root"), b"beside");
    assert_eq!(fs::read_dir(dir.path()).expect("listing").count(), 2);
    if let Ok(unpacked) = unpacked {
        let (measured, _) = measure(bytes, "layer").expect("a layer that unpacks can be read");
        assert_eq!(measured, unpacked.diff_id);
    }
});
