//! `otoshi refresh`: what moved outside comes in at the least cost, is looked at and tried, and there is a way back.

mod stage;
mod support;
mod whole;

use std::{
    fs,
    time::{Duration, Instant},
};

use otoshi_test::{Missing, given, said};
use serde_json::Value;
use stage::Stage;
use support::{MANIFEST, Shop};
use whole::assert_said;

/// Refreshes, and checks that what had to run is the plan that was chosen beforehand.
fn refresh(shop: &Shop, arguments: &[&str]) -> Value {
    let refreshed: Value =
        serde_json::from_str(&shop.ok(&[&["refresh", "--json"], arguments].concat())).unwrap();
    let chosen = refreshed["choice"].as_array().unwrap().last().unwrap();
    assert_eq!((&chosen["plan"], &chosen["taken"]), (&refreshed["cost"], &true.into()), "{refreshed}");
    refreshed
}

/// The numbers of the phases that ran.
fn ran(refreshed: &Value) -> Vec<u64> {
    let phases = refreshed["phases"].as_array().unwrap();
    let stale = phases.iter().filter(|phase| phase["status"] == "stale");
    stale.map(|phase| phase["number"].as_u64().unwrap()).collect()
}

/// A project of which a first build is done.
fn shop() -> Result<Shop, Missing> {
    let shop = Shop::new()?;
    shop.ok(&["build"]);
    Ok(shop)
}

fn state(shop: &Shop) -> (String, String) {
    (shop.ok(&["images"]), fs::read_to_string(shop.path("otoshi.lock")).unwrap())
}

#[test]
fn a_moved_base_runs_runner_and_app_and_the_application_answers() {
    let shop = given!(shop());
    let before = state(&shop);
    let same = refresh(&shop, &[]);
    assert_eq!((&same["outcome"], &same["cost"]), (&"same".into(), &"nothing".into()), "{same}");
    assert_eq!(state(&shop), before);

    shop.import("base 2\n");
    let refreshed = refresh(&shop, &[]);
    assert_eq!(
        (&refreshed["outcome"], &refreshed["cost"]),
        (&"refreshed".into(), &"runner".into()),
        "{refreshed}"
    );
    assert_eq!(ran(&refreshed), [3, 4]);
    assert_eq!(refreshed["moved"][0]["role"], "runner");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
    let again = refresh(&shop, &[]);
    assert_eq!((&again["outcome"], ran(&again)), (&"same".into(), vec![]));

    let all = refresh(&shop, &["--builder"]);
    assert_eq!(all["cost"], "all", "{all}");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
}

#[test]
fn an_application_that_does_not_stand_on_the_runner_is_told() {
    let shop = given!(shop());
    shop.write(
        "otoshi.toml",
        &MANIFEST.replace("dependencies = [\"/opt/deps\"]", "dockerfile = \"app.Dockerfile\""),
    );
    let app = "ARG BASE\nFROM ${BASE} AS web\nCOPY . /app\nWORKDIR /app\nFROM web AS cli\nENV A=1\n";
    shop.write("app.Dockerfile", app);
    shop.ok(&["build"]);
    shop.import("base 2\n");
    let output = shop.otoshi(&["refresh"]);
    assert_said("refresh-of-an-app-that-does-not-stand-on-the-runner", &output);
}

#[test]
fn a_runner_that_only_adds_files_is_a_swap_of_layers() {
    let shop = given!(Shop::new());
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY motd /etc/runner\nENV A=1\n");
    shop.write("motd", "runner\n");
    shop.ok(&["build"]);
    shop.import("base 2\n");
    let refreshed = refresh(&shop, &[]);
    assert_eq!(refreshed["cost"], "layer-swap", "{refreshed}");
    assert_eq!(refreshed["layers"][0], 1, "the base's: {refreshed}");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
    assert_said("refresh-nothing-moved-markdown", &shop.otoshi(&["refresh", "--markdown"]));
    assert_said("refresh-nothing-moved", &shop.otoshi(&["refresh"]));
    shop.import("base 3\n");
    assert_said("refresh-by-a-swap-of-layers", &shop.otoshi(&["refresh"]));
}

