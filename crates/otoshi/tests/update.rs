//! Newer versions written into `otoshi.toml` and `otoshi.lock` through the program: only what is wanted, and both files or none.

mod stage;
mod support;
mod whole;

use std::{fs, process::Command};

use otoshi_test::{Fault, Missing, given};
use serde_json::Value;
use stage::Stage;
use whole::{assert_said, assert_written};

/// One value for two bases, in an inline table, with everything in it that an editor may lose.
const ONE_VALUE: &str = "\
# What the shop ships.
versions = { SERIES = '1.0',   EXTRA = \"1\" } # both sides' series\r

[project]
name = \"shop\"   # a name
[bases]   # from our own registry
  BUILD_BASE = \"HOST/base:{SERIES}\"
  RUN_BASE   = \"HOST/slim:{SERIES}\" # small
[builder]
dockerfile = \"builder.Dockerfile\"
[compile]
run = \"cat src/main /opt/deps/lib > compiled\"
[runner]
dockerfile = \"runner.Dockerfile\"
[processes]
web = \"cat compiled /etc/runner /etc/base\"
# no line break at the end";

const TWO_VALUES: &str = "\
[project]
name = \"shop\"
[bases]
RUN_BASE = 'HOST/slim:1.0'
BUILD_BASE = \"\"\"HOST/base:1.0\"\"\" # the compiler
[builder]
dockerfile = \"builder.Dockerfile\"
[compile]
run = \"cat src/main /opt/deps/lib > compiled\"
[runner]
dockerfile = \"runner.Dockerfile\"
[processes]
web = \"cat compiled /etc/runner /etc/base\"
";

/// A project that was built on `base:1.0` and `slim:1.0`.
fn stage(manifest: &str) -> Result<Stage, Missing> {
    let stage = Stage::new()?;
    stage.shop.write("otoshi.toml", &manifest.replace("HOST", &stage.proxy.host()));
    push(&stage, &["base:1.0", "slim:1.0"]);
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    Ok(stage)
}

/// Pushes bases that say their names in /etc/base.
fn push(stage: &Stage, names: &[&str]) {
    for name in names {
        stage.shop.import(&format!("{name}\n"));
        stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{}/{name}", stage.proxy.host())]);
    }
}

fn files(stage: &Stage) -> [String; 2] {
    ["otoshi.toml", "otoshi.lock"].map(|name| fs::read_to_string(stage.shop.path(name)).unwrap())
}

fn update(stage: &Stage, arguments: &[&str]) -> Value {
    serde_json::from_str(&stage.shop.ok(&[&["update", "--json"], arguments].concat())).unwrap()
}

/// The values that were set, as in `SERIES=1.1`.
fn set(updated: &Value) -> Vec<String> {
    let settings = updated["settings"].as_array().unwrap().iter();
    let text = |setting: &Value, key: &str| setting[key].as_str().unwrap().to_owned();
    settings.map(|setting| format!("{}={}", text(setting, "name"), text(setting, "to"))).collect()
}

#[test]
fn one_value_changes_and_no_other_byte() {
    let stage = given!(stage(ONE_VALUE));
    push(&stage, &["base:1.1", "slim:1.1", "base:1.2", "base:2.0", "slim:2.0"]);
    let [manifest, lock] = files(&stage);

    // A dry run says what would change in a form that others can apply, and leaves every byte.
    let output = stage.shop.otoshi(&["update", "--dry-run"]);
    assert!(output.status.success());
    assert_eq!(files(&stage), [manifest.clone(), lock.clone()]);
    let copy = stage.shop.dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("otoshi.toml"), &manifest).unwrap();
    fs::write(copy.join("otoshi.lock"), &lock).unwrap();
    fs::write(copy.join("diff"), &output.stdout).unwrap();
    let apply = Command::new("git").args(["apply", "diff"]).current_dir(&copy).status().unwrap();
    assert!(apply.success(), "{}", String::from_utf8_lossy(&output.stdout));

    // 1.2 is no version: the runner's base has none. 2.0 is another major one, and must be asked for.
    assert_said("update", &stage.shop.otoshi(&["update"]));
    let [new, new_lock] = files(&stage);
    assert_eq!(new, manifest.replace("'1.0'", "'1.1'"));
    assert_written("lock-after-an-update", &new_lock);
    assert_eq!(fs::read_to_string(copy.join("otoshi.toml")).unwrap(), new);
    assert_eq!(fs::read_to_string(copy.join("otoshi.lock")).unwrap(), new_lock);

    // The next build uses them, needs nothing more, and nothing small is left to take.
    stage.shop.ok(&["build", "--locked"]);
    assert!(stage.shop.ok(&["run", "web"]).ends_with("runner\nslim:1.1\n"));
    assert_eq!(set(&update(&stage, &[])), [""; 0]);
    assert_eq!(set(&update(&stage, &["SERIES"])), ["SERIES=2.0"]);
    stage.shop.ok(&["build", "--locked"]);
    assert!(stage.shop.ok(&["run", "web"]).ends_with("runner\nslim:2.0\n"));

    // The way back is a value like others; one that is no tag leaves both files.
    assert_eq!(set(&update(&stage, &["SERIES=1.0"])), ["SERIES=1.0"]);
    assert_eq!(files(&stage), [manifest.clone(), lock.clone()]);
    for (wrong, name) in [
        ("SERIES=7.0", "update-to-a-version-that-is-not-there"),
        ("SERIE=1.1", "update-of-a-misspelt-version"),
        ("SERIEN", "update-of-an-unknown-name"),
    ] {
        assert_said(name, &stage.shop.otoshi(&["update", wrong]));
        assert_eq!(files(&stage), [manifest.clone(), lock.clone()], "{wrong}");
    }
}

