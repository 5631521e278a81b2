//! What networks and registries do wrong, with a real registry behind: no corrupt store, no tag that moved too early; it goes
//! through, or says plainly why not.

mod support;

use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otoshi_explain::Explain;
use otoshi_oci::layer::Compression;
use otoshi_oci::{Digest, ImageManifest};
use otoshi_registry::{Client, Downloads, Hosts, RegistryError, Repository, Settings};
use otoshi_test::{Fault, Missing, Proxy, Registry, Rule, given};
use support::{Store, client, item, noise, pull, push, settings};

const BIG: usize = 6_000_000;

/// A registry behind a proxy, and an image of one large layer.
struct Stage {
    registry: Registry,
    proxy: Proxy,
    store: Store,
    image: Digest,
    layer: Digest,
}

impl Stage {
    fn new() -> Result<Self, Missing> {
        let registry = Registry::start()?;
        let (proxy, store) = (Proxy::start(registry.port()), Store::new());
        let image = store.image(&[(1, BIG)], Compression::None);
        let manifest: ImageManifest = store.layout.read_json(&image).unwrap();
        let layer = Digest::of(&manifest.layers()[0]).unwrap();
        Ok(Self { registry, proxy, store, image, layer })
    }

    fn name(&self) -> String {
        format!("{}/shop:1", self.proxy.host())
    }

    fn push(&self) -> Result<otoshi_registry::Summary, RegistryError> {
        push(&client(), &self.store, &[item(&self.name(), &self.image)])
    }

    /// Pulls into an empty store, and checks that nothing wrong is in it.
    fn pull(&self) -> Result<(Store, u64), RegistryError> {
        let there = Store::new();
        let outcome = pull(&client(), &there, &self.name());
        there.check();
        outcome.map(|(pulled, summary)| {
            assert_eq!(pulled.unwrap().manifest, self.image);
            (there, summary.moved)
        })
    }

    fn blob(&self) -> String {
        format!("/blobs/{}", self.layer)
    }

    /// Whether the registry itself has the tag.
    fn is_tagged(&self) -> bool {
        let name = support::reference(&format!("{}/shop:1", self.registry.host()));
        client().resolve(&name).unwrap().is_some()
    }
}

#[test]
fn a_download_that_breaks_goes_on_where_it_broke() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    stage.proxy.fault("GET", stage.blob(), 3, Fault::Cut(1_500_000));
    let (_, moved) = stage.pull().unwrap();
    let size = stage.store.layout.size(&stage.layer).unwrap();
    assert!(moved < size + 10_000, "{moved} bytes for {size}");
    let ranges: Vec<_> = stage.proxy.take_log().into_iter().filter(|r| r.is("GET", &stage.blob())).collect();
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[3].headers["range"], "bytes=4500000-");
}

#[test]
fn a_download_that_never_gets_on_is_given_up() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    stage.proxy.fault("GET", stage.blob(), 99, Fault::Cut(0));
    let error = stage.pull().err().unwrap();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("/shop: asked for the blob sha256:"), "{error}");
    let requests = stage.proxy.take_log().iter().filter(|r| r.is("GET", &stage.blob())).count();
    assert_eq!(requests, 4, "as often as it is set");
}

#[test]
fn a_wrong_byte_never_gets_into_the_store() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    stage.proxy.fault("GET", stage.blob(), 1, Fault::Corrupt(123_456));
    let error = stage.pull().err().unwrap();
    assert!(error.to_string().contains("the answer is wrong: its content has the digest sha256:"), "{error}");
    stage.proxy.heal();
    stage.proxy.fault("GET", "/manifests/1", 1, Fault::Corrupt(20));
    let error = stage.pull().err().unwrap();
    assert!(error.to_string().contains("/shop: asked for the tag 1, and the answer is wrong"), "{error}");
    stage.pull().unwrap();
}

#[test]
fn what_has_another_length_than_promised_is_refused() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    for length in [10, BIG * 2] {
        stage.proxy.fault("GET", stage.blob(), 1, Fault::Document(String::new(), noise(1, length)));
        let error = stage.pull().err().unwrap();
        assert!(error.to_string().contains(&format!("it has {length} bytes, not ")), "{error}");
        stage.proxy.heal();
    }
    // A manifest without end.
    stage.proxy.fault("GET", "/manifests/1", 1, Fault::Document(String::new(), vec![b' '; 5 << 20]));
    let error = stage.pull().err().unwrap();
    assert!(error.to_string().ends_with("it is larger than 4194304 bytes"), "{error}");
}

