//! Images on their new base: layers, history, times, annotations and media types.

mod support;

use std::collections::BTreeMap;

use otoshi_oci::{Digest, Image, Platform, RunConfig};
use otoshi_rebase::seam::{BASE_DIGEST, BASE_NAME, BUILDPACKS, SEAM, chain_id, claim, verify};
use otoshi_rebase::{Bases, compose};
use support::{Store, text};

fn bases<'a>(app: &'a Image, old: Option<&'a Image>, new: &'a Image, seam: usize) -> Bases<'a> {
    Bases { app, old, new, seam, name: Some("r.example/base:2"), digest: &new.digest }
}

fn ids(image: &Image) -> Vec<otoshi_oci::DiffId> {
    image.layers().iter().map(|layer| layer.diff_id.clone()).collect()
}

#[test]
fn layers_config_and_history_are_those_of_a_build_on_the_new_base() {
    let store = Store::new();
    let with_env = |value: &str| {
        let env = vec![format!("V={value}"), "PATH=/bin".to_owned()];
        move |config: &mut otoshi_oci::ImageConfig| config.config = RunConfig { env, ..RunConfig::default() }
    };
    let old = store.image(&[&[text("a", "1")], &[text("b", "1")]], with_env("1"));
    let new = store.image(&[&[text("a", "2")], &[text("b", "2")], &[text("c", "2")]], with_env("2"));
    let app_files = [text("app", "1")];
    let set = |config: &mut otoshi_oci::ImageConfig| config.config.cmd = Some(vec!["app".into()]);
    let app = store.on(&old, &[&app_files], set);
    let expected = store.on(&new, &[&app_files], set);

    let seam = verify(&ids(&app), &ids(&old)).unwrap();
    let composed = compose(bases(&app, Some(&old), &new, seam)).unwrap();
    assert_eq!(composed.config, expected.config);
    assert_eq!(composed.base_layers, 3);
    assert_eq!(composed.annotations[BASE_DIGEST], new.digest.to_string());
    assert_eq!(composed.annotations[BASE_NAME], "r.example/base:2");

    // And back again: the same image, but for what it says of its base.
    let written = Digest::of(&composed.write(&store.layout, &app).unwrap()).unwrap();
    let there = Image::load(&store.layout, &written, &Platform::host()).unwrap();
    let back = compose(bases(&there, Some(&new), &old, 3)).unwrap();
    assert_eq!(back.config, app.config);
    assert_eq!(claim(&there, &BTreeMap::new()).unwrap().digest, Some(new.digest.clone()));
}

#[test]
fn images_without_history_stay_without_or_get_entries_for_each_layer() {
    let store = Store::new();
    let bare = |config: &mut otoshi_oci::ImageConfig| config.history = Vec::new();
    let old = store.image(&[&[text("a", "1")]], bare);
    let new = store.image(&[&[text("a", "2")], &[text("b", "2")]], bare);
    let app = store.on(&old, &[&[text("app", "1")]], bare);
    assert_eq!(compose(bases(&app, Some(&old), &new, 1)).unwrap().config.history, []);
    let told = store.image(&[&[text("a", "3")], &[text("b", "2")]], |_| {});
    let config = compose(bases(&app, Some(&old), &told, 1)).unwrap().config;
    assert_eq!(config.history.len(), 3);
    assert_eq!(config.history[0].created_by.as_deref(), Some("step 0"));
}

#[test]
fn the_time_is_the_later_one_and_the_seam_follows() {
    let store = Store::new();
    let at =
        |time: &'static str| move |config: &mut otoshi_oci::ImageConfig| config.created = Some(time.into());
    let old = store.image(&[&[text("a", "1")]], at("2024-01-01T00:00:00Z"));
    let new = store.image(&[&[text("a", "2")]], at("2026-01-01T00:00:00Z"));
    let app = store.on(&old, &[&[text("app", "1")]], at("2025-01-01T00:00:00Z"));
    let mut annotated = app.clone();
    let chain = chain_id(&ids(&old)).unwrap();
    annotated.manifest.set_annotations(Some([(SEAM.to_owned(), chain.to_string())].into()));
    let composed = compose(bases(&annotated, Some(&old), &new, 1)).unwrap();
    assert_eq!(composed.config.created.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(composed.annotations[SEAM], chain_id(&ids(&new)).unwrap().to_string());
    let back = compose(bases(&app, Some(&new), &old, 1)).unwrap();
    assert_eq!(back.config.created.as_deref(), Some("2025-01-01T00:00:00Z"));
    assert!(otoshi_rebase::compose::is_older(&new, &old) && !otoshi_rebase::compose::is_older(&old, &new));
}

#[test]
fn a_time_on_one_side_alone_says_of_none_that_it_is_older() {
    let store = Store::new();
    let at = |time: Option<&'static str>, content| {
        store.image(&[&[text("a", content)]], move |config| config.created = time.map(Into::into))
    };
    let (none, other) = (at(None, "1"), at(None, "2"));
    for time in ["1980-01-01T00:00:01Z", "2026-01-01T00:00:00Z", "yesterday"] {
        let told = at(Some(time), "3");
        for (old, new) in [(&none, &told), (&told, &none), (&none, &other), (&told, &told)] {
            assert!(!otoshi_rebase::compose::is_older(old, new), "{time}");
        }
    }
}

