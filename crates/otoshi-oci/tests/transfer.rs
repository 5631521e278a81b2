//! Import and export: what goes out comes in again, and what is wrong is refused.

mod shop;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use otoshi_explain::Explain;
use otoshi_oci::layer::{WriteOptions, write_layer};
use otoshi_oci::transfer::{
    DockerHost, Form, ImportOptions, TransferError, export_docker_archive, export_oci_archive,
    export_oci_dir, import_any, import_any_from, import_docker_archive, import_oci, import_rootfs_tar,
    load_into_docker,
};
use otoshi_oci::{
    Descriptor, Digest, Image, ImageConfig, Layout, LayoutError, MediaType, Platform, write_image,
};
use otoshi_test::given;
use serde_json::{Value, json};
use shop::{Shop, reference};
use support::{Archive, layout};

/// Asserts that an image is there under its name, with all its layers.
fn assert_has(layout: &Layout, name: &str, digest: &Digest) {
    let found =
        layout.names().resolve(&reference(name)).unwrap().unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(Digest::of(&found).unwrap(), *digest, "{name}");
    let image = Image::load(layout, digest, &Platform::host()).unwrap();
    for layer in image.layers() {
        layout.verify(&layer.digest).unwrap();
    }
}

#[test]
fn an_oci_directory_goes_out_and_in() {
    let shop = given!(Shop::new());
    let digest = Digest::of(&shop.image).unwrap();
    let out = shop.path("out");
    export_oci_dir(&shop.layout, &shop.images(), &out).unwrap();
    export_oci_dir(&shop.layout, &shop.images(), &out).unwrap();
    let target = layout(&shop.path("target"));
    let (form, imported) = import_any(&target, &out, &ImportOptions::default()).unwrap();
    assert_eq!(form, Form::OciDirectory);
    assert_eq!(imported.len(), 1);
    assert_eq!((imported[0].reference.as_ref(), &imported[0].digest), (Some(&reference("app:1")), &digest));
    assert_has(&target, "app:1", &digest);
    assert_eq!(target.names().manifests().unwrap(), shop.layout.names().manifests().unwrap());
}

#[test]
fn an_oci_archive_goes_out_and_in_in_every_wrapping() {
    let shop = given!(Shop::new());
    let digest = Digest::of(&shop.image).unwrap();
    let archive = shop.oci_archive();
    assert!(archive == shop.oci_archive(), "the same images give the same bytes");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for (index, bytes) in
        [archive.clone(), gzip.finish().unwrap(), zstd::bulk::compress(&archive, 1).unwrap()]
            .iter()
            .enumerate()
    {
        let file = shop.path("archive");
        fs::write(&file, bytes).unwrap();
        let target = layout(&shop.path(&format!("file{index}")));
        assert_eq!(import_any(&target, &file, &ImportOptions::default()).unwrap().0, Form::OciArchive);
        assert_has(&target, "app:1", &digest);

        let target = layout(&shop.path(&format!("pipe{index}")));
        let name = ImportOptions { name: Some(reference("other:2")), ..ImportOptions::default() };
        let (form, _) = import_any_from(&target, &bytes[..], Path::new("stdin"), &name).unwrap();
        assert_eq!(form, Form::OciArchive);
        assert_has(&target, "other:2", &digest);
        assert_eq!(target.names().tagged().unwrap().len(), 1);
        assert_eq!(fs::read_dir(target.root().join("ingest")).unwrap().count(), 0);
    }
}

#[test]
fn a_docker_archive_goes_out_and_in() {
    let shop = given!(Shop::new());
    let archive = shop.docker_archive();
    assert!(archive == shop.docker_archive(), "the same images give the same bytes");
    let file = shop.path("docker.tar");
    fs::write(&file, &archive).unwrap();
    let target = layout(&shop.path("target"));
    let (form, imported) = import_any(&target, &file, &ImportOptions::default()).unwrap();
    assert_eq!(form, Form::DockerArchive);
    let names: Vec<_> = imported.iter().map(|i| i.reference.as_ref().unwrap().familiar()).collect();
    assert_eq!(names, ["app:1", "ghcr.io/team/app:1"]);
    let before = &shop.loaded()[0].1;
    let after = Image::load(&target, &imported[0].digest, &Platform::host()).unwrap();
    assert_eq!((after.id(), &after.config), (before.id(), &before.config));
    assert_has(&target, "app:1", &imported[0].digest);

    let chosen = ImportOptions { name: Some(reference("app:1")), ..ImportOptions::default() };
    let target = layout(&shop.path("chosen"));
    assert_eq!(import_docker_archive(&target, &file, &chosen).unwrap().len(), 1);
    assert_eq!(target.names().tagged().unwrap().len(), 1);
}