#[test]
fn the_plan_is_chosen_beforehand_and_a_dry_run_only_tells_it() {
    let shop = given!(shop());
    let thought = |refreshed: &Value| -> Vec<String> {
        let choice = refreshed["choice"].as_array().unwrap().iter();
        let line = |one: &Value| {
            let word = if one["taken"] == true { "" } else { "not " };
            format!("{word}{}: {}", one["plan"].as_str().unwrap(), one["because"].as_str().unwrap())
        };
        choice.map(line).collect()
    };
    let nothing = refresh(&shop, &["--dry-run"]);
    assert_eq!(nothing["outcome"], "same");
    assert_eq!(thought(&nothing), ["nothing: nothing that a phase observes changed"]);

    shop.import("base 2\n");
    let before = state(&shop);
    let planned = refresh(&shop, &["--dry-run"]);
    assert_eq!((&planned["outcome"], &planned["cost"]), (&"planned".into(), &"runner".into()), "{planned}");
    let said = thought(&planned);
    assert!(said[0].starts_with("not nothing: runner: base BASE moved sha256:"), "{said:?}");
    assert_eq!(
        said[1..],
        [
            "not metadata: 1 of 1 layers of otoshi.test/busybox:1 changed",
            "not layer-swap: `RUN echo runner > /etc/runner` of runner.Dockerfile ran on the base's files",
            &said[3],
            "runner: builder and compiled application stay",
        ]
    );
    assert!(said[3].starts_with("not app: phase 3 must run: base BASE moved"), "{said:?}");
    assert_said("refresh-dry-run", &shop.otoshi(&["refresh", "--dry-run"]));
    assert_said("refresh-dry-run-markdown", &shop.otoshi(&["refresh", "--dry-run", "--markdown"]));
    assert_eq!(state(&shop), before, "nothing moved");

    // What is done is what was told, and asking for the builder is another plan.
    let refreshed = refresh(&shop, &[]);
    assert_eq!((thought(&refreshed), &refreshed["cost"]), (said, &"runner".into()));
    let all = refresh(&shop, &["--builder", "--dry-run"]);
    assert_eq!(all["cost"], "all");
    assert_eq!(thought(&all).last().unwrap(), "all: moving the builder's side was asked for");

    // A command of the application is metadata, a file of its own the application's phases.
    shop.write("otoshi.toml", &MANIFEST.replace("\"cli\"]", "\"cli 2\"]"));
    assert_eq!(refresh(&shop, &["--dry-run"])["cost"], "metadata");
    shop.write("src/main", "source 2\n");
    let compiled = refresh(&shop, &["--dry-run"]);
    assert_eq!(thought(&compiled).last().unwrap(), "compile: the builder stays", "{compiled}");
}

