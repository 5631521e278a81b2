//! What a check looks at and does not understand is told as not known, and never counts as fresh; through the program.

mod stage;
mod support;
mod whole;

use std::fs;

use otoshi_test::given;
use serde_json::Value;
use stage::Stage;
use support::Shop;
use whole::assert_said;

const DEBIAN: &str =
    "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";

/// Makes an image of files alone.
fn image(shop: &Shop, name: &str, files: &[(&str, &[u8])]) {
    let directory = shop.dir.path().join("images").join(name);
    fs::create_dir_all(&directory).unwrap();
    for (path, content) in files {
        let path = directory.join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(directory.join("Dockerfile"), "FROM scratch\nCOPY root /\n").unwrap();
    let tag = format!("otoshi.test/{name}:1");
    shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", &tag]);
}

/// The kinds and reasons of what is not known.
fn unknown(report: &Value) -> Vec<(String, String)> {
    let list = report["unknown"].as_array().unwrap().iter();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    list.map(|one| (text(one, "kind"), text(one, "text"))).collect()
}

#[test]
fn an_image_whose_packages_cannot_be_read_or_compared_is_not_known() {
    let shop = given!(Shop::new());
    let package = |name: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nMaintainer: x\n\n"
        )
    };
    let release = ("etc/os-release", DEBIAN.as_bytes());
    // A release that nobody knows the repositories of.
    let other = ("etc/os-release", &b"ID=other\nVERSION_ID=7\nPRETTY_NAME=\"Other 7\"\n"[..]);
    let foreign = package("mine") + &package("yours");
    let incomparable = |count: u8| {
        format!(
            "it has no package repository configured, so there was nothing to compare its packages ({count}) with"
        )
    };
    let (one, two) = (incomparable(1), incomparable(2));
    for (name, files, kind, reason) in [
        (
            "none",
            vec![release],
            "packages",
            "it says it is Debian GNU/Linux 13 (trixie), but it has no package database",
        ),
        (
            "empty",
            vec![release, ("var/lib/dpkg/status", b"")],
            "packages",
            "it says it is Debian GNU/Linux 13 (trixie), but its package database is empty",
        ),
        (
            "arch",
            vec![other, ("var/lib/pacman/local/ALPM_DB_VERSION", b"9\n")],
            "packages",
            "it has pacman packages, whose record (/var/lib/pacman/local/ALPM_DB_VERSION) Otoshi does not read",
        ),
        (
            "router",
            vec![("usr/lib/opkg/status", b"Package: x\n")],
            "packages",
            "it has opkg packages, whose record (/usr/lib/opkg/status) Otoshi does not read",
        ),
        (
            "no-sources",
            vec![other, ("var/lib/dpkg/status.d/mine", foreign.as_bytes())],
            "repositories",
            two.as_str(),
        ),
        (
            "apk",
            vec![other, ("lib/apk/db/installed", b"P:musl\nV:1.2.5-r0\nA:x86_64\n\n")],
            "repositories",
            one.as_str(),
        ),
        (
            "azure",
            vec![
                other,
                (
                    "var/lib/rpmmanifest/container-manifest-2",
                    b"glibc\t2.38-8.azl3\t1\t1\tx\t(none)\t1\tx86_64\t0\tglibc-2.38-8.azl3.src.rpm\n",
                ),
            ],
            "repositories",
            one.as_str(),
        ),
    ] {
        image(&shop, name, &files);
        let reference = format!("otoshi.test/{name}:1");
        let (code, report) = shop.check(&[&reference]);
        assert_eq!(
            (code, &report["counts"]["unknown"], &report["counts"]["fresh"]),
            (20, &1.into(), &0.into()),
            "{report}"
        );
        assert_eq!(unknown(&report), [(kind.to_owned(), reason.to_owned())], "{name}");
        assert_said(&format!("check-unknown-{name}"), &shop.otoshi(&["check", &reference]));
    }
    // A record that is damaged, in a form that is known.
    image(&shop, "chisel", &[other, ("var/lib/chisel/manifest.wall", b"no zstd")]);
    assert_said("check-of-a-damaged-record-of-packages", &shop.otoshi(&["check", "otoshi.test/chisel:1"]));

    // Nothing at all is no more than that.
    image(&shop, "scratch", &[("app", b"a program")]);
    let (code, report) = shop.check(&["otoshi.test/scratch:1"]);
    assert_eq!(
        (code, &report["bare"], &report["fresh"]),
        (0, &serde_json::json!(["otoshi.test/scratch:1"]), &serde_json::json!([]))
    );
    assert_said("check-without-packages", &shop.otoshi(&["check", "otoshi.test/scratch:1"]));

    // All forms of the report say it.
    assert_said("check-unknown-markdown", &shop.otoshi(&["check", "--markdown", "otoshi.test/none:1"]));
    let sarif: Value =
        serde_json::from_slice(&shop.otoshi(&["check", "--sarif", "otoshi.test/none:1"]).stdout).unwrap();
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!((&invocation["executionSuccessful"], &invocation["exitCode"]), (&false.into(), &20.into()));
}

