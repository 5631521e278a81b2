//! `otoshi rebase`: the base's layers are swapped under the application's, where that is safe; images then run on the new base.

mod support;
mod whole;
mod yard;

use std::fs;

use otoshi_test::{Fault, given, said};
use serde_json::Value;
use support::Shop;
use whole::assert_said;
use yard::Yard;

#[test]
fn an_image_moves_to_a_new_base_in_its_registry_with_a_few_requests() {
    let yard = given!(Yard::new());
    let (image, onto, old) = (yard.name("app:1"), yard.name("base:1"), yard.name("base:as-1"));
    yard.base("2", "base 2\n");
    yard.replace_machine();
    // The layers are read once, for the proof.
    assert_said(
        "rebase-check",
        &yard.shop.otoshi(&["rebase", "--check", "--base", &old, "--onto", &onto, &image]),
    );
    assert_eq!(yard.writes(), 0);

    let done = yard.rebase(&["--base", &old, "--onto", &onto, &image]);
    assert_eq!(done["outcome"], "rebased", "{done}");
    let log = yard.proxy.take_log();
    let shown: Vec<_> = log.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert!(log.len() <= 10, "{shown:#?}");
    let uploads = log.iter().filter(|request| request.is("PUT", "/blobs/uploads/")).count();
    assert_eq!(uploads, 1, "the config, and no layer: {shown:#?}");
    assert_eq!(log.iter().filter(|request| request.is("GET", "/blobs/")).count(), 0, "{shown:#?}");

    // The same again writes nothing.
    let again = yard.rebase(&["--base", &onto, "--onto", &onto, &image]);
    assert_eq!((&again["outcome"], &again["old"]), (&"same".into(), &done["new"]));
    assert_eq!(yard.writes(), 0);
    yard.runs(&image, "base 2");

    // And back, which is a downgrade only where times say so: these bases have none.
    let back = yard.rebase(&["--base", &onto, "--onto", &old, &image]);
    assert_eq!(back["outcome"], "rebased");
    yard.runs(&image, "base 1");
    // The annotations say now on which base it stands.
    yard.base("3", "base 3\n");
    let by_annotation = yard.rebase(&["--onto", &onto, &image]);
    assert_eq!(by_annotation["platforms"][0]["source"], "annotations", "{by_annotation}");
    yard.runs(&image, "base 3");
}

#[test]
fn several_images_move_at_once_and_a_dry_run_moves_none() {
    let yard = given!(Yard::new());
    yard.app("second");
    yard.base("2", "base 2\n");
    let (old, onto) = (yard.name("base:as-1"), yard.name("base:1"));
    let images = [yard.name("app:1"), yard.name("second:1")];
    yard.replace_machine();
    let arguments = ["rebase", "--json", "--base", &old, "--onto", &onto, &images[0], &images[1]];
    let dry: Value = serde_json::from_str(&yard.shop.ok(&[&arguments[..], &["--dry-run"]].concat())).unwrap();
    assert_eq!(yard.writes(), 0);
    let done: Value = serde_json::from_str(&yard.shop.ok(&arguments)).unwrap();
    for index in [0, 1] {
        assert_eq!(dry[index]["outcome"], "would-rebase");
        assert_eq!(dry[index]["new"], done[index]["new"]);
        yard.runs(&images[index], "base 2");
    }
    // One that is not there fails by itself, and is told.
    let output =
        yard.shop.otoshi(&["rebase", "--base", &onto, "--onto", &onto, &images[0], &yard.name("gone:1")]);
    assert_said("rebase-of-two-images-of-which-one-is-not-there", &output);
}

