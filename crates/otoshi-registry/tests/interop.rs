//! Docker and buildah read what was pushed, and what they push is read.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use otoshi_oci::layer::Compression;
use otoshi_oci::{Image, Platform};
use otoshi_test::{Docker, Need, Registry, given, require};
use support::{Store, client, item, pull, push};

fn run(command: &mut Command) -> String {
    otoshi_test::run(command).trim().to_owned()
}

#[test]
fn docker_pulls_what_was_pushed_and_what_it_pushes_is_pulled() {
    let registry = given!(Registry::start());
    let docker = given!(Docker::start());
    let (store, client) = (Store::new(), client());
    let digest = store.image(&[(1, 50_000), (2, 10)], Compression::Gzip);
    let image = Image::load(&store.layout, &digest, &Platform::host()).unwrap();
    let ours = format!("{}/team/ours:1", registry.host());
    push(&client, &store, &[item(&ours, &digest)]).unwrap();
    run(docker.command().args(["pull", "--quiet", &ours]));
    let id = run(docker.command().args(["image", "inspect", "--format", "{{.Id}}", &ours]));
    assert_eq!(id, image.id().to_string());

    let theirs = format!("{}/team/theirs:1", registry.host());
    run(docker.command().args(["tag", &ours, &theirs]));
    run(docker.command().args(["push", "--quiet", &theirs]));
    let there = Store::new();
    let (pulled, _) = pull(&client, &there, &theirs).unwrap();
    let back = Image::load(&there.layout, &pulled.unwrap().manifest, &Platform::host()).unwrap();
    assert_eq!(back.config.rootfs, image.config.rootfs);
    there.check();
}

#[test]
fn what_buildah_pushes_is_pulled() {
    given!(require(&[Need::Root, Need::Tool("buildah")]));
    let registry = given!(Registry::start());
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| -> PathBuf { directory.path().join(name) };
    fs::write(place("hello"), "hello").unwrap();
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(place("root")).arg("--runroot").arg(place("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let container = run(buildah().args(["from", "scratch"]));
    run(buildah().args(["copy", &container]).arg(place("hello")).arg("/hello"));
    let name = format!("{}/built:1", registry.host());
    let target = format!("docker://{name}");
    run(buildah().args(["commit", "--quiet", "--tls-verify=false", &container, &target]));
    let there = Store::new();
    let (pulled, _) = pull(&client(), &there, &name).unwrap();
    let image = Image::load(&there.layout, &pulled.unwrap().manifest, &Platform::host()).unwrap();
    assert_eq!(image.layers().len(), 1);
    there.check();
}
