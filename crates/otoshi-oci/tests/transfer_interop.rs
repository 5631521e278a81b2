//! Images go to other tools and come back: skopeo, umoci, Docker.

mod shop;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use otoshi_oci::layer::{Compression, UnpackOptions, unpack_layer};
use otoshi_oci::transfer::{
    DockerHost, Form, ImportOptions, export_docker_archive, export_oci_dir, import_any, load_into_docker,
};
use otoshi_oci::{Digest, Image, Layout, Platform};
use otoshi_test::{Docker, Need, given, require, run};
use shop::{Shop, reference};
use support::{layout, look};

fn umoci(args: &[&str]) {
    run(Command::new("umoci").args(args));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn import_one(shop: &Shop, path: &Path, into: &str) -> (Form, Image) {
    let target = layout(&shop.path(into));
    let name = ImportOptions { name: Some(reference("back:1")), ..ImportOptions::default() };
    let (form, imported) = import_any(&target, path, &name).unwrap();
    (form, Image::load(&target, &imported[0].digest, &Platform::host()).unwrap())
}

#[test]
fn skopeo_copies_from_the_store_and_back() {
    given!(require(&[Need::Tool("skopeo")]));
    let shop = given!(Shop::compressed(Compression::Gzip));
    let image = shop.loaded().remove(0).1;
    let store = format!("oci:{}:docker.io/library/app:1", shop.layout.root().display());
    let copy = |from: &str, to: &str| {
        run(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", from, to]));
    };

    for (form, target, path) in [
        (Form::OciArchive, format!("oci-archive:{}", text(&shop.path("a.tar"))), "a.tar"),
        (Form::OciDirectory, format!("oci:{}:x:1", text(&shop.path("dir"))), "dir"),
        (Form::DockerArchive, format!("docker-archive:{}:x:1", text(&shop.path("d.tar"))), "d.tar"),
    ] {
        copy(&store, &target);
        let (found, back) = import_one(&shop, &shop.path(path), &format!("from-{path}"));
        assert_eq!(found, form);
        assert_eq!(back.config.rootfs, image.config.rootfs, "{target}");
        if form != Form::DockerArchive {
            assert_eq!(back.digest, image.digest, "{target}");
        }
    }
    fs::write(shop.path("ours.tar"), shop.oci_archive()).unwrap();
    fs::write(shop.path("ours-docker.tar"), shop.docker_archive()).unwrap();
    export_oci_dir(&shop.layout, &shop.images(), &shop.path("ours")).unwrap();
    for source in [
        format!("oci-archive:{}", text(&shop.path("ours.tar"))),
        format!("oci:{}", text(&shop.path("ours"))),
        format!("docker-archive:{}:app:1", text(&shop.path("ours-docker.tar"))),
    ] {
        let out = shop.path("skopeo-out");
        copy(&source, &format!("dir:{}", text(&out)));
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "{source}");
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn umoci_unpacks_the_same_tree() {
    given!(require(&[Need::Root, Need::Tool("umoci")]));
    let shop = given!(Shop::compressed(Compression::Gzip));
    let image = format!("{}:latest", text(shop.layout.root()));
    // umoci does not take names with slashes and colons.
    let index = shop.layout.root().join("index.json");
    let named = fs::read_to_string(&index).unwrap().replace("docker.io/library/app:1", "latest");
    fs::write(&index, named).unwrap();
    let bundle = shop.path("bundle");
    umoci(&["unpack", "--image", &image, text(&bundle)]);
    let ours = shop.path("ours");
    fs::create_dir(&ours).unwrap();
    for layer in shop.loaded()[0].1.layers() {
        let blob = shop.layout.open_blob(&layer.digest).unwrap();
        assert_eq!(unpack_layer(blob, &ours, &UnpackOptions::default()).unwrap().diff_id, layer.diff_id);
    }
    let (mut ours, theirs) = (look(&ours), look(&bundle.join("rootfs")));
    ours.remove(&b"deleted"[..]);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, seen) in &mut ours {
        seen.xattrs.remove(&b"trusted.overlay.opaque"[..]);
        assert!(*seen == theirs[name], "{}", name.escape_ascii());
    }
}

#[test]
fn what_umoci_makes_is_imported() {
    given!(require(&[Need::Tool("umoci")]));
    let shop = given!(Shop::new());
    let made = shop.path("made");
    umoci(&["init", "--layout", text(&made)]);
    let image = format!("{}:v1", text(&made));
    umoci(&["new", "--image", &image]);
    fs::write(shop.path("motd"), "hello").unwrap();
    umoci(&["insert", "--image", &image, text(&shop.path("motd")), "/etc/motd"]);
    let (_, back) = import_one(&shop, &made, "target");
    let target = Layout::open(shop.path("target/layout")).unwrap();
    let into = tempfile::tempdir().unwrap();
    for layer in back.layers() {
        let blob = target.open_blob(&layer.digest).unwrap();
        assert_eq!(
            unpack_layer(blob, into.path(), &UnpackOptions::default()).unwrap().diff_id,
            layer.diff_id
        );
    }
    assert_eq!(fs::read_to_string(into.path().join("etc/motd")).unwrap(), "hello");
}

#[test]
fn docker_loads_and_saves() {
    let docker = given!(Docker::start());
    let host = DockerHost::new(docker.socket());
    let shop = given!(Shop::new());
    let mut images = shop.loaded();
    let name = format!("otoshi-oci-test:{}", std::process::id());
    images[0].0 = vec![reference(&name)];
    let said = load_into_docker(&shop.layout, &images, &host).unwrap();
    assert!(said.iter().any(|line| line.contains(&name)), "{said:?}");
    let inspected = run(docker.command().args(["image", "inspect", &name]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected[0]["Id"], images[0].1.id().to_string());
    assert_eq!(inspected[0]["Config"]["Cmd"][0], "/hello");

    let saved = shop.path("saved.tar");
    run(docker.command().args(["save", "-o", text(&saved), &name]));
    run(docker.command().args(["rmi", &name]));
    let (_, back) = import_one(&shop, &saved, "saved");
    assert_eq!(back.id(), images[0].1.id());
    assert_eq!(back.config.rootfs, images[0].1.config.rootfs);
    // Loaded again from what was saved, it is still the same image to Docker.
    let mut again = Vec::new();
    let target = Layout::open(shop.path("saved/layout")).unwrap();
    export_docker_archive(&target, &[(images[0].0.clone(), back)], &mut again).unwrap();
    let mut ours = Vec::new();
    export_docker_archive(&shop.layout, &images, &mut ours).unwrap();
    assert_eq!(Digest::sha256_of(&again), Digest::sha256_of(&ours));
}
