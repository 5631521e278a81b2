//! Images that others built, or in other forms, move to a new base as well: they stay what they are, and run.

mod support;
mod whole;
mod yard;

use std::process::Command;

use base64::Engine;
use otoshi_test::{Docker, Fault, Need, given, require, run, said};
use serde_json::Value;
use whole::assert_said;
use yard::Yard;

fn skopeo(arguments: &[&str], from: &str, to: &str) {
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]).args(arguments);
    run(command.args([format!("docker://{from}"), format!("docker://{to}")]));
}

/// The form of a manifest as Docker makes them.
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The forms of a manifest, its config and its layers.
fn media_types(raw: &str) -> Vec<String> {
    let manifest: Value = serde_json::from_str(raw).unwrap();
    let all = [&manifest, &manifest["config"]].into_iter().chain(manifest["layers"].as_array().unwrap());
    all.map(|one| one["mediaType"].as_str().unwrap().to_owned()).collect()
}

/// Moves an image from the first base to the second, and runs it there.
fn moves(yard: &Yard, image: &str) -> Value {
    yard.base("2", "base 2\n");
    let done = yard.rebase(&["--base", &yard.name("base:as-1"), "--onto", &yard.name("base:1"), image]);
    assert_eq!(done["outcome"], "rebased", "{done}");
    yard.runs(image, "base 2");
    done
}

#[test]
fn an_image_in_dockers_form_stays_in_it() {
    let yard = given!(Yard::new());
    skopeo(&["--format", "v2s2"], &yard.direct("app:1"), &yard.direct("schema:1"));
    moves(&yard, &yard.name("schema:1"));
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let config = "application/vnd.docker.container.image.v1+json";
    assert_eq!(media_types(&yard.raw("schema:1")), [DOCKER, config, layer, layer]);
}

#[test]
fn layers_of_zstd_stay_beside_a_base_of_gzip() {
    let yard = given!(Yard::new());
    let image = yard.name("zstd:1");
    skopeo(&["--dest-compress-format", "zstd"], &yard.direct("app:1"), &yard.direct("zstd:1"));
    let [gzip, zstd] = ["gzip", "zstd"].map(|form| format!("application/vnd.oci.image.layer.v1.tar+{form}"));
    let layers = || media_types(&yard.raw("zstd:1"))[2..].to_vec();
    assert_eq!(layers(), [zstd.clone(), zstd.clone()]);
    moves(&yard, &image);
    assert_eq!(layers(), [gzip, zstd], "the application's own layer is the same blob");
}

#[test]
fn a_layer_that_is_kept_elsewhere_is_told_and_let_pass_on_request() {
    let yard = given!(Yard::new());
    let mut manifest: Value = serde_json::from_str(&yard.raw("app:1")).unwrap();
    let own = manifest["layers"].as_array_mut().unwrap().last_mut().unwrap();
    own["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    own["digest"] = format!("sha256:{}", "1".repeat(64)).into();
    own["urls"] = serde_json::json!(["http://127.0.0.1:9/layer"]);
    let foreign = own.clone();
    yard.put("app", "foreign", "application/vnd.oci.image.manifest.v1+json", &manifest.to_string());
    yard.base("2", "base 2\n");
    let image = yard.name("app:foreign");
    let (old, onto) = (yard.name("base:as-1"), yard.name("base:1"));
    let arguments = ["--base", old.as_str(), "--onto", &onto, &image];
    let output = yard.shop.otoshi(&[&["rebase"], &arguments[..]].concat());
    assert_said("rebase-of-an-image-with-a-layer-that-is-kept-elsewhere", &output);
    let told = said(&output);
    let waiver = told.split("--allow '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let done = yard.rebase(&[&arguments[..], &["--allow", waiver]].concat());
    assert_eq!(done["outcome"], "rebased", "{done}");
    let manifest: Value = serde_json::from_str(&yard.raw("app:foreign")).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().last(), Some(&foreign));
}

#[test]
fn what_indexes_say_follows_the_manifests_that_they_list() {
    let yard = given!(Yard::new());
    let kind = "application/vnd.oci.image.index.v1+json";
    let digest_of = |name: &str| {
        let shown: Value = serde_json::from_str(&yard.shop.ok(&["inspect", &yard.name(name)])).unwrap();
        shown["digest"].as_str().unwrap().to_owned()
    };
    let raw = yard.raw("app:1");
    // Debian's own way: the manifest is embedded in the entry. And no platform, which is optional.
    let entry = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest_of("app:1"),
        "size": raw.len(),
        "data": base64::engine::general_purpose::STANDARD.encode(&raw),
    });
    let index =
        |entries: Value| serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    let inner = index(serde_json::json!([entry])).to_string();
    yard.put("app", "inner", kind, &inner);
    let nested = serde_json::json!({
        "mediaType": kind,
        "digest": otoshi_oci::Digest::sha256_of(inner.as_bytes()).to_string(),
        "size": inner.len(),
    });
    yard.put("app", "outer", kind, &index(serde_json::json!([nested])).to_string());
    yard.replace_machine();
    let done = moves(&yard, &yard.name("app:outer"));
    assert_eq!(done["platforms"].as_array().unwrap().len(), 1, "{done}");
    let outer: Value = serde_json::from_str(&yard.raw("app:outer")).unwrap();
    let digest = outer["manifests"][0]["digest"].as_str().unwrap();
    let inner: Value = serde_json::from_str(&yard.raw(&format!("app@{digest}"))).unwrap();
    let entry = &inner["manifests"][0];
    assert_eq!((&entry["digest"], &entry["data"]), (&done["platforms"][0]["new"], &Value::Null), "{inner}");
}