#[test]
fn busy_and_broken_registries_are_asked_again() {
    let stage = given!(Stage::new());
    let answer = |status| Fault::Answer(status, String::new());
    stage.proxy.fault("HEAD", "/manifests/", 2, answer("503 Service Unavailable"));
    stage.proxy.fault("POST", "/uploads/", 1, answer("500 Internal Server Error"));
    stage.proxy.fault("HEAD", "/blobs/", 1, Fault::Drop);
    stage.proxy.fault("PUT", "/manifests/", 1, answer("502 Bad Gateway"));
    stage.proxy.fault("PUT", "/manifests/1", 1, Fault::LoseAnswer);
    stage.push().unwrap();
    stage.pull().unwrap();
}

#[test]
fn a_registry_that_knows_no_head_is_asked_by_get() {
    let stage = given!(Stage::new());
    for status in ["405 Method Not Allowed", "501 Not Implemented"] {
        stage.proxy.heal();
        stage.proxy.fault("HEAD", "/v2/", usize::MAX, Fault::Answer(status, "Allow: GET".into()));
        stage.push().unwrap();
        let name = support::reference(&stage.name());
        assert_eq!(client().resolve(&name).unwrap().as_ref(), Some(&stage.image), "{status}");
        stage.proxy.take_log();
        stage.push().unwrap();
        let log = stage.proxy.take_log();
        assert!(
            !log.iter().any(|request| request.is("POST", "/uploads/")),
            "{status}: what is there is not sent"
        );
        stage.pull().unwrap();
        let missing = support::reference(&format!("{}/shop:none", stage.proxy.host()));
        assert_eq!(client().resolve(&missing).unwrap(), None, "{status}");
    }
}

#[test]
fn a_registry_says_how_long_to_wait() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    let many = |wait: &str| Fault::Answer("429 Too Many Requests", format!("Retry-After: {wait}"));
    stage.proxy.take_log();
    let busy = Fault::Until(Instant::now() + Duration::from_secs(1), Box::new(many("1")));
    stage.proxy.fault("GET", "/manifests/1", 9, busy);
    stage.pull().unwrap();
    let asked = || stage.proxy.take_log().iter().filter(|r| r.is("GET", "/manifests/1")).count();
    assert!(asked() <= 2, "asked again before the time had come");

    // Longer than anybody waits: that is told now.
    stage.proxy.heal();
    stage.proxy.fault("GET", "/manifests/1", 9, many("3600"));
    let error = stage.pull().err().unwrap();
    assert_eq!(error.status(), Some(429));
    assert_eq!(
        error.hint().as_deref(),
        Some("wait, log in for a higher rate limit, or set a mirror in registries.conf")
    );
    assert_eq!(asked(), 1);
}

#[test]
fn a_budget_that_is_used_up_is_waited_for() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    let name = support::reference(&stage.name());
    let manifest = fs::read(stage.store.layout.blob_path(&stage.image)).unwrap();
    let headers = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\
                   RateLimit-Remaining: 0;w=60\r\nRateLimit-Reset: 1";
    stage.proxy.fault("GET", "/manifests/1", 1, Fault::Document(headers.into(), manifest));
    let empty = Fault::Answer("429 Too Many Requests", String::new());
    let until = Instant::now() + Duration::from_millis(900);
    stage.proxy.fault("HEAD", "/manifests/1", 9, Fault::Until(until, Box::new(empty)));
    let client = client();
    client.manifest(&name).unwrap().unwrap();
    stage.proxy.take_log();
    client.resolve(&name).unwrap().unwrap();
    assert_eq!(stage.proxy.take_log().len(), 1, "asked while the budget was used up");
}

#[test]
fn what_is_final_is_asked_once() {
    let stage = given!(Stage::new());
    for status in ["403 Forbidden", "400 Bad Request", "451 Unavailable"] {
        stage.proxy.fault("HEAD", "/manifests/1", 9, Fault::Answer(status, String::new()));
        stage.proxy.take_log();
        let error = stage.push().unwrap_err();
        assert_eq!(error.status().unwrap().to_string(), status[..3]);
        assert_eq!(stage.proxy.take_log().iter().filter(|r| r.method == "HEAD").count(), 1, "{status}");
        stage.proxy.heal();
    }
    assert!(!stage.is_tagged());
}

#[test]
fn an_upload_that_breaks_goes_on_after_what_the_registry_kept() {
    let stage = given!(Stage::new());
    stage.proxy.fault("PATCH", "/uploads/", 2, Fault::CutUpload(2_000_000));
    let summary = stage.push().unwrap();
    let sent: Vec<_> = stage.proxy.take_log().into_iter().filter(|r| r.method == "PATCH").collect();
    assert_eq!(sent.len(), 3);
    assert!(sent[2].headers["content-range"].starts_with("4000000-"), "{:?}", sent[2].headers);
    assert_eq!(summary.blobs_moved, 2);
    stage.pull().unwrap();
}

