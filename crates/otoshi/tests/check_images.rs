//! Images asked by their names, in a registry and in the store: their bases, packages and ends of life. No project is needed.

mod debian;
mod stage;
mod support;

use std::{collections::BTreeSet, fs};

use otoshi_test::{given, require};
use serde_json::Value;
use stage::Stage;

#[test]
fn an_app_image_knows_the_base_below_its_runner() {
    let stage = given!(Stage::new());
    stage.shop.ok(&["build"]);
    stage.shop.ok(&["push", "--tag", "v1"]);
    let web = stage.name("web-v1");
    let base = format!("{}/slim:1", stage.proxy.host());
    let shown: Value = serde_json::from_str(&stage.shop.ok(&["inspect", "shop/web"])).unwrap();
    assert_eq!(shown["annotations"]["dev.otoshi.base.name"], base, "{shown}");

    stage.replace_machine();
    let (code, report) = stage.shop.check(&[&web]);
    assert_eq!((code, &report["fresh"][0]), (0, &web.clone().into()), "{report}");
    assert_eq!(report["project"], Value::Null);
    // What is known by its digest is not fetched again: a HEAD for the image, one for its base, and the base's tags; before that
    // the registry is asked how it is spoken to.
    stage.proxy.take_log();
    stage.shop.check(&[&web]);
    let asked: Vec<_> =
        stage.proxy.take_log().into_iter().map(|request| request.method + " " + &request.path).collect();
    let (heads, gets): (Vec<_>, Vec<_>) = asked.iter().partition(|request| request.starts_with("HEAD"));
    assert_eq!((heads.len(), gets.len()), (2, 2), "{asked:?}");
    assert_eq!(gets, ["GET /v2/", "GET /v2/slim/tags/list?n=1000"]);

    stage.push_base("slim", "slim 2\n");
    let (code, report) = stage.shop.check(&[&web, &stage.name("runner")]);
    assert_eq!(code, 10, "{report}");
    let findings = report["findings"].as_array().unwrap();
    let of = |key: &str| findings.iter().map(|finding| finding[key].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["base-moved", "base-moved"], "{report}");
    let commands = [format!("otoshi refresh {web}"), format!("otoshi rebase {}", stage.name("runner"))];
    assert_eq!(of("command"), commands);
    assert!(of("text").iter().all(|text| *text == format!("its base {base} moved")), "{report}");
    stage.shop.ok(&["refresh", &web, "--tag", "v1"]);
    assert_eq!(stage.shop.check(&[&web]).0, 0);
}

#[test]
fn packages_are_read_from_layers_in_a_registry_and_nothing_is_unpacked() {
    given!(require(debian::NEEDS));
    let stage = given!(Stage::new());
    let sources = debian::sources();
    debian::import(&stage.shop, &sources);
    let name = format!("{}/debian:1", stage.proxy.host());
    stage.shop.ok(&["image", "push", "otoshi.test/debian:1", &name]);
    // In the store, by the name that it has there.
    let (code, here) = stage.shop.check(&["otoshi.test/debian:1"]);
    assert_eq!(code, 11, "{here}");

    stage.replace_machine();
    let missing = format!("{}/debian:none", stage.proxy.host());
    let (code, report) = stage.shop.check(&[&missing, &name]);
    assert_eq!(code, 20, "{report}");
    assert_eq!(report["failed"][0]["reference"], missing);
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["name"]), (&"security-updates".into(), &name.clone().into()));
    assert_eq!(finding["packages"].as_array().unwrap().len(), debian::upgrades(&sources).len());
    let names = |report: &Value| -> BTreeSet<String> {
        let packages = report["findings"][0]["packages"].as_array().unwrap().iter();
        packages.map(|package| format!("{} {}", package["name"], package["to"])).collect()
    };
    assert_eq!(names(&report), names(&here));
    let unpacked = fs::read_dir(stage.shop.home().join("snapshots")).map_or(0, Iterator::count);
    assert_eq!(unpacked, 0, "an image is never unpacked for this");

    // What was read of a layer is remembered, whatever becomes of its blob.
    stage.proxy.take_log();
    let (code, again) = stage.shop.check(&[&name]);
    assert_eq!((code, names(&again)), (11, names(&report)));
    let asked = stage.proxy.take_log();
    assert!(asked.iter().all(|request| request.method == "HEAD" || request.path == "/v2/"), "{asked:?}");
}

#[test]
fn an_end_of_life_is_read_from_the_release_file_and_the_environment() {
    let stage = given!(Stage::new());
    let directory = stage.shop.dir.path().join("old");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("os-release"), "ID=debian\nVERSION_ID=\"9\"\n").unwrap();
    fs::write(
        directory.join("Dockerfile"),
        "FROM scratch\nENV RUBY_VERSION=2.7.8\nCOPY os-release /etc/os-release\n",
    )
    .unwrap();
    stage.shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", "otoshi.test/old:1"]);
    let (code, report) = stage.shop.check(&["otoshi.test/old:1"]);
    let texts =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["text"].as_str().unwrap());
    let texts: Vec<_> = texts.collect();
    // It says that it is Debian, and has no packages on record: what else is newer is not known.
    assert_eq!((code, texts.len(), &report["counts"]["unknown"]), (20, 2, &1.into()), "{report}");
    assert!(texts[0].starts_with("ruby 2.7 reached its end of life on "), "{texts:?}");
    assert!(texts[1].starts_with("debian 9 reached its end of life on 2022-06-30, "), "{texts:?}");
}

#[test]
fn a_project_on_a_distributions_base_costs_few_requests_as_well() {
    given!(require(debian::NEEDS));
    let stage = given!(Stage::new());
    debian::import(&stage.shop, &debian::sources());
    let name = format!("{}/debian:1", stage.proxy.host());
    stage.shop.ok(&["image", "push", "otoshi.test/debian:1", &name]);
    stage.replace_machine();
    for base in ["base", "slim"] {
        stage.edit("otoshi.toml", &format!("{}/{base}:1", stage.proxy.host()), &name);
    }
    stage.shop.ok(&["build"]);
    stage.shop.check(&[]);
    stage.proxy.take_log();
    // How the registry is spoken to, the tag, the tags; and three suites of Debian, of which nothing changed.
    let (code, report) = stage.shop.check(&[]);
    assert_eq!(code, 11, "{report}");
    assert_eq!((&report["requests"], stage.proxy.take_log().len()), (&6.into(), 3));
}
