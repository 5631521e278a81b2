//! Pushing to a real registry and pulling from it: what moves, what does not, and what is found again.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use otoshi_oci::layer::Compression;
use otoshi_oci::{Artifact, Digest, Image, ImageManifest, Platform, write_artifact};
use otoshi_registry::{Client, Event, NoOrigins, Quiet, RegistryError, Repository, Settings, WantedImage};
use otoshi_test::{Fault, Proxy, Registry, given};
use support::{Notes, Store, client, describe, item, pull, push, reference, settings};

#[test]
fn what_was_pushed_is_pulled_and_nothing_moves_twice() {
    let registry = given!(Registry::start());
    let (here, there, client) = (Store::new(), Store::new(), client());
    let name = format!("{}/team/app:1", registry.host());
    // One large enough for chunks.
    let digest = here.image(&[(1, 6_000_000), (2, 1000), (3, 0)], Compression::Zstd);
    let first = push(&client, &here, &[item(&name, &digest)]).unwrap();
    assert_eq!((first.blobs_moved, first.blobs_skipped), (4, 0));
    assert_eq!(first.moved, first.total);

    let again = push(&client, &here, &[item(&name, &digest)]).unwrap();
    assert_eq!((again.requests, again.moved, again.total), (1, 0, first.total));

    let (pulled, summary) = pull(&client, &there, &name).unwrap();
    let pulled = pulled.unwrap();
    assert_eq!((pulled.manifest, summary.blobs_moved), (digest.clone(), 4));
    there.check();
    assert!(Image::load(&there.layout, &digest, &Platform::host()).is_ok());
    let (_, summary) = pull(&client, &there, &name).unwrap();
    assert_eq!((summary.requests, summary.moved, summary.blobs_skipped), (1, 0, 4));

    // Another tag is one manifest more, and no blob.
    let other = format!("{}/team/app:2", registry.host());
    let tagged = push(&client, &here, &[item(&other, &digest)]).unwrap();
    assert_eq!((tagged.requests, tagged.blobs_moved, tagged.moved), (3, 0, 0));
    let repository = Repository::of(&reference(&name));
    let mut tags = client.tags(&repository).unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
}

#[test]
fn four_images_cost_a_request_each_when_nothing_changed() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let items: Vec<_> =
        (0..4).map(|n| item(&format!("{}/shop:{n}", registry.host()), &store.small(n))).collect();
    push(&client, &store, &items).unwrap();
    // A machine that starts anew asks once more how the registry is reached.
    let fresh = support::client();
    assert_eq!(push(&fresh, &store, &items).unwrap().requests, 5);
}

#[test]
fn blobs_are_taken_over_from_another_repository() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let digest = store.image(&[(1, 100_000), (2, 1000)], Compression::Gzip);
    let both = [
        item(&format!("{}/a/builder:1", registry.host()), &digest),
        item(&format!("{}/b/runner:1", registry.host()), &digest),
    ];
    let notes = Arc::new(Notes::default());
    let summary = client.push(&store.layout, &both, Arc::new(NoOrigins), Arc::clone(&notes) as _).unwrap();
    assert_eq!((summary.blobs_moved, summary.blobs_mounted), (3, 3));
    let events = notes.0.lock().unwrap();
    let from = events.iter().find_map(|event| match event {
        Event::Mounted { from, .. } => Some(from.clone()),
        _ => None,
    });
    assert_eq!(from.as_deref(), Some("a/builder"));
    drop(events);
    let (pulled, _) = pull(&client, &Store::new(), &format!("{}/b/runner:1", registry.host())).unwrap();
    assert_eq!(pulled.unwrap().manifest, digest);
}