#[test]
fn an_image_that_says_that_it_is_not_to_be_moved_stays_unless_that_is_let_pass() {
    let yard = given!(Yard::new());
    let label = "LABEL io.buildpacks.rebasable=false\n";
    yard.shop.write("app/Dockerfile", &(yard::APP.replace("BASE", &yard.name("base:1")) + label));
    let image = yard.name("extended:1");
    yard.shop.ok(&["image", "build", "app", "-t", &image]);
    yard.shop.ok(&["image", "push", &image]);
    yard.base("2", "base 2\n");
    yard.replace_machine();
    let (old, onto) = (yard.name("base:as-1"), yard.name("base:1"));
    let arguments = ["rebase", "--base", old.as_str(), "--onto", &onto, &image];
    let output = yard.shop.otoshi(&arguments);
    assert_said("rebase-of-an-image-that-says-that-it-is-not-rebasable", &output);
    let output =
        yard.shop.otoshi(&[&arguments[..], &["--allow", "not-rebasable=io.buildpacks.rebasable"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn signatures_and_attestations_under_tags_are_told() {
    for lists_tags in [true, false] {
        let yard = given!(Yard::new());
        if !lists_tags {
            yard.proxy.fault("GET", "/tags/list", 99, Fault::Answer("403 Forbidden", String::new()));
        }
        cosigns_tags_are_told(&yard);
    }
}

fn cosigns_tags_are_told(yard: &Yard) {
    let raw = yard.raw("app:1");
    let shown: Value = serde_json::from_str(&yard.shop.ok(&["inspect", &yard.name("app:1")])).unwrap();
    let old = shown["digest"].as_str().unwrap().to_owned();
    // What such a tag holds is of no concern here: that it is about the image, its name says.
    let kind = "application/vnd.oci.image.manifest.v1+json";
    yard.put("app", &format!("{}.sig", old.replace(':', "-")), kind, &raw);
    yard.put("app", &format!("{}.att", old.replace(':', "-")), kind, &raw);
    // Where the image was built, its name stands for the one in the store.
    yard.replace_machine();
    let done = moves(yard, &yard.name("app:1"));
    let left = done["left_behind"].as_array().unwrap();
    let kinds: Vec<_> = left.iter().map(|left| left["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["cosign signature", "cosign attestation"], "{done}");
    assert!(left.iter().all(|left| left["about"] == old.as_str()), "{done}");
}

#[test]
fn a_base_with_a_layer_twice_is_replaced_whole() {
    let yard = given!(Yard::new());
    // The first layer again on top of another: only the whole run of layers says where the base ends.
    let (first, second) = (yard.raw("base:1"), yard.raw("app:1"));
    let (first, second): (Value, Value) =
        (serde_json::from_str(&first).unwrap(), serde_json::from_str(&second).unwrap());
    assert_eq!(first["layers"][0], second["layers"][0]);
    yard.shop
        .write("twice/Dockerfile", &format!("FROM {}\nCOPY same /\nCOPY other /\n", yard.name("base:1")));
    yard.shop.write("twice/same/etc/same", "same\n");
    yard.shop.write("twice/other/etc/base", "twice\n");
    yard.shop.ok(&["image", "build", "twice", "-t", &yard.name("twice:1")]);
    yard.shop.ok(&["image", "push", &yard.name("twice:1")]);
    let base = yard.name("twice:1");
    // And the application has the base's own layer once more.
    yard.shop.write(
        "own/Dockerfile",
        &format!("FROM {base}\nCOPY same /\nCOPY web /app/web\nENV PATH=/app:$PATH\n"),
    );
    yard.shop.write("own/same/etc/same", "same\n");
    std::fs::copy(yard.shop.path("app/web"), yard.shop.path("own/web")).unwrap();
    let image = yard.name("own:1");
    yard.shop.ok(&["image", "build", "own", "-t", &image]);
    yard.shop.ok(&["image", "push", &image]);
    let manifest: Value = serde_json::from_str(&yard.raw("own:1")).unwrap();
    assert_eq!(
        manifest["layers"][1], manifest["layers"][3],
        "the same layer in the base and in the application"
    );
    yard.base("2", "base 2\n");
    yard.replace_machine();
    let done = yard.rebase(&["--base", &base, "--onto", &yard.name("base:1"), &image]);
    assert_eq!(
        (&done["platforms"][0]["seam"], &done["platforms"][0]["kept"]),
        (&3.into(), &2.into()),
        "{done}"
    );
    yard.runs(&image, "base 2");
}

#[test]
fn an_image_that_docker_built_moves_and_runs() {
    let yard = given!(Yard::new());
    let docker = given!(Docker::start());
    for (name, buildkit) in [("classic", "0"), ("buildkit", "1")] {
        yard.shop.write("app/Dockerfile", &yard::APP.replace("BASE", &yard.direct("base:as-1")));
        let image = yard.direct(&format!("{name}:1"));
        run(docker
            .command()
            .env("DOCKER_BUILDKIT", buildkit)
            .args(["build", "-q", "-t", &image])
            .arg(yard.shop.path("app")));
        run(docker.command().args(["push", "-q", &image]));
        assert_eq!(media_types(&yard.raw(&format!("{name}:1")))[0], DOCKER);
        moves(&yard, &yard.name(&format!("{name}:1")));
        // Docker takes it as it does its own.
        run(docker.command().args(["pull", "-q", &image]));
        let shown = run(docker.command().args(["run", "--rm", "--network", "none", &image]));
        assert_eq!(shown, "base 2\n");
    }
}

#[test]
fn an_image_that_buildah_built_says_itself_where_it_stands() {
    given!(require(&[Need::Tool("buildah")]));
    let yard = given!(Yard::new());
    let image = yard.direct("buildah:1");
    let root = yard.shop.dir.path().join("buildah");
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
        command.arg("--storage-driver=vfs").args(arguments);
        command
    };
    run(buildah(&["bud", "-q", "--tls-verify=false", "-t", &image]).arg(yard.shop.path("app")));
    run(&mut buildah(&["push", "-q", "--tls-verify=false", &image]));
    yard.base("2", "base 2\n");
    let done = yard.rebase(&[&image]);
    let source = &done["platforms"][0]["source"];
    assert_eq!((&done["outcome"], source), (&"rebased".into(), &"annotations".into()), "{done}");
    yard.runs(&image, "base 2");
}

#[test]
fn layers_that_can_be_read_in_part_stay_so() {
    let yard = given!(Yard::new());
    // What skopeo finds in the registry it does not compress anew: so this image was never there.
    yard.shop.write(
        "app/Dockerfile",
        &format!("{}LABEL own=1\nCOPY web /own\n", yard::APP.replace("BASE", &yard.name("base:1"))),
    );
    yard.shop.ok(&["image", "build", "app", "-t", "own:1"]);
    let archive = yard.shop.path("app.tar").display().to_string();
    yard.shop.ok(&["export", "own:1", &archive]);
    run(Command::new("skopeo")
        .args(["copy", "-q", "--dest-tls-verify=false", "--dest-compress-format=zstd:chunked"])
        .args([format!("oci-archive:{archive}"), format!("docker://{}", yard.direct("app:chunked"))]));
    let layers = |name: &str| -> Vec<Value> {
        let manifest: Value = serde_json::from_str(&yard.raw(name)).unwrap();
        manifest["layers"].as_array().unwrap().clone()
    };
    let position = "io.containers.zstd-chunked.manifest-position";
    let old = layers("app:chunked");
    assert!(old.last().unwrap()["annotations"][position].is_string(), "{old:?}");
    yard.replace_machine();
    moves(&yard, &yard.name("app:chunked"));
    let new = layers("app:chunked");
    assert_eq!(new.last(), old.last());
    assert_eq!(new.last().unwrap()["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    // So do they below another image.
    let from = yard.name("app:chunked");
    yard.shop.write("above/Dockerfile", &format!("FROM {from}\nCOPY web /again\n"));
    yard.shop.write("above/web", "again");
    let above = yard.name("above:1");
    yard.shop.ok(&["image", "build", "above", "-t", &above]);
    yard.shop.ok(&["image", "push", &above]);
    assert_eq!(layers("above:1")[..new.len()], new);
}
