//! A store survives what happens to the disk under it: full, read-only, damaged, of another format, with another clock.

mod support;
mod whole;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use otoshi_test::{given, said};
use support::Shop;
use whole::{assert_said, assert_said_of, assert_written};

/// Runs `script` in a mount namespace of its own, in the shop's directory; `$OTOSHI` is the program.
fn apart(shop: &Shop, script: &str) -> Output {
    let path = shop.path("script");
    fs::write(&path, format!("set -eu\nmount --make-rprivate /\n{script}")).unwrap();
    Command::new("unshare")
        .args(["--mount", "/bin/sh"])
        .arg(&path)
        .current_dir(shop.path(""))
        .env("OTOSHI", env!("CARGO_BIN_EXE_otoshi"))
        .env("OTOSHI_HOME", shop.home())
        .output()
        .unwrap()
}

/// Every file under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// The blobs of an image's layers, the last on top.
fn layers(shop: &Shop, name: &str) -> Vec<PathBuf> {
    let image = shop.json(&["inspect", name]);
    let digests = image["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap());
    digests.map(|digest| shop.home().join("images/blobs").join(digest.replace(':', "/"))).collect()
}

#[test]
fn a_full_disk_ends_the_step_and_the_next_run_goes_on() {
    let shop = given!(Shop::new());
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nCOPY big /big\n");
    // Noise: what zeros became, no compression would fill a disk with.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..12 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    fs::write(shop.path("big"), noise).unwrap();
    let script = "
        mkdir -p kept && cp -a $OTOSHI_HOME/. kept/
        mount -t tmpfs -o size=16m tmpfs $OTOSHI_HOME
        cp -a kept/. $OTOSHI_HOME/
        status=0; $OTOSHI build >&2 || status=$?
        echo \"first: $status\"
        $OTOSHI images
        $OTOSHI verify
        mount -o remount,size=120m $OTOSHI_HOME
        $OTOSHI build >&2
        $OTOSHI verify
        $OTOSHI run web
    ";
    let output = apart(&shop, script);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_written("builds-on-a-full-disk", &String::from_utf8_lossy(&output.stdout));
    assert!(text.contains("No space left on device"), "{text}");
    // A file of the store, or of the layer that was being unpacked: whoever came first to where no space was left.
    let named = text.contains(&format!("{}/", shop.home().display())) || text.contains("for entry");
    assert!(named, "the file is named: {text}");
    assert!(text.contains("hint: free space on this file system"), "{text}");
}

#[test]
fn a_read_only_disk_is_told_by_what_writes_and_read_by_what_reads() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    shop.write("src/main", "source 2\n");
    let script = "
        mkdir -p out
        mount --bind $OTOSHI_HOME $OTOSHI_HOME
        mount -o remount,bind,ro $OTOSHI_HOME
        $OTOSHI images
        for reading in 'inspect shop/web' 'history shop/web' verify plan \\
            'export shop/web out/oci --format oci' 'export shop/web out/oci.tar --format oci-archive' \\
            'export shop/web out/docker.tar --format docker-archive' 'diff shop/web shop/web'
        do
            $OTOSHI $reading > out/said || { echo \"$reading: $?\" >&2; exit 99; }
        done
        $OTOSHI rmi shop/web && exit 98
        $OTOSHI gc && exit 97
        code=0; $OTOSHI build 2> out/error || code=$?
        sed 's,/work/[0-9-]*,/work/PROCESS,' out/error >&2
        exit $code
    ";
    assert_said("images-and-build-on-a-read-only-disk", &apart(&shop, script));
    shop.ok(&["build"]);
    assert!(shop.ok(&["run", "web"]).starts_with("source 2\n"));
}

#[test]
fn a_clock_that_went_backwards_changes_nothing() {
    let shop = given!(Shop::new());
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4]);
    let future = SystemTime::now() + Duration::from_secs(3 * 365 * 24 * 3600);
    let snapshots = shop.home().join("snapshots");
    for path in files(shop.dir.path()).into_iter().filter(|path| !path.starts_with(&snapshots)) {
        let _ = fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(future));
    }
    assert_eq!(shop.ran(&[]), [] as [u8; 0], "what was written in the future is as good");
    shop.write("src/main", "source 2\n");
    let file = fs::File::options().write(true).open(shop.path("src/main")).unwrap();
    file.set_modified(future).unwrap();
    assert_eq!(shop.ran(&[]), [2, 4], "a change of the same size at the same time is seen");
    assert!(shop.ok(&["run", "web"]).starts_with("source 2\n"));
    shop.ok(&["gc", "--unused-for", "0"]);
    shop.ok(&["verify"]);
    assert!(shop.ok(&["run", "web"]).starts_with("source 2\n"));
}

