#!/usr/bin/env bash
# `os.version` and `os.features` of an index are lost by the Rust crate that most of its readers use.
#
# Versions: oci-spec 0.10.0 (Rust), with serde_json 1.0.154.
#
# Guess: a library of types for the image specification reads and writes the fields of the specification, so an index that is read
# and written again is the same but for its layout.
#
# Behaviour: a platform's `os.version` and `os.features` are read as if they were not there, and `os_version` and `os_features` are
# read and written in their place: what such a program writes others do not understand. In a config the crate has the right names.
#
# Why it matters: `os.features` are mandatory: an entry that needs EROFS layers looks like any other one, and whoever
# chooses by platform may take it. An index of Windows images that is filtered or extended loses the versions by which hosts choose.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
mkdir -p rust/src
cat >rust/Cargo.toml <<'T'
[package]
name = "platforms"
version = "0.1.0"
edition = "2021"
[dependencies]
oci-spec = { version = "=0.10.0", default-features = false, features = ["image"] }
serde_json = "=1.0.154"
T
cat >rust/src/main.rs <<'R'
use oci_spec::image::{ImageConfiguration, ImageIndex};

fn main() {
    let digest = "a".repeat(64);
    for platform in [
        r#""os":"linux","architecture":"amd64","os.features":["erofs"]"#,
        r#""os":"windows","architecture":"amd64","os.version":"10.0.26100.1""#,
        r#""os":"linux","architecture":"amd64","os_features":["erofs"]"#,
    ] {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{digest}","size":2,"platform":{{{platform}}}}}]}}"#
        );
        let index: ImageIndex = serde_json::from_str(&text).unwrap();
        let read = index.manifests()[0].platform().as_ref().unwrap();
        println!("index: version {:?}, features {:?}", read.os_version(), read.os_features());
        println!("written again: {}", serde_json::to_string(read).unwrap());
    }
    let config = r#"{"os":"windows","architecture":"amd64","os.version":"10.0.26100.1","os.features":["win32k"],"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config: ImageConfiguration = serde_json::from_str(config).unwrap();
    println!("config: version {:?}, features {:?}", config.os_version(), config.os_features());
}
R
cargo build --quiet --manifest-path rust/Cargo.toml --target-dir target 2>cargo.log || { cat cargo.log >&2; exit 2; }
target/debug/platforms >seen.txt
cat seen.txt
diff - seen.txt <<'T'
index: version None, features None
written again: {"architecture":"amd64","os":"linux"}
index: version None, features None
written again: {"architecture":"amd64","os":"windows"}
index: version None, features Some(["erofs"])
written again: {"architecture":"amd64","os":"linux","os_features":["erofs"]}
config: version Some("10.0.26100.1"), features Some(["win32k"])
T
