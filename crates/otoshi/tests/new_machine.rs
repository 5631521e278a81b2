//! The registry as memory: what has to be cheap, on machines that have nothing but the project's files, with a real registry
//! behind a proxy that notes what they ask.

mod stage;
mod support;
mod whole;

use otoshi_test::{Fault, given};
use serde_json::Value;
use stage::{Asked, Stage};
use whole::assert_said;

#[test]
fn a_new_machine_does_nothing_when_nothing_changed() {
    let stage = given!(Stage::new());
    assert_eq!(stage.shop.ran(&[]), [1, 2, 3, 4], "bases come from the registry");
    let images = stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);

    let asked = stage.build_on_new_machine(&[], &[]);
    assert_eq!(asked.blobs(), [""; 0], "not one blob");
    assert!(asked.0.len() <= 8, "{:?}", asked.0);
    assert_eq!(stage.shop.ok(&["build"]), images);
    assert_eq!(stage.proxy.take_log().len(), 0, "from then on it is known here");

    // What is run is fetched, and no more.
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
    let mut expected = stage.layers("shop/web");
    expected.sort();
    assert_eq!(Asked(stage.proxy.take_log()).blobs(), expected);

    // Pushing from there moves nothing.
    let pushed: Value = serde_json::from_str(&stage.shop.ok(&["push", "--json"])).unwrap();
    assert_eq!(pushed["moved"], 0);
    assert!(pushed["requests"].as_u64().unwrap() <= 12, "{pushed}");
}

#[test]
fn a_changed_source_fetches_the_builder_and_nothing_else() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.write("src/main", "source 2\n");
    let asked = stage.build_on_new_machine(&[], &[2, 4]);
    let mut builder = stage.layers("shop/builder");
    builder.sort();
    assert_eq!(asked.blobs(), builder);

    // The app stands on a runner whose layers are not here: pushing needs none of them.
    stage.shop.ok(&["push"]);
    let asked = Asked(stage.proxy.take_log());
    assert_eq!(asked.blobs(), [""; 0]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 2\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn a_moved_base_of_the_runner_fetches_neither_builder_nor_old_base() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let builder = stage.layers("shop/builder");
    let old = stage.layers("shop/runner");
    stage.push_base("slim", "slim 2\n");
    assert_eq!(stage.build_on_new_machine(&[], &[]).blobs(), [""; 0], "a build never moves the lock");

    let asked = stage.build_on_new_machine(&["--refresh"], &[3, 4]);
    assert_eq!(asked.blobs_of(&[builder, old].concat()), [""; 0]);
    let fetched = asked.blobs();
    assert_eq!(fetched.len(), 3, "the new base's config and layer, and the compiled output: {fetched:?}");
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 2\n");
}

#[test]
fn what_the_app_has_of_the_builder_is_not_copied_again() {
    let stage = given!(Stage::new());
    stage.edit("otoshi.toml", "[processes]", "[app]\ndependencies = [\"/opt/deps\"]\n[processes]");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let (builder, old) = (stage.layers("shop/builder"), stage.layers("shop/runner"));
    let copied = stage.layers("shop/web")[old.len()].clone();

    // Another source: the runner is not looked at.
    stage.shop.write("src/main", "source 2\n");
    let asked = stage.build_on_new_machine(&[], &[2, 4]);
    let mut expected = builder.clone();
    expected.sort();
    assert_eq!(asked.blobs(), expected);
    assert_eq!(stage.layers("shop/web")[old.len()], copied);

    // Another base below the runner: the builder is not looked at, and a swap of layers is all there is.
    stage.push_base("slim", "slim 2\n");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let asked = stage.build_on_new_machine(&["--refresh"], &[3, 4]);
    assert_eq!(asked.blobs_of(&[builder, old, vec![copied.clone()]].concat()), [""; 0]);
    let runner = stage.layers("shop/runner");
    assert_eq!(stage.layers("shop/web")[runner.len()], copied);
    stage.shop.ok(&["push"]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 2\ndeps 1\nrunner\nslim 2\n");
    assert_eq!(stage.shop.ok(&["run", "web", "--", "/bin/cat", "/opt/deps/lib"]), "deps 1\n");
}

#[test]
fn a_start_command_fetches_what_the_app_is_made_of_and_runs_4() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let builder = stage.layers("shop/builder");
    stage.edit("otoshi.toml", "\"cli\"]", "\"cli 2\"]");
    let asked = stage.build_on_new_machine(&[], &[4]);
    assert_eq!(asked.blobs_of(&builder), [""; 0]);
    assert_eq!(stage.shop.ok(&["run", "cli"]), "cli 2\n");
}

#[test]
fn a_lock_file_runs_all_and_fetches_bases_only() {
    let stage = given!(Stage::new());
    stage.edit("otoshi.toml", "[processes]", "[app]\ndependencies = [\"/opt/deps\"]\n[processes]");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.shop.write("deps.lock", "deps 2\n");
    let bases = [stage.layers("shop/builder")[0].clone(), stage.layers("shop/runner")[0].clone()];
    let asked = stage.build_on_new_machine(&[], &[1, 2, 4]);
    let known = [&bases[..], &stage.layers("shop/runner")].concat();
    assert_eq!(asked.blobs(), asked.blobs_of(&known));
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 2\nrunner\nslim 1\n");
}