#[test]
fn an_old_docker_archive_links_to_layers() {
    let shop = given!(Shop::new());
    let layer = Archive::new().file("hello", b"hello").finish();
    let diff_id = Digest::sha256_of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":null,"Layers":["b/layer.tar","a/layer.tar"]}]"#;
    let archive = Archive::new()
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("a/layer.tar", &layer)
        .file("./c.json", config.as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .finish();
    let file = shop.path("old.tar");
    fs::write(&file, &archive).unwrap();
    let imported = import_docker_archive(&shop.layout, &file, &ImportOptions::default()).unwrap();
    assert_eq!(imported[0].reference, None);
    let image = Image::load(&shop.layout, &imported[0].digest, &Platform::host()).unwrap();
    assert_eq!(image.layers().len(), 2);
    assert_eq!(image.config_bytes, config.as_bytes());
}

#[test]
fn a_root_filesystem_is_the_same_image_however_it_comes() {
    let shop = given!(Shop::new());
    let archive =
        Archive::new().directory("./").directory("./etc").file("./etc/os-release", b"ID=debian\n").finish();
    let file = shop.path("root.tar.zst");
    fs::write(&file, zstd::bulk::compress(&archive, 1).unwrap()).unwrap();
    let options = ImportOptions { name: Some(reference("debian:12")), ..ImportOptions::default() };
    let (form, zstd) = import_any(&shop.layout, &file, &options).unwrap();
    assert_eq!(form, Form::RootFilesystem);
    fs::write(&file, &archive).unwrap();
    let (_, plain) = import_any(&shop.layout, &file, &options).unwrap();
    let config = ImageConfig::new(&Platform::host());
    let direct = import_rootfs_tar(&shop.layout, &archive[..], config, Path::new("stdin"), &options).unwrap();
    assert_eq!((&zstd[0], &plain[0]), (&direct, &direct));
    assert_has(&shop.layout, "debian:12", &direct.digest);
    let image = Image::load(&shop.layout, &direct.digest, &Platform::host()).unwrap();
    assert_eq!(image.config.rootfs.diff_ids[0].0, Digest::sha256_of(&archive));

    for junk in [&b""[..], b"<!doctype html>", &[0; 1024]] {
        assert!(import_any_from(&shop.layout, junk, Path::new("stdin"), &options).is_err());
    }
}

#[test]
fn a_root_filesystem_may_have_a_manifest_json() {
    let shop = given!(Shop::new());
    let archive =
        Archive::new().file("manifest.json", b"{\"name\": \"web app\"}").file("index.html", b"").finish();
    let (form, _) =
        import_any_from(&shop.layout, &archive[..], Path::new("stdin"), &ImportOptions::default()).unwrap();
    assert_eq!(form, Form::RootFilesystem);
}

type Damage = Box<dyn Fn(&Layout, &Image)>;
type Expected = fn(&TransferError) -> bool;

#[test]
fn damaged_and_lying_layouts_are_refused() {
    let digest_of = |descriptor: &Descriptor| Digest::of(descriptor).unwrap();
    let cases: Vec<(&str, Damage, Expected)> = vec![
        (
            "a layer is missing",
            Box::new(|layout, image| fs::remove_file(layout.blob_path(&image.layers()[1].digest)).unwrap()),
            |error| matches!(error, TransferError::Missing { .. }),
        ),
        (
            "a layer is truncated",
            Box::new(|layout, image| {
                let file =
                    fs::OpenOptions::new().write(true).open(layout.blob_path(&image.layers()[0].digest));
                file.unwrap().set_len(100).unwrap();
            }),
            |error| matches!(error, TransferError::Size { found: 100, .. }),
        ),
        (
            "a layer has another content",
            Box::new(|layout, image| {
                let path = layout.blob_path(&image.layers()[0].digest);
                let mut bytes = fs::read(&path).unwrap();
                bytes[50] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            |error| matches!(error, TransferError::Layout(LayoutError::Unexpected { .. })),
        ),
        (
            "the manifest has another content",
            Box::new(|layout, image| fs::write(layout.blob_path(&image.digest), "{}").unwrap()),
            |error| matches!(error, TransferError::Layout(LayoutError::Unexpected { .. })),
        ),
        (
            "the index is empty",
            Box::new(|layout, _| {
                fs::write(layout.root().join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
            }),
            |error| matches!(error, TransferError::Invalid { .. }),
        ),
        (
            "the index names something that is no digest",
            Box::new(|layout, _| {
                let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1,"digest":"sha1:../../etc"}]}"#;
                fs::write(layout.root().join("index.json"), index).unwrap();
            }),
            |_| true,
        ),
    ];
    for (what, damage, is_expected) in cases {
        let shop = given!(Shop::new());
        let image = Image::load(&shop.layout, &digest_of(&shop.image), &Platform::host()).unwrap();
        damage(&shop.layout, &image);
        let target = layout(&shop.path("target"));
        let error = import_oci(&target, shop.layout.root(), &ImportOptions::default()).expect_err(what);
        assert!(is_expected(&error), "{what}: {error:?}");
        assert!(target.names().manifests().unwrap().is_empty(), "{what}: nothing is named");
    }
}

#[test]
fn lying_docker_archives_are_refused() {
    let layer = Archive::new().file("hello", b"hello").finish();
    let config = |diff_ids: &str| {
        format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
        )
    };
    let right = format!("\"{}\"", Digest::sha256_of(&layer));
    let wrong = format!("\"{}\"", Digest::sha256_of(b"something else"));
    let manifest = |config: &str, tag: &str, layer: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["{tag}"],"Layers":["{layer}"]}}]"#)
    };
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), &layer).unwrap();
    let outside = outside.path().to_str().unwrap();
    let climb = format!("../../../../../..{outside}");
    for (what, config, manifest) in [
        ("another diff id", config(&wrong), manifest("c.json", "a:1", "l.tar")),
        ("too few diff ids", config(""), manifest("c.json", "a:1", "l.tar")),
        ("no config", config(&right), manifest("d.json", "a:1", "l.tar")),
        ("no layer", config(&right), manifest("c.json", "a:1", "m.tar")),
        ("a layer on the host", config(&right), manifest("c.json", "a:1", outside)),
        ("a layer on the host by dots", config(&right), manifest("c.json", "a:1", &climb)),
        ("a layer through a link", config(&right), manifest("c.json", "a:1", "link.tar")),
        ("a circle of links", config(&right), manifest("c.json", "a:1", "circle")),
        ("a name that is none", config(&right), manifest("c.json", "A//b", "l.tar")),
        ("a config that is none", "[]".to_owned(), manifest("c.json", "a:1", "l.tar")),
        ("a layer that is none", config(&wrong), manifest("c.json", "a:1", "c.json")),
    ] {
        let shop = given!(Shop::new());
        let archive = Archive::new()
            .file("manifest.json", manifest.as_bytes())
            .file("c.json", config.as_bytes())
            .file("l.tar", &layer)
            .symlink("link.tar", outside)
            .symlink("circle", "circle")
            .finish();
        let file = shop.path("lying.tar");
        fs::write(&file, &archive).unwrap();
        let before = shop.layout.names().manifests().unwrap();
        import_any(&shop.layout, &file, &ImportOptions::default()).expect_err(what);
        assert_eq!(shop.layout.names().manifests().unwrap(), before, "{what}");
        fs::write(&file, &archive[..archive.len() / 2 / 512 * 512 + 100]).unwrap();
        import_any(&shop.layout, &file, &ImportOptions::default()).expect_err("half an archive");
    }
}

