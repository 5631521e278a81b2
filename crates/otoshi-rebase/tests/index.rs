//! Indexes in which manifests were replaced: whatever an entry repeats of its manifest follows it.

mod support;

use std::collections::BTreeMap;

use otoshi_oci::{Digest, Image, ImageIndex};
use otoshi_rebase::index::{Entry, Facts, NewBase, Replaced, entry, replace};
use otoshi_rebase::seam::{BASE_DIGEST, BASE_NAME, CREATED};
use serde_json::{Value, json};
use support::{Store, text};

fn descriptor(store: &Store, image: &Image, more: Value) -> Value {
    let described = store.layout.describe(&image.digest).unwrap();
    let mut entry = serde_json::to_value(described).unwrap();
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

/// Facts of an image whose manifest has these annotations and whose config these further fields.
fn facts(image: &Image, annotations: &[(&str, &str)], config: Value) -> Facts {
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut changed = image.config.clone();
    let fields: BTreeMap<String, Value> = serde_json::from_value(config).unwrap();
    changed.variant = fields.get("variant").and_then(Value::as_str).map(str::to_owned);
    changed.extra = fields;
    Facts::new(annotations.collect(), &changed)
}

/// Replaces one image in an index that has one entry for it, and gives the new index.
fn replaced(store: &Store, more: Value, old: (&Image, Facts), new: (&Image, Facts), whole: bool) -> Value {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor(store, old.0, more)],
        "annotations": {BASE_DIGEST: "sha256:old", BASE_NAME: "r.test/base:1", CREATED: "2024", "own": "stays"},
    });
    let of_new = Replaced {
        descriptor: store.layout.describe(&new.0.digest).unwrap(),
        old: Some(old.1),
        new: Some(new.1),
    };
    let list = BTreeMap::from([(old.0.digest.to_string(), of_new)]);
    let base = Digest::sha256_of(b"index of the base");
    let base = NewBase { name: Some("r.test/base:2"), digest: &base, created: Some("2026") };
    let written = replace(&store.layout, &index, &list, whole.then_some(base)).unwrap();
    serde_json::from_slice(&store.layout.read(&Digest::of(&written).unwrap()).unwrap()).unwrap()
}

#[test]
fn embedded_content_and_addresses_of_the_old_manifest_are_dropped() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let more = json!({"data": "e30=", "urls": ["https://r.test/old"], "artifactType": "a/b"});
    let none = || Facts::default();
    let index = replaced(&store, more, (&old, none()), (&new, none()), true);
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], new.digest.to_string());
    assert_eq!(entry["size"], store.layout.size(&new.digest).unwrap());
    assert_eq!((&entry["data"], &entry["urls"]), (&Value::Null, &Value::Null));
    assert_eq!(entry["artifactType"], "a/b");
}

#[test]
fn annotations_follow_the_manifest_and_those_of_the_index_stay() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let more = json!({"annotations": {
        BASE_DIGEST: "sha256:old", BASE_NAME: "r.test/base:1", CREATED: "2024", "of.both": "1", "gone": "1", "of.index": "1",
        "differs": "index",
    }});
    let before = facts(&old, &[("of.both", "1"), ("gone", "1"), ("differs", "1")], json!({}));
    let now = [(BASE_DIGEST, "sha256:new"), (BASE_NAME, "r.test/base:2"), ("of.both", "2"), ("differs", "2")];
    let index = replaced(&store, more, (&old, before), (&new, facts(&new, &now, json!({}))), true);
    let expected = json!({
        BASE_DIGEST: "sha256:new", BASE_NAME: "r.test/base:2", CREATED: "2026", "of.both": "2", "of.index": "1",
        "differs": "index",
    });
    assert_eq!(index["manifests"][0]["annotations"], expected);
    let base = Digest::sha256_of(b"index of the base").to_string();
    let expected = json!({BASE_DIGEST: base, BASE_NAME: "r.test/base:2", CREATED: "2026", "own": "stays"});
    assert_eq!(index["annotations"], expected);
}