#[test]
fn two_values_change_in_one_go_or_by_name() {
    let stage = given!(stage(TWO_VALUES));
    push(&stage, &["base:1.1", "slim:1.1"]);
    let [manifest, lock] = files(&stage);
    let one = update(&stage, &["RUN_BASE", "--dry-run"]);
    assert_eq!((set(&one).len(), one["written"].as_bool()), (1, Some(false)), "{one}");
    assert_eq!(
        one["phases"].as_array().unwrap().iter().map(|phase| &phase["number"]).collect::<Vec<_>>(),
        [3, 4]
    );

    // What is held is told, and taken when it is named.
    stage.shop.write("otoshi.toml", &format!("{manifest}[check]\nhold = {{ RUN_BASE = \"2999-01-01\" }}\n"));
    let held = update(&stage, &[]);
    let host = stage.proxy.host();
    assert_eq!(set(&held), [format!("BUILD_BASE={host}/base:1.1")]);
    assert_eq!(held["left"][0]["because"], "[check] holds it");
    assert_eq!(held["left"][0]["until"], "2999-01-01");
    assert_eq!(set(&update(&stage, &[&format!("{host}/slim:1.0")])), [format!("RUN_BASE={host}/slim:1.1")]);

    // Both at once, each in the quotes that it had.
    stage.shop.write("otoshi.toml", &manifest);
    stage.shop.write("otoshi.lock", &lock);
    assert_eq!(set(&update(&stage, &[])).len(), 2);
    assert_eq!(files(&stage)[0], manifest.replace("slim:1.0", "slim:1.1").replace("base:1.0", "base:1.1"));
    assert_eq!(stage.shop.ran(&["--locked"]), [1, 2, 3, 4]);
}

#[test]
fn a_moved_tag_moves_the_lock_alone() {
    let stage = given!(stage(TWO_VALUES));
    stage.shop.import("slim again\n");
    let to = format!("{}/slim:1.0", stage.proxy.host());
    stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &to]);
    let [manifest, lock] = files(&stage);
    assert_eq!(update(&stage, &["BUILD_BASE"])["moved"].as_array().unwrap().len(), 0);
    let updated = update(&stage, &[]);
    let moved = updated["moved"].as_array().unwrap();
    assert_eq!((moved.len(), &moved[0]["role"]), (1, &"runner".into()), "{updated}");
    let [new, new_lock] = files(&stage);
    assert_eq!(new, manifest);
    assert_eq!(new_lock, lock.replace(moved[0]["from"].as_str().unwrap(), moved[0]["to"].as_str().unwrap()));
    assert_eq!(stage.shop.ran(&["--locked"]), [3, 4]);
    assert!(stage.shop.ok(&["run", "web"]).ends_with("slim again\n"));
}

#[test]
fn what_cannot_be_planned_is_not_written() {
    let stage = given!(stage(TWO_VALUES));
    push(&stage, &["base:1.1", "slim:1.1"]);
    // The tag is there when it is looked for, and gone when it is to be used.
    stage.proxy.fault("GET", "/slim/manifests/", 100, Fault::Answer("404 Not Found", String::new()));
    let before = files(&stage);
    assert_said("update-to-a-tag-that-is-gone", &stage.shop.otoshi(&["update"]));
    assert_eq!(files(&stage), before);
    let left_over = fs::read_dir(stage.shop.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left_over.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")));
    // The other one can be taken.
    assert_eq!(set(&update(&stage, &["BUILD_BASE"])).len(), 1);
}

#[test]
fn a_variant_that_ended_is_told_and_its_successor_taken_when_it_is_named() {
    let stage = given!(stage(TWO_VALUES));
    push(&stage, &["slim:1.0-bookworm"]);
    let host = stage.proxy.host();
    stage.edit("otoshi.toml", &format!("{host}/slim:1.0"), &format!("{host}/slim:1.0-bookworm"));
    stage.shop.ok(&["build"]);
    push(&stage, &["slim:1.1-trixie"]);
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (10, &1.into()), "{report}");
    let mut findings = report["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["kind"] == "newer-distribution").unwrap();
    assert_eq!((&finding["name"], &finding["state"]), (&"RUN_BASE".into(), &"found".into()), "{report}");
    assert_eq!(finding["to"], format!("{host}/slim:1.1-trixie"));
    let text =
        format!("{host}/slim:1.0-bookworm gets no newer versions; 1.1-trixie is on the next distribution\n");
    let output = stage.shop.otoshi(&["check"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&text), "{output:?}");

    // Another distribution is nothing that comes in unasked.
    let before = files(&stage);
    assert_said("update-of-a-variant-that-ended", &stage.shop.otoshi(&["update"]));
    assert_eq!(files(&stage), before);
    assert_eq!(set(&update(&stage, &["RUN_BASE"])), [format!("RUN_BASE={host}/slim:1.1-trixie")]);
    assert_eq!(stage.shop.ran(&["--locked"]), [3, 4]);
}