#[test]
fn what_is_only_in_a_registry_is_mounted_or_carried_over() {
    let one = given!(Registry::start());
    let other = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let digest = store.image(&[(1, 100_000)], Compression::Gzip);
    push(&client, &store, &[item(&format!("{}/base:1", one.host()), &digest)]).unwrap();
    let manifest: ImageManifest = store.layout.read_json(&digest).unwrap();
    let layer = Digest::of(&manifest.layers()[0]).unwrap();
    fs::remove_file(store.layout.blob_path(&layer)).unwrap();

    // To a repository of its own: the config may be there or not by the time that the layer turns out to be nowhere.
    let gone = push(&client, &store, &[item(&format!("{}/gone:1", one.host()), &digest)]).unwrap_err();
    assert!(matches!(&gone, RegistryError::Gone { digest, .. } if *digest == layer), "{gone}");
    let base = Repository { registry: one.host(), name: "base".into() };
    let origins = Arc::new(Known(layer.clone(), base));
    let to = item(&format!("{}/app:1", one.host()), &digest);
    let summary = client.push(&store.layout, &[to], Arc::clone(&origins) as _, Arc::new(Quiet)).unwrap();
    assert_eq!((summary.blobs_mounted, summary.blobs_moved), (1, 1), "the config moved");
    assert!(!store.layout.has(&layer), "nothing was fetched");
    let to = item(&format!("{}/app:1", other.host()), &digest);
    client.push(&store.layout, &[to], origins, Arc::new(Quiet)).unwrap();
    assert!(store.layout.has(&layer));
    pull(&client, &Store::new(), &format!("{}/app:1", other.host())).unwrap().0.unwrap();
}

struct Known(Digest, Repository);

impl otoshi_registry::Origins for Known {
    fn of(&self, blob: &Digest) -> Vec<Repository> {
        if *blob == self.0 { vec![self.1.clone()] } else { Vec::new() }
    }
}

#[test]
fn artifacts_are_found_by_their_subject_without_the_api() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let image = store.small(1);
    let artifact = |kind: &str| {
        let made = write_artifact(
            &store.layout,
            &[],
            Artifact {
                kind,
                annotations: &BTreeMap::from([("dev.test".to_owned(), "x".to_owned())]),
                subject: Some(&describe(&store, &image)),
            },
        );
        Digest::of(&made.unwrap()).unwrap()
    };
    let (recipe, other) = (artifact("application/vnd.test.recipe"), artifact("application/vnd.test.other"));
    let name = |tag: &str| format!("{}/shop:{tag}", registry.host());
    push(&client, &store, &[item(&name("app"), &image), item(&name("recipe"), &recipe)]).unwrap();
    push(&client, &store, &[item(&name("other"), &other)]).unwrap();
    let repository = Repository::of(&reference(&name("app")));
    let all = client.referrers(&repository, &image, None).unwrap();
    assert_eq!(all.len(), 2);
    let found = client.referrers(&repository, &image, Some("application/vnd.test.recipe")).unwrap();
    assert_eq!(Digest::of(&found[0]).unwrap(), recipe);
    assert_eq!(found[0].annotations().as_ref().unwrap()["dev.test"], "x");
    assert!(client.referrers(&repository, &recipe, None).unwrap().is_empty());
}

