//! What goes to a registry and comes from it through the program: artifacts, app images, bases; and what is said when it fails.

mod stage;
mod support;
mod whole;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use otoshi_test::{Fault, Registry, Rule, given};
use serde_json::Value;
use stage::Stage;
use support::Shop;
use whole::{assert_said, assert_written};

#[test]
fn compiled_application_and_recipe_are_artifacts() {
    let stage = given!(Stage::new());
    stage.shop.write("src/link", "x");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.ok(&["push", "--compiled"]);
    let web = digest_of(&stage, "web");
    let manifest = |tag: &str| serde_json::from_slice::<Value>(&manifest(&stage, tag)).unwrap();
    // Through the fallback tag, since this registry has no referrers API.
    let referrers = manifest(&web.replace(':', "-"));
    let recipe = &referrers["manifests"][0];
    assert_eq!(recipe["artifactType"], "application/vnd.otoshi.recipe.v1");
    assert_eq!(recipe["annotations"]["dev.otoshi.process"], "web");
    let compiled = manifest("compiled");
    assert_eq!(compiled["artifactType"], "application/vnd.otoshi.compiled.v1");
    assert_eq!(compiled["subject"]["digest"], digest_of(&stage, "builder"));
    assert_eq!(recipe["annotations"]["dev.otoshi.compiled"].as_str().unwrap(), digest_of(&stage, "compiled"));

    // It is an image: what mounts images can mount it. Here that is umoci.
    let layout = stage.shop.dir.path().join("layout");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let copied = format!("oci:{}:compiled", layout.display());
    run(Command::new("skopeo")
        .args(["copy", "--src-tls-verify=false"])
        .args([format!("docker://{}", stage.name("compiled")), copied]));
    let bundle = stage.shop.dir.path().join("bundle");
    run(Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:compiled", layout.display()))
        .arg(&bundle));
    assert_eq!(fs::read_to_string(bundle.join("rootfs/compiled")).unwrap(), "source 1\ndeps 1\n");
    assert_eq!(fs::read_to_string(bundle.join("rootfs/src/main")).unwrap(), "source 1\n");

    // The recipe's layer has what the runner and the app are made from.
    let layer = recipe_layer(&stage, recipe["digest"].as_str().unwrap());
    let names =
        String::from_utf8(Command::new("tar").arg("-tzf").arg(layer).output().unwrap().stdout).unwrap();
    let expected = ["builder.Dockerfile", "otoshi.lock", "otoshi.toml", "runner.Dockerfile"];
    assert_eq!(names.lines().collect::<Vec<_>>(), expected);
}

fn manifest(stage: &Stage, tag: &str) -> Vec<u8> {
    stage.registry.get("team/shop", &format!("manifests/{tag}"))
}

fn digest_of(stage: &Stage, tag: &str) -> String {
    otoshi_oci::Digest::sha256_of(&manifest(stage, tag)).to_string()
}

