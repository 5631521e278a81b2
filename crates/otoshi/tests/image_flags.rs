//! What fingers know from `docker build`, `docker images` and their like: each flag does its job, or says what takes its place.

mod support;
mod whole;
mod yard;

use std::fs;

use otoshi_oci::Digest;
use otoshi_test::{given, said};
use serde_json::Value;
use support::Shop;
use whole::assert_said;
use yard::Yard;

#[test]
fn flags_without_a_job_here_say_so_in_one_line_and_the_build_goes_on() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM scratch AS one\nCOPY file /\nFROM one\nLABEL a=b\n");
    shop.write("img/file", "text");
    let build = |flags: &[&str]| shop.otoshi(&[&["image", "build", "img"], flags].concat());
    let output = build(&[
        "--rm",
        "--force-rm",
        "--compress",
        "--pull",
        "--provenance=false",
        "--progress=plain",
        "-m",
        "1g",
        "--ulimit",
        "nofile=64",
        "--cache-from",
        "type=gha",
        "--annotation",
        "who=me",
        "--annotation",
        "index:no=index",
        "--metadata-file",
        "meta.json",
        "-t",
        "x:1",
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let warnings: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.starts_with("warning: --"))
        .map(|line| line.split(':').nth(1).unwrap().trim().to_owned())
        .collect();
    assert_eq!(warnings, ["--cache-from", "--memory, --ulimit", "--annotation index"]);
    let shown = shop.json(&["inspect", "x:1"]);
    assert_eq!(shown["annotations"]["who"], "me");
    let meta: Value = serde_json::from_str(&fs::read_to_string(shop.path("meta.json")).unwrap()).unwrap();
    assert_eq!(meta["containerimage.digest"], shown["digest"]);
    assert_eq!(meta["image.name"], "docker.io/library/x:1");

    assert_eq!(shop.ok(&["image", "build", "img", "--call", "targets"]), "one\n1  (default)\n");
    let output = build(&["--call=outline"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    shop.write("img/Dockerfile", "FROM scratch as one\n");
    for flags in [&["--check"][..], &["--call=check"]] {
        assert_said("image-build-that-only-checks", &build(flags));
    }
}

#[test]
fn only_contexts_that_the_target_reaches_are_looked_up() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM base AS one\nCOPY file /\nFROM other AS two\nFROM one\n");
    shop.write("img/file", "text");
    let build = |flags: &[&str]| shop.otoshi(&[&["image", "build", "img"], flags].concat());
    let scratch = ["--build-context", "base=docker-image://scratch"];
    let missing = ["--build-context", "other=docker-image://localhost:1/no/such"];
    let output = build(&[scratch, missing].concat());
    assert!(output.status.success(), "{}", said(&output));
    let output = build(&[&scratch[..], &missing, &["--target", "two"]].concat());
    assert!(!output.status.success(), "{}", said(&output));
}

#[test]
fn images_are_listed_named_and_forgotten_as_with_docker() {
    let shop = given!(Shop::new());
    shop.write("img/Dockerfile", "FROM scratch\nCOPY file /\nENV A=1\n");
    shop.write("img/file", "text");
    let digest = shop.ok(&["image", "build", "img", "-t", "x:1"]);
    shop.ok(&["tag", "x:1", "y:2"]);
    shop.ok(&["image", "tag", digest.trim(), "z:3"]);
    let listed = shop.ok(&["images", "-q"]);
    assert_eq!(listed.lines().filter(|line| *line == digest.trim()).count(), 1, "{listed}");
    let history = shop.ok(&["history", "y:2"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].ends_with("ENV A=1") && lines[1].ends_with("COPY file /"),
        "{history}"
    );
    let rows = shop.json(&["image", "history", "--json", "z:3"]);
    assert!(rows[0]["layer"].is_null() && rows[1]["size"].as_u64().unwrap() > 0, "{rows}");

    assert_eq!(shop.ok(&["rmi", "y:2"]), "y:2\n");
    let listed = shop.ok(&["image", "ls"]);
    assert_said("rmi-of-two-names-of-which-one-is-not-there", &shop.otoshi(&["rmi", "x:1", "y:2"]));
    assert_eq!(shop.ok(&["image", "ls"]), listed, "nothing goes where one is wrong");
    assert_said("image-ls", &shop.otoshi(&["image", "ls"]));
    assert_eq!(shop.ok(&["image", "rm", digest.trim()]), "x:1\nz:3\n");
    assert_eq!(shop.ok(&["rmi", "--force", "x:1"]), "");
}

#[test]
fn a_projects_build_says_where_such_flags_belong() {
    let shop = given!(Shop::new());
    assert_said("build-with-pull", &shop.otoshi(&["build", "--pull"]));
    assert_said("build-with-a-name", &shop.otoshi(&["build", "-t", "x", "."]));
}

#[test]
fn a_build_pulls_its_bases_anew_and_pushes_where_it_is_told() {
    let yard = given!(Yard::new());
    let shop = &yard.shop;
    shop.write("img/Dockerfile", &format!("FROM {}\nRUN cat /etc/base > /seen\n", yard.name("base:1")));
    // Another machine: it has seen the base as it was, and the tag moves meanwhile.
    yard.replace_machine();
    let seen = |flags: &[&str]| {
        let name = yard.name("pulled:1");
        shop.ok(&[&["image", "build", "img", "-t", &name], flags].concat());
        shop.ok(&["run", &name, "--", "cat", "/seen"])
    };
    assert_eq!(seen(&[]), "base 1\n");
    let home = fs::canonicalize(shop.home()).unwrap();
    let aside = home.with_extension("aside");
    fs::rename(&home, &aside).unwrap();
    yard.base("2", "base 2\n");
    fs::remove_dir_all(&home).unwrap();
    fs::rename(&aside, &home).unwrap();
    assert_eq!(seen(&["--pull"]), "base 2\n");

    let name = yard.name("pushed:1");
    for flag in ["--push", "--output=type=registry", "--output=type=image,push=true"] {
        let output = shop.otoshi(&["image", "build", "img", flag]);
        assert_eq!(output.status.code(), Some(2), "{flag}: {}", said(&output));
        shop.ok(&["image", "build", "img", flag, "-t", &name]);
    }
    let pushed = Digest::sha256_of(yard.raw("pushed:1").as_bytes());
    assert_eq!(shop.json(&["inspect", &name])["digest"], pushed.to_string());
}

#[test]
fn the_contexts_commit_says_the_time_where_that_is_asked_for() {
    let shop = given!(Shop::new());
    let created = |dockerfile: &str, flags: &[&str]| {
        shop.write("img/Dockerfile", dockerfile);
        shop.ok(&[&["image", "build", "img", "-t", "x:1"], flags].concat());
        let shown = shop.json(&["inspect", "x:1"]);
        shown["config"]["created"].as_str().unwrap().to_owned()
    };
    shop.write("img/Dockerfile", "FROM scratch\n");
    let output = shop.otoshi(&["image", "build", "img", "--build-arg", "SOURCE_DATE_EPOCH=context"]);
    assert_said("image-build-with-the-time-of-no-commit", &output);
    let git = "git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -q -m x";
    let made = std::process::Command::new("sh")
        .args(["-ec", git])
        .current_dir(shop.path("img"))
        .env("GIT_COMMITTER_DATE", "2024-05-06T07:08:09Z")
        .status();
    assert!(made.unwrap().success());
    let expected = "2024-05-06T07:08:09Z";
    assert_eq!(created("FROM scratch\nLABEL a=1\n", &["--build-arg", "SOURCE_DATE_EPOCH=context"]), expected);
    assert_eq!(created("ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nLABEL a=2\n", &[]), expected);
    let given = ["--build-arg", "SOURCE_DATE_EPOCH=1"];
    assert_eq!(
        created("ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nLABEL a=2\n", &given),
        "1970-01-01T00:00:01Z"
    );
}