#[test]
fn an_index_with_gaps_gives_the_image_for_the_platform() {
    let shop = given!(Shop::new());
    let other = ImageConfig::new(&"linux/s390x".parse().unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let absent = write_image(&layout(elsewhere.path()), &other, &[], &BTreeMap::new()).unwrap();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [absent, shop.image]});
    let index = shop.layout.put(MediaType::ImageIndex, &serde_json::to_vec(&index).unwrap()).unwrap();
    shop.layout.names().tag(&reference("many:1"), index.clone()).unwrap();
    let options = ImportOptions { name: Some(reference("many:1")), ..ImportOptions::default() };

    let target = layout(&shop.path("target"));
    let imported = import_oci(&target, shop.layout.root(), &options).unwrap();
    assert_eq!(imported[0].digest, Digest::of(&shop.image).unwrap());
    let mut archive = Vec::new();
    export_oci_archive(&shop.layout, &[(Some(reference("many:1")), index.clone())], &mut archive).unwrap();
    let target = layout(&shop.path("archived"));
    import_any_from(&target, &archive[..], Path::new("stdin"), &options).unwrap();
    assert_has(&target, "many:1", &Digest::of(&shop.image).unwrap());

    let options = ImportOptions { platform: "linux/riscv64".parse().unwrap(), ..options };
    let error = import_oci(&target, shop.layout.root(), &options).unwrap_err();
    assert!(error.to_string().contains("linux/riscv64"), "{error}");

    // With all its images there, the index itself is imported.
    write_image(&shop.layout, &other, &[], &BTreeMap::new()).unwrap();
    let target = layout(&shop.path("whole"));
    assert_eq!(
        import_oci(&target, shop.layout.root(), &options).unwrap()[0].descriptor.digest(),
        index.digest()
    );
}