fn recipe_layer(stage: &Stage, digest: &str) -> PathBuf {
    let hex = |digest: &str| digest.split(':').nth(1).unwrap().to_owned();
    let manifest = fs::read(stage.registry.blob_path(&hex(digest))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    stage.registry.blob_path(&hex(manifest["layers"][0]["digest"].as_str().unwrap()))
}

#[test]
fn the_compiled_application_is_written_as_a_directory_and_as_a_tar() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    let directory = stage.shop.dir.path().join("out");
    stage.shop.ok(&["export", "--compiled", directory.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(directory.join("compiled")).unwrap(), "source 1\ndeps 1\n");
    assert_eq!(fs::read_to_string(directory.join("src/main")).unwrap(), "source 1\n");
    let again = stage.shop.otoshi(&["export", "--compiled", directory.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    let tar = stage.shop.dir.path().join("out.tar");
    stage.shop.ok(&["export", "--compiled", tar.to_str().unwrap()]);
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().lines().any(|line| line == "compiled"));
}

#[test]
fn a_base_that_arrives_in_pieces_is_built_on_and_a_wrong_one_never() {
    let stage = given!(Stage::new());
    stage
        .shop
        .write("one/Dockerfile", &format!("FROM {}/base:1\nRUN cat /etc/base > /out\n", stage.proxy.host()));
    let snapshots = || fs::read_dir(stage.shop.home().join("snapshots")).unwrap().count();
    // Config and layer are both wrong, whichever comes first.
    stage.proxy.fault("GET", "/base/blobs/", 9, Fault::Corrupt(100));
    assert_said(
        "image-build-from-a-base-whose-blobs-are-wrong",
        &stage.shop.otoshi(&["image", "build", "one"]),
    );

    // The config is right this time, the layer is not.
    stage.proxy.heal();
    stage.proxy.rule(Rule {
        method: "GET",
        path: "/base/blobs/".into(),
        after: 1,
        times: 9,
        fault: Fault::Corrupt(500_000),
    });
    assert_said(
        "image-build-from-a-base-whose-layer-is-wrong",
        &stage.shop.otoshi(&["image", "build", "one"]),
    );
    assert_eq!(snapshots(), 0, "what was unpacked of it is gone");

    stage.proxy.heal();
    stage.proxy.fault("GET", "/base/blobs/", 3, Fault::Cut(300_000));
    stage.shop.ok(&["image", "build", "one", "-t", "one:1"]);
    assert_eq!(stage.shop.ok(&["run", "one:1", "--", "/bin/cat", "/out"]), "base 1\n");
}

#[test]
fn app_images_go_where_they_are_run() {
    let stage = given!(Stage::new());
    let repository = format!("repository = \"{}/team/shop\"", stage.proxy.host());
    let images = format!("{repository}\nimages = \"{}/deploy/{{process}}\"", stage.proxy.host());
    stage.edit("otoshi.toml", &repository, &images);
    assert_said("push-before-a-build", &stage.shop.otoshi(&["push"]));
    stage.shop.ok(&["build"]);
    // Which blob is uploaded and which mounted is another time another one.
    assert_written("push-of-app-images", &stage.shop.ok(&["push", "--tag", "v1"]));
    // Docker's way to the same image.
    let name = format!("{}/deploy/web:v1", stage.proxy.host());
    let other = stage.shop.dir.path().join("other");
    let pulled = Command::new(env!("CARGO_BIN_EXE_otoshi"))
        .args(["pull", &name])
        .env("OTOSHI_HOME", &other)
        .output()
        .unwrap();
    assert_said("pull-of-an-app-image", &pulled);
    assert!(Path::new(&other).join("images/index.json").exists());
}

#[test]
fn logins_and_authorities_of_the_machine_are_used() {
    let registry = given!(Registry::start_private());
    let shop = given!(Shop::new());
    let logins = registry.path("auth.json");
    fs::write(
        &logins,
        format!("{{\"auths\":{{\"{}\":{{\"auth\":\"YW5uYTpnZWhlaW0=\"}}}}}}", registry.host()),
    )
    .unwrap();
    let name = format!("{}/team/base:1", registry.host());
    let push = |known: bool| {
        let mut command = shop.command(&["image", "push", "otoshi.test/busybox:1", &name]);
        command.env("SSL_CERT_FILE", registry.path("ca.crt")).env_remove("SSL_CERT_DIR");
        command.env("REGISTRY_AUTH_FILE", if known { logins.clone() } else { "/nonexistent".into() });
        command.output().unwrap()
    };
    assert_said("image-push-without-a-login", &push(false));
    let pushed = push(true);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
}

#[test]
fn a_project_without_a_registry_says_what_to_add() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    assert_said("push-without-a-registry", &shop.otoshi(&["push"]));
    shop.write("otoshi.toml", &(support::MANIFEST.to_owned() + "[registry]\nrepository = \"shop:1\"\n"));
    assert_said("plan-with-a-registry-that-is-none", &shop.otoshi(&["plan"]));
}

#[test]
fn an_image_that_nobody_has_is_told_with_its_registry() {
    let stage = given!(Stage::new());
    stage.edit("otoshi.toml", "/slim:1", "/slim:2");
    assert_said("build-from-an-image-that-is-not-there", &stage.shop.otoshi(&["build"]));
    let output = stage.shop.otoshi(&["pull", &format!("{}/slim:2", stage.proxy.host())]);
    assert_eq!(output.status.code(), Some(3));
    stage.edit("otoshi.toml", &format!("{}/slim:2", stage.proxy.host()), "localhost:1/slim:2");
    assert_said("build-from-a-registry-that-does-not-answer", &stage.shop.otoshi(&["build"]));
}

/// A name that was given in the store stands for what has it there, whatever is known of its digest in registries.
#[test]
fn a_name_that_the_store_has_is_the_stores() {
    let stage = given!(Stage::new());
    let shop = &stage.shop;
    shop.import("local 1\n");
    // Nobody answers under this name.
    shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{}/elsewhere:1", stage.proxy.host())]);
    shop.write("otoshi.toml", &support::MANIFEST.replace("{SERIES}", "1"));
    shop.write("builder.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY deps.lock /opt/deps/lib\n");
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\n");
    stage.proxy.take_log();
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nlocal 1\n");
    // Pushed under another name, a project's image is still this store's.
    shop.ok(&["image", "push", "shop/web", &format!("{}/elsewhere:web", stage.proxy.host())]);
    stage.proxy.take_log();
    for (name, arguments) in [
        ("check-of-a-base-that-the-store-has", &["check", "otoshi.test/busybox:1"][..]),
        ("check-of-an-app-image-that-the-store-has", &["check", "shop/web"]),
        ("rebase-of-an-app-image-that-the-store-has", &["rebase", "shop/web", "--check"]),
        ("refresh-of-an-app-image-that-the-store-has", &["refresh", "shop/web"]),
    ] {
        assert_said(name, &shop.otoshi(arguments));
    }
    assert_eq!(stage.proxy.take_log().len(), 0);
    // What was pulled stands for what its registry has.
    let pulled = format!("{}/elsewhere:1", stage.proxy.host());
    shop.ok(&["pull", &pulled]);
    stage.proxy.take_log();
    shop.otoshi(&["check", &pulled]);
    assert_ne!(stage.proxy.take_log().len(), 0);
}

#[test]
fn names_of_otoshis_own_are_asked_for_nowhere() {
    let shop = given!(Shop::new());
    for command in ["pull", "check", "rebase"] {
        let output = shop.otoshi(&[command, "otoshi.invalid/packages/debian:bookworm-0123456789ab"]);
        assert_said(&format!("{command}-of-a-name-of-otoshis-own"), &output);
    }
}
