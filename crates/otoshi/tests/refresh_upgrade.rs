//! `[refresh] upgrade`: newer packages as a layer on the runner, on a real Debian, with its own archive and with one made here.
//!
//! Needs root and the base that `cargo xtask test` makes.

mod archive;
mod support;
mod whole;

use std::{collections::BTreeMap, fs};

use archive::{Archive, Debian, ON_HOST};
use otoshi_test::{Registry, debian_sources, given};
use serde_json::Value;
use whole::assert_said;

fn packages(refreshed: &Value) -> BTreeMap<String, (String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = refreshed["packages"].as_array().unwrap().iter();
    let row = |change: &Value| (text(&change["old"]), text(&change["new"]), change["security"].clone());
    changes.map(|change| (text(&change["name"]), row(change))).collect()
}

#[test]
fn fixes_of_debians_archive_come_in_without_a_new_base_and_the_application_answers() {
    let shop = given!(Debian::new());
    // The process has a loopback of its own.
    shop.write(
        "serve.pl",
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT}, Listen => 5, \
         ReuseAddr => 1) or die; while (my $c = $s->accept) { while (<$c>) { last if /^\\r/ } print $c \
         \"HTTP/1.0 200 OK\\r\\n\\r\\nfresh\\n\"; close $c }\n",
    );
    let verify = "[verify]\nhttp = \"http://127.0.0.1:8080/\"\n";
    let web = "web = { command = \"perl /app/serve.pl\", env = { PORT = \"8080\" } }\n";
    shop.project("security", verify, web);
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPY sources.list /etc/apt/sources.list\n");
    shop.write("sources.list", &debian_sources("bookworm"));
    shop.ok(&["build"]);
    let before = shop.versions();

    let refreshed = shop.refresh(&[]);
    assert_eq!(
        (&refreshed["outcome"], shop.ran(&refreshed)),
        (&"refreshed".into(), vec![3, 4]),
        "{refreshed}"
    );
    let changed = packages(&refreshed);
    assert!(!changed.is_empty(), "no security fix is waiting: {refreshed}");
    let after = shop.versions();
    for (name, (old, new, security)) in &changed {
        assert_eq!((before.get(name), after.get(name)), (Some(old), Some(new)), "{name}");
        assert_eq!(*security, true, "{name}: only security fixes were asked for");
    }
    let untouched = |versions: &BTreeMap<String, String>| {
        let mut versions = versions.clone();
        versions.retain(|name, _| !changed.contains_key(name));
        versions
    };
    assert_eq!(untouched(&before), untouched(&after));
    let waiting = "apt-get -qq update && apt-get -s upgrade | grep ^Inst | grep -e -security || true";
    assert_eq!(shop.ok(&["run", "list", "--", "/bin/sh", "-c", waiting]), "", "apt has no fix more");

    // It is a layer of its own, of the packages' files alone.
    let names = shop.top_layer("shop/runner");
    assert!(names.iter().any(|name| name == "var/lib/dpkg/status"));
    for left in ["var/log/", "var/cache/apt/", "var/lib/apt/lists/", "tmp/"] {
        let left: Vec<_> = names.iter().filter(|name| name.starts_with(left)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let auto = ["run", "list", "--", "/usr/bin/apt-mark", "showauto"];
    let marked = shop.ok(&auto);

    // With nothing new nothing is written, and a build keeps it.
    let state = shop.state();
    let again = shop.refresh(&[]);
    assert_eq!((&again["outcome"], shop.ran(&again)), (&"same".into(), vec![]), "{again}");
    assert_eq!(shop.state(), state);
    assert_eq!(shop.built(), [0u64; 0]);
    assert_eq!(shop.state(), state);

    // Another machine makes the same of the lock.
    shop.replace_machine();
    assert_eq!(shop.built(), [3, 4]);
    assert_eq!((shop.versions(), shop.ok(&auto)), (after.clone(), marked));

    // A base that has the versions itself needs no layer.
    shop.import("bookworm-patched");
    let refreshed = shop.refresh(&[]);
    assert_eq!(refreshed["outcome"], "refreshed", "{refreshed}");
    assert_eq!(shop.upgrades(), [""; 0]);
    assert_eq!(shop.layers("shop/runner"), 2, "base and sources");
    let now = shop.versions();
    assert!(changed.keys().all(|name| now.get(name) == after.get(name)), "{now:?}");
}

#[test]
fn security_and_all_are_told_apart_and_a_version_that_is_gone_is_told() {
    let shop = given!(Debian::new());
    let archive = Archive::new(&[("stable", "1.0"), ("stable-security", "1.1"), ("stable", "2.0")]);
    shop.project("off", ON_HOST, "");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY sources.list /etc/apt/sources.list\nCOPY greeting.deb /tmp/greeting.deb\n\
                      RUN dpkg -i /tmp/greeting.deb && rm /tmp/greeting.deb\nUSER nobody\nONBUILD RUN false\n";
    shop.write("runner.Dockerfile", dockerfile);
    shop.write("sources.list", &archive.sources());
    fs::copy(archive.deb("1.0"), shop.path("greeting.deb")).unwrap();
    shop.ok(&["build"]);
    assert_eq!(shop.refresh(&[])["outcome"], "same", "packages are left alone where nothing is said");
    let greeting = || shop.ok(&["run", "greet"]);
    assert_eq!(greeting(), "greeting 1.0\n");

    shop.project("security", ON_HOST, "");
    let planned = shop.refresh(&["--dry-run"]);
    let why = planned["choice"][0]["because"].as_str().unwrap();
    assert_eq!(why, "runner: upgrade of greeting:all is new: 1.1");
    assert_eq!(greeting(), "greeting 1.0\n");
    assert_said("refresh-with-a-security-fix", &shop.otoshi(&["refresh"]));
    assert_eq!(greeting(), "greeting 1.1\n");
    assert_eq!(shop.upgrades(), ["\"greeting:all\" = \"1.1\""]);
    // Its config is its own: user, triggers and all.
    let config =
        &serde_json::from_str::<Value>(&shop.ok(&["inspect", "shop/runner"])).unwrap()["config"]["config"];
    assert_eq!((&config["User"], &config["OnBuild"][0]), (&"nobody".into(), &"RUN false".into()));

    shop.project("all", ON_HOST, "");
    assert_said("refresh-with-a-newer-package", &shop.otoshi(&["refresh"]));
    assert_eq!(greeting(), "greeting 2.0\n");
    assert_said("plan-nothing-changed-on-newer-packages", &shop.otoshi(&["plan"]));

    // What the lock says is held to, also where somebody else makes it: there, the archive has forgotten it.
    archive.forget("2.0");
    shop.replace_machine();
    let output = shop.otoshi(&["build"]);
    assert_said("build-with-a-package-that-is-gone", &output);
    shop.refresh(&[]);
    assert_eq!(greeting(), "greeting 1.1\n");

    // Without the setting the layer goes, and the report says what that means.
    shop.project("off", ON_HOST, "");
    assert_eq!(shop.built(), [0u64; 0], "a build never moves the lock");
    let refreshed = shop.refresh(&[]);
    assert_eq!(packages(&refreshed)["greeting"], ("1.1".into(), "1.0".into(), Value::Null), "{refreshed}");
    assert_eq!(greeting(), "greeting 1.0\n");
    assert_eq!(shop.upgrades(), [""; 0]);

    // Without a package manager there is nobody to take it, and that is said.
    shop.project("all", ON_HOST, "");
    shop.write("runner.Dockerfile", &dockerfile.replace("USER", "RUN rm /usr/bin/apt-get\nUSER"));
    shop.ok(&["build"]);
    assert_said("refresh-of-a-runner-without-a-package-manager", &shop.otoshi(&["refresh"]));
}

#[test]
fn a_base_that_moves_tells_which_of_its_packages_fix_something() {
    let shop = given!(Debian::new());
    let archive = Archive::new(&[("stable", "1.0"), ("stable-security", "1.1")]);
    let base = |version: &str, sources: &str| {
        fs::create_dir_all(shop.path("base")).unwrap();
        let dockerfile = "FROM otoshi.test/debian:1\nCOPY sources.list /etc/apt/\nCOPY greeting.deb /tmp/\n\
                          RUN dpkg -i /tmp/greeting.deb && rm /tmp/greeting.deb\n";
        shop.write("base/Dockerfile", dockerfile);
        shop.write("base/sources.list", sources);
        fs::copy(archive.deb(version), shop.path("base/greeting.deb")).unwrap();
        shop.ok(&["image", "build", "base", "-t", "otoshi.test/greeting:1"]);
        fs::remove_dir_all(shop.path("base")).unwrap();
    };
    base("1.0", &archive.sources());
    shop.project("off", ON_HOST, "");
    shop.write("runner.Dockerfile", "FROM otoshi.test/greeting:1\nENV RUNS=here\n");
    shop.ok(&["build"]);
    base("1.1", &archive.sources());
    assert_said("refresh-with-packages-of-a-moved-base-markdown", &shop.otoshi(&["refresh", "--markdown"]));
    assert_eq!(shop.ok(&["run", "greet"]), "greeting 1.1\n");

    // A repository that never answers keeps no report waiting.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let sources = format!("deb [trusted=yes] http://127.0.0.1:{port}/ stable main\n");
    base("1.0", &sources);
    shop.refresh(&[]);
    base("1.1", &sources);
    let refreshed = shop.refresh(&[]);
    assert_eq!(packages(&refreshed)["greeting"], ("1.0".into(), "1.1".into(), Value::Null), "{refreshed}");
}

#[test]
fn a_fix_comes_in_from_the_registry_alone() {
    let registry = given!(Registry::start());
    let shop = given!(Debian::new());
    let archive = Archive::new(&[("stable", "1.0"), ("stable-security", "1.1")]);
    let host = registry.host();
    let tables = format!(
        "{ON_HOST}[registry]\nrepository = \"{host}/shop\"\n[builder]\ndockerfile = \"builder.Dockerfile\"\n\
         [compile]\nrun = \"date > made\"\n"
    );
    shop.project("security", &tables, "made = \"cat made\"\n");
    let manifest = fs::read_to_string(shop.path("otoshi.toml")).unwrap();
    shop.write("otoshi.toml", &manifest.replace("otoshi.test", &host));
    shop.write("builder.Dockerfile", "ARG BASE\nFROM ${BASE}\n");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY sources.list /etc/apt/sources.list\nCOPY greeting.deb /tmp/greeting.deb\n\
                      RUN dpkg -i /tmp/greeting.deb && rm /tmp/greeting.deb\n";
    shop.write("runner.Dockerfile", dockerfile);
    shop.write("sources.list", &archive.sources());
    fs::copy(archive.deb("1.0"), shop.path("greeting.deb")).unwrap();
    shop.ok(&["image", "push", "otoshi.test/debian:1", &format!("{host}/debian:1")]);
    shop.ok(&["build"]);
    shop.ok(&["push"]);
    let made = shop.ok(&["run", "made"]);

    // Another machine, and no project; then one more, for which there is nothing to do.
    let image = format!("{host}/shop:greet");
    let refresh = || -> Value {
        shop.forget();
        let output = shop.command(&["refresh", "--json", &image]).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let refreshed = refresh();
    assert_eq!(shop.ran(&refreshed), [3, 4], "{refreshed}");
    assert_eq!(packages(&refreshed)["greeting"], ("1.0".into(), "1.1".into(), true.into()), "{refreshed}");
    let again = refresh();
    assert_eq!((&again["outcome"], shop.ran(&again)), (&"same".into(), vec![]), "{again}");
    shop.forget();
    for (process, text) in [("greet", "greeting 1.1\n"), ("made", &made)] {
        let name = format!("{host}/shop:{process}");
        shop.ok(&["pull", &name]);
        assert_eq!(shop.ok(&["run", &name]), text);
    }
}