#[test]
fn one_name_cannot_name_two_images() {
    let shop = given!(Shop::new());
    let other =
        write_image(&shop.layout, &ImageConfig::new(&Platform::host()), &[], &BTreeMap::new()).unwrap();
    shop.layout.names().tag(&reference("other:1"), other.clone()).unwrap();
    let target = layout(&shop.path("target"));
    let with = |name: &str| ImportOptions { name: Some(reference(name)), ..ImportOptions::default() };
    let error = import_oci(&target, shop.layout.root(), &with("new:1")).unwrap_err();
    assert!(error.to_string().contains("app:1, other:1"), "{error}");
    assert!(error.hint().is_some());
    let chosen = import_oci(&target, shop.layout.root(), &with("other:1")).unwrap();
    assert_eq!(chosen[0].descriptor.digest(), other.digest());
    assert_eq!(import_oci(&target, shop.layout.root(), &ImportOptions::default()).unwrap().len(), 2);
}

/// Says of what version a daemon is, which images with layers in zstd make a client ask.
fn say_version(listener: &UnixListener) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    assert!(head.starts_with("GET /version HTTP/1.1\r\n"), "{head}");
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"ApiVersion\":\"1.51\"}";
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
}

/// Plays a daemon that is sent images: reads all of it, answers, and returns the body.
fn daemon(listener: UnixListener, answer: &'static str) -> std::thread::JoinHandle<(String, Vec<u8>)> {
    std::thread::spawn(move || {
        say_version(&listener);
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            (&mut reader).take(size).read_to_end(&mut body).unwrap();
            reader.read_line(&mut line).unwrap();
            if size == 0 {
                break;
            }
        }
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (head, body)
    })
}

#[test]
fn a_daemon_gets_the_image_as_it_is_and_what_older_ones_read_beside_it() {
    let shop = given!(Shop::new());
    let host = DockerHost::new(shop.path("docker.sock"));
    let listener = UnixListener::bind(host.socket()).unwrap();
    let served = daemon(
        listener,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"stream\":\"Loaded image: app:1\\n\"}\r\n",
    );
    assert_eq!(load_into_docker(&shop.layout, &shop.loaded(), &host).unwrap(), ["Loaded image: app:1"]);
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\n"), "{head}");
    let files: BTreeMap<String, Vec<u8>> = tar::Archive::new(&body[..])
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        })
        .collect();
    let image = &shop.loaded()[0].1;
    let place = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["app:1", "ghcr.io/team/app:1"]));
    assert_eq!(files[manifest[0]["Config"].as_str().unwrap()], image.config_bytes);
    let layers: Vec<String> = image.layers().iter().map(|layer| place(&layer.digest)).collect();
    assert_eq!(manifest[0]["Layers"], serde_json::json!(layers));
    assert!(
        files.contains_key(&place(&image.digest)) && layers.iter().all(|layer| files.contains_key(layer))
    );
    let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let names: Vec<&serde_json::Value> =
        (0..2).map(|at| &index["manifests"][at]["annotations"]["io.containerd.image.name"]).collect();
    assert_eq!(names, ["docker.io/library/app:1", "ghcr.io/team/app:1"]);
}

