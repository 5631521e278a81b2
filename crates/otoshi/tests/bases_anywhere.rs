//! A base of another release than this machine's, on this machine and on one that has no apt: the distribution's mirror and keys come
//! with the program.
//!
//! Needs root.

use std::{fs, process::Command};

use otoshi_test::{Need, given, require};
use serde_json::Value;

/// Runs the program; with a script before it, in a mount namespace of its own.
fn otoshi(directory: &std::path::Path, home: &str, before: &str, arguments: &str) -> (i32, String) {
    let script = format!(
        "set -e; {before} cd {}/project; exec {} {arguments}",
        directory.display(),
        env!("CARGO_BIN_EXE_otoshi")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("OTOSHI_HOME", directory.join(home));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = output.status.code().unwrap();
    assert!(matches!(code, 0 | 10 | 11), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    (code, said)
}

#[test]
fn a_base_of_a_release_that_no_apt_here_knows_is_the_same_everywhere() {
    given!(require(&[Need::Root]));
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let manifest = "[project]\nname = \"hello\"\n[bases]\n\
        RUN = { debian = \"13\", packages = [], variant = \"minimal\", slim = true }\n\
        [runner]\ndockerfile = \"runner.Dockerfile\"\n[processes]\nweb = [\"/bin/sh\", \"-c\", \"true\"]\n";
    for name in ["nothing", "none", "project"] {
        fs::create_dir(directory.join(name)).unwrap();
    }
    fs::write(directory.join("project/otoshi.toml"), manifest).unwrap();
    fs::write(directory.join("project/runner.Dockerfile"), "ARG RUN\nFROM ${RUN}\n").unwrap();
    fs::write(directory.join("empty"), "").unwrap();
    let here = directory.display();
    // As on a machine of another distribution: no apt, no keys, no record of packages.
    let without_apt = format!(
        "mount --bind {here}/nothing /etc/apt; mount --bind {here}/none /usr/share/keyrings; \
         mount --bind {here}/empty /var/lib/dpkg/status;"
    );
    let digest = |home: &str, before: &str| {
        otoshi(directory, home, before, "build");
        let (_, shown) = otoshi(directory, home, before, "inspect hello/runner");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(digest("one", ""), digest("two", &without_apt));

    // What has no sources of its own is compared with what its distribution publishes, the project's base and the image alike.
    let (code, report) = otoshi(directory, "one", "", "check --json");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (code, &report["counts"]["unknown"], &report["counts"]["fresh"]),
        (0, &0.into(), &2.into()),
        "{report}"
    );
    let (code, report) = otoshi(directory, "two", &without_apt, "check --json hello/runner");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["fresh"]), (0, &serde_json::json!(["hello/runner"])), "{report}");
    let looked = &report["images"][0];
    assert!(
        looked["packages"].as_u64().unwrap() > 50 && looked["foreign"] == serde_json::json!([]),
        "{looked}"
    );
}
