//! A runner that starts from Debian's packages, with no registry, no shell and no package manager.
//!
//! Needs root, and an apt that knows bookworm.

mod whole;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use otoshi_test::{Need, given, require};
use whole::{assert_said, assert_written};

const MANIFEST: &str = r#"
[project]
name = "hello"
[bases]
RUN = { debian = "bookworm", packages = ["hello"], variant = "distroless" }
[runner]
dockerfile = "runner.Dockerfile"
[processes]
web = ["/usr/bin/hello"]
cat = ["/usr/bin/cat", "/etc/os-release"]
"#;

fn otoshi(project: &Path, home: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otoshi"));
    command.args(arguments).current_dir(project).env("OTOSHI_HOME", project.parent().unwrap().join(home));
    command.output().unwrap()
}

fn ok(project: &Path, home: &str, arguments: &[&str]) -> String {
    let output = otoshi(project, home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn stale(project: &Path, home: &str, arguments: &[&str]) -> Vec<u64> {
    let report: serde_json::Value =
        serde_json::from_str(&ok(project, home, &[&["build", "--json"], arguments].concat())).unwrap();
    let phases = report["phases"].as_array().unwrap().iter();
    phases.filter(|phase| phase["status"] == "stale").map(|phase| phase["number"].as_u64().unwrap()).collect()
}

const NEEDS: &[Need] = &[Need::Root, Need::Apt("bookworm")];

#[test]
fn a_runner_of_packages_runs_and_is_the_same_on_every_machine() {
    given!(require(NEEDS));
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("hello");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("otoshi.toml"), MANIFEST).unwrap();
    fs::write(project.join("runner.Dockerfile"), "ARG RUN\nFROM ${RUN}\n").unwrap();

    // Planning knows from the index what would be made, and makes nothing.
    assert_said("plan-on-a-base-of-debians-packages", &otoshi(&project, "one", &["plan"]));
    let made =
        |place: &str| fs::read_dir(directory.path().join("one").join(place)).map_or(0, Iterator::count);
    assert_eq!((made("packages/deb"), made("snapshots"), made("records/base")), (0, 0, 0));

    let built = otoshi(&project, "one", &["build"]);
    assert_said("build-on-a-base-of-debians-packages", &built);
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(said.lines().any(|line| line == "[base 1/1] make a base of debian bookworm, hello"), "{said}");
    assert_eq!(ok(&project, "one", &["run", "web"]), "Hello, world!\n");
    let no_shell = otoshi(&project, "one", &["run", "cat"]);
    assert!(!no_shell.status.success(), "there is nothing but what was asked for");
    let lock = fs::read_to_string(project.join("otoshi.lock")).unwrap();
    assert_written("lock-of-a-base-of-debians-packages", &lock);

    // Nothing new in the repositories, nothing to do.
    assert_eq!(stale(&project, "one", &[]), [0u64; 0]);
    assert_eq!(stale(&project, "one", &["--refresh"]), [0u64; 0]);

    // Another machine makes the very image that the lock has.
    assert_eq!(stale(&project, "two", &["--locked"]), [3, 4]);
    assert_eq!(ok(&project, "one", &["images"]), ok(&project, "two", &["images"]));
    assert_eq!(fs::read_to_string(project.join("otoshi.lock")).unwrap(), lock);

    // One package more is another base: the runner and the app are made again, of one package more.
    let debs = || fs::read_dir(directory.path().join("one/packages/deb")).unwrap().count();
    let before = debs();
    fs::write(project.join("otoshi.toml"), MANIFEST.replace("[\"hello\"]", "[\"hello\", \"netbase\"]"))
        .unwrap();
    assert_eq!(stale(&project, "one", &[]), [3, 4]);
    assert_eq!(debs(), before + 1);

    let unknown = MANIFEST.replace("\"hello\"]", "\"hello-there-is-no-such\"]");
    fs::write(project.join("otoshi.toml"), unknown).unwrap();
    let refused = otoshi(&project, "one", &["build"]);
    assert_said("build-of-a-package-that-no-repository-has", &refused);
}

/// The project, made of the release alone or of all its suites, and the name that the base has in the lock.
fn of_suites(project: &Path, suites: &str) -> String {
    let manifest =
        MANIFEST.replace("packages = [\"hello\"]", &format!("packages = [\"hello\", \"liblzma5\"]{suites}"));
    fs::write(project.join("otoshi.toml"), manifest).unwrap();
    ok(project, "one", &["build"]);
    let lock = fs::read_to_string(project.join("otoshi.lock")).unwrap();
    let name = lock.split('"').find(|word| word.starts_with("otoshi.invalid/packages/")).unwrap();
    name.to_owned()
}

#[test]
fn a_check_says_which_versions_a_base_of_packages_would_have() {
    given!(require(NEEDS));
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("hello");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("runner.Dockerfile"), "ARG RUN\nFROM ${RUN}\n").unwrap();
    let check_on = |machine: &str| {
        let output = otoshi(&project, machine, &["check", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report)
    };
    let check = || check_on("one");
    let lock = || fs::read_to_string(project.join("otoshi.lock")).unwrap();
    let new = of_suites(&project, "");
    let (code, report) = check();
    assert_eq!((code, &report["counts"]["fresh"]), (0, &2.into()), "{report}");
    assert_eq!(
        report["images"][1]["foreign"],
        serde_json::json!([]),
        "what comes with the base has its repositories"
    );

    // The lock of a time when the security fixes were not out yet.
    let old = of_suites(&project, ", suites = [\"bookworm\"]");
    assert_ne!(old, new);
    let before = lock().replace(&old, &new);
    of_suites(&project, "");
    fs::write(project.join("otoshi.lock"), &before).unwrap();
    let debs = || fs::read_dir(directory.path().join("one/packages/deb")).unwrap().count();
    let known = debs();
    let (code, report) = check();
    assert_eq!(code, 11, "{report}");
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["name"]), (&"security-updates".into(), &"RUN".into()), "{report}");
    let packages = finding["packages"].as_array().unwrap();
    let lzma = packages.iter().find(|package| package["name"] == "liblzma5").unwrap();
    assert_eq!(
        (&lzma["repository"], &lzma["security"]),
        (&"bookworm-security".into(), &true.into()),
        "{lzma}"
    );
    assert_ne!(lzma["from"], lzma["to"]);
    assert_eq!(finding["command"], "otoshi refresh");
    let phases = finding["phases"].as_array().unwrap().iter().map(|phase| phase["number"].as_u64().unwrap());
    assert_eq!(phases.collect::<Vec<_>>(), [3, 4]);
    assert_eq!((lock(), debs()), (before, known), "a check makes nothing");

    ok(&project, "one", &["refresh"]);
    assert_eq!(check().0, 0);

    // A machine that has not made it cannot say, and says so.
    let (code, report) = check_on("two");
    assert_eq!(code, 20, "{report}");
    let failed = &report["failed"][0];
    assert_eq!(
        (&failed["reference"], &failed["hint"]),
        (&new.into(), &"otoshi build makes it".into()),
        "{report}"
    );
}
