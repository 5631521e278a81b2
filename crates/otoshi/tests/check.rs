//! What is newer outside, asked through the program: moved tags, newer tags, policies, and registries that fail.

mod stage;
mod support;
mod whole;

use std::fs;

use otoshi_test::given;
use serde_json::Value;
use stage::Stage;
use whole::assert_said;

/// The numbers of the phases that the only finding would make run.
fn phases(report: &Value) -> Vec<u64> {
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    let phases = findings[0]["phases"].as_array().unwrap();
    phases.iter().map(|phase| phase["number"].as_u64().unwrap()).collect()
}

#[test]
fn nothing_new_costs_few_requests() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.proxy.take_log();
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (0, &Value::from(2)), "{report}");
    let asked = stage.proxy.take_log();
    assert!(asked.len() <= 6, "{asked:?}");
}

#[test]
fn a_moved_base_is_found_with_the_phases_that_it_would_make_run() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.push_base("slim", "slim 2\n");
    let lock = fs::read(stage.shop.path("otoshi.lock")).unwrap();
    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 10, "{report}");
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["name"]), (&"base-moved".into(), &"RUN_BASE".into()));
    assert_eq!(phases(&report), [3, 4]);
    let reason = finding["phases"][0]["reasons"][0]["text"].as_str().unwrap();
    assert!(reason.starts_with("base RUN_BASE moved sha256:"), "{reason}");
    assert_eq!(fs::read(stage.shop.path("otoshi.lock")).unwrap(), lock, "a check moves nothing");

    assert_said("check-a-moved-base", &stage.shop.otoshi(&["check"]));
    assert_said("check-a-moved-base-markdown", &stage.shop.otoshi(&["check", "--markdown"]));
    stage.shop.ok(&["refresh"]);
    assert_said("check-nothing-newer", &stage.shop.otoshi(&["check"]));

    // The builder's side is another finding, which makes everything run that looks at it.
    stage.push_base("base", "base 2\n");
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, phases(&report)[0]), (10, 1), "{report}");
    assert_eq!(report["findings"][0]["command"], "otoshi refresh --builder");
}

#[test]
fn an_index_that_changed_around_this_platforms_image_is_no_change() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    let manifest = stage.registry.get("slim", "manifests/1");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": kind, "annotations": { "rebuilt": "yes" },
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": manifest.len(),
            "digest": otoshi_oci::Digest::sha256_of(&manifest).to_string(),
            "platform": { "os": "linux", "architecture": architecture },
        }],
    });
    stage.registry.put_manifest("slim", "1", kind, index.to_string().as_bytes());
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, &report["counts"]["fresh"]), (0, &Value::from(2)), "{report}");
    // What was fetched for that is known from then on.
    stage.proxy.take_log();
    stage.shop.check(&[]);
    assert!(stage.proxy.take_log().iter().all(|request| !request.is("GET", "/manifests/")));
}

#[test]
fn a_newer_tag_is_found_and_policies_are_kept() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    let name = |tag: &str| format!("{}/slim:{tag}", stage.proxy.host());
    // Another name for the same image is nothing newer.
    let kind = "application/vnd.oci.image.manifest.v1+json";
    stage.registry.put_manifest("slim", "2", kind, &stage.registry.get("slim", "manifests/1"));
    assert_eq!(stage.shop.check(&[]).0, 0);

    stage.shop.import("slim 2\n");
    stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &name("2")]);
    let (code, report) = stage.shop.check(&[]);
    let finding = &report["findings"][0];
    assert_eq!((code, &finding["kind"], &finding["level"]), (10, &"newer-version".into(), &"major".into()));
    assert_eq!((&finding["to"], phases(&report)), (&name("2").into(), vec![3, 4]));
    assert_said("check-a-newer-version", &stage.shop.otoshi(&["check"]));

    let manifest = fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    for (policy, state) in [
        ("ignore = [\"RUN_*\"]", "ignored"),
        ("minimum-age = \"3 days\"", "held"),
        ("hold = { RUN_BASE = { until = \"2999-01-01\", because = \"frozen\" } }", "held"),
    ] {
        stage.shop.write("otoshi.toml", &format!("{manifest}[check]\n{policy}\n"));
        let (code, report) = stage.shop.check(&[]);
        assert_eq!((code, &report["findings"][0]["state"]), (0, &state.into()), "{policy}: {report}");
        assert_eq!(report["counts"][state], 1);
    }
    assert_said("check-a-version-that-is-held", &stage.shop.otoshi(&["check"]));
    stage.shop.write("otoshi.toml", &format!("{manifest}[check]\nranges = {{ RUN_BASE = \"1\" }}\n"));
    assert_eq!(stage.shop.check(&[]).0, 0);
}

#[test]
fn a_dead_registry_hides_nothing_that_another_has() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.import("slim 2\n");
    stage.shop.ok(&["image", "push", "otoshi.test/busybox:1", &format!("{}/slim:2", stage.proxy.host())]);
    stage.edit("otoshi.toml", &format!("{}/base:1", stage.proxy.host()), "localhost:1/base:1");
    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 20, "{report}");
    assert_eq!(report["failed"][0]["reference"], "localhost:1/base:1");
    assert_eq!(report["findings"][0]["name"], "RUN_BASE");
    assert_said("check-with-a-dead-registry", &stage.shop.otoshi(&["check"]));
}