#[test]
fn there_is_a_way_back_and_forth() {
    let shop = given!(shop());
    let first = state(&shop);
    shop.import("base 2\n");
    shop.ok(&["refresh"]);
    shop.import("base 3\n");
    shop.ok(&["refresh"]);
    let third = state(&shop);
    let names = |(images, lock): &(String, String)| {
        let of_shop = images.lines().filter(|line| line.starts_with("shop/"));
        (of_shop.map(str::to_owned).collect::<Vec<_>>(), lock.clone())
    };
    shop.ok(&["rollback"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
    shop.ok(&["rollback"]);
    assert_eq!(names(&state(&shop)), names(&first));
    assert_eq!(shop.ran(&[]), [0; 0], "a build keeps what is there");
    assert_said("rollback-beyond-the-first-state", &shop.otoshi(&["rollback"]));
    shop.ok(&["refresh"]);
    assert_eq!(names(&state(&shop)), names(&third));
}

#[test]
fn the_way_back_outlives_a_collection() {
    let shop = given!(shop());
    let lock = state(&shop).1;
    shop.import("base 2\n");
    shop.ok(&["refresh"]);
    shop.ok(&["gc", "--unused-for", "0"]);
    shop.ok(&["rollback"]);
    assert_eq!(state(&shop).1, lock);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
    // What phases made is forgotten; their bases are there.
    assert_eq!(shop.ran(&[]), [1, 2, 3, 4]);
    assert_said("rollback-without-an-earlier-state", &shop.otoshi(&["rollback"]));
}

#[test]
fn a_smoke_test_that_fails_moves_nothing() {
    let shop = given!(Shop::new());
    let verify = "[verify]\nrun = \"/bin/busybox grep -q good /etc/base\"\n[builder]";
    shop.write("otoshi.toml", &MANIFEST.replace("[builder]", verify));
    shop.import("good 1\n");
    shop.ok(&["build"]);
    let before = state(&shop);
    let base = shop.ok(&["inspect", "otoshi.test/busybox:1"]);
    shop.import("bad\n");
    assert_ne!(shop.ok(&["inspect", "otoshi.test/busybox:1"]), base);
    assert_said("refresh-whose-smoke-test-fails", &shop.otoshi(&["refresh"]));
    assert_eq!(state(&shop).1, before.1);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\ngood 1\n");
    shop.import("good 2\n");
    assert_said("refresh-whose-smoke-test-passes", &shop.otoshi(&["refresh"]));
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\ngood 2\n");
}

#[test]
fn a_process_is_asked_by_http_before_its_name_moves() {
    let shop = given!(Shop::new());
    // The process has a loopback of its own.
    let verify = "[verify]\nhttp = \"http://127.0.0.1:8080/base\"\ntimeout = \"20s\"\n[builder]";
    let web = "web = \"/bin/busybox httpd -f -p 127.0.0.1:8080 -h /etc\"";
    let manifest =
        MANIFEST.replace("[builder]", verify).replace("web = \"cat compiled /etc/runner /etc/base\"", web);
    shop.write("otoshi.toml", &manifest);
    shop.ok(&["build"]);
    shop.import("base 2\n");
    assert_eq!(refresh(&shop, &[])["outcome"], "refreshed");
    for (base, address) in [("base 3\n", "[::1]"), ("base 4\n", "[::]"), ("base 5\n", "web.localhost")] {
        shop.import(base);
        shop.write("otoshi.toml", &manifest.replace("http://127.0.0.1:", &format!("http://{address}:")));
        assert_eq!(refresh(&shop, &[])["outcome"], "refreshed", "{address}");
    }
    shop.import("base 6\n");
    shop.write("otoshi.toml", &manifest.replace("/base\"", "/gone\"").replace("20s", "5m"));
    let begun = Instant::now();
    assert_said("refresh-of-a-process-that-has-no-such-page", &shop.otoshi(&["refresh"]));
    assert!(begun.elapsed() < Duration::from_secs(150), "a page that is not there will not come");
}

#[test]
fn what_the_application_would_not_find_is_told_and_nothing_moves() {
    let shop = given!(Shop::new());
    shop.write(
        "otoshi.toml",
        &MANIFEST
            .replace(
                "run = \"cat src/main",
                "run = \"printf '#!/bin/sh\\\\n' > start && /bin/busybox chmod 755 start && cat src/main",
            )
            .replace("printf", "/bin/busybox printf"),
    );
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY motd /etc/runner\n");
    shop.write("motd", "runner\n");
    shop.ok(&["build"]);
    let before = state(&shop);
    // A base without a shell.
    shop.write("bare/Dockerfile", "FROM otoshi.test/busybox:1\nRUN /bin/busybox rm /bin/sh\n");
    shop.ok(&["image", "build", "bare", "-t", "otoshi.test/busybox:1"]);
    assert_said("refresh-to-a-base-without-a-shell", &shop.otoshi(&["refresh"]));
    assert_eq!(state(&shop).1, before.1);
    let allowed =
        refresh(&shop, &["--allow", "interpreter-missing=/bin/sh", "--allow", "command-missing=/bin/sh"]);
    assert_eq!(
        (&allowed["outcome"], allowed["waived"].as_array().unwrap().len()),
        (&"refreshed".into(), 2),
        "{allowed}"
    );
}

#[test]
fn the_builder_moves_by_the_age_of_its_bases() {
    let shop = given!(Shop::new());
    shop.write(
        "otoshi.toml",
        &MANIFEST.replace("[builder]", "[refresh]\nbuilder-max-age = \"30 days\"\n[builder]"),
    );
    shop.ok(&["build"]);
    shop.import("base 2\n");
    let refreshed = refresh(&shop, &[]);
    // Bases that are imported are of 1980, or say no time.
    let is_known = serde_json::from_str::<Value>(&shop.ok(&["inspect", "otoshi.test/busybox:1"])).unwrap()["config"]["created"].is_string();
    assert_eq!(refreshed["cost"], if is_known { "all" } else { "runner" }, "{refreshed}");
    shop.write(
        "otoshi.toml",
        &MANIFEST.replace("[builder]", "[refresh]\nbuilder-max-age = \"soon\"\n[builder]"),
    );
    assert_said("refresh-with-an-age-that-is-no-time-span", &shop.otoshi(&["refresh"]));
}

#[test]
fn two_refreshes_at_once_end_in_one_state() {
    let shop = given!(shop());
    shop.import("base 2\n");
    let mut both: Vec<_> = (0..2)
        .map(|_| shop.command(&["refresh", "--json"]).stderr(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for one in &mut both {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(refresh(&shop, &[])["outcome"], "same");
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 2\n");
}

#[test]
fn an_image_is_refreshed_from_the_registry_alone() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.push_base("slim", "slim 2\n");
    stage.replace_machine();
    // A directory without the project.
    let elsewhere = tempfile::tempdir().unwrap();
    let web = stage.name("web");
    let run =
        |arguments: &[&str]| stage.shop.command(arguments).current_dir(elsewhere.path()).output().unwrap();
    let output = run(&["refresh", "--json", &web]);
    assert!(output.status.success(), "{}", said(&output));
    let refreshed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&refreshed["cost"], ran(&refreshed)), (&"runner".into(), vec![3, 4]), "{refreshed}");
    stage.replace_machine();
    stage.shop.ok(&["pull", &web]);
    assert_eq!(stage.shop.ok(&["run", &web]), "source 1\ndeps 1\nrunner\nslim 2\n");

    // With nothing new, nothing is written.
    stage.replace_machine();
    let output = run(&["refresh", "--json", &web]);
    let refreshed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(refreshed["outcome"], "same", "{refreshed}");
    let log = stage.proxy.take_log();
    assert!(log.iter().all(|request| request.method == "GET" || request.method == "HEAD"), "{log:?}");
    // The project's directory is as it was, and its lock is behind; a build there goes on from what the registry has.
    stage.shop.ok(&["build"]);
}

#[test]
fn a_way_back_says_what_the_registry_has() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.push_base("slim", "slim 2\n");
    stage.shop.ok(&["refresh", "--push"]);
    let in_registry = || stage.registry.get("team/shop", "manifests/web");
    let pushed = in_registry();
    assert_said("rollback-beside-a-registry", &stage.shop.otoshi(&["rollback"]));
    assert_eq!(stage.shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nslim 1\n");
    assert_eq!(in_registry(), pushed);
    stage.shop.ok(&["push"]);
    assert_ne!(in_registry(), pushed);
    // A push that goes with it leaves nothing to say.
    stage.shop.ok(&["refresh", "--push"]);
    let output = stage.shop.otoshi(&["rollback", "--push"]);
    let text = said(&output);
    assert!(output.status.success() && !text.contains("the registry has"), "{text}");
}
