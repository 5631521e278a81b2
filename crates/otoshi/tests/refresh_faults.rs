//! Refreshes that are killed, that run beside each other, and whose base moves meanwhile: in the end all is of one state.

mod stage;
mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use otoshi_test::{Fault, Rule, given};
use stage::Stage;
use support::Shop;

/// How often a refresh without a registry is ended.
const ROUNDS: u32 = 16;
/// The longest that something is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(shop: &Shop, arguments: &[&str]) -> Child {
    shop.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until a request waits in the proxy.
fn until_held(stage: &Stage) {
    let since = Instant::now();
    while stage.proxy.held() == 0 {
        assert!(since.elapsed() < PATIENCE, "no such request came: {:?}", stage.proxy.take_log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// What an image of the registry prints on a machine that has nothing; so it is whole.
fn prints(stage: &Stage, tag: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let on = |arguments: &[&str]| {
        let mut command = stage.shop.command(arguments);
        let output = command.env("OTOSHI_HOME", home.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    on(&["pull", &stage.name(tag)]);
    on(&["run", &stage.name(tag), "--", "cat", "/etc/base"])
}

fn both(stage: &Stage) -> [String; 2] {
    ["web", "cli"].map(|tag| prints(stage, tag))
}

fn lock(shop: &Shop) -> String {
    fs::read_to_string(shop.path("otoshi.lock")).unwrap()
}

#[test]
fn a_refresh_ended_at_any_moment_leaves_one_state_and_the_next_one_ends_it() {
    let shop = given!(Shop::new());
    shop.ok(&["build"]);
    shop.import("base 0\n");
    let started = Instant::now();
    shop.ok(&["refresh"]);
    let whole = started.elapsed();
    let mut ended = 0;
    for round in 1..=ROUNDS {
        let (before, text) = (lock(&shop), format!("base {round}\n"));
        shop.import(&text);
        let mut refresh = start(&shop, &["refresh"]);
        thread::sleep(whole * round / ROUNDS);
        refresh.kill().unwrap();
        let was_killed = !refresh.wait().unwrap().success();
        ended += u32::from(was_killed);
        if was_killed && lock(&shop) == before {
            // Nothing has happened: what was, still runs, and a build sees no change.
            assert_eq!(shop.ran(&[]), [0u8; 0]);
            assert!(shop.ok(&["run", "web"]).ends_with(&format!("base {}\n", round - 1)));
        }
        shop.ok(&["refresh"]);
        assert!(shop.ok(&["run", "web"]).ends_with(&text), "round {round}");
        assert_eq!(shop.ran(&[]), [0u8; 0], "lock and images are of one state");
    }
    assert!(ended > ROUNDS / 4, "only {ended} refreshes were ended: wait less");
}

#[test]
fn a_push_that_is_killed_moves_no_tag_to_something_broken_and_the_next_one_ends_it() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    // A blob, a manifest, a tag; and a tag when another one has moved.
    let moments =
        [("POST", "/blobs/uploads", 0), ("PUT", "/manifests/sha256:", 0), ("PUT", "/manifests/web", 0)];
    let moments = moments.into_iter().chain([("PUT", "/manifests/cli", 0)]);
    for (number, (method, path, after)) in moments.enumerate() {
        let (old, new) = (format!("slim {}\n", number + 1), format!("slim {}\n", number + 2));
        stage.push_base("slim", &new);
        let path = format!("/team/shop{path}");
        stage.proxy.rule(Rule {
            method,
            path: path.clone(),
            after,
            times: usize::MAX / 2,
            fault: Fault::Hang,
        });
        let mut refresh = start(&stage.shop, &["refresh", "--push"]);
        until_held(&stage);
        refresh.kill().unwrap();
        assert!(!refresh.wait().unwrap().success());
        stage.proxy.heal();
        let there = both(&stage);
        for text in &there {
            assert!(*text == old || *text == new, "{method} {path}: {text}");
        }
        if number < 2 {
            assert_eq!(there, [old.clone(), old], "no tag moves before all is there: {method} {path}");
        }
        // Here, lock and images are new already; what is missing is in the registry.
        assert_eq!(stage.shop.ran(&[]), [0u8; 0]);
        stage.shop.ok(&["refresh", "--push"]);
        assert_eq!(both(&stage), [new.clone(), new], "{method} {path}");
        stage.proxy.take_log();
        stage.shop.ok(&["refresh", "--push"]);
        let log = stage.proxy.take_log();
        assert!(log.iter().all(|request| matches!(&*request.method, "GET" | "HEAD")), "{log:?}");
    }
}

#[test]
fn a_refresh_from_the_registry_alone_is_killed_and_another_machine_ends_it() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let web = stage.name("web");
    let refresh = || {
        let mut command = stage.shop.command(&["refresh", &web]);
        command.current_dir(elsewhere.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    for (number, tag) in ["web", "cli", "web"].into_iter().enumerate() {
        let text = format!("slim {}\n", number + 2);
        stage.push_base("slim", &text);
        let path = format!("/team/shop/manifests/{tag}");
        stage.proxy.rule(Rule { method: "PUT", path, after: 0, times: usize::MAX / 2, fault: Fault::Hang });
        let mut killed = refresh().spawn().unwrap();
        until_held(&stage);
        killed.kill().unwrap();
        assert!(!killed.wait().unwrap().success());
        stage.proxy.heal();
        // The machine where it was killed, or one that has nothing.
        if number < 2 {
            stage.replace_machine();
        }
        assert!(refresh().status().unwrap().success());
        assert_eq!(both(&stage), [text.clone(), text], "killed at {tag}");
    }
}

#[test]
fn a_base_that_moves_meanwhile_is_taken_as_it_was_or_as_it_is() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.push_base("slim", "slim 2\n");
    stage.replace_machine();
    stage.shop.ok(&["build"]);
    // What its tag stands for is known; its config, or then a layer, is still to come.
    for (number, after) in [0, 1].into_iter().enumerate() {
        let (first, second) = (format!("slim {}\n", 2 * number + 2), format!("slim {}\n", 2 * number + 3));
        if number > 0 {
            stage.push_base("slim", &first);
            let _ = fs::remove_dir_all(stage.shop.home());
            stage.shop.ok(&["build"]);
        }
        let times = usize::MAX / 2;
        let path = "/slim/blobs/sha256:".to_owned();
        stage.proxy.rule(Rule { method: "GET", path, after, times, fault: Fault::Hold });
        let mut refresh = start(&stage.shop, &["refresh", "--push"]);
        until_held(&stage);
        push_meanwhile(&stage, &second);
        stage.proxy.heal();
        assert!(refresh.wait().unwrap().success());
        let there = stage.shop.ok(&["run", "web"]);
        let text = if there.ends_with(&first) { &first } else { &second };
        assert!(there.ends_with(text), "{there}");
        assert_eq!(both(&stage), [text.clone(), text.clone()]);
        // The lock says the same: another machine makes this, and not the other.
        let _ = fs::remove_dir_all(stage.shop.home());
        let locked = lock(&stage.shop);
        stage.shop.ok(&["build", "--no-cache"]);
        assert_eq!((stage.shop.ok(&["run", "web"]), lock(&stage.shop)), (there, locked), "{after}");
        // The next refresh sees what it is now.
        stage.shop.ok(&["refresh", "--push"]);
        assert_eq!(both(&stage), [second.clone(), second]);
    }
}

/// Pushes a base past the proxy, from a store of its own.
fn push_meanwhile(stage: &Stage, text: &str) {
    let other = Shop::new().unwrap();
    other.import(text);
    let to = format!("{}/slim:1", stage.registry.host());
    other.ok(&["image", "push", "otoshi.test/busybox:1", &to]);
}

#[test]
fn two_machines_refresh_the_same_image_at_once() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push"]);
    stage.push_base("slim", "slim 2\n");
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let run = |home: &Path| {
        let mut command = stage.shop.command(&["refresh", &stage.name("web")]);
        command.env("OTOSHI_HOME", home).current_dir(home).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for one in homes.each_ref().map(|home| run(home.path())) {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(both(&stage), ["slim 2\n", "slim 2\n"]);
}