#[test]
fn a_daemon_may_refuse_or_be_away() {
    let shop = given!(Shop::new());
    let host = DockerHost::new(shop.path("docker.sock"));
    let error = load_into_docker(&shop.layout, &shop.loaded(), &host).unwrap_err();
    assert!(matches!(error, TransferError::Connect { .. }) && error.hint().is_some());

    // It refuses after the first bytes and reads no more.
    let listener = UnixListener::bind(host.socket()).unwrap();
    let served = std::thread::spawn(move || {
        say_version(&listener);
        let (mut stream, _) = listener.accept().unwrap();
        let mut start = [0; 100];
        stream.read_exact(&mut start).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n{\"message\":\"not today\"}").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let error = load_into_docker(&shop.layout, &shop.loaded(), &host).unwrap_err();
    served.join().unwrap();
    assert!(error.to_string().contains("not today"), "{error}");
}

#[test]
fn a_damaged_layer_is_found_before_anything_is_sent() {
    let shop = given!(Shop::new());
    let images = shop.loaded();
    let path = shop.layout.blob_path(&images[0].1.layers()[0].digest);
    let replacement = tempfile::tempdir().unwrap();
    let other = write_layer(&shop.layout, replacement.path(), &WriteOptions::default()).unwrap();
    fs::copy(shop.layout.blob_path(&Digest::of(&other.descriptor).unwrap()), path).unwrap();
    let mut out = Vec::new();
    let error = export_docker_archive(&shop.layout, &images, &mut out).unwrap_err();
    assert!(matches!(error, TransferError::DiffId { .. }), "{error:?}");
    assert!(out.is_empty());
}

/// A blob of an archive, by the descriptor that names it.
struct Blob {
    descriptor: Value,
    name: String,
    bytes: Vec<u8>,
}

fn blob(media_type: &str, bytes: &[u8]) -> Blob {
    let digest = Digest::sha256_of(bytes);
    Blob {
        descriptor: json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }),
        name: format!("blobs/sha256/{}", digest.hex()),
        bytes: bytes.to_vec(),
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest with these layers, its config, which lists these diff ids, and what they name.
fn manifest_of(config: &[u8], layers: &[&Blob]) -> Vec<Blob> {
    let config = blob(CONFIG, config);
    let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
    let text =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor, "layers": layers });
    vec![blob(MANIFEST, text.to_string().as_bytes()), config]
}

fn config_of(diff_ids: &[Digest]) -> Vec<u8> {
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs, "config": {} }).to_string().into_bytes()
}

/// An OCI archive whose index names the first of these, as `bad:1`.
fn oci_archive_of(blobs: &[&Blob]) -> Vec<u8> {
    let mut first = blobs[0].descriptor.clone();
    first["annotations"] = json!({ "org.opencontainers.image.ref.name": "bad:1" });
    let index = json!({ "schemaVersion": 2, "manifests": [first] }).to_string();
    let archive = Archive::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let archive = archive.file("index.json", index.as_bytes());
    blobs.iter().fold(archive, |archive, blob| archive.file(blob.name.as_str(), &blob.bytes)).finish()
}

