//! What a check takes for something new in a registry and what not, and how it keeps to the registry's budget; through the program.

mod stage;
mod support;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use otoshi_oci::Digest;
use otoshi_test::{Fault, given};
use serde_json::{Value, json};
use stage::Stage;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A repository of the registry, as somebody else's tools see it.
struct Raw<'a>(&'a Stage, &'static str);

impl Raw<'_> {
    fn get(&self, path: &str) -> Vec<u8> {
        self.0.registry.get(self.1, path)
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    /// Puts a manifest or index under a tag, or under its digest; gives its descriptor.
    fn put(&self, tag: Option<&str>, kind: &str, document: &Value) -> Value {
        let bytes = document.to_string();
        let digest = Digest::sha256_of(bytes.as_bytes()).to_string();
        self.0.registry.put_manifest(self.1, tag.unwrap_or(&digest), kind, bytes.as_bytes());
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    fn put_blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256_of(bytes).to_string();
        let (head, _) = self.0.registry.request(&format!("POST /v2/{}/blobs/uploads/ HTTP/1.1", self.1), b"");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = location.trim_start_matches("http://localhost");
        let (head, _) = self.0.registry.request(&format!("PUT {path}&digest={digest} HTTP/1.1"), bytes);
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }
}

/// What a program makes of bytes.
fn piped(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// The fields of an object, with some others.
fn with(object: &Value, others: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    object
}

#[test]
fn churn_in_other_architectures_and_attestations_is_no_change() {
    let stage = given!(Stage::new());
    let slim = Raw(&stage, "slim");
    let own = slim.json("manifests/1");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    // An index as release pipelines push them: this platform, another one, and what says how both were built.
    let index = |round: &str| {
        let mut entries = vec![with(
            &slim.put(None, MANIFEST, &own),
            &json!({ "platform": { "os": "linux", "architecture": architecture } }),
        )];
        for (os, architecture) in [("linux", "s390x"), ("unknown", "unknown")] {
            let mut other = own.clone();
            other["annotations"] = json!({ "round": round, "of": architecture });
            let platform = json!({ "platform": { "os": os, "architecture": architecture } });
            entries.push(with(&slim.put(None, MANIFEST, &other), &platform));
        }
        entries[2]["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries })
    };
    let first = slim.put(Some("1"), INDEX, &index("one"));
    stage.shop.ok(&["build"]);
    let second = slim.put(Some("1"), INDEX, &index("two"));
    assert_ne!(first["digest"], second["digest"]);
    stage.proxy.take_log();
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (0, &Value::from(2)), "{report}");
    // It looked at the new index, and not at what others use.
    let asked = stage.proxy.take_log();
    let index = second["digest"].as_str().unwrap();
    assert!(asked.iter().any(|request| request.is("GET", index)), "{asked:?}");
    assert_eq!(asked.iter().filter(|request| request.is("GET", "/manifests/")).count(), 1, "{asked:?}");
}

#[test]
fn an_image_of_the_same_content_is_no_change_and_another_start_is_one() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    let slim = Raw(&stage, "slim");
    let manifest = slim.json("manifests/1");
    let config = slim.json(&format!("blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
    let fresh = |what: &str| {
        let (code, report) = stage.shop.check(&[]);
        assert_eq!((code, &report["counts"]["fresh"]), (0, &Value::from(2)), "{what}: {report}");
    };

    // The layer packed anew, by another program.
    let layer = &manifest["layers"][0];
    let packed = slim.get(&format!("blobs/{}", layer["digest"].as_str().unwrap()));
    let unpack = if layer["mediaType"].as_str().unwrap().ends_with("zstd") { "zstd" } else { "gzip" };
    let again = piped("gzip", &["-1", "-n"], &piped(unpack, &["-d", "-c"], &packed));
    assert_ne!(again, packed);
    let repacked = with(&manifest, &json!({ "layers": [slim.put_blob(GZIP, &again)] }));
    slim.put(Some("1"), MANIFEST, &repacked);
    fresh("packed anew");

    // Built anew with the same result: another time and another label.
    let mut rebuilt = with(&config, &json!({ "created": "2030-01-01T00:00:00Z" }));
    rebuilt["config"]["Labels"] = json!({ "org.opencontainers.image.revision": "abc" });
    let with_config = |config: &Value| {
        with(&repacked, &json!({ "config": slim.put_blob(CONFIG, config.to_string().as_bytes()) }))
    };
    slim.put(Some("1"), MANIFEST, &with_config(&rebuilt));
    fresh("built anew");

    // The same files, and another environment.
    rebuilt["config"]["Env"] = json!(["PATH=/elsewhere"]);
    slim.put(Some("1"), MANIFEST, &with_config(&rebuilt));
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["findings"][0]["kind"]), (10, &"base-moved".into()), "{report}");
}