#[test]
fn a_truncated_layer_is_written_again() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let top = layers(&shop, "shop/web").pop().unwrap();
    let whole = fs::read(&top).unwrap();
    fs::write(&top, &whole[..whole.len() / 2]).unwrap();
    let words = [(top.file_name().unwrap().to_str().unwrap(), "ITS-DIGEST")];
    assert_said_of("verify-of-a-truncated-layer", shop.otoshi(&["verify"]), &words);
    // What needs the layer sees that it is not what it was.
    let archive = shop.path("archive.tar");
    let export = ["export", "shop/web", archive.to_str().unwrap(), "--format", "oci-archive"];
    assert_said_of("export-of-a-truncated-layer", shop.otoshi(&export), &words);
    shop.ok(&["build"]);
    assert_eq!(fs::read(&top).unwrap(), whole, "the same bytes again");
    shop.ok(&["verify"]);
}

#[test]
fn damage_is_noticed_told_and_made_good() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    shop.ok(&["verify"]);
    let home = shop.home();
    let snapshots: Vec<_> =
        fs::read_dir(home.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let holds = |name: &str| {
        snapshots
            .iter()
            .find(|snapshot| snapshot.join("fs").join(name).exists())
            .unwrap_or_else(|| panic!("{name}"))
    };

    // A file of a snapshot is gone, one is cut off, and of one the whole tree is gone.
    let damaged = [holds("etc/runner"), holds("opt/deps/lib"), holds("bin/busybox")];
    fs::remove_file(damaged[0].join("fs/etc/runner")).unwrap();
    fs::write(damaged[1].join("fs/opt/deps/lib"), "").unwrap();
    fs::remove_dir_all(damaged[2].join("fs")).unwrap();
    // A record is cut off.
    let records = files(&home.join("records"));
    let record = records.iter().find(|path| path.starts_with(home.join("records/phase"))).unwrap();
    let body = fs::read(record).unwrap();
    fs::write(record, &body[..body.len() - 1]).unwrap();

    let words = [
        (damaged[0], "THE-RUNNER"),
        (damaged[1], "A-COPY-OF-THE-DEPENDENCIES"),
        (damaged[2], "THE-BASE"),
        (record, "A-RECORD"),
    ];
    // Its lines are in the order of the names, which come from contents.
    let sorted = |mut output: Output| {
        let mut text = said(&output);
        for (path, word) in words {
            text = text.replace(path.to_str().unwrap(), word);
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        output.stderr.clear();
        output.stdout = (lines.join("\n") + "\n").into_bytes();
        output
    };
    assert_said("verify-of-a-damaged-store", &sorted(shop.otoshi(&["verify"])));
    assert_said("verify-that-removes", &sorted(shop.otoshi(&["verify", "--remove"])));
    shop.ok(&["verify"]);
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
    shop.ok(&["build", "--no-cache"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
}

#[test]
fn an_index_that_is_cut_off_is_told_and_left_alone() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let index = shop.home().join("images/index.json");
    let whole = fs::read(&index).unwrap();
    let cut = &whole[..whole.len() - 10];
    fs::write(&index, cut).unwrap();
    let blobs = files(&shop.home().join("images/blobs"));
    for command in [&["build", "--no-cache"][..], &["gc", "--unused-for", "0"], &["images"], &["run", "web"]]
    {
        assert_said(&format!("{}-with-an-index-that-is-cut-off", command[0]), &shop.otoshi(command));
    }
    assert_eq!(fs::read(&index).unwrap(), cut);
    assert!(blobs.iter().all(|blob| blob.exists()), "nothing is removed while nobody knows what is named");
    fs::write(&index, whole).unwrap();
    assert!(shop.ok(&["run", "web"]).starts_with("source 1\n"));
}

#[test]
fn a_store_of_another_format_is_told_and_left_alone() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let format = shop.home().join("format");
    let before = files(&shop.home());
    for (found, what) in [("3\n", "a-newer"), ("0\n", "an-older"), ("", "no")] {
        fs::write(&format, found).unwrap();
        for command in [&["build"][..], &["gc", "--unused-for", "0"], &["images"], &["verify", "--remove"]] {
            assert_said(&format!("any-command-on-a-store-of-{what}-format"), &shop.otoshi(command));
        }
        assert_eq!(fs::read_to_string(&format).unwrap(), found);
        assert_eq!(files(&shop.home()), before);
    }
    fs::write(&format, "2\n").unwrap();
    assert_eq!(shop.ran(&[]), [] as [u8; 0]);
}

#[test]
fn a_damaged_snapshot_is_noticed_when_it_is_used() {
    let shop = given!(Shop::new());
    shop.write(
        "runner.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nRUN cat /etc/runner > /etc/more\n",
    );
    shop.ok(&["build"]);
    let snapshots =
        || fs::read_dir(shop.home().join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    // A base's layer and a step's result, each cut off.
    for (file, changed) in [
        (
            "etc/base",
            (
                "runner.Dockerfile",
                "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nRUN cat /etc/base /etc/runner > /etc/more\n",
            ),
        ),
        (
            "etc/runner",
            (
                "runner.Dockerfile",
                "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\nRUN cat /etc/runner /etc/base > /etc/more\n",
            ),
        ),
    ] {
        let found = snapshots().find(|path| path.join("fs").join(file).exists()).unwrap();
        let path = found.join("fs").join(file);
        fs::write(&path, "").unwrap();
        shop.write(changed.0, changed.1);
        let output = shop.otoshi(&["build"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {text}");
        assert!(!found.exists() || fs::read_to_string(&path).unwrap() != "", "{file} is as it was: {text}");
        assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n", "{file}: {text}");
        shop.ok(&["verify"]);
    }
    // The same for a Dockerfile alone.
    shop.write("img/Dockerfile", "FROM otoshi.test/busybox:1\nRUN echo one > /one\nRUN cat /one > /two\n");
    shop.ok(&["image", "build", "img", "-t", "img:1"]);
    let one = snapshots().find(|path| path.join("fs/one").exists()).unwrap();
    fs::remove_file(one.join("fs/one")).unwrap();
    shop.write(
        "img/Dockerfile",
        "FROM otoshi.test/busybox:1\nRUN echo one > /one\nRUN cat /one /etc/base > /two\n",
    );
    let built = shop.otoshi(&["image", "build", "img", "-t", "img:1"]);
    let words = [(one.file_name().unwrap().to_str().unwrap(), "OF-THE-FIRST-STEP")];
    assert_said_of("image-build-on-a-damaged-snapshot", built, &words);
    assert_eq!(shop.ok(&["run", "img:1", "--", "/bin/cat", "/two"]), "one\nbase 1\n");
}

#[test]
fn an_index_that_others_made_too_long_stops_neither_a_collection_nor_a_verification() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let index = shop.home().join("images/index.json");
    let text = fs::read_to_string(&index).unwrap();
    let note = format!("\"annotations\":{{\"a\":\"{}\",", "x".repeat(17 << 20));
    let long = text.replacen("\"annotations\":{", &note, 1);
    for command in [&["gc"][..], &["verify", "--remove"]] {
        fs::write(&index, &long).unwrap();
        shop.ok(command);
        assert_eq!(fs::read_to_string(&index).unwrap(), text, "{command:?}");
        assert!(shop.ok(&["run", "web"]).starts_with("source 1\n"));
    }
    // What only reads leaves it as it is.
    fs::write(&index, &long).unwrap();
    shop.ok(&["verify"]);
    assert_eq!(fs::metadata(&index).unwrap().len(), long.len() as u64);
}

#[test]
fn what_a_collection_cannot_remove_is_told_and_all_else_goes() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    // What processes left that are gone; one has a directory on which something is mounted.
    let script = "
        for left in 1-0 2-0 3-0; do mkdir -p $OTOSHI_HOME/work/$left/fs/a && echo x > $OTOSHI_HOME/work/$left/fs/b; done
        mount -t tmpfs tmpfs $OTOSHI_HOME/work/2-0/fs/a
        $OTOSHI rmi shop/web shop/cli >&2
        code=0; $OTOSHI gc --unused-for 0 > out || code=$?
        ls $OTOSHI_HOME/work $OTOSHI_HOME/work/2-0/fs
        umount $OTOSHI_HOME/work/2-0/fs/a
        exit $code
    ";
    let output = apart(&shop, script);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    let left = format!("left in the store: removing {}/work/2-0: ", shop.home().display());
    assert_eq!(text.lines().filter(|line| line.starts_with(&left)).count(), 1, "{text}");
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(listed.contains("2-0") && !listed.contains("1-0") && !listed.contains("3-0"), "{listed}");
    let removed = fs::read_to_string(shop.path("out")).unwrap();
    assert!(removed.starts_with("removed ") && !removed.contains(", 0 blobs"), "{removed}");
    shop.ok(&["gc"]);
    assert_eq!(fs::read_dir(shop.home().join("work")).unwrap().count(), 0);
}