#[test]
fn the_referrers_api_is_used_where_there_is_one() {
    let registry = given!(Registry::start());
    let (proxy, store, client) = (Proxy::start(registry.port()), Store::new(), client());
    let image = store.small(1);
    let entry = |kind: &str, seed: &str| {
        let digest = Digest::sha256_of(seed.as_bytes());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        format!(r#"{{"mediaType":"{media_type}","size":2,"digest":"{digest}","artifactType":"{kind}"}}"#)
    };
    let page = |entries: &str, link: &str| {
        let body = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        Fault::Document(
            format!("Content-Type: application/vnd.oci.image.index.v1+json{link}"),
            body.into_bytes(),
        )
    };
    let next = format!("\r\nLink: </v2/shop/referrers/{image}?next=1>; rel=\"next\"");
    proxy.fault("GET", format!("/referrers/{image}?next=1"), 1, page(&entry("a/b", "2"), ""));
    proxy.fault("GET", format!("/referrers/{image}"), 1, page(&entry("a/a", "1"), &next));
    let repository = Repository { registry: proxy.host(), name: "shop".into() };
    let found = client.referrers(&repository, &image, Some("a/b")).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(Digest::of(&found[0]).unwrap(), Digest::sha256_of(b"2"));

    // A registry that takes note of subjects needs no index under a tag.
    let made = write_artifact(
        &store.layout,
        &[],
        Artifact { kind: "a/a", annotations: &BTreeMap::new(), subject: Some(&describe(&store, &image)) },
    );
    let artifact = Digest::of(&made.unwrap()).unwrap();
    let noticed = Fault::Answer("201 Created", format!("OCI-Subject: {image}"));
    proxy.fault("PUT", format!("/manifests/{artifact}"), 1, noticed);
    proxy.take_log();
    push(&client, &store, &[item(&format!("{}/shop:artifact", proxy.host()), &artifact)]).unwrap();
    assert!(!proxy.take_log().iter().any(|request| request.path.contains("/manifests/sha256-")));
}

#[test]
fn all_pages_of_tags_are_read() {
    let registry = given!(Registry::start());
    let proxy = Proxy::start(registry.port());
    let client = client();
    let repository = Repository { registry: proxy.host(), name: "shop".into() };
    // This registry has no pages of its own.
    let page = |tags: &str, link: &str| {
        Fault::Document(format!("Link: {link}"), format!("{{\"tags\":[{tags}]}}").into_bytes())
    };
    let next = "</v2/shop/tags/list?last=b&n=2>; rel=\"next\"";
    proxy.fault("GET", "tags/list?n=", 1, page("\"a\",\"b\"", next));
    proxy.fault("GET", "tags/list?last=b", 1, page("\"c\"", "<x>; rel=\"prev\""));
    assert_eq!(client.tags(&repository).unwrap(), ["a", "b", "c"]);
    // A reference without a path, names in any case; a page that is empty and not the last.
    proxy.fault("GET", "tags/list?n=", 1, page("\"a\"", "<?last=a>; REL = \"prev NEXT\""));
    proxy.fault(
        "GET",
        "tags/list?last=a",
        1,
        page("", "<http://inside:1/v2/shop/tags/list?last=z>;rel=next"),
    );
    proxy.fault("GET", "tags/list?last=z", 1, page("\"z\"", ""));
    assert_eq!(client.tags(&repository).unwrap(), ["a", "z"]);
    // What is not the whole list is no list.
    proxy.fault("GET", "tags/list?n=", 1, page("\"a\"", "<?n=1000>; rel=next"));
    let error = client.tags(&repository).unwrap_err().to_string();
    assert!(error.ends_with("its pages go round in a circle"), "{error}");
    proxy.fault("GET", "tags/list?n=", 1, page("\"a\"", "?n=1000; rel=next"));
    let error = client.tags(&repository).unwrap_err().to_string();
    assert!(error.contains("its Link header cannot be understood: ?n=1000; rel=next"), "{error}");
    let missing = Repository { name: "none".into(), ..repository };
    let error = client.tags(&missing).unwrap_err().to_string();
    let expected = "/none: asked for its tags; it answered 404: repository name not known to registry";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn skopeo_reads_what_was_pushed_and_what_it_pushes_is_read() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let digest = store.image(&[(1, 50_000), (2, 10)], Compression::Gzip);
    let name = format!("{}/team/app:1", registry.host());
    push(&client, &store, &[item(&name, &digest)]).unwrap();
    let directory = store.dir.path().join("out");
    let skopeo = |arguments: &[&str]| {
        let output = Command::new("skopeo").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let source = format!("docker://{name}");
    let copied = format!("oci:{}:app", directory.display());
    skopeo(&["copy", "--src-tls-verify=false", &source, &copied]);
    // Docker's media types, and a compression of its own.
    let target = format!("docker://{}/team/docker:1", registry.host());
    skopeo(&["copy", "--dest-tls-verify=false", "--format", "v2s2", &copied, &target]);
    let other = Store::new();
    let (pulled, _) = pull(&client, &other, &format!("{}/team/docker:1", registry.host())).unwrap();
    let image = Image::load(&other.layout, &pulled.unwrap().manifest, &Platform::host()).unwrap();
    assert_eq!(image.layers().len(), 2);
    assert!(image.layers()[0].descriptor.media_type().as_ref().contains("docker"));
    let umoci = Command::new("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:app", directory.display()))
        .arg(store.dir.path().join("bundle"))
        .output()
        .unwrap();
    assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
    assert_eq!(fs::read(store.dir.path().join("bundle/rootfs/file")).unwrap(), support::noise(2, 10));
}

#[test]
fn of_an_index_the_image_for_the_platform_is_pulled() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let (ours, theirs) = (store.small(1), store.small(2));
    let entry = |digest: &Digest, architecture: &str| {
        let descriptor = describe(&store, digest);
        serde_json::json!({
            "mediaType": descriptor.media_type(), "size": descriptor.size(), "digest": digest,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let host = Platform::host().architecture;
    let other = if host == "s390x" { "amd64" } else { "s390x" };
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry(&theirs, other), entry(&ours, &host)],
    });
    let bytes = serde_json::to_vec(&index).unwrap();
    let index = Digest::of(&store.layout.put(otoshi_oci::MediaType::ImageIndex, &bytes).unwrap()).unwrap();
    let name = format!("{}/multi:1", registry.host());
    push(&client, &store, &[item(&name, &index)]).unwrap();

    let there = Store::new();
    let (pulled, summary) = pull(&client, &there, &name).unwrap();
    let pulled = pulled.unwrap();
    assert_eq!((pulled.digest, pulled.manifest), (index.clone(), ours));
    assert_eq!(summary.blobs_moved, 2, "only ours");
    let strange: Platform = "linux/riscv64".parse().unwrap();
    let depth = otoshi_registry::Depth::Config;
    let error = client
        .pull(
            &there.layout,
            WantedImage { reference: &reference(&name), platform: &strange, depth },
            Arc::new(Quiet),
        )
        .unwrap_err();
    assert!(error.to_string().contains("has no manifest for linux/riscv64; it has linux/"), "{error}");
}