#[test]
fn a_version_is_newer_where_every_base_that_uses_it_has_it() {
    let stage = given!(Stage::new());
    let host = stage.proxy.host();
    stage.edit("otoshi.toml", "[bases]", "[versions]\nSERIES = \"1.0\"\n[bases]");
    stage.edit("otoshi.toml", "base:1", "base:{SERIES}");
    stage.edit("otoshi.toml", "slim:1", "slim:{SERIES}");
    let push = |names: &[&str]| {
        for name in names {
            stage.shop.import(&format!("{name}\n"));
            stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{host}/{name}")]);
        }
    };
    push(&["base:1.0", "slim:1.0", "slim:1.1"]);
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (0, &Value::from(2)), "{report}");

    push(&["base:1.1"]);
    // Where little is left of the registry's budget, no image is fetched to say which phases would run.
    stage.proxy.fault("HEAD", "/v2/", 1000, Fault::Headers("RateLimit-Remaining: 10;w=21600".to_owned()));
    stage.proxy.take_log();
    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 10, "{report}");
    for finding in report["findings"].as_array().unwrap() {
        let text = finding["text"].as_str().unwrap();
        let told = "; which phases it would rerun is not known: its registry says that 10 requests are left";
        assert!(text.ends_with(told), "{text}");
        assert_eq!(finding["phases"], json!([]));
    }
    let asked = stage.proxy.take_log();
    assert!(asked.iter().all(|request| !request.is("GET", "/manifests/")), "{asked:?}");
    stage.proxy.heal();

    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 10, "{report}");
    for finding in report["findings"].as_array().unwrap() {
        assert_eq!((&finding["name"], &finding["kind"]), (&"SERIES".into(), &"newer-version".into()));
        let set = json!([{ "table": "versions", "name": "SERIES", "from": "1.0", "to": "1.1" }]);
        assert_eq!(finding["set"], set);
        let numbers: Vec<_> =
            finding["phases"].as_array().unwrap().iter().map(|phase| &phase["number"]).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(finding["command"], "otoshi update SERIES=1.1, then otoshi build");
    }
}

#[test]
fn no_image_is_fetched_when_the_registry_has_little_left_for_us() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    let lines = |left: u32| {
        Fault::Headers(format!("RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: {left};w=21600"))
    };
    stage.proxy.fault("HEAD", "/v2/", 1000, lines(10));
    // To find out that nothing moved takes nothing of the budget.
    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 0, "{report}");

    // Another machine pushes.
    let push = |text: &str| {
        stage.push_base("slim", text);
        stage.replace_machine();
        stage.shop.ok(&["build", "--locked"]);
    };
    push("slim 2\n");
    stage.proxy.take_log();
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (20, &Value::from(1)), "{report}");
    let failed = &report["failed"][0];
    assert_eq!(failed["reference"], format!("{}/slim:1", stage.proxy.host()));
    assert_eq!(failed["message"], "not looked at: its registry says that 10 requests are left");
    assert_eq!(failed["hint"], "wait, log in for a larger budget, or lower [check] budget-floor");
    let asked = stage.proxy.take_log();
    assert!(
        asked.iter().all(|request| !request.is("GET", "/manifests/") && !request.is("GET", "/blobs/")),
        "{asked:?}"
    );

    // A lower floor lets it through, and so does a registry that has more.
    let manifest = fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    stage.shop.write("otoshi.toml", &format!("{manifest}[check]\nbudget-floor = 3\n"));
    assert_eq!(stage.shop.check(&[]).0, 10);
    stage.shop.write("otoshi.toml", &manifest);
    push("slim 3\n");
    stage.proxy.heal();
    stage.proxy.fault("HEAD", "/v2/", 1000, lines(11));
    assert_eq!(stage.shop.check(&[]).0, 10);
}