#[test]
fn a_base_that_lacks_something_is_refused_and_each_finding_has_a_waiver() {
    let yard = given!(Yard::new());
    let image = yard.name("app:1");
    let (old, onto) = (yard.name("base:as-1"), yard.name("base:2"));
    yard.shop
        .write("bare/Dockerfile", &format!("FROM {}\nRUN /bin/busybox rm /bin/sh\n", yard.name("base:1")));
    yard.shop.ok(&["image", "build", "bare", "-t", &onto]);
    yard.shop.ok(&["image", "push", &onto]);
    let before = yard.shop.ok(&["inspect", &image]);
    yard.proxy.take_log();
    let arguments = ["rebase", "--base", &old, "--onto", &onto, &image];
    assert_said("rebase-to-a-base-without-a-shell", &yard.shop.otoshi(&arguments));
    assert_eq!(yard.writes(), 0);
    assert_eq!(yard.shop.ok(&["inspect", &image]), before);
    let output = yard.shop.otoshi(&[&arguments[..], &["--allow", "interpreter-missing=/bin/sh"]].concat());
    assert_said("rebase-with-a-finding-that-is-accepted", &output);
    let output = yard.shop.otoshi(&[&arguments[..], &["--allow", "all"]].concat());
    assert_said("rebase-with-a-waiver-that-is-none", &output);
}

#[test]
fn a_base_that_the_image_does_not_stand_on_is_no_base() {
    let yard = given!(Yard::new());
    yard.base("2", "base 2\n");
    let output = yard.shop.otoshi(&[
        "rebase",
        "--base",
        &yard.name("base:1"),
        "--onto",
        &yard.name("base:as-1"),
        &yard.name("app:1"),
    ]);
    assert_said("rebase-from-a-base-that-it-does-not-stand-on", &output);
    assert_said("rebase-from-an-unknown-base", &yard.shop.otoshi(&["rebase", &yard.name("app:1")]));
}

#[test]
fn a_push_that_breaks_leaves_the_old_image() {
    let yard = given!(Yard::new());
    let image = yard.name("app:1");
    yard.base("2", "base 2\n");
    let (old, onto) = (yard.name("base:as-1"), yard.name("base:1"));
    yard.replace_machine();
    for (method, path) in
        [("POST", "/app/blobs/uploads/"), ("PUT", "/app/blobs/uploads/"), ("PUT", "/app/manifests/1")]
    {
        yard.proxy.fault(method, path, 99, Fault::Answer("403 Forbidden", String::new()));
        let output = yard.shop.otoshi(&["rebase", "--base", &old, "--onto", &onto, &image]);
        assert_eq!(output.status.code(), Some(3), "{method} {path}: {}", said(&output));
        yard.proxy.heal();
        yard.runs(&image, "base 1");
    }
    yard.rebase(&["--base", &old, "--onto", &onto, &image]);
    yard.runs(&image, "base 2");
}

#[test]
fn an_index_stays_one_and_moves_whole_or_not_at_all() {
    let yard = given!(Yard::new());
    // Both entries are this machine's image: what matters is that each is replaced.
    let entry = |image: &str, variant: &str| {
        let shown: Value = serde_json::from_str(&yard.shop.ok(&["inspect", image])).unwrap();
        let digest = shown["digest"].as_str().unwrap().to_owned();
        let size = fs::metadata(yard.shop.home().join("images/blobs/sha256").join(&digest[7..]))
            .map_or(0, |meta| meta.len());
        assert!(size > 0, "{}", yard.shop.home().display());
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"), "variant": variant },
        })
    };
    let image = yard.name("app:1");
    let mut app = entry(&image, "");
    app["annotations"] = serde_json::json!({ "com.amazon.soci.index-digest": app["digest"] });
    let soci = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": app["digest"], "size": app["size"],
        "artifactType": "application/vnd.amazon.soci.index.v2+json", "platform": app["platform"],
        "annotations": { "com.amazon.soci.image-manifest-digest": app["digest"] },
    });
    let attestation = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": app["digest"], "size": app["size"],
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": { "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": app["digest"] },
    });
    let index = |entries: &[&Value]| {
        serde_json::json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries }).to_string()
    };
    yard.put("app", "many", "application/vnd.oci.image.index.v1+json", &index(&[&app, &attestation, &soci]));
    yard.base("2", "base 2\n");
    let many = yard.name("app:many");
    let done = yard.rebase(&["--base", &yard.name("base:as-1"), "--onto", &yard.name("base:1"), &many]);
    assert_eq!(done["outcome"], "rebased", "{done}");
    let left: Vec<_> = (0..2).map(|at| done["left_behind"][at]["kind"].as_str().unwrap()).collect();
    assert_eq!(left, ["attestation-manifest", "application/vnd.amazon.soci.index.v2+json"], "{done}");
    yard.runs(&many, "base 2");
    yard.runs(&image, "base 1");
    let raw: Value = serde_json::from_str(&yard.raw("app:many")).unwrap();
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 1, "{raw}");
    assert_eq!(raw["manifests"][0]["annotations"]["com.amazon.soci.index-digest"], Value::Null, "{raw}");
    // A base that lacks a platform moves nothing.
    let output = yard.shop.otoshi(&[
        "rebase",
        "--platform",
        "linux/s390x",
        "--base",
        &yard.name("base:1"),
        "--onto",
        &yard.name("base:as-1"),
        &many,
    ]);
    assert_said("rebase-of-a-platform-that-is-not-there", &output);
}