#[test]
fn an_index_of_which_some_images_moved_says_nothing_new_as_a_whole() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let index = replaced(&store, json!({}), (&old, Facts::default()), (&new, Facts::default()), false);
    assert_eq!(index["annotations"][BASE_DIGEST], "sha256:old");
    assert_eq!(index["manifests"][0]["digest"], new.digest.to_string());
}

#[test]
fn the_platform_follows_the_config_where_that_says_something() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let platform = |listed: Value, before: Value, now: Value| {
        let more = json!({"platform": listed});
        let (before, now) = (facts(&old, &[], before), facts(&new, &[], now));
        replaced(&store, more, (&old, before), (&new, now), true)["manifests"][0]["platform"].clone()
    };
    let windows = |version: &str| json!({"os": "windows", "architecture": "amd64", "os.version": version});
    assert_eq!(
        platform(windows("10.0.1"), json!({"os.version": "10.0.1"}), json!({"os.version": "10.0.2"})),
        windows("10.0.2")
    );
    let plain = json!({"os": "windows", "architecture": "amd64"});
    assert_eq!(platform(windows("10.0.1"), json!({"os.version": "10.0.1"}), json!({})), plain);
    let arm = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    assert_eq!(platform(arm.clone(), json!({}), json!({})), arm, "only the index says it");
    assert_eq!(platform(Value::Null, json!({}), json!({"variant": "v8"})), Value::Null);
}

#[test]
fn entries_about_what_was_replaced_are_left_out_and_others_stay_to_the_letter() {
    let store = Store::new();
    let (old, other) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let about = |image: &Image| {
        let annotations = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest.to_string(),
        });
        let unknown = json!({"os": "unknown", "architecture": "unknown"});
        descriptor(&store, &other, json!({"annotations": annotations, "platform": unknown}))
    };
    let version =
        json!({"platform": {"os": "windows", "architecture": "amd64", "os.version": "7"}, "x-own": 1});
    let untouched = descriptor(&store, &other, version);
    let features = json!({"platform": {"os": "linux", "architecture": "amd64", "os.features": ["erofs"]}});
    let needs_features = descriptor(&store, &other, features);
    let entries =
        json!([descriptor(&store, &old, json!({})), about(&old), about(&other), untouched, needs_features]);
    let list = json!({"schemaVersion": 2, "manifests": entries});
    let index: ImageIndex = serde_json::from_value(list.clone()).unwrap();
    let kinds: Vec<Entry> = index
        .manifests()
        .iter()
        .zip(list["manifests"].as_array().unwrap())
        .map(|(listed, document)| entry(listed, &otoshi_oci::needed_features(document)))
        .collect();
    let [Entry::Unsaid, Entry::About(one), Entry::About(_), Entry::Image(_), Entry::About(erofs)] =
        &kinds[..]
    else {
        panic!("{kinds:?}")
    };
    assert_eq!(one.about, old.digest.to_string());
    assert_eq!((&erofs.kind[..], &erofs.about[..]), ("os.features erofs", ""));
    let of_new = Replaced { descriptor: store.layout.describe(&other.digest).unwrap(), old: None, new: None };
    let written = replace(&store.layout, &list, &BTreeMap::from([(old.digest.to_string(), of_new)]), None);
    let index: Value = store.layout.read_json(&Digest::of(&written.unwrap()).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 4);
    assert_eq!(index["manifests"][2], untouched, "what is not known here stays");
    assert_eq!(index["manifests"][3], needs_features, "so does what others of the index still stand beside");
    let base = NewBase { name: None, digest: &other.digest, created: None };
    let all = replace(&store.layout, &list, &BTreeMap::new(), Some(base));
    let index: Value = store.layout.read_json(&Digest::of(&all.unwrap()).unwrap()).unwrap();
    let left = index["manifests"].as_array().unwrap();
    assert!(!left.contains(&needs_features), "{left:#?}");
}