#[test]
fn an_image_in_dockers_form_stays_in_it() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let mut app = store.on(&old, &[&[text("app", "1")]], |_| {});
    let mut layers = app.manifest.layers().clone();
    for layer in &mut layers {
        layer.set_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip".into());
    }
    let mut config = app.manifest.config().clone();
    config.set_media_type("application/vnd.docker.container.image.v1+json".into());
    app.manifest.set_layers(layers).set_config(config);
    app.manifest.set_media_type(Some("application/vnd.docker.distribution.manifest.v2+json".into()));
    let written = compose(bases(&app, Some(&old), &new, 1)).unwrap().write(&store.layout, &app).unwrap();
    assert_eq!(written.media_type().as_ref(), "application/vnd.docker.distribution.manifest.v2+json");
    let json = String::from_utf8(store.layout.read(&Digest::of(&written).unwrap()).unwrap()).unwrap();
    assert!(!json.contains("vnd.oci."), "{json}");
    // And a base in Docker's form under an image of OCI's.
    let oci = store.on(&old, &[&[text("app", "1")]], |_| {});
    let docker = Image::load(&store.layout, &Digest::of(&written).unwrap(), &Platform::host()).unwrap();
    let written = compose(bases(&oci, Some(&old), &docker, 1)).unwrap().write(&store.layout, &oci).unwrap();
    let json = String::from_utf8(store.layout.read(&Digest::of(&written).unwrap()).unwrap()).unwrap();
    assert!(!json.contains("vnd.docker."), "{json}");
}

#[test]
fn the_form_is_that_of_the_manifest_whatever_type_its_config_has() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let types = |with_type: bool| {
        let mut app = store.on(&old, &[&[text("app", "1")]], |_| {});
        let mut config = app.manifest.config().clone();
        config.set_media_type("application/vnd.docker.container.image.v1+json".into());
        app.manifest.set_config(config);
        if !with_type {
            app.manifest.set_media_type(None);
        }
        let composed = compose(bases(&app, Some(&old), &new, 1)).unwrap();
        assert_eq!(composed.annotations[BASE_DIGEST], new.digest.to_string());
        let written = composed.write(&store.layout, &app).unwrap();
        let json: serde_json::Value = store.layout.read_json(&Digest::of(&written).unwrap()).unwrap();
        let layers = json["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let oci = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(types(true), [oci, oci]);
    assert_eq!(types(false), [oci, oci], "a manifest need not say its own type");
}

#[test]
fn the_systems_version_is_that_of_the_new_base() {
    let store = Store::new();
    let version = |version: &'static str| {
        move |config: &mut otoshi_oci::ImageConfig| {
            config.extra.insert("os.version".into(), version.into());
        }
    };
    let (old, new) =
        (store.image(&[&[text("a", "1")]], version("1")), store.image(&[&[text("a", "2")]], version("2")));
    let app = store.on(&old, &[&[text("app", "1")]], |_| {});
    for known in [Some(&old), None] {
        assert_eq!(compose(bases(&app, known, &new, 1)).unwrap().config.extra["os.version"], "2");
    }
}

#[test]
fn a_base_for_another_platform_is_refused() {
    let store = Store::new();
    let old = store.image(&[&[text("a", "1")]], |_| {});
    let other = store.image(&[&[text("a", "1")]], |config| config.architecture = "s390x".into());
    let error = compose(bases(&old, Some(&old), &other, 1)).unwrap_err();
    assert!(error.to_string().contains("s390x"), "{error}");
}

#[test]
fn the_label_of_buildpacks_stays_true() {
    let store = Store::new();
    let (old, new) = (store.image(&[&[text("a", "1")]], |_| {}), store.image(&[&[text("a", "2")]], |_| {}));
    let label = format!(
        r#"{{"app":[],"runImage":{{"topLayer":"{}","reference":"r.example/base@{}"}}}}"#,
        old.layers()[0].diff_id,
        old.digest
    );
    let app = store.on(&old, &[&[text("app", "1")]], |config| {
        config.config.labels.insert(BUILDPACKS.into(), label);
    });
    let composed = compose(bases(&app, Some(&old), &new, 1)).unwrap();
    let label = &composed.config.config.labels[BUILDPACKS];
    assert!(label.contains(&new.layers()[0].diff_id.to_string()), "{label}");
    assert!(label.contains(&format!("r.example/base@{}", new.digest)), "{label}");
}
