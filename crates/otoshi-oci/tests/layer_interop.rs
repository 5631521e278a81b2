//! Other tools read the layers that are written here, and the archives of other tools are read.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use otoshi_oci::Digest;
use otoshi_oci::layer::{Compression, UnpackOptions, WriteOptions, write_layer};
use otoshi_test::given;
use support::{keep, layout, look, sample, unpack};

fn run(program: &str, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    output.stdout
}

#[test]
fn other_tools_read_what_is_written() {
    let tree = given!(sample());
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let blob = |compression| {
        let layer = write_layer(&layout, tree.path(), &WriteOptions { compression, ..keep() }).unwrap();
        fs::read(layout.blob_path(&Digest::of(&layer.descriptor).unwrap())).unwrap()
    };
    let plain = blob(Compression::None);
    assert!(run("gzip", &["-dc"], &blob(Compression::Gzip)) == plain);
    let into = tempfile::tempdir().unwrap();
    let path = into.path().to_str().unwrap();
    let args = ["-x", "-p", "--xattrs", "--xattrs-include=*", "--warning=no-unknown-keyword", "-C", path];
    run("tar", &args, &plain);
    let (before, after) = (look(tree.path()), look(into.path()));
    for (name, seen) in before.iter().filter(|(name, _)| !name.starts_with(b"opaque") && *name != b"deleted")
    {
        assert!(*seen == after[name], "{}", name.escape_ascii());
    }
    let mut archive = tar::Archive::new(&plain[..]);
    let mut count = 0;
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert!(entry.path_bytes().len() > 1);
        count += 1;
    }
    assert_eq!(count, look(tree.path()).len() + 1, "every file, and the opaque marker");
}

#[test]
fn archives_of_other_tools_are_read() {
    let tree = given!(sample());
    let path = tree.path().to_str().unwrap();
    for format in [&["--format=gnu"][..], &["--format=pax"], &["--format=gnu", "--sparse"]].into_iter().chain(
        ["0.0", "0.1", "1.0"].iter().map(|version| match *version {
            "0.0" => &["--format=pax", "--sparse", "--sparse-version=0.0"][..],
            "0.1" => &["--format=pax", "--sparse", "--sparse-version=0.1"],
            _ => &["--format=pax", "--sparse", "--sparse-version=1.0"],
        }),
    ) {
        let pax = format[0] == "--format=pax";
        let mut args = format.to_vec();
        if pax {
            args.extend(["--xattrs", "--xattrs-include=*"]);
        }
        args.extend(["-c", "-C", path, "--exclude=./deleted", "."]);
        let archive = run("tar", &args, b"");
        let back = unpack(&archive, &UnpackOptions::default());
        let (before, after) = (look(tree.path()), look(back.path()));
        for (name, seen) in &before {
            if name == b"deleted" {
                continue;
            }
            let mut expected = seen.clone();
            expected.xattrs.retain(|name, _| pax && !name.starts_with(b"trusted.overlay."));
            if !pax {
                expected.mtime.1 = 0;
            }
            // tar may visit the names of a file in another order; which one is first does not matter here.
            expected.first.clone_from(&after[name].first);
            assert!(expected == after[name], "{format:?} {}", name.escape_ascii());
        }
        assert_eq!(after[&b"bin/su"[..]].first, after[&b"hard"[..]].first);
    }
}

#[test]
fn a_sparse_file_may_be_larger_than_any_disk() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("huge")).unwrap();
    file.set_len(9 << 40).unwrap();
    file.write_all_at(b"end", (9 << 40) - 3).unwrap();
    let path = dir.path().to_str().unwrap();
    for format in [&["--format=gnu"][..], &["--format=pax"]] {
        let args = [format, &["--sparse", "-c", "-C", path, "huge"]].concat();
        let archive = run("tar", &args, b"");
        let back = unpack(&archive, &UnpackOptions::default());
        let file = fs::File::open(back.path().join("huge")).unwrap();
        let mut end = [0; 3];
        file.read_exact_at(&mut end, (9 << 40) - 3).unwrap();
        assert_eq!((file.metadata().unwrap().len(), &end), (9 << 40, b"end"));
    }
}