#[test]
fn foreign_layers_are_refused_with_their_reason() {
    let registry = given!(Registry::start());
    let (store, client) = (Store::new(), client());
    let digest = store.small(1);
    let mut manifest: serde_json::Value = store.layout.read_json(&digest).unwrap();
    manifest["layers"][0]["mediaType"] =
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let put = store.layout.put(otoshi_oci::MediaType::ImageManifest, &bytes).unwrap();
    let name = format!("{}/windows:1", registry.host());
    push(&client, &store, &[item(&name, &Digest::of(&put).unwrap())]).unwrap();
    let error = pull(&client, &Store::new(), &name).unwrap_err();
    assert!(matches!(error, RegistryError::Foreign { .. }), "{error}");
    assert!(
        error.to_string().contains("is a foreign layer (application/vnd.oci.image.layer.nondist"),
        "{error}"
    );
}

#[test]
fn uploads_in_many_chunks_are_whole() {
    let registry = given!(Registry::start());
    let store = Store::new();
    let client = Client::new(Settings { upload_chunk: 1_000_000, ..settings() }).unwrap();
    let digest = store.image(&[(1, 5_500_000)], Compression::None);
    let name = format!("{}/chunks:1", registry.host());
    push(&client, &store, &[item(&name, &digest)]).unwrap();
    let there = Store::new();
    pull(&client, &there, &name).unwrap();
    there.check();
}