#[test]
fn a_runtime_version_runs_what_it_reaches_and_leaves_the_runner_where_it_is() {
    let stage = given!(Stage::new());
    stage.edit("otoshi.toml", "[bases]", "[versions]\nRUBY = \"3.1.2\"\n[bases]");
    let more = "ARG RUBY\nRUN echo ${RUBY} >> /opt/deps/lib\n";
    stage.edit("builder.Dockerfile", "/opt/deps/lib\n", &format!("/opt/deps/lib\n{more}"));
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let (base, runner) = (stage.layers("shop/builder")[0].clone(), stage.layers("shop/runner"));
    stage.edit("otoshi.toml", "3.1.2", "3.1.4");
    let asked = stage.build_on_new_machine(&[], &[1, 2, 4]);
    assert_eq!(asked.blobs(), [base], "and none of {runner:?}");
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\n3.1.4\nrunner\nslim 1\n");
}

#[test]
fn a_lost_compiled_application_is_compiled_in_the_builder_that_was_kept() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let mut builder = stage.layers("shop/builder");
    builder.sort();
    let plan: Value = serde_json::from_str(&stage.shop.ok(&["plan", "--json"])).unwrap();
    let key = plan["phases"][1]["key"].as_str().unwrap().replace("sha256:", "phase-");
    stage.proxy.fault("GET", key, 9, Fault::Answer("404 Not Found", String::new()));
    // What compiling gives is the same again, so the app that the registry has is the right one.
    assert_eq!(stage.build_on_new_machine(&[], &[2]).blobs(), builder);
}

#[test]
fn what_the_registry_lost_is_made_again() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    // The builder's record is gone; what it made is the same again, so the rest is found.
    stage.proxy.fault("GET", "/manifests/phase-", 1, Fault::Answer("404 Not Found", String::new()));
    stage.replace_machine();
    let report: Value = serde_json::from_str(&stage.shop.ok(&["build", "--json"])).unwrap();
    let ran: Vec<_> =
        report["phases"].as_array().unwrap().iter().filter(|phase| phase["status"] == "stale").collect();
    assert_eq!(ran.len(), 1, "{ran:?}");
}

#[test]
fn a_registry_that_does_not_answer_is_a_warning_and_the_build_goes_on() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.write("src/main", "source 2\n");
    stage.proxy.take_log();
    stage.proxy.fault("GET", "/team/shop/manifests/", 99, Fault::Answer("403 Forbidden", String::new()));
    assert_said("build-beside-a-registry-that-refuses", &stage.shop.otoshi(&["build"]));
    assert_eq!(stage.proxy.take_log().iter().filter(|r| r.is("GET", "/phase-")).count(), 1, "asked once");
}

#[test]
fn a_repository_that_was_removed_is_told_once_and_then_made_again() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.build_on_new_machine(&[], &[]);
    stage.registry.forget_repository("team/shop");
    assert_said("run-of-an-image-whose-repository-was-removed", &stage.shop.otoshi(&["run", "web"]));
    assert_said("plan-after-the-repository-was-removed", &stage.shop.otoshi(&["plan"]));
    stage.shop.ok(&["build"]);
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn a_record_that_lies_is_none() {
    let stage = given!(Stage::new());
    let digest = format!("sha256:{}", "ab".repeat(32));
    let lies = [
        r#"{"images":{"builder":"DIGEST"},"documents":{}}"#,
        r#"{"images":{"builder":"DIGEST"},"documents":{"DIGEST":"{}"}}"#,
        r#"{"images":{"builder":"../../x"},"documents":{}}"#,
        "nonsense",
    ];
    for lie in lies {
        let record = lie.replace("DIGEST", &digest);
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
            "annotations": { "dev.otoshi.record": record },
        });
        let body = serde_json::to_vec(&index).unwrap();
        stage.proxy.fault("GET", "/manifests/phase-", 9, Fault::Document(String::new(), body));
        stage.replace_machine();
        assert_eq!(stage.shop.ran(&[]), [1, 2, 3, 4], "{lie}");
        stage.proxy.heal();
    }
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
}

#[test]
fn what_one_repository_says_counts_for_no_other() {
    let stage = given!(Stage::new());
    stage.edit("otoshi.toml", "[processes]", "[app]\ndependencies = [\"/opt/deps\"]\n[processes]");
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.build_on_new_machine(&[], &[]);

    // The same project with another repository, in the same store: nobody it believes has said anything.
    stage.edit("otoshi.toml", "/team/shop\"", "/team/other\"");
    let plan: Value = serde_json::from_str(&stage.shop.ok(&["plan", "--json"])).unwrap();
    let statuses = plan["phases"].as_array().unwrap().iter().map(|phase| phase["status"].as_str().unwrap());
    assert_eq!(statuses.collect::<Vec<_>>(), ["stale", "pending", "stale", "pending"], "{plan:#}");

    // What the first one said is still there for whoever believes it.
    stage.edit("otoshi.toml", "/team/other\"", "/team/shop\"");
    stage.proxy.take_log();
    assert_eq!(stage.shop.ran(&[]), [0_u8; 0]);
    assert_eq!(stage.proxy.take_log().len(), 0);

    // What is found out here counts for both.
    stage.edit("otoshi.toml", "/team/shop\"", "/team/other\"");
    assert_eq!(stage.shop.ran(&[]), [1, 2, 3, 4]);
    stage.edit("otoshi.toml", "/team/other\"", "/team/third\"");
    assert_eq!(stage.shop.ran(&[]), [0_u8; 0]);
}