#[test]
fn an_upload_that_the_registry_forgot_begins_anew() {
    let stage = given!(Stage::new());
    // This registry keeps nothing of a request that broke.
    stage.proxy.fault("PATCH", "/uploads/", 1, Fault::LoseAnswer);
    stage.proxy.fault("PATCH", "/uploads/", 1, Fault::Answer("404 Not Found", String::new()));
    stage.push().unwrap();
    stage.pull().unwrap();
    // The answer to the last request was lost, and the blob is there.
    let other = stage.store.image(&[(9, BIG)], Compression::None);
    stage.proxy.fault("PUT", "/uploads/", 1, Fault::LoseAnswer);
    stage.proxy.take_log();
    push(&client(), &stage.store, &[item(&stage.name(), &other)]).unwrap();
    assert_eq!(stage.proxy.take_log().iter().filter(|r| r.method == "PATCH").count(), 1);
}

#[test]
fn a_manifest_is_offered_again_where_the_registry_does_not_see_yet_what_it_just_stored() {
    let stage = given!(Stage::new());
    let path = format!("/manifests/{}", stage.image);
    stage.proxy.fault("PUT", path.clone(), 2, Fault::Answer("400 Bad Request", String::new()));
    stage.push().unwrap();
    stage.pull().unwrap();
    let other = stage.store.image(&[(9, BIG)], Compression::None);
    let path = format!("/manifests/{other}");
    stage.proxy.fault("PUT", path.clone(), 99, Fault::Answer("400 Bad Request", String::new()));
    stage.proxy.take_log();
    let error = push(&client(), &stage.store, &[item(&stage.name(), &other)]).unwrap_err();
    assert_eq!(error.status(), Some(400), "{error}");
    let offered = stage.proxy.take_log().iter().filter(|request| request.is("PUT", &path)).count();
    assert_eq!(offered, 4, "and in the end it is believed");
}

#[test]
fn no_tag_moves_before_everything_is_there() {
    let stage = given!(Stage::new());
    let gone = Fault::Answer("500 Internal Server Error", String::new());
    for (method, path) in [("PATCH", "/uploads/".to_owned()), ("PUT", format!("/manifests/{}", stage.image))]
    {
        stage.proxy.fault(method, path, 99, gone.clone());
        let error = stage.push().unwrap_err();
        assert_eq!(error.status(), Some(500), "{error}");
        assert_eq!(error.hint().as_deref(), Some("try again later"));
        assert!(!stage.is_tagged(), "{method}");
        stage.proxy.heal();
    }
    // Two tags: the second image cannot be stored, so the first tag does not move either.
    let other = stage.store.small(7);
    stage.proxy.fault("PUT", format!("/manifests/{other}"), 99, gone);
    let second = item(&format!("{}/shop:2", stage.proxy.host()), &other);
    let items = [item(&stage.name(), &stage.image), second];
    push(&client(), &stage.store, &items).unwrap_err();
    assert!(!stage.is_tagged());
    stage.proxy.heal();
    push(&client(), &stage.store, &items).unwrap();
    assert!(stage.is_tagged());
}

#[test]
fn a_damaged_blob_is_not_pushed() {
    let stage = given!(Stage::new());
    let path = stage.store.layout.blob_path(&stage.layer);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = stage.push().unwrap_err();
    assert!(error.to_string().contains("is corrupt: its content has the digest"), "{error}");
    bytes.truncate(5000);
    fs::write(&path, &bytes).unwrap();
    let error = stage.push().unwrap_err();
    assert!(error.to_string().contains("is corrupt"), "{error}");
    assert!(!stage.is_tagged());
}

#[test]
fn an_address_that_nobody_answers_is_told_soon() {
    let error = pull(&client(), &Store::new(), "localhost:1/team/app:1").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("localhost:1/team/app: asked for the tag 1, and got no answer: "), "{text}");
    assert!(text.contains("onnection refused"), "{text}");
    assert_eq!(error.hint().as_deref(), Some("check the name localhost:1 and the network"));
}

#[test]
fn an_unknown_tag_is_none_and_an_unknown_digest_too() {
    let stage = given!(Stage::new());
    assert!(pull(&client(), &Store::new(), &stage.name()).unwrap().0.is_none());
    let name = format!("{}/shop@{}", stage.proxy.host(), stage.image);
    assert!(pull(&client(), &Store::new(), &name).unwrap().0.is_none());
}

