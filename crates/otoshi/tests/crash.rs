//! A store survives what happens to processes: builds ended by SIGKILL at any moment, and builds and a garbage collection
//! at the same time.

mod support;

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use otoshi_oci::Digest;
use otoshi_test::given;
use support::Shop;

/// How often a build is ended.
const ROUNDS: u32 = 40;

/// Every blob's bytes are those that its name says, and the index names only blobs that are there.
fn assert_valid(shop: &Shop) {
    let images = shop.home().join("images");
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(images.join("index.json")).unwrap()).unwrap();
    for manifest in index["manifests"].as_array().unwrap() {
        let digest = manifest["digest"].as_str().unwrap().replace(':', "/");
        assert!(images.join("blobs").join(&digest).exists(), "{digest} is named and missing");
    }
    for entry in fs::read_dir(images.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Digest::sha256_of(&bytes).hex(), name, "{}", path.display());
    }
}

#[test]
fn a_build_ended_at_any_moment_leaves_a_valid_store() {
    let shop = given!(Shop::new());
    let mut ended = 0;
    let started = Instant::now();
    shop.ok(&["build", "--no-cache"]);
    let whole = started.elapsed();
    for round in 0..ROUNDS {
        shop.write("src/main", &format!("source {round}\n"));
        let mut build = shop.command(&["build", "--no-cache"]);
        let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From before the first file is opened until after the last is written.
        thread::sleep(whole * round / ROUNDS);
        build.kill().unwrap();
        ended += u32::from(!build.wait().unwrap().success());
        assert_valid(&shop);
        shop.ok(&["images"]);
    }
    assert!(ended > ROUNDS / 4, "only {ended} builds were ended: wait less");
    shop.ok(&["build"]);
    assert!(shop.ok(&["run", "web"]).starts_with(&format!("source {}\n", ROUNDS - 1)));
    shop.ok(&["gc", "--unused-for", "0"]);
    let left = fs::read_dir(shop.home().join("work")).unwrap().count();
    assert_eq!(left, 0, "what the ended builds left is removed");
    assert_valid(&shop);
    assert!(shop.ok(&["run", "web"]).starts_with(&format!("source {}\n", ROUNDS - 1)));
}

#[test]
fn builds_and_a_collection_share_a_store() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    thread::scope(|scope| {
        for number in 0..2 {
            let shop = &shop;
            scope.spawn(move || {
                for round in 0..8 {
                    let dockerfile = format!(
                        "FROM otoshi.test/busybox:1\nRUN echo {number} {round} > /a\nRUN cat /a > /b\nCOPY src /src\n"
                    );
                    shop.write(&format!("{number}/Dockerfile"), &dockerfile);
                    shop.write(&format!("{number}/src/file"), &format!("{round}\n"));
                    let tag = format!("otoshi.test/shared:{number}");
                    shop.ok(&["image", "build", &number.to_string(), "-t", &tag]);
                    let seen = shop.ok(&["run", &tag, "--", "/bin/cat", "/b", "/src/file"]);
                    assert_eq!(seen, format!("{number} {round}\n{round}\n"));
                }
            });
        }
        for _ in 0..8 {
            shop.ok(&["gc", "--unused-for", "0", "--wait", "60"]);
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert_valid(&shop);
}