#[test]
fn what_no_command_could_use_is_refused_and_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let target = layout(dir.path());
    let refused = |archive: &[u8]| {
        let options = ImportOptions::default();
        let error = import_any_from(&target, archive, Path::new("x.tar"), &options).unwrap_err();
        assert_eq!(target.names().manifests().unwrap(), [], "{error}");
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    };
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    let good = blob(LAYER, &Archive::new().file("a", b"x").finish());
    let outside = Archive::new().file("ok", b"x").file("a/../../evil", b"x").finish();
    let id = |blob: &Blob| Digest::sha256_of(&blob.bytes);
    let image = |layer: &Blob, diff_ids: &[Digest]| {
        let made = manifest_of(&config_of(diff_ids), &[layer]);
        oci_archive_of(&[&made[0], &made[1], layer])
    };
    let leads_out = "a/../../evil: its name points outside the root";
    let layer = blob(LAYER, &outside);
    let name = format!("layer {}", id(&layer));
    assert_eq!(refused(&image(&layer, &[id(&layer)])), format!("cannot read {name} in x.tar: {leads_out}"));
    assert_eq!(refused(&outside), format!("cannot read x.tar: {leads_out}"));
    let no_tar = blob(LAYER, b"not a tar");
    assert!(refused(&image(&no_tar, &[id(&no_tar)])).starts_with("cannot read layer "));
    let other = Digest::sha256_of(b"other");
    assert_eq!(
        refused(&image(&good, std::slice::from_ref(&other))),
        format!("layer {0} has the diff id {0}, but the image says {other}", id(&good))
    );
    let made = manifest_of(&config_of(&[]), &[&good]);
    assert!(
        refused(&oci_archive_of(&[&made[0], &made[1], &good]))
            .ends_with("has 1 layers, but its config lists 0 diff ids")
    );
    let made = manifest_of(&config_of(&[id(&good)]), &[&good]);
    assert_eq!(refused(&oci_archive_of(&[&made[0], &made[1]])), format!("x.tar lacks blob {}", id(&good)));
    let made = manifest_of(b"nothing", &[]);
    let digest = made[0].descriptor["digest"].as_str().unwrap();
    let error = refused(&oci_archive_of(&[&made[0], &made[1]]));
    assert!(error.starts_with(&format!("the config of image {digest} is not valid: ")), "{error}");
    let empty = blob("application/vnd.oci.image.index.v1+json", br#"{"schemaVersion":2,"manifests":[]}"#);
    let lists_none = format!("x.tar is not usable: the index {} lists no image", id(&empty));
    assert_eq!(refused(&oci_archive_of(&[&empty])), lists_none);

    let docker = |manifest: &Value, more: Archive| {
        more.file("manifest.json", manifest.to_string().as_bytes()).finish()
    };
    let listed = |layers: Value| json!([{ "Config": "c.json", "RepoTags": ["bad:1"], "Layers": layers }]);
    assert_eq!(
        refused(&docker(&json!([]), Archive::new())),
        "x.tar is not usable: its manifest.json lists no image"
    );
    assert_eq!(refused(&docker(&listed(json!([])), Archive::new())), "x.tar is not usable: it lacks c.json");
    let config = Archive::new().file("c.json", &config_of(&[id(&layer)]));
    assert_eq!(refused(&docker(&listed(json!(["l.tar"])), config)), "x.tar is not usable: it lacks l.tar");
    let config = Archive::new().file("c.json", &config_of(&[id(&layer)]));
    assert_eq!(
        refused(&docker(&listed(Value::Null), config)),
        "x.tar is not usable: c.json lists 1 diff ids for 0 layers"
    );
    let config = Archive::new().file("c.json", &config_of(&[id(&layer)])).file("l.tar", &outside);
    let error = refused(&docker(&listed(json!(["l.tar"])), config));
    assert_eq!(error, format!("cannot read l.tar in x.tar: {leads_out}"));
    // A root file system may have a file of that name.
    let root = Archive::new().file("manifest.json", br#"{"name":"app"}"#).finish();
    let (form, _) =
        import_any_from(&target, &root[..], Path::new("x.tar"), &ImportOptions::default()).unwrap();
    assert_eq!(form, Form::RootFilesystem);
}

#[test]
fn an_exported_layout_holds_what_the_specification_names_alone() {
    let shop = given!(Shop::new());
    let out = shop.path("out");
    let names = || {
        let entries = fs::read_dir(&out).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for _ in 0..2 {
        export_oci_dir(&shop.layout, &shop.images(), &out).unwrap();
        assert_eq!(names(), ["blobs", "index.json", "oci-layout"]);
    }
    // Many at once: none takes away what another one works with.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    export_oci_dir(&shop.layout, &shop.images(), &out).unwrap();
                }
            });
        }
    });
    assert_eq!(names(), ["blobs", "index.json", "oci-layout"]);
    let target = layout(&shop.path("target"));
    import_oci(&target, &out, &ImportOptions::default()).unwrap();
    assert_has(&target, "app:1", &Digest::of(&shop.image).unwrap());
    assert_eq!(names(), ["blobs", "index.json", "oci-layout"], "reading writes nothing");
}
