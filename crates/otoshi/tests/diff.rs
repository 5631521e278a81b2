//! `otoshi diff` on images that a user built.

mod support;
mod whole;

use std::{fs, path::Path, process::Command};

use otoshi_test::{Need, given, require, run};
use support::Shop;
use whole::assert_said;

const OLD: &str = "FROM otoshi.test/busybox:1\n\
    RUN mkdir -p /var/lib/dpkg /d && printf 'Package: p\\nStatus: install ok installed\\nVersion: 1\\n' > /var/lib/dpkg/status\n\
    RUN echo one > /d/content && echo x > /d/mode && echo gone > /d/gone && ln -s a /d/link && echo same > /same\n\
    ENV A=1\n";
const NEW: &str = "FROM otoshi.test/busybox:1\n\
    RUN mkdir -p /var/lib/dpkg /d && printf 'Package: p\\nStatus: install ok installed\\nVersion: 2\\n' > /var/lib/dpkg/status\n\
    RUN echo two > /d/content && echo x > /d/mode && chmod 600 /d/mode && ln -s b /d/link && echo same > /same\n\
    RUN rm /etc/base && rm -r /bin/ls && touch /added\n\
    ENV A=2\n";

#[test]
fn two_images_are_compared_without_running_them() {
    let shop = given!(Shop::new());
    let path = "SHELL [\"/bin/sh\", \"-c\"]\nRUN true\n";
    for (name, text) in [("old", OLD), ("new", NEW)] {
        // Only busybox itself is in the base.
        let text = text.replace("mkdir", "/bin/busybox mkdir").replace("printf", "/bin/busybox printf");
        let text = text.replace("chmod", "/bin/busybox chmod").replace("ln -s", "/bin/busybox ln -s");
        let text = text.replace("rm ", "/bin/busybox rm ").replace("touch", "/bin/busybox touch");
        shop.write(&format!("{name}/Dockerfile"), &format!("{text}{path}"));
        shop.ok(&["image", "build", name, "-t", &format!("{name}:1")]);
    }
    assert_said("diff", &shop.otoshi(&["diff", "old:1", "new:1"]));
    assert_said("diff-stat", &shop.otoshi(&["diff", "--stat", "old:1", "new:1"]));

    // The other way round, what was removed is added.
    let back: serde_json::Value =
        serde_json::from_slice(&shop.otoshi(&["diff", "--json", "new:1", "old:1"]).stdout).unwrap();
    let base = back["files"].as_array().unwrap().iter().find(|file| file["path"] == "/etc/base").unwrap();
    assert_eq!(base["change"], "added");
    assert_eq!(shop.ok(&["diff", "new:1", "new:1"]), "");
    assert_eq!(shop.otoshi(&["diff", "new:1", "missing:1"]).status.code(), Some(2));
}

/// An image of busybox and one file, and the packages that differ from another's: in words, and in JSON.
fn packages(shop: &Shop, path: &str, old: &[u8], new: &[u8]) -> (Vec<String>, serde_json::Value) {
    for (name, record) in [("old", old), ("new", new)] {
        fs::create_dir_all(shop.path(name)).unwrap();
        fs::write(shop.path(name).join("record"), record).unwrap();
        shop.write(
            &format!("{name}/Dockerfile"),
            &format!("FROM otoshi.test/busybox:1\nCOPY record {path}\n"),
        );
        shop.ok(&["image", "build", name, "-t", &format!("{name}:1")]);
    }
    let text = String::from_utf8(shop.otoshi(&["diff", "old:1", "new:1"]).stdout).unwrap();
    let lines = text.lines().skip_while(|line| *line != "packages").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect();
    let json = shop.otoshi(&["diff", "--json", "old:1", "new:1"]).stdout;
    (lines, serde_json::from_slice(&json).unwrap())
}

#[test]
fn packages_of_apk_are_compared() {
    let shop = given!(Shop::new());
    let record = |packages: &[(&str, &str)]| -> String {
        let one = |(name, version): &(&str, &str)| {
            format!(
                "C:Q1eVpkasfqZAukAXFYbgwt4xAMZWU=\nP:{name}\nV:{version}\nA:x86_64\nS:9\nI:9\no:{name}\nF:lib\nR:f\n\n"
            )
        };
        packages.iter().map(one).collect()
    };
    let old = record(&[("gone", "1-r0"), ("musl", "1.2.5-r0"), ("zlib", "1.3.1-r1")]);
    let new = record(&[("musl", "1.2.5-r1"), ("zlib", "1.3.1-r1")]);
    let (lines, json) = packages(&shop, "/lib/apk/db/installed", old.as_bytes(), new.as_bytes());
    assert_eq!(lines, ["gone:x86_64  1-r0 → (none)", "musl:x86_64  1.2.5-r0 → 1.2.5-r1"]);
    assert_eq!(json["packages"][1]["new"], "1.2.5-r1");
    assert_eq!(json["unread"], serde_json::json!([]));
}

/// rpm's own database with one package of a version.
fn rpm_database(directory: &Path, version: &str) -> Vec<u8> {
    let spec = directory.join("greeting.spec");
    let text = format!(
        "Name: greeting\nEpoch: 1\nVersion: {version}\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n\
         %description\nd\n%files\n"
    );
    fs::write(&spec, text).unwrap();
    let top = format!("_topdir {}", directory.join(version).display());
    run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &top]).arg(&spec));
    let package = directory.join(version).join(format!("RPMS/noarch/greeting-{version}-1.noarch.rpm"));
    let database = directory.join(format!("database-{version}"));
    let mut rpm = Command::new("rpm");
    rpm.arg("--dbpath").arg(&database).args(["--define", "_db_backend sqlite", "-i", "--justdb", "--nodeps"]);
    run(rpm.arg(package));
    fs::read(database.join("rpmdb.sqlite")).unwrap()
}

#[test]
fn packages_of_rpm_are_compared_and_a_damaged_record_is_told() {
    given!(require(&[Need::Tool("rpm")]));
    let shop = given!(Shop::new());
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (rpm_database(directory.path(), "1.0"), rpm_database(directory.path(), "1.1"));
    let path = "/var/lib/rpm/rpmdb.sqlite";
    let (lines, json) = packages(&shop, path, &old, &new);
    assert_eq!(lines, ["greeting:noarch  1:1.0-1 → 1:1.1-1"]);
    assert_eq!(json["packages"][0]["name"], "greeting:noarch");

    let (lines, json) = packages(&shop, path, &old, b"no database");
    assert_eq!(lines, [""; 0]);
    let told = "cannot read the packages in /var/lib/rpm/rpmdb.sqlite: it is not an SQLite database";
    assert_eq!(json["unread"], serde_json::json!([told]));
    assert_said("diff-with-a-damaged-record-of-packages", &shop.otoshi(&["diff", "old:1", "new:1"]));
}