#[test]
fn images_of_the_store_move_in_the_store() {
    let shop = given!(Shop::new());
    shop.write(
        "app/Dockerfile",
        "FROM otoshi.test/busybox:1\nRUN echo app > /app\nCMD [\"cat\", \"/app\", \"/etc/base\"]\n",
    );
    shop.ok(&["image", "build", "app", "-t", "app:1"]);
    let old = serde_json::from_str::<Value>(&shop.ok(&["inspect", "otoshi.test/busybox:1"])).unwrap();
    let old = format!("otoshi.test/busybox@{}", old["digest"].as_str().unwrap());
    shop.import("base 2\n");
    shop.ok(&["rebase", "--base", &old, "--onto", "otoshi.test/busybox:1", "app:1"]);
    shop.write(
        "check/Dockerfile",
        "FROM app:1\nRUN /bin/busybox test \"$(cat /app /etc/base)\" = \"$(echo app; echo base 2)\"\n",
    );
    shop.ok(&["image", "build", "check"]);
}

#[test]
fn an_older_base_is_a_finding_where_times_say_so() {
    let yard = given!(Yard::new());
    let base = |name: &str, time: &str| {
        yard.shop.write(
            "dated/Dockerfile",
            &format!("FROM {}\nRUN echo {name} > /etc/base\n", yard.name("base:1")),
        );
        let (to, argument) = (yard.name(&format!("base:{name}")), format!("SOURCE_DATE_EPOCH={time}"));
        yard.shop.ok(&["image", "build", "dated", "-t", &to, "--build-arg", &argument]);
        yard.shop.ok(&["image", "push", &to]);
        to
    };
    let (old, new) = (base("old", "1600000000"), base("new", "1700000000"));
    yard.shop.write("app/Dockerfile", &yard::APP.replace("BASE", &new));
    let image = yard.name("dated:1");
    yard.shop.ok(&["image", "build", "app", "-t", &image]);
    yard.shop.ok(&["image", "push", &image]);
    let arguments = ["rebase", "--base", &new, "--onto", &old, &image];
    assert_said("rebase-to-an-older-base", &yard.shop.otoshi(&arguments));
    let back = yard.shop.otoshi(&[&arguments[..], &["--allow", &format!("downgrade={old}")]].concat());
    assert!(back.status.success(), "{}", said(&back));
    let forth = yard.rebase(&["--base", &old, "--onto", &new, &image]);
    assert_eq!(
        (&forth["outcome"], &forth["platforms"][0]["waived"]),
        (&"rebased".into(), &Value::Array(Vec::new())),
        "{forth}"
    );
}
