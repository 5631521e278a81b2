//! `otoshi update --security`: of all that moved, only the base whose packages have security updates waiting in Debian's archive.

mod debian;
mod stage;
mod support;
mod whole;

use std::fs;

use otoshi_test::{given, require};
use stage::Stage;
use whole::assert_said;

#[test]
fn only_the_base_with_security_updates_moves() {
    given!(require(debian::NEEDS));
    let stage = given!(Stage::new());
    let host = stage.proxy.host();
    debian::import(&stage.shop, &debian::sources());
    let debian = format!("{host}/debian:1");
    stage.shop.ok(&["image", "push", "otoshi.test/debian:1", &debian]);
    stage.edit("otoshi.toml", &format!("{host}/slim:1"), &debian);
    stage.shop.ok(&["build"]);

    // Both tags move. What has no packages has no security updates either.
    stage.push_base("base", "base 2\n");
    let directory = stage.shop.dir.path().join("newer");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), "FROM otoshi.test/debian:1\nRUN echo newer > /etc/base\n")
        .unwrap();
    stage.shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", "otoshi.test/newer:1"]);
    stage.shop.ok(&["image", "push", "otoshi.test/newer:1", &debian]);

    let updated = stage.shop.json(&["update", "--security", "--json"]);
    let moved = updated["moved"].as_array().unwrap();
    assert_eq!((moved.len(), &moved[0]["reference"]), (1, &debian.clone().into()), "{updated}");
    assert_eq!(updated["settings"].as_array().unwrap().len(), 0);
    assert_eq!(stage.shop.ran(&["--locked"]), [3, 4]);
    assert!(stage.shop.ok(&["run", "web"]).ends_with("newer\n"));

    // The new one has them still: no newer base helps, and it is said what does.
    assert_said("update-security-without-a-newer-base", &stage.shop.otoshi(&["update", "--security"]));
    assert_said("update-without-a-newer-base", &stage.shop.otoshi(&["update"]));
}