#[test]
fn a_tag_that_says_nothing_of_its_series_is_not_known() {
    let stage = given!(Stage::new());
    let host = stage.proxy.host();
    let to = format!("{host}/slim");
    stage.shop.import("slim 1\n");
    for tag in ["1", "stable", "main-3f9c2d1", "sha-0a1b2c3d4e", "v2024w7x9", "12345678"] {
        stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{to}:{tag}")]);
    }
    let digest = stage.shop.json(&["inspect", "otoshi.test/busybox:1"])["digest"].clone();
    let digest = digest.as_str().unwrap();
    let manifest = fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    for (tag, known) in [
        (":1".to_owned(), true),
        (":stable".into(), true),
        (":main-3f9c2d1".into(), false),
        (":sha-0a1b2c3d4e".into(), false),
        (":v2024w7x9".into(), false),
        (":12345678".into(), false),
        (format!(":1@{digest}"), true),
        (format!("@{digest}"), false),
    ] {
        stage.replace_machine();
        let _ = fs::remove_file(stage.shop.path("otoshi.lock"));
        stage.shop.write("otoshi.toml", &manifest.replace(&format!("{to}:1"), &format!("{to}{tag}")));
        stage.shop.ok(&["build"]);
        let (code, report) = stage.shop.check(&[]);
        let expected = if known { (0, 0, 2) } else { (20, 1, 1) };
        let count = |name: &str| report["counts"][name].as_u64().unwrap();
        assert_eq!((code, count("unknown"), count("fresh")), expected, "{tag}: {report}");
        if !known {
            assert_eq!(unknown(&report)[0].0, "tags");
            let told = format!(
                "{}[check]\nignore = [\"RUN_BASE\"]\n",
                fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap()
            );
            stage.shop.write("otoshi.toml", &told);
            let (code, report) = stage.shop.check(&[]);
            assert_eq!((code, &report["unknown"][0]["state"]), (0, &"ignored".into()), "{report}");
            assert_eq!(report["counts"]["fresh"], 1);
        }
    }
}

#[test]
fn a_base_that_is_named_by_tag_and_digest_is_compared_with_what_the_tag_names() {
    let stage = given!(Stage::new());
    let to = format!("{}/slim", stage.proxy.host());
    let digest = |stage: &Stage| {
        stage.shop.json(&["inspect", "otoshi.test/busybox:1"])["digest"].as_str().unwrap().to_owned()
    };
    stage.push_base("slim", "slim 1\n");
    let first = digest(&stage);
    stage.edit("otoshi.toml", &format!("{to}:1"), &format!("{to}:1@{first}"));
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    assert_eq!(stage.shop.check(&[]).0, 0);
    stage.push_base("slim", "slim 2\n");
    let second = digest(&stage);
    let (code, report) = stage.shop.check(&[]);
    let finding = &report["findings"][0];
    assert_eq!(
        (code, &finding["kind"], &finding["to"]),
        (10, &"base-moved".into(), &second.clone().into()),
        "{report}"
    );
    let command = finding["command"].as_str().unwrap();
    assert!(
        command.starts_with(&format!("otoshi update RUN_BASE={to}:1@{second}, then otoshi build")),
        "{command}"
    );
    let manifest = || fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    let updated = manifest().replace(&first, &second);
    stage.shop.ok(&["update", "RUN_BASE"]);
    assert_eq!(manifest(), updated);
    assert_eq!(stage.shop.check(&[]).0, 0);
}

#[test]
fn a_base_of_the_store_that_was_imported_anew_has_moved() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    let (code, report) = shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (0, &1.into()), "{report}");
    shop.import("base 2\n");
    let (code, report) = shop.check(&[]);
    assert_eq!(code, 10, "{report}");
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["command"]),
        (&"base-moved".into(), &"otoshi refresh".into()),
        "{report}"
    );
    let planned = shop.json(&["refresh", "--dry-run", "--json"]);
    assert!(!planned["moved"].as_array().unwrap().is_empty(), "{planned}");
    let lock = || fs::read_to_string(shop.path("otoshi.lock")).unwrap();
    let [from, to] = ["from", "to"].map(|key| finding[key].as_str().unwrap());
    let updated = lock().replace(from, to);
    shop.ok(&["update"]);
    assert_eq!(lock(), updated);
    assert_eq!(shop.check(&[]).0, 0);
}