#[test]
fn a_mirror_is_asked_first_and_its_faults_cost_nothing() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    let mirror = Proxy::start(stage.registry.port());
    let file = stage.registry.path("registries.conf");
    let text = format!(
        "[[registry]]\nprefix = \"hub.test/team\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        stage.proxy.host(),
        mirror.host()
    );
    fs::write(&file, text).unwrap();
    let hosts = Hosts::read(&file).unwrap();
    let client = Client::new(Settings { hosts, ..settings() }).unwrap();
    stage.proxy.take_log();
    let there = Store::new();
    pull(&client, &there, "hub.test/team/shop:1").unwrap().0.unwrap();
    assert_eq!(stage.proxy.take_log().len(), 0);
    mirror.fault("GET", "/manifests/", 9, Fault::Answer("404 Not Found", String::new()));
    mirror.fault("GET", "/blobs/", 9, Fault::Corrupt(1));
    let there = Store::new();
    pull(&client, &there, "hub.test/team/shop:1").unwrap().0.unwrap();
    there.check();
}

#[test]
fn a_blob_is_read_while_it_arrives_and_ends_only_when_it_is_right() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    let size = stage.store.layout.size(&stage.layer).unwrap();
    let expected = fs::read(stage.store.layout.blob_path(&stage.layer)).unwrap();
    let repository = Repository { registry: stage.proxy.host(), name: "shop".into() };
    let downloads = |client: Client, there: &Store| {
        Downloads::new(Arc::new(client), there.layout.clone(), Arc::new(otoshi_registry::Quiet))
    };
    // In pieces, with two readers, and one request for each piece.
    stage.proxy.take_log();
    stage.proxy.fault("GET", stage.blob(), 2, Fault::Cut(2_000_000));
    let there = Store::new();
    let all = downloads(client(), &there);
    let mut readers = [1, 2].map(|_| all.open(std::slice::from_ref(&repository), &stage.layer, size));
    for reader in &mut readers {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == expected);
    }
    there.check();
    assert!(there.layout.has(&stage.layer));
    assert_eq!(stage.proxy.take_log().iter().filter(|r| r.is("GET", &stage.blob())).count(), 3);
    assert_eq!(all.summary().blobs_moved, 1);

    // A mirror that sends something else, and then the registry itself.
    let mirror = Proxy::start(stage.registry.port());
    mirror.fault("GET", stage.blob(), 9, Fault::Corrupt(5_000_000));
    let file = stage.registry.path("registries.conf");
    let entry = format!("[[registry]]\nprefix = \"hub.test\"\nlocation = \"{}\"\n", stage.proxy.host());
    fs::write(&file, format!("{entry}[[registry.mirror]]\nlocation = \"{}\"\n", mirror.host())).unwrap();
    let hosts = Hosts::read(&file).unwrap();
    let there = Store::new();
    let all = downloads(Client::new(Settings { hosts, ..settings() }).unwrap(), &there);
    let repository = Repository { registry: "hub.test".into(), name: "shop".into() };
    let mut bytes = Vec::new();
    let mut reader = all.open(std::slice::from_ref(&repository), &stage.layer, size);
    if let Err(error) = reader.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        bytes.clear();
        all.open(&[repository], &stage.layer, size).read_to_end(&mut bytes).unwrap();
    }
    assert!(bytes == expected);
    there.check();
}

#[test]
fn rules_can_begin_late() {
    let stage = given!(Stage::new());
    let fault = Fault::Drop;
    stage.proxy.rule(Rule { method: "HEAD", path: "/blobs/".into(), after: 1, times: 1, fault });
    stage.push().unwrap();
    let (client, repository) = (client(), Repository { registry: stage.proxy.host(), name: "shop".into() });
    let blobs = [otoshi_oci::Descriptor::new(
        otoshi_oci::MediaType::ImageLayer,
        stage.store.layout.size(&stage.layer).unwrap(),
        stage.layer.to_oci(),
    )];
    let there = Store::new();
    let quiet = Arc::new(otoshi_registry::Quiet);
    assert_eq!(client.fetch(&there.layout, &repository, &blobs, quiet).unwrap().blobs_moved, 1);
}

#[test]
fn a_config_of_no_honest_size_is_not_fetched() {
    let stage = given!(Stage::new());
    stage.push().unwrap();
    let mut manifest: serde_json::Value = stage.store.layout.read_json(&stage.image).unwrap();
    manifest["config"]["size"] = (1_u64 << 40).into();
    let headers = "Content-Type: application/vnd.oci.image.manifest.v1+json".to_owned();
    let body = serde_json::to_vec(&manifest).unwrap();
    stage.proxy.fault("GET", "/manifests/1", 1, Fault::Document(headers, body));
    let error = stage.pull().err().unwrap();
    assert!(error.to_string().ends_with("; at most 16777216 are read"), "{error}");
    assert!(!stage.proxy.take_log().iter().any(|request| request.is("GET", "/blobs/")));
}
